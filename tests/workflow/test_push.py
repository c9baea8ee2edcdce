"""Upload to a hub on this machine, and predict from there: with the hub's own client, and without a network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markupsafe import escape
from PIL import Image
from skimage import data

import headstart as hs
from headstart.artifacts.hub import hub_run
from headstart.artifacts.model_document import read_model_document, write_model_document
from headstart.artifacts.run_folder import CARD_MARKER
from headstart.documents import file_checksum
from headstart.errors import RunError, SettingsError
from headstart.evaluate.schema import read_evaluation, read_run_info, write_run_info

Headstart = Callable[..., tuple[int, str, str]]
FILES = {
    *("README.md", "report.html", "evaluation.json"),
    *("classifier/model.json", "classifier/model.safetensors", "classifier/ood_detector.safetensors"),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two classes, made by the command line with absolute paths."""
    folder = tmp_path_factory.mktemp("push") / "an & odd 'place'"
    for name, photograph in {"cat": data.chelsea, "cup": data.coffee}.items():
        (folder / "photos" / name).mkdir(parents=True)
        whole = Image.fromarray(photograph()).resize((128, 128))
        for number in range(12):
            whole.crop((number, number, number + 100, number + 100)).save(folder / "photos" / name / f"{number}.jpg")
    from headstart.workflow import fit, reading, runs

    settings = hs.FitSettings("test_resnet", weights="random", train="head", stages="none", kernel="none")
    photos = folder / "photos"
    manifest = reading.read(str(photos))
    words = ["headstart", "fit", str(photos), f"--out={folder / 'run'}"]
    runs.finish_run(fit.fit(manifest, settings), folder / "run", arguments=words)
    return folder / "run"


