from __future__ import annotations

import json
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.classifier import Classifier, images_as_manifest, load, softmax
from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.errors import ImageProblem, ModelError, RunError, SettingsError, StoreError
from headstart.evaluate import fit_novelty
from headstart.models.backbone import build, load_backbone
from headstart.models.engine import open_engine
from headstart.settings import EngineSettings

TRAINED = ["head", "last:1", "all"]
PLAIN = EngineSettings(engine="torch", precision="float32")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (7, 50, 40, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def made(train: str = "last:1", **facts: Any) -> Classifier:
    network = load_backbone("test_resnet", weights_file="random").module
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        network.reset_classifier(3)
        network.get_classifier().weight.mul_(5)  # so that pictures differ in their probabilities
    spec = InputSpec(height=32, width=32)
    return Classifier(network.eval(), ("ant", "bee", "나비"), spec, "test_resnet", train, facts=facts)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return made(store_as="float16")


# -- prediction -------------------------------------------------------------------------------------------------------


def plainly(classifier: Classifier, paths: list[Path]) -> NDArray[np.float32]:
    """The network itself, in float32, on normalised pixels."""
    from headstart.data.transforms import evaluation_view

    spec = classifier.spec
    pixels = np.stack([evaluation_view(decode(path), spec) for path in paths]).astype(np.float32) / 255
    x = torch.from_numpy((pixels - np.float32(spec.mean)) / np.float32(spec.std)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return classifier.network(x).softmax(1).numpy()


@pytest.mark.parametrize("train", TRAINED)
def test_probabilities_are_those_of_the_network(train: str, paths: list[Path]) -> None:
    classifier = made(train, store_as="float32")
    given = classifier.predict_proba(paths, settings=PLAIN)
    assert (given.shape, given.dtype) == ((7, 3), np.float32)
    assert np.allclose(given, plainly(classifier, paths), atol=1e-5)
    assert np.allclose(given.sum(1), 1)
    assert given.std(0).min() > 1e-4


def test_features_are_rounded_and_clipped_as_in_training(paths: list[Path]) -> None:
    exact, rounded = made(store_as="float32"), made(store_as="float16")
    one, other = (each.predict_proba(paths, settings=PLAIN) for each in (exact, rounded))
    assert not np.array_equal(one, other)
    assert np.allclose(one, other, atol=1e-2)
    assert rounded.parts.name  # cut before it is spoilt
    with torch.no_grad():  # features of millions, which float16 has not
        rounded.network.bn1.weight.fill_(1e9)
        rounded.network.bn1.bias.fill_(1e9)
    assert np.isfinite(rounded.predict_proba(paths, settings=PLAIN)).all()


def test_a_network_that_gives_nan_is_told(paths: list[Path]) -> None:
    broken = made()
    assert broken.parts.name  # cut before it is spoilt
    with torch.no_grad():
        broken.network.bn1.weight.fill_(float("nan"))
    with pytest.raises(StoreError, match=r"^the network gave values that are not finite: use --precision float32$"):
        broken.predict_proba(paths)


def test_whatever_names_pictures_will_do(classifier: Classifier, paths: list[Path]) -> None:
    expected = classifier.predict_proba(paths)
    arrays = [np.asarray(decode(path)) for path in paths]
    names = list(map(str, paths))
    for given in (
        names,
        tuple(paths),
        np.array(names),
        arrays,
        np.stack(arrays),
        Manifest.from_rows(paths),
        [paths[0], arrays[1], names[2], *arrays[3:]],
    ):
        assert np.array_equal(classifier.predict_proba(given), expected)
    for one in (paths[2], names[2], arrays[2]):
        assert np.allclose(classifier.predict_proba(one), expected[2:3], atol=1e-5)
    assert classifier.predict_proba([]).shape == (0, 3)


def test_an_iterator_is_read_once(classifier: Classifier, paths: list[Path]) -> None:
    assert np.array_equal(classifier.predict_proba(iter(paths)), classifier.predict_proba(paths))


def test_relative_and_odd_names(classifier: Classifier, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths[0].parent)
    odd = paths[0].with_name(os.fsdecode(b"caf\xe9.png"))
    shutil.copy(paths[0], odd)
    try:
        expected = classifier.predict_proba(paths[0])
        uri = images_as_manifest(odd).uris[0]
        assert uri.startswith("file://")
        for name in ("0.png", odd, uri):
            assert np.array_equal(classifier.predict_proba(name), expected)
    finally:
        odd.unlink()


def test_what_is_no_picture_at_all(classifier: Classifier) -> None:
    with pytest.raises(TypeError):
        classifier.predict_proba([Image.new("RGB", (8, 8))])


def test_classes_and_the_likeliest(classifier: Classifier, paths: list[Path]) -> None:
    shares = classifier.predict_proba(paths)
    assert classifier.predict(paths).tolist() == [classifier.classes[row.argmax()] for row in shares]
    top = classifier.top_k(paths[0], 2)
    one = classifier.predict_proba([paths[0]])[0]
    assert top == [(classifier.classes[index], float(one[index])) for index in np.argsort(-one)[:2]]
    assert len(classifier.top_k(paths[0])) == 3  # five were asked for
    assert np.array_equal(classifier.predict([np.asarray(decode(paths[1]))]), classifier.predict(paths[1]))


def test_a_picture_that_cannot_be_read_is_named(classifier: Classifier, paths: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(paths[0].read_bytes()[:100])
    with pytest.raises(ImageProblem) as caught:
        classifier.predict_proba([*paths, bad])
    assert str(caught.value) == f"{bad}: truncated: the file ends before the picture does"
    with pytest.raises(ImageProblem, match=r"^array:1: "):
        classifier.predict_proba([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 7), np.uint8)])
    shares, problems = classifier.probabilities(Manifest.from_rows([paths[0], bad, paths[1], tmp_path / "gone.png"]))
    assert problems == [(1, "truncated: the file ends before the picture does"), (3, "no such file")]
    assert np.array_equal(shares, classifier.predict_proba(paths[:2]))


def test_wrong_settings_are_told(classifier: Classifier, paths: list[Path]) -> None:
    with pytest.raises(SettingsError) as caught:
        classifier.predict_proba(paths, settings=EngineSettings(engine="torhc", extract_batch=0))
    assert str(caught.value) == (
        "engine must be one of auto, torch, openvino, got 'torhc'; did you mean torch?\n"
        "extract_batch must be a whole number from 1 to 4096, got 0; the nearest is 1"
    )


@pytest.mark.parametrize("train", TRAINED)
def test_it_does_not_matter_how_pictures_fall_into_batches(train: str, paths: list[Path]) -> None:
    classifier = made(train)
    whole = classifier.predict_proba(paths, settings=PLAIN)
    for batch in (1, 3, 100):
        settings = EngineSettings(engine="torch", precision="float32", extract_batch=batch, workers=1)
        assert np.allclose(classifier.predict_proba(paths, settings=settings), whole, atol=1e-6)


def test_precision_is_that_of_training_unless_another_is_asked_for(paths: list[Path]) -> None:
    exact, fast = made(precision="float32"), made(precision="bfloat16")
    at_image = made("all", precision="bfloat16")  # all of it was trained, and training is in float32
    asked = {name: EngineSettings(engine="torch", precision=name) for name in ("float32", "bfloat16")}
    expected = {name: exact.predict_proba(paths, settings=settings) for name, settings in asked.items()}
    assert not np.array_equal(expected["float32"], expected["bfloat16"])
    assert np.array_equal(exact.predict_proba(paths), expected["float32"])
    assert np.array_equal(fast.predict_proba(paths), expected["bfloat16"])
    assert np.allclose(at_image.predict_proba(paths), expected["float32"], atol=1e-6)


def test_a_network_as_published_is_run_in_float32_unless_another_is_asked_for(paths: list[Path]) -> None:
    classifier = Classifier.pretrained("test_resnet", weights="random")
    exact, fast = (
        classifier.predict_proba(paths, settings=EngineSettings(engine="torch", precision=name))
        for name in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, fast)
    assert np.array_equal(classifier.predict_proba(paths), exact)
    assert np.array_equal(classifier.predict_proba(paths, settings=EngineSettings(precision="bfloat16")), fast)


def test_the_network_is_cut_once(classifier: Classifier) -> None:
    assert classifier.parts is classifier.parts


def test_what_runs_it_is_prepared_once(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(*words: Any, **named: Any) -> Any:
        opened.append((named["engine"], named["batch"]))
        return open_engine(*words, **named)

    monkeypatch.setattr("headstart.classifier.open_engine", counted)
    served = made("head")
    settings = EngineSettings(engine="openvino", extract_batch=1, device="cpu")
    first = served.predict_proba(paths, settings=settings)
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(served.predict_proba(path, settings=settings)[0], first[number])
    assert opened == [("openvino", 1)]
    served.predict_proba(paths)
    served.predict_proba(paths, settings=EngineSettings(precision="bfloat16"))  # a third: the first is let go
    served.predict_proba(paths)
    assert opened[1:] == [("torch", len(paths)), ("torch", len(paths))]
    served.predict_proba(paths[0], settings=settings)
    assert len(opened) == 4


def test_threads_share_what_runs_it(paths: list[Path]) -> None:
    settings = EngineSettings(engine="openvino", extract_batch=1, device="cpu")
    plain = made("head")
    width = plain.network.get_classifier().in_features  # type: ignore[operator]
    rows = np.random.default_rng(0).normal(size=(30, width))
    served = replace(plain, novelty=fit_novelty(rows, np.arange(30) % 3, rows))

    def seen(some: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        found = served.examine(images_as_manifest(some), settings=settings)
        assert found.strangeness is not None
        return found.probabilities, found.strangeness

    shares, strangeness = seen(paths)
    asked = [number % len(paths) for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: seen([paths[number]]), asked))
    np.testing.assert_array_equal(np.concatenate([each[0] for each in found]), shares[asked])
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), strangeness[asked])


