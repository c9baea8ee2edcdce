"""The OpenAPI document against the server: schemathesis makes requests from it, and checks every answer."""

from __future__ import annotations

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

_EXAMPLES = 4  # per route and mode
_STREAMS = "/api/events"  # its answer does not end

pytestmark = pytest.mark.filterwarnings("default")  # of the tool itself


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_those_of_the_document(live: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{live}/openapi.json")
    routes = [
        (path, method.upper())
        for path, methods in httpx2.get(f"{live}/openapi.json").json()["paths"].items()
        for method in methods
        if path != _STREAMS
    ]
    assert len(routes) >= 30
    for path, method in routes:
        operation = document[path][method]
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        def check(case: schemathesis.Case) -> None:
            if len(case.as_transport_kwargs(base_url=live)["url"]) + len(str(case.query)) > 4000:
                return  # uvicorn answers longer lines itself
            # Not all numbers are those of an image; and 503 is an answer where nothing is learned.
            answer = case.call_and_validate(excluded_checks=[positive_data_acceptance, not_a_server_error])
            assert answer.status_code not in (500, 507)

        check()
