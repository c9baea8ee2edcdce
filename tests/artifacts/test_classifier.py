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

from headstart.artifacts.classifier import Classifier, ModelMetadata, load
from headstart.artifacts.model_document import (
    MODEL_FORMAT,
    ModelDocument,
    read_model_document,
    write_model_document,
)
from headstart.config import EngineSettings
from headstart.data.decode import decode
from headstart.data.inputs import images_as_manifest
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.documents import json_schema
from headstart.errors import ImageProblem, ModelError, RunError, SettingsError, StoreError
from headstart.evaluate import fit_ood_detector
from headstart.inference.engine import open_engine
from headstart.inference.results import PredictionSetRule, softmax
from headstart.models.backbone import build, load_backbone

TRAINED = ["head", "last:1", "all"]
PLAIN = EngineSettings(engine="torch", precision="float32")
OTHER_FILE = "damaged, or does not belong to the model.json beside it. Save the classifier again."


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, (7, 50, 40, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def made(train: str = "last:1", **metadata: Any) -> Classifier:
    network = load_backbone("test_resnet", weights_file="random").module
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        network.reset_classifier(3)
        network.get_classifier().weight.mul_(5)  # so that images differ in their probabilities
    spec = InputSpec(height=32, width=32)
    facts = ModelMetadata(**{"source": "random", "licence": "none", **metadata})
    return Classifier(network.eval(), ("ant", "bee", "나비"), spec, "test_resnet", train, metadata=facts)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return made(feature_dtype="float16")


# -- prediction -------------------------------------------------------------------------------------------------------


def reference(classifier: Classifier, paths: list[Path]) -> NDArray[np.float32]:
    """Probabilities of the network itself, in float32, on normalized pixels."""
    from headstart.data.transforms import evaluation_view

    spec = classifier.spec
    pixels = np.stack([evaluation_view(decode(path), spec) for path in paths]).astype(np.float32) / 255
    x = torch.from_numpy((pixels - np.float32(spec.mean)) / np.float32(spec.std)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return classifier.network(x).softmax(1).numpy()


@pytest.mark.parametrize("train", TRAINED)
def test_probabilities_are_those_of_the_network(train: str, paths: list[Path]) -> None:
    classifier = made(train, feature_dtype="float32")
    probabilities = classifier.predict_proba(paths, settings=PLAIN)
    assert (probabilities.shape, probabilities.dtype) == ((7, 3), np.float32)
    assert np.allclose(probabilities, reference(classifier, paths), atol=1e-5)
    assert np.allclose(probabilities.sum(1), 1)
    assert probabilities.std(0).min() > 1e-4


def test_features_are_rounded_and_clipped_as_in_training(paths: list[Path]) -> None:
    exact, rounded = made(feature_dtype="float32"), made(feature_dtype="float16")
    one, other = (each.predict_proba(paths, settings=PLAIN) for each in (exact, rounded))
    assert not np.array_equal(one, other)
    assert np.allclose(one, other, atol=1e-2)
    assert rounded.pipeline.parts.name  # cut before the weights are damaged
    with torch.no_grad():  # features of millions, beyond float16
        rounded.network.bn1.weight.fill_(1e9)
        rounded.network.bn1.bias.fill_(1e9)
    assert np.isfinite(rounded.predict_proba(paths, settings=PLAIN)).all()


def test_nan_from_the_network_raises(paths: list[Path]) -> None:
    broken = made()
    assert broken.pipeline.parts.name  # cut before the weights are damaged
    with torch.no_grad():
        broken.network.bn1.weight.fill_(float("nan"))
    with pytest.raises(StoreError, match=r"^the network returned values that are not finite; use --precision float32$"):
        broken.predict_proba(paths)


def test_kinds_of_images(classifier: Classifier, paths: list[Path]) -> None:
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


def test_iterator_of_paths(classifier: Classifier, paths: list[Path]) -> None:
    assert np.array_equal(classifier.predict_proba(iter(paths)), classifier.predict_proba(paths))


def test_relative_paths_and_names_that_are_not_utf8(
    classifier: Classifier, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_images_in_memory(classifier: Classifier, paths: list[Path]) -> None:
    expected = classifier.predict_proba(paths)
    arrays = np.stack([np.asarray(decode(path)) for path in paths])
    tensors = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    for given in (
        [path.read_bytes() for path in paths],
        [Image.open(path) for path in paths],
        tensors,
        list(tensors),
        tensors.float() / 255,
        torch.from_numpy(arrays),
    ):
        assert np.array_equal(classifier.predict_proba(given), expected)
    for one in (paths[2].read_bytes(), Image.open(paths[2]), tensors[2]):
        assert np.allclose(classifier.predict_proba(one), expected[2:3], atol=1e-5)
        assert classifier.top_k(one, 1)[0][0] == classifier.predict(paths[2])[0]
    with pytest.raises(ImageProblem, match=r"^array:0: truncated: the file ends before the image does$"):
        classifier.predict(paths[0].read_bytes()[:100])
    with pytest.raises(TypeError, match=r"^images must be a path, a URI, bytes, .*; got float$"):
        classifier.predict_proba([3.5])  # type: ignore[list-item]


def test_predict_and_top_k(classifier: Classifier, paths: list[Path]) -> None:
    probabilities = classifier.predict_proba(paths)
    assert classifier.predict(paths).tolist() == [classifier.classes[row.argmax()] for row in probabilities]
    top = classifier.top_k(paths[0], 2)
    one = classifier.predict_proba([paths[0]])[0]
    assert top == [(classifier.classes[index], float(one[index])) for index in np.argsort(-one)[:2]]
    assert len(classifier.top_k(paths[0])) == 3  # of five
    assert np.array_equal(classifier.predict([np.asarray(decode(paths[1]))]), classifier.predict(paths[1]))


def test_error_names_an_unreadable_image(classifier: Classifier, paths: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(paths[0].read_bytes()[:100])
    with pytest.raises(ImageProblem) as caught:
        classifier.predict_proba([*paths, bad])
    assert str(caught.value) == f"{bad}: truncated: the file ends before the image does"
    with pytest.raises(ImageProblem, match=r"^array:1: "):
        classifier.predict_proba([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 7), np.uint8)])
    result = classifier.infer(Manifest.from_rows([paths[0], bad, paths[1], tmp_path / "gone.png"]))
    assert result.problems == ((1, "truncated: the file ends before the image does"), (3, "no such file"))
    assert np.array_equal(result.probabilities, classifier.predict_proba(paths[:2]))


def test_invalid_settings(classifier: Classifier, paths: list[Path]) -> None:
    with pytest.raises(SettingsError) as caught:
        classifier.predict_proba(paths, settings=EngineSettings(engine="torhc", extract_batch_size=0))
    assert str(caught.value) == (
        "engine must be one of auto, torch, openvino, got 'torhc'; did you mean torch?\n"
        "extract_batch_size must be a whole number from 1 to 4096, got 0; the nearest valid value is 1"
    )


@pytest.mark.parametrize("train", TRAINED)
def test_probabilities_do_not_depend_on_batches(train: str, paths: list[Path]) -> None:
    classifier = made(train)
    whole = classifier.predict_proba(paths, settings=PLAIN)
    for batch_size in (1, 3, 100):
        settings = EngineSettings(engine="torch", precision="float32", extract_batch_size=batch_size, workers=1)
        assert np.allclose(classifier.predict_proba(paths, settings=settings), whole, atol=1e-6)


def test_default_precision_is_that_of_the_fit(paths: list[Path]) -> None:
    exact, fast = made(precision="float32"), made(precision="bfloat16")
    at_image = made("all", precision="bfloat16")  # all of it was trained, which happens in float32
    requested = {name: EngineSettings(engine="torch", precision=name) for name in ("float32", "bfloat16")}
    expected = {name: exact.predict_proba(paths, settings=settings) for name, settings in requested.items()}
    assert not np.allclose(expected["float32"], expected["bfloat16"], atol=1e-5)
    # Few images are computed in smaller batches where no engine is asked for, and products round by their shape.
    assert np.allclose(exact.predict_proba(paths), expected["float32"], atol=1e-6)
    assert np.allclose(fast.predict_proba(paths), expected["bfloat16"], atol=1e-6)
    assert np.allclose(at_image.predict_proba(paths), expected["float32"], atol=1e-6)


def test_default_precision_of_a_pretrained_network_is_float32(paths: list[Path]) -> None:
    classifier = Classifier.pretrained("test_resnet", weights="random")
    exact, fast = (
        classifier.predict_proba(paths, settings=EngineSettings(engine="torch", precision=name))
        for name in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, fast)
    assert np.array_equal(classifier.predict_proba(paths), exact)
    assert np.array_equal(classifier.predict_proba(paths, settings=EngineSettings(precision="bfloat16")), fast)


def test_the_network_is_cut_once(classifier: Classifier) -> None:
    assert classifier.pipeline.parts is classifier.pipeline.parts


def test_engines_are_prepared_once(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append((options["engine"], options["batch_size"]))
        return open_engine(*arguments, **options)

    monkeypatch.setattr("headstart.inference.pipeline.open_engine", counted)
    served = made("head")
    settings = EngineSettings(engine="openvino", extract_batch_size=1, device="cpu")
    first = served.predict_proba(paths, settings=settings)
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(served.predict_proba(path, settings=settings)[0], first[number])
    assert opened == [("openvino", 1)]
    served.predict_proba(paths)
    served.predict_proba(paths, settings=EngineSettings(precision="bfloat16"))  # the third, so the first is dropped
    served.predict_proba(paths)
    assert opened[1:] == [("torch", len(paths)), ("torch", len(paths))]
    served.predict_proba(paths[0], settings=settings)
    assert len(opened) == 4


def test_threads_share_a_classifier(paths: list[Path]) -> None:
    settings = EngineSettings(engine="openvino", extract_batch_size=1, device="cpu")
    plain = made("head")
    width = plain.network.get_classifier().in_features  # type: ignore[operator]
    rows = np.random.default_rng(0).normal(size=(30, width))
    served = replace(plain, ood_detector=fit_ood_detector(rows, np.arange(30) % 3, rows))

    def infer(some: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        found = served.infer(images_as_manifest(some), settings=settings)
        assert found.ood_score is not None
        return found.probabilities, found.ood_score

    probabilities, ood_score = infer(paths)
    numbers = [number % len(paths) for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: infer([paths[number]]), numbers))
    np.testing.assert_array_equal(np.concatenate([each[0] for each in found]), probabilities[numbers])
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), ood_score[numbers])


def test_pickle_after_use(paths: list[Path]) -> None:
    served = made("head")
    before = served.predict_proba(paths, settings=EngineSettings(engine="openvino", device="cpu"))
    other = pickle.loads(pickle.dumps(served))
    np.testing.assert_array_equal(
        other.predict_proba(paths, settings=EngineSettings(engine="openvino", device="cpu")), before
    )


def test_temperature(classifier: Classifier, paths: list[Path]) -> None:
    sharp = classifier.predict_proba(paths)
    soft = replace(classifier, temperature=2.0).predict_proba(paths)
    assert np.allclose(soft, softmax(np.log(sharp) / 2), atol=1e-5)


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([[1e4, 0], [0, -1e4]], np.float32)).tolist() == [[1, 0], [1, 0]]


