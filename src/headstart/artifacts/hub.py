"""A run on the Hugging Face Hub, ``hf:OWNER/NAME``. No torch.

What is fetched is kept in the hub's own cache, and read from there without a network. Only JSON, safetensors and, for a
network that was imported from another framework, its graph are fetched: nothing that is executed when it is read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from headstart.data.download import hub_is_reachable
from headstart.errors import RunError, SettingsError

__all__ = ["FETCHED", "HubRun", "fetch_hub_run", "hub_run"]

PREFIX = "hf:"
_NAME = re.compile(r"hf:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
FETCHED = tuple(
    f"{folder}{name}"
    for folder in ("", "classifier/")
    for name in ("model.json", "model.safetensors", "ood_detector.safetensors", "frozen.xml", "frozen.bin")
)
"""The files of a repository that are fetched, those that it has: a classifier alone, or in a run."""


@dataclass(frozen=True)
class HubRun:
    """A run on the hub."""

    repository: str  # OWNER/NAME
    revision: str | None = None  # a branch, tag or commit; None: the main branch

    def __str__(self) -> str:
        """As the user writes it."""
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def hub_run(name: str | os.PathLike[str]) -> HubRun | None:
    """The run on the hub that a name means; None for any other name.

    :raises SettingsError: it begins with ``hf:``, but is no name of the hub.

    >>> hub_run("hf:me/dogs@v1.0"), hub_run("runs/dogs")
    (HubRun(repository='me/dogs', revision='v1.0'), None)
    """
    text = os.fspath(name)
    if not text.startswith(PREFIX):
        return None
    found = _NAME.fullmatch(text)
    if found is None or ".." in text or "--" in found[1]:  # neither of which the hub has in names
        raise SettingsError(
            f"{text}: a run on the Hugging Face Hub is named hf:OWNER/NAME or hf:OWNER/NAME@REVISION; for a folder of "
            "that name, write ./ before it"
        )
    return HubRun(found[1], found[2])


def fetch_hub_run(run: HubRun) -> Path:
    """Fetch the classifier of a run on the hub, and return the folder of it.

    Without a network, or with ``HF_HUB_OFFLINE=1``, it is what was fetched before.

    :raises RunError: there is no such repository or revision, it has no classifier, or it cannot be fetched.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    offline = constants.HF_HUB_OFFLINE or not hub_is_reachable()  # its client would retry for half a minute
    try:
        folder = Path(
            snapshot_download(
                run.repository, revision=run.revision, allow_patterns=list(FETCHED), local_files_only=offline
            )
        )
    except RepositoryNotFoundError as failure:
        raise RunError(
            f"{run}: the hub has no such repository, or it is private; check the name, or sign in with `hf auth login` "
            "or HF_TOKEN"
        ) from failure
    except RevisionNotFoundError as failure:
        raise RunError(f"{run}: the repository has no branch, tag or commit {run.revision}") from failure
    except LocalEntryNotFoundError as failure:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise RunError(
            f"{run}: not on this machine ({constants.HF_HUB_CACHE}), and {why}; open it once with a network, or pass a "
            "run folder"
        ) from failure
    except Exception as failure:  # the client's errors have no common type
        text = " ".join(str(failure).split()) or "no reason is given"
        raise RunError(f"{run}: cannot be fetched: {type(failure).__name__}: {text}") from failure
    if not any((folder / part / "model.json").is_file() for part in ("", "classifier")):
        raise RunError(f"{run}: no classifier of headstart: the repository has no model.json; headstart push makes one")
    return folder