def test_other_processes_get_it_after_it_has_run(paths: list[Path]) -> None:
    served = made("head")
    before = served.predict_proba(paths, settings=EngineSettings(engine="openvino", device="cpu"))
    other = pickle.loads(pickle.dumps(served))
    np.testing.assert_array_equal(
        other.predict_proba(paths, settings=EngineSettings(engine="openvino", device="cpu")), before
    )


def test_temperature_softens(classifier: Classifier, paths: list[Path]) -> None:
    sharp = classifier.predict_proba(paths)
    soft = replace(classifier, temperature=2.0).predict_proba(paths)
    assert np.allclose(soft, softmax(np.log(sharp) / 2), atol=1e-5)


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([[1e4, 0], [0, -1e4]], np.float32)).tolist() == [[1, 0], [1, 0]]


def test_pretrained_networks_tell_their_own_classes() -> None:
    classifier = Classifier.pretrained("test_resnet", weights="random")
    assert len(classifier.classes) == 1000
    assert classifier.predict_proba(np.zeros((64, 64, 3), np.uint8)).shape == (1, 1000)


# -- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", TRAINED)
def test_what_is_saved_and_loaded_predicts_the_same_to_the_bit(train: str, paths: list[Path], tmp_path: Path) -> None:
    classifier = made(train, store_as="float16", precision="float32", source="random")
    back = load(classifier.save(tmp_path / "classifier"))
    assert np.array_equal(back.predict_proba(paths), classifier.predict_proba(paths))
    for name in ("classes", "spec", "model", "train", "temperature", "facts"):
        assert getattr(back, name) == getattr(classifier, name)
    assert not back.network.training
    assert load(tmp_path).classes == classifier.classes  # a run folder that holds it