@pytest.fixture
def run_folder(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the run to change."""
    return Path(shutil.copytree(fitted, tmp_path / "pets"))


@pytest.fixture
def hub(load_module: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The hub's own client, signed in to a hub on this machine, with a cache of its own."""
    import huggingface_hub
    from huggingface_hub import constants

    module = load_module(Path(__file__).parent.parent / "hub_server.py")
    running = module.Hub()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", module.WRITER)
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield running
    running.stop()
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()


def test_from_one_machine_to_another(
    hub: Any, run_folder: Path, run: Headstart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, printed, told = run("push", run_folder, "hf:me/pets")
    assert (code, printed) == (0, f"{hub.url}/me/pets\n"), told
    repository = hub.repositories["me/pets"]
    assert repository.private
    _, files = repository.files("main")
    assert set(files) == FILES | {".gitattributes"}
    assert 'hs.load("hf:me/pets")' in files["README.md"].decode()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    picture = tmp_path / "here" / "photo.jpg"
    Image.fromarray(data.coffee()).save(picture)
    code, expected, _ = run("predict", run_folder, picture)
    assert code == 0
    assert run("predict", "hf:me/pets", picture)[:2] == (0, expected)
    assert not any("report.html" in each or "README" in each for each in hub.requests if "resolve" in each)

    # What was fetched is enough without a network; what was not says so.
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert hs.load("hf:me/pets").classes == ("cat", "cup")
    assert len(hub.requests) == asked
    with pytest.raises(RunError, match=r"^hf:me/dogs: not on this machine \(.*hub\), and HF_HUB_OFFLINE is set; "):
        hs.load("hf:me/dogs")


def test_revisions(hub: Any, run_folder: Path, run: Headstart) -> None:
    assert run("push", run_folder, "hf:me/pets")[0] == 0
    first = hub.repositories["me/pets"].branches["main"]
    hub.repositories["me/pets"].commit("main", {"other.json": b"{}"})
    assert hs.load(f"hf:me/pets@{first}").classes == ("cat", "cup")
    with pytest.raises(RunError, match=r"^hf:me/pets@v2: the repository has no branch, tag or commit v2$"):
        hs.load("hf:me/pets@v2")
    with pytest.raises(RunError, match=r"^hf:me/pets: no classifier of headstart: the repository has no model.json"):
        hs.load("hf:me/pets")


def test_no_folder_of_this_machine_leaves_it(fitted: Path, hub: Any, run: Headstart) -> None:
    place = str(fitted.parent)
    page = (fitted / "report.html").read_text(encoding="utf-8")
    shown = str(escape(shlex.quote(place).strip("'")))
    assert shown in page  # in the command line, beside the images that it was given
    assert run("push", fitted, "hf:me/pets")[0] == 0
    _, files = hub.repositories["me/pets"].files("main")
    for name, content in files.items():
        assert b" odd " not in content, name
        assert str(fitted.parent.parent).encode() not in content, name
    uploaded = files["report.html"].decode()
    assert "headstart fit" in uploaded
    assert re.findall("base64,[^\"']+", uploaded) == re.findall("base64,[^\"']+", page)  # no image was damaged


def test_a_path_that_cannot_be_removed_is_refused(hub: Any, run_folder: Path, run: Headstart) -> None:
    card = run_folder / "README.md"
    card.write_text(f"# Mine\nThe images are in {run_folder.parent}/photos.\n", encoding="utf-8")
    code, _, told = run("push", run_folder, "hf:me/pets", "--dry-run")
    assert code == 1
    assert told.endswith(f"error: README.md: not uploaded, since it names the folder {run_folder.parent}/ of this "
                         "machine; remove that\n")  # fmt: skip
    card.write_text("# Mine\n", encoding="utf-8")
    assert run("push", run_folder, "hf:me/pets")[0] == 0
    assert hub.repositories["me/pets"].files("main")[1]["README.md"] == b"# Mine\n"


def test_a_dry_run(hub: Any, run_folder: Path, run: Headstart) -> None:
    code, printed, _ = run("push", run_folder, "hf:me/pets", "--dry-run", "--no-report")
    assert code == 0
    assert {line.split()[0] for line in printed.splitlines()[:-1]} == FILES - {"report.html"}
    left_out = printed.splitlines()[-1]
    assert left_out.startswith("not uploaded, since no prediction needs it: settings.json, ")
    assert "manifest.parquet" in left_out
    assert hub.requests == []


def test_a_public_repository_is_asked_for(hub: Any, run_folder: Path, run: Headstart) -> None:
    assert run("push", run_folder, "hf:me/pets", "--public")[0] == 0
    assert not hub.repositories["me/pets"].private
    commits = len(hub.repositories["me/pets"].commits)
    code, _, told = run("push", run_folder, "hf:me/pets")
    assert code == 1
    assert told.endswith("hf:me/pets: everyone can see this repository; push to it with --public, or choose another\n")
    assert run("push", run_folder, "hf:me/pets", "--public", "--no-report")[0] == 0
    assert len(hub.repositories["me/pets"].commits) == commits + 1  # one, in which the report is removed too
    assert "report.html" not in hub.repositories["me/pets"].files("main")[1]


def test_who_may_not(hub: Any, run_folder: Path, run: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    code, _, told = run("push", run_folder, "hf:me/pets")
    assert code == 1
    assert "hf:me/pets: the hub does not let you write there: sign in with `hf auth login` or HF_TOKEN" in told
    with pytest.raises(
        RunError, match=r"^hf:me/pets: the hub has no such repository, or it is private; check the name"
    ):
        hs.load("hf:me/pets")


@pytest.mark.parametrize("name", ["hf:", "hf:dogs", "hf:a/b/c", "hf:../dogs", "hf:a/../b", "hf:a/b@", "hf:a/b@../c"])
def test_names(name: str, run: Headstart) -> None:
    with pytest.raises(SettingsError, match=r"a run on the Hugging Face Hub is named hf:OWNER/NAME"):
        hub_run(name)
    assert run("predict", name, ".")[0] == 2


def test_a_run_of_someone_else_does_not_choose_files(run_folder: Path, run: Headstart, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path = run_folder / "classifier" / "model.json"
    document = read_model_document(path)
    for files in ({"../../secret": file_checksum(secret)}, {"frozen.xml": file_checksum(secret)}):
        write_model_document(path, replace(document, files=files))
        info = read_run_info(run_folder / "settings.json")
        known = {**info.files, "classifier/model.json": file_checksum(path)}
        write_run_info(run_folder / "settings.json", replace(info, files=known))
        link = run_folder / "classifier" / "frozen.xml"
        if not link.is_symlink():
            link.symlink_to(secret)
        code, _, told = run("push", run_folder, "hf:me/pets", "--dry-run")
        assert code == 1
        assert "no file of a classifier, or a link; save the classifier again" in told


def test_weights_of_another_classifier(run_folder: Path, run: Headstart) -> None:
    weights = run_folder / "classifier" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    code, _, told = run("push", run_folder, "hf:me/pets", "--dry-run")
    assert code == 1
    assert "model.safetensors: was changed after the model.json beside it was written" in told


def test_the_evaluation_stays_readable(hub: Any, run_folder: Path, run: Headstart, tmp_path: Path) -> None:
    assert run("push", run_folder, "hf:me/pets")[0] == 0
    path = tmp_path / "evaluation.json"
    path.write_bytes(hub.repositories["me/pets"].files("main")[1]["evaluation.json"])
    assert read_evaluation(path) == read_evaluation(run_folder / "evaluation.json")
    assert json.loads(path.read_text(encoding="utf-8"))["format"] == 1
    assert CARD_MARKER in hub.repositories["me/pets"].files("main")[1]["README.md"].decode()
