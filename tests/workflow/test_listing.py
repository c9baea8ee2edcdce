from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart import places
from headstart.errors import ModelError, StoreError
from headstart.workflow.fitting import Fitted
from headstart.workflow.listing import models, prune, spaces, verified

Photos = Callable[..., Path]
Fit = Callable[..., Fitted]


@pytest.fixture
def store(photos: Photos, fitted: Fit, tmp_path: Path) -> Path:
    folder = photos(red=4, green=4)
    fitted(folder)
    fitted(folder, model="test_efficientnet")
    return tmp_path / "store" / "features"


def test_models_that_fit_a_pattern() -> None:
    head, *lines, told = models("tf_efficientnet_lite?")
    assert head.split() == ["model", "params", "input", "classes", "top-1", "top-5", "V2", "weights", "licence"]
    assert [line.split()[0] for line in lines] == [f"tf_efficientnet_lite{number}" for number in range(5)]
    assert lines[0].split()[1:] == ["4.65", "M", "224x224", "1000", "75.1", "-", "-", "here", "apache-2.0"]
    assert lines[4].split()[5:] == ["81.5", "95.7", "70.3", "hub", "apache-2.0"]
    assert "published accuracy on ImageNet" in told
    _, one, *_ = models("keras:*")
    assert one.split() == [
        *("keras:MobileNetV2", "3.50", "M", "224x224", "1000", "71.3", "90.1", "-", "keras", "apache-2.0")
    ]
    with pytest.raises(ModelError) as caught:
        list(models("nothing*"))
    assert str(caught.value) == ("no model's name fits nothing*; patterns are those of a shell, such as mobilenet*")


def test_what_the_store_holds(store: Path, tmp_path: Path) -> None:
    head, *lines = spaces(store)
    assert head.startswith(f"{store}: 2 feature spaces, ")
    assert sorted(line.split()[1] for line in lines) == ["test_efficientnet", "test_resnet"]
    assert all("8 rows" in line for line in lines)
    assert list(spaces(tmp_path / "none")) == [f"{tmp_path / 'none'}: 0 feature spaces, 0.0 MB"]


def test_a_store_in_order(store: Path) -> None:
    assert all(line.endswith("8 rows, 0 wrong") for line in verified(store))


def test_a_damaged_store_is_told_after_all_was_looked_at(store: Path) -> None:
    (one,), (other,) = (sorted(space.glob("data/*")) for space in sorted(store.glob("*.lance")))
    data = bytearray(one.read_bytes())
    data[len(data) // 2] ^= 1
    one.write_bytes(data)
    other.write_bytes(other.read_bytes()[:100])
    lines: list[str] = []
    with pytest.raises(StoreError) as caught:
        lines.extend(verified(store))
    assert str(caught.value) == (
        f"{store}: rows are damaged; headstart cache prune --model NAME removes a model's rows"
    )
    # A list that is extended by a generator that fails keeps what came before.
    assert len(lines) == 2
    assert lines[0].endswith("8 rows, 1 wrong")
    assert ": a file is damaged (" in lines[1]


def test_pruning_takes_a_model_or_all(store: Path) -> None:
    root = store.parent
    assert prune(str(root), model=None, everything=False).startswith(f"{root}: ")
    assert len(list(spaces(store))) == 3
    assert prune(str(root), model="test_resnet", everything=False).endswith(" MB kept")
    assert [line.split()[1] for line in list(spaces(store))[1:]] == ["test_efficientnet"]
    places.prepared(str(root)).mkdir()
    (places.prepared(str(root)) / "one.xml").write_bytes(bytes(10**6))
    places.inspections(str(root)).write_bytes(bytes(10**6))
    (root / "weights").mkdir()
    (root / "weights" / "mine.safetensors").write_bytes(bytes(10**6))
    assert prune(str(root), model=None, everything=True).endswith(", 0.0 MB kept")
    assert {path.name for path in root.iterdir()} == {"features", "weights"}
    assert list(store.iterdir()) == []
    assert [path.name for path in (root / "weights").iterdir()] == ["mine.safetensors"]
