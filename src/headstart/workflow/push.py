"""Put a run on the Hugging Face Hub: its classifier, model card, evaluation and report. No torch.

What names files of this machine stays here: the manifest, the predictions, the settings and the log of events. In what
is uploaded, folders of this machine are left out of paths, and every text is searched for them before anything leaves.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from markupsafe import escape

from headstart.artifacts.hub import FETCHED, HubRun
from headstart.artifacts.model_document import read_model_document, write_model_document
from headstart.artifacts.run_folder import CARD, CARD_MARKER, DOCUMENTS, Run, read_run
from headstart.data.digests import file_digest
from headstart.documents import file_checksum
from headstart.errors import OutputError, RunError
from headstart.evaluate.schema import write_evaluation
from headstart.files import reason_of, write_text
from headstart.report.model_card import model_card

__all__ = ["Upload", "prepare_upload", "push"]

_REPORT = "report.html"
_BINARY = (".safetensors", ".bin")


@dataclass(frozen=True)
class Upload:
    """What is to be uploaded: the files in a folder, by their names there."""

    folder: Path
    files: tuple[str, ...]
    left_out: tuple[str, ...]

    def lines(self) -> list[str]:
        """Text for a terminal."""
        sizes = {name: (self.folder / name).stat().st_size for name in self.files}
        width = max(map(len, self.files))
        lines = [f"{name:{width}}  {size / 1e6:10,.2f} MB" for name, size in sizes.items()]
        if _REPORT in self.files:
            lines.append(f"{_REPORT} shows some of the images; --no-report leaves it out")
        return [*lines, f"not uploaded, since no prediction needs it: {', '.join(self.left_out)}"]


def prepare_upload(run: Path, target: HubRun, folder: Path, *, report: bool = True) -> Upload:
    """Write what is to be uploaded into an empty folder.

    :param report: whether the report is uploaded, with the images that it shows.
    :raises RunError: there is no run with a classifier, or it is damaged.
    :raises OutputError: a file would tell where images are on this machine.
    """
    read = read_run(run)
    card = model_card(read, name=str(target))
    if card is None:
        raise RunError(f"{run}: has no classifier to upload; pass the folder that `headstart fit` wrote")
    private = _private_folders(read)
    _copy_classifier(run / "classifier", folder / "classifier")
    summary = read.evaluation.summary
    if summary is not None and summary.weights is not None:
        summary = replace(summary, weights=private.sub("", summary.weights))
    write_evaluation(folder / "evaluation.json", replace(read.evaluation, summary=summary))
    own = run / CARD
    if (
        own.is_file()
        and not own.is_symlink()
        and CARD_MARKER not in (text := own.read_text(encoding="utf-8", errors="replace"))
    ):
        card = text  # its user has written it
    write_text(folder / CARD, card)
    if report and (run / _REPORT).is_file() and not (run / _REPORT).is_symlink():
        write_text(folder / _REPORT, private.sub("", (run / _REPORT).read_text(encoding="utf-8")))
    files = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
    _check(folder, files, private)
    return Upload(folder, files, tuple(name for name in DOCUMENTS if (run / name).is_file() and name not in files))


def push(upload: Upload, target: HubRun, *, public: bool = False) -> str:
    """Upload to a repository, which is made if there is none, in one commit; return its address.

    A classifier that was there before is replaced; other files stay.

    :param public: make a new repository for everyone to see, or upload to one that is.
    :raises OutputError: the repository is public and ``public`` is False, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api, name = HfApi(), target.repository
    try:
        try:
            private = bool(api.repo_info(name).private)
        except RepositoryNotFoundError:
            private = not public
            api.create_repo(name, private=private)
        if not private and not public:
            raise OutputError(
                f"{target}: everyone can see this repository; push to it with --public, or choose another"
            )
        there = {*api.list_repo_files(name, revision=target.revision)}
        outdated = there & {*FETCHED, _REPORT} - {*upload.files}
        changes: list[Any] = [CommitOperationAdd(each, upload.folder / each) for each in upload.files]
        changes += [CommitOperationDelete(each) for each in sorted(outdated)]
        # One commit, so that nobody fetches the weights of one classifier with the document of another.
        api.create_commit(name, changes, commit_message="Upload a classifier with headstart", revision=target.revision)
    except OutputError:
        raise
    except Exception as failure:  # the client's errors have no common type
        text = " ".join(str(failure).split()) or "no reason is given"
        advice = "sign in with `hf auth login` or HF_TOKEN, with a token that may write"
        refused = getattr(getattr(failure, "response", None), "status_code", None) in (401, 403)
        if refused or type(failure).__name__ == "LocalTokenNotFoundError":
            raise OutputError(f"{target}: the hub does not let you write there: {advice} ({text})") from failure
        raise OutputError(f"{target}: cannot be uploaded: {type(failure).__name__}: {text}") from failure
    return f"{api.endpoint}/{name}"


