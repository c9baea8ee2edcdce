"""The OpenAPI document against the server: schemathesis makes requests from it, and checks every answer."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

_EXAMPLES = 30  # per route and mode

pytestmark = pytest.mark.filterwarnings("default")  # of the tool itself


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(
    ("path", "method"),
    [("/", "GET"), ("/healthz", "GET"), ("/readyz", "GET"), ("/metrics", "GET"), ("/predict", "POST")],
)
def test_answers_are_those_of_the_document(live: str, path: str, method: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{live}/openapi.json")
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        pytest.skip("a request without parameters cannot be wrong")

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # not all bytes are an image

    check()