def test_a_folder_can_be_saved_over(tmp_path: Path, paths: list[Path]) -> None:
    one, other = made("head"), made("all")
    one.save(tmp_path)
    other.save(tmp_path)
    assert load(str(tmp_path)).train == "all"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_person_can_read_it(classifier: Classifier, tmp_path: Path) -> None:
    text = (classifier.save(tmp_path) / "model.json").read_text(encoding="utf-8")
    assert "나비" in text
    known = json.loads(text)
    assert (known["format"], known["model"], known["train"]) == (1, "test_resnet", "last:1")
    assert known["classes"] == ["ant", "bee", "나비"]
    assert known["input"]["height"] == 32


def test_nothing_in_it_is_pickled(classifier: Classifier, tmp_path: Path) -> None:
    for file in classifier.save(tmp_path).rglob("*"):
        data = file.read_bytes()
        assert not zipfile.is_zipfile(file)  # as torch.save writes
        assert data[:1] != pickletools.code2op["\x80"].code.encode("latin-1")  # how pickles of protocol 2 and on begin
        if file.suffix == ".safetensors":
            length = int.from_bytes(data[:8], "little")
            entries = json.loads(data[8 : 8 + length])
            entries.pop("__metadata__", None)
            assert sum(end - begin for begin, end in (entry["data_offsets"] for entry in entries.values())) == (
                len(data) - 8 - length
            )
        else:
            json.loads(data)