def _copy_classifier(source: Path, folder: Path) -> None:
    """Copy the files that the document names, and no others that may be beside them.

    :raises RunError: a file is missing, changed, or a link; or the document names one that no classifier has.
    """
    document = read_model_document(source / "model.json")
    digests = {"model.safetensors": document.digest, **document.files}
    if document.ood_detector is not None:
        digests["ood_detector.safetensors"] = document.ood_detector
    folder.mkdir(parents=True)
    for name, digest in digests.items():
        # The run may be of someone else, who must not choose which files of this machine are uploaded.
        if name not in FETCHED or (source / name).is_symlink():
            raise RunError(f"{source / name}: no file of a classifier, or a link; save the classifier again")
        _copy_checked(source / name, folder / name, digest, of_graph=name in document.files)
    if os.path.isabs(document.metadata.source):  # noqa: PTH117 - weights of a file of this machine
        named = replace(document.metadata, source=PurePath(document.metadata.source).name)
        document = replace(document, metadata=named)
    write_model_document(folder / "model.json", document)


def _copy_checked(source: Path, path: Path, digest: str, *, of_graph: bool) -> None:
    try:
        shutil.copyfile(source, path)
    except OSError as failure:
        raise RunError(f"{source}: cannot be read ({reason_of(failure)}); save the classifier again") from failure
    if (file_digest(path) if of_graph else file_checksum(path)) != digest:
        raise RunError(f"{source}: was changed after the model.json beside it was written; save the classifier again")


def _private_folders(run: Run) -> re.Pattern[str]:
    """Finds the folders of this machine that the files of a run may name, with the separator that follows them."""
    info = run.info
    given = [*info.arguments, *map(str, info.settings.values()), *run.manifest.uris]
    given += [info.data.root, info.data.table or ""] if info.data is not None else []
    if run.evaluation.summary is not None:
        given.append(run.evaluation.summary.weights or "")
    # Also of --out=/a/b, and of URIs such as zip:/a/b.zip.
    paths = {part for each in given for part in (each, each.partition("=")[2], each.partition(":")[2])}
    folders = {PurePath(each).parent for each in paths if os.path.isabs(each)}  # noqa: PTH117
    folders |= {Path.home(), run.folder.absolute().parent, run.folder.resolve().parent}
    folders = {each for each in folders if len(each.parts) > 1}
    # What lies below another one of them is found with it.
    outermost = sorted(str(each) for each in folders if folders.isdisjoint(each.parents))
    spellings = sorted({text for each in outermost for text in _spellings(each)}, key=len, reverse=True)
    # Not within a longer path or an encoded image.
    return re.compile(rf"(?<![\w+/.-])(?:{'|'.join(map(re.escape, spellings))})(?:[/\\]+|(?![\w.-]))")


def _spellings(folder: str) -> set[str]:
    """How a folder stands in a text, in a command line, in JSON, and each of these in HTML."""
    shown = folder.encode(errors="backslashreplace").decode()
    texts = {shown, shlex.quote(shown).strip("'"), json.dumps(shown)[1:-1], json.dumps(shown, ensure_ascii=False)[1:-1]}
    return texts | {str(escape(text)) for text in texts}


def _check(folder: Path, files: Iterable[str], private: re.Pattern[str]) -> None:
    """Check that no file tells where something is on this machine.

    :raises OutputError: one does.
    """
    for name in files:
        text = "" if name.endswith(_BINARY) else (folder / name).read_text(encoding="utf-8", errors="replace")
        if found := private.search(text):
            raise OutputError(
                f"{name}: not uploaded, since it names the folder {found[0]} of this machine; remove that"
            )