def test_classes_of_pretrained_networks() -> None:
    classifier = Classifier.pretrained("test_resnet", weights="random")
    assert len(classifier.classes) == 1000
    assert classifier.predict_proba(np.zeros((64, 64, 3), np.uint8)).shape == (1, 1000)


# -- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", TRAINED)
def test_saving_and_loading_preserves_predictions_bit_for_bit(train: str, paths: list[Path], tmp_path: Path) -> None:
    classifier = made(train, feature_dtype="float16", precision="float32", source="somewhere")
    back = load(classifier.save(tmp_path / "classifier"))
    assert np.array_equal(back.predict_proba(paths), classifier.predict_proba(paths))
    for name in ("classes", "spec", "model", "train", "temperature", "metadata"):
        assert getattr(back, name) == getattr(classifier, name)
    assert not back.network.training
    assert load(tmp_path).classes == classifier.classes  # as a run folder


def test_saving_over_another_classifier(tmp_path: Path, paths: list[Path]) -> None:
    one, other = made("head"), made("all")
    rows = np.random.default_rng(0).normal(size=(30, one.network.get_classifier().in_features))  # type: ignore[operator]
    replace(one, ood_detector=fit_ood_detector(rows, np.arange(30) % 3, rows)).save(tmp_path)
    other.save(tmp_path)
    assert load(str(tmp_path)).train == "all"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_all_files_have_the_usual_permissions(tmp_path: Path) -> None:
    one = made()
    rows = np.random.default_rng(0).normal(size=(30, one.network.get_classifier().in_features))  # type: ignore[operator]
    folder = replace(one, ood_detector=fit_ood_detector(rows, np.arange(30) % 3, rows)).save(tmp_path / "saved")
    (tmp_path / "new").touch()
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes == dict.fromkeys(modes, (tmp_path / "new").stat().st_mode)
    assert len(modes) == 3


