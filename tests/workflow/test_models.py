from __future__ import annotations

import pytest

from headstart.errors import ModelError
from headstart.workflow.models import list_models


def test_list_models_that_match_a_pattern() -> None:
    head, *lines, footer = list_models("tf_efficientnet_lite?")
    assert head.split() == ["model", "params", "input", "classes", "top-1", "top-5", "V2", "weights", "licence"]
    assert [line.split()[0] for line in lines] == [f"tf_efficientnet_lite{number}" for number in range(5)]
    assert lines[0].split()[1:] == ["4.65", "M", "224x224", "1000", "75.1", "-", "-", "here", "apache-2.0"]
    assert lines[4].split()[5:] == ["81.5", "95.7", "70.3", "hub", "apache-2.0"]
    assert "published ImageNet accuracy" in footer
    _, one, *_ = list_models("keras:*")
    assert one.split() == [
        *("keras:MobileNetV2", "3.50", "M", "224x224", "1000", "71.3", "90.1", "-", "keras", "apache-2.0")
    ]
    with pytest.raises(ModelError) as caught:
        list(list_models("nothing*"))
    assert str(caught.value) == "no model matches 'nothing*'; use a shell pattern, for example \"mobilenet*\""