def test_it_needs_neither_network_nor_store(classifier: Classifier, paths: list[Path], tmp_path: Path) -> None:
    classifier.save(tmp_path / "classifier")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").mkdir()
    script = (
        "import sys, socket\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from headstart.classifier import load\n"
        "sys.stdout.write(load(sys.argv[1]).predict_proba(sys.argv[2:]).tobytes().hex())\n"
        "assert 'lance' not in sys.modules\n"
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HEADSTART_CACHE": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path / "elsewhere"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "classifier", *paths],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert bytes.fromhex(done.stdout) == classifier.predict_proba(list(map(str, paths))).tobytes()
    assert not any((tmp_path / "cache").iterdir())
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.fixture
def saved(classifier: Classifier, tmp_path: Path) -> Path:
    return classifier.save(tmp_path / "run" / "classifier")


def told(folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        load(folder)
    return str(caught.value)


def test_no_classifier_there(saved: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert told(gone) == (
        f"{gone}: no classifier there, {gone / 'classifier' / 'model.json'} is missing; headstart fit makes one"
    )
    (saved / "model.safetensors").unlink()
    run = saved.parent
    assert told(run) == (
        f"{run}: no classifier there, {saved / 'model.safetensors'} is missing; headstart fit makes one"
    )


def test_two_files_of_different_classifiers(saved: Path, tmp_path: Path) -> None:
    network = made()
    with torch.no_grad():
        network.network.fc.bias.add_(1)
    other = network.save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", saved / "model.safetensors")
    text = f"{saved}: model.json and model.safetensors do not belong together; save the classifier again"
    assert told(saved) == text


def test_a_flipped_bit_in_the_weights(saved: Path) -> None:
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    text = f"{saved}: model.json and model.safetensors do not belong together; save the classifier again"
    assert told(saved) == text


@pytest.mark.parametrize("keep", [0, 4, 1000])
def test_weights_cut_short(saved: Path, keep: int) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    text = told(saved)
    assert text.startswith(f"{saved}: the classifier is damaged (")
    assert text.endswith("); save it again")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1"])
def test_a_description_that_is_no_json(saved: Path, content: bytes) -> None:
    (saved / "model.json").write_bytes(content)
    text = told(saved)
    assert text.startswith(f"{saved}: the classifier is damaged (")
    assert text.endswith("); save it again")


def test_a_description_of_something_else(saved: Path) -> None:
    (saved / "model.json").write_text("[]")
    assert told(saved).endswith("do not belong together; save the classifier again")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "its format is 2, this version knows 1"),
        ({"model": None}, ""),
        ({"model": "no_such_net"}, "no model is called no_such_net"),
        ({"classes": ["ant", "bee"]}, "size mismatch for fc.weight"),
        ({"classes": 3}, ""),
        ({"input": {}}, "'mean'"),
        ({"input": None}, ""),
        ({"temperature": "warm"}, "could not convert string to float: 'warm'"),
        ({"facts": 7}, ""),
    ],
)
def test_a_description_that_does_not_fit(saved: Path, change: dict[str, Any], reason: str) -> None:
    known = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**known, **change}))
    text = told(saved)
    assert text.startswith(f"{saved}: not a classifier that this version can load (")
    assert reason in text


def test_a_description_that_lacks_something(saved: Path) -> None:
    known = json.loads((saved / "model.json").read_text())
    del known["spec" if "spec" in known else "train"]
    (saved / "model.json").write_text(json.dumps(known))
    assert told(saved) == f"{saved}: not a classifier that this version can load ('train')"


def test_networks_with_other_heads_come_back(tmp_path: Path) -> None:
    """A head of another kind than one linear layer, and a vision transformer."""
    for model, size in (("test_convnext", 32), ("test_vit", 160), ("test_efficientnet", 32)):
        network = build(model, classes=4)
        network.reset_classifier(3)
        spec = InputSpec(height=size, width=size)
        classifier = Classifier(network.eval(), ("a", "b", "c"), spec, model, "head")
        back = load(classifier.save(tmp_path / model))
        x = np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), np.uint8)
        assert np.array_equal(back.predict_proba(x), classifier.predict_proba(x))


def test_a_network_without_a_head_predicts_nothing() -> None:
    with pytest.raises(ModelError) as caught:
        Classifier.pretrained("vit_small_patch14_dinov2", weights="random")
    assert str(caught.value) == (
        "vit_small_patch14_dinov2: it has no classes of its own, so that it predicts nothing; "
        "headstart fit gives it some"
    )