def test_document_is_readable(classifier: Classifier, tmp_path: Path) -> None:
    text = (classifier.save(tmp_path) / "model.json").read_text(encoding="utf-8")
    assert "나비" in text
    known = json.loads(text)
    assert (known["format"], known["model"], known["train"]) == (1, "test_resnet", "last:1")
    assert known["classes"] == ["ant", "bee", "나비"]
    assert known["input"]["height"] == 32


def test_no_file_is_a_pickle(classifier: Classifier, tmp_path: Path) -> None:
    for file in classifier.save(tmp_path).rglob("*"):
        data = file.read_bytes()
        assert not zipfile.is_zipfile(file)  # the format of torch.save
        assert data[:1] != pickletools.code2op["\x80"].code.encode(
            "latin-1"
        )  # the first byte of pickles since protocol 2
        if file.suffix == ".safetensors":
            length = int.from_bytes(data[:8], "little")
            entries = json.loads(data[8 : 8 + length])
            entries.pop("__metadata__", None)
            assert sum(end - begin for begin, end in (entry["data_offsets"] for entry in entries.values())) == (
                len(data) - 8 - length
            )
        else:
            json.loads(data)


def test_loading_needs_neither_network_access_nor_feature_store(
    classifier: Classifier, paths: list[Path], tmp_path: Path
) -> None:
    classifier.save(tmp_path / "classifier")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").mkdir()
    script = (
        "import sys, socket\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from headstart.artifacts.classifier import load\n"
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


def load_error(folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        load(folder)
    return str(caught.value)


def test_missing_files(saved: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert load_error(gone) == (
        f"{gone}: no classifier found: {gone / 'classifier' / 'model.json'} is missing; headstart fit makes one"
    )
    (saved / "model.safetensors").unlink()
    run = saved.parent
    assert load_error(run) == (
        f"{run}: no classifier found: {saved / 'model.safetensors'} is missing; headstart fit makes one"
    )


def test_files_of_different_classifiers(saved: Path, tmp_path: Path) -> None:
    network = made()
    with torch.no_grad():
        network.network.fc.bias.add_(1)
    other = network.save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", saved / "model.safetensors")
    assert load_error(saved) == f"{saved / 'model.safetensors'}: {OTHER_FILE}"


def test_flipped_bit_in_the_weights(saved: Path) -> None:
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    assert load_error(saved) == f"{saved / 'model.safetensors'}: {OTHER_FILE}"


@pytest.mark.parametrize("keep", [0, 4, 1000])
def test_truncated_weights(saved: Path, keep: int) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert load_error(saved) == f"{weights}: {OTHER_FILE}"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1"])
def test_document_that_is_not_json(saved: Path, content: bytes) -> None:
    (saved / "model.json").write_bytes(content)
    text = load_error(saved)
    assert text.startswith(f"{saved / 'model.json'}: ")
    assert text.endswith(". Save the classifier again.")


def test_document_that_is_not_an_object(saved: Path) -> None:
    (saved / "model.json").write_text("[]")
    assert load_error(saved) == (
        f"{saved / 'model.json'}: damaged: expected a JSON object, got list. Save the classifier again."
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, ": format 2, but this version of headstart reads format 1."),
        ({"model": None}, ": damaged: model: Input should be a valid string."),
        ({"classes": 3}, ": damaged: classes: Input should be a valid array."),
        ({"input": {}}, ": damaged: input.height: Field required."),
        ({"input": None}, ": damaged: input: "),
        ({"temperature": "warm"}, ": damaged: temperature: Input should be a valid number"),
        ({"metadata": 7}, ": damaged: metadata: "),
    ],
)
def test_invalid_document(saved: Path, change: dict[str, Any], reason: str) -> None:
    known = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**known, **change}))
    assert load_error(saved).startswith(f"{saved / 'model.json'}{reason}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "no_such_net"}, "no_such_net"),
        ({"classes": ("ant", "bee")}, "size mismatch for fc.weight"),
    ],
)
def test_document_that_does_not_fit_the_weights(saved: Path, change: dict[str, Any], reason: str) -> None:
    path = saved / "model.json"
    write_model_document(path, replace(read_model_document(path), **change))
    text = load_error(saved)
    assert text.startswith(f"{saved}: this version of headstart cannot load the classifier (")
    assert reason in text


def test_document_without_a_field(saved: Path) -> None:
    known = json.loads((saved / "model.json").read_text())
    del known["train"]
    (saved / "model.json").write_text(json.dumps(known))
    assert load_error(saved) == (f"{saved / 'model.json'}: damaged: train: Field required. Save the classifier again.")


def test_documents_match_their_schema(saved: Path) -> None:
    schema, known = json_schema(ModelDocument, version=MODEL_FORMAT), json.loads((saved / "model.json").read_text())
    assert set(known) == set(schema["properties"])
    assert set(schema["required"]) <= set(known)


def test_prediction_sets_and_ood_detector_are_saved(tmp_path: Path, paths: list[Path]) -> None:
    plain = made("head")
    width = plain.network.get_classifier().in_features  # type: ignore[operator]
    rows = np.random.default_rng(0).normal(size=(30, width))
    detector = fit_ood_detector(rows, np.arange(30) % 3, rows)
    classifier = replace(plain, sets=PredictionSetRule(0.7, 0.9), ood_detector=detector)
    back = load(classifier.save(tmp_path))
    assert back.sets == classifier.sets
    one, other = (each.infer(Manifest.from_rows(paths), settings=PLAIN) for each in (classifier, back))
    assert one.prediction_sets is not None
    assert one.out_of_distribution is not None
    assert np.array_equal(one.prediction_sets, other.prediction_sets)
    assert np.array_equal(one.ood_score, other.ood_score)
    assert np.array_equal(one.out_of_distribution, other.out_of_distribution)
    assert [len(names) for names in back.predict_sets(paths, settings=PLAIN)] == one.prediction_sets.sum(1).tolist()
    assert back.predict_sets([]) == []
    file = tmp_path / "ood_detector.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert load_error(tmp_path) == (
        f"{file}: damaged, or does not belong to the model.json beside it. Save the classifier again."
    )
    file.unlink()
    assert load_error(tmp_path).startswith(f"{file}: damaged or missing (")
    other = replace(classifier, ood_detector=fit_ood_detector(rows[:, :5], np.arange(30) % 3, rows[:, :5]))
    assert load_error(other.save(tmp_path)) == (
        f"{file}: damaged: it has 3 classes of 5 features, but the network has 3 of {width}. Save the classifier again."
    )


def test_prediction_sets_need_a_fit(classifier: Classifier, paths: list[Path]) -> None:
    with pytest.raises(ModelError) as caught:
        classifier.predict_sets(paths)
    assert str(caught.value) == "test_resnet: prediction sets need a classifier that was made by headstart fit"


def test_networks_with_other_heads(tmp_path: Path) -> None:
    """A head that is more than one linear layer, and a vision transformer."""
    for model, size in (("test_convnext", 32), ("test_vit", 160), ("test_efficientnet", 32)):
        network = build(model, classes=4)
        network.reset_classifier(3)
        spec = InputSpec(height=size, width=size)
        classifier = Classifier(network.eval(), ("a", "b", "c"), spec, model, "head")
        back = load(classifier.save(tmp_path / model))
        x = np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), np.uint8)
        assert np.array_equal(back.predict_proba(x), classifier.predict_proba(x))


def test_network_without_a_head() -> None:
    with pytest.raises(ModelError) as caught:
        Classifier.pretrained("vit_small_patch14_dinov2", weights="random")
    assert str(caught.value) == (
        "vit_small_patch14_dinov2: the network has no classes of its own; train it with headstart fit"
    )
