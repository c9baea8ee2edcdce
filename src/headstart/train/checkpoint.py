"""Checkpoints of fine-tuning: an interrupted training goes on after its last finished epoch."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from headstart.evaluate.schema import EpochRecord
from headstart.files import atomic_write
from headstart.train.trainer import TrainerState

__all__ = ["Checkpoint"]

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands after an epoch."""

    trainer: TrainerState
    history: tuple[EpochRecord, ...]  # of the finished epochs
    best: Mapping[str, Tensor]  # the weights of the best epoch so far; empty if the last epoch's are kept

    def save(self, path: Path) -> None:
        """Write it, in place of an earlier one.

        :raises OSError: ``path`` cannot be written.
        """
        values = {
            "format": _FORMAT,
            "trainer": {each.name: getattr(self.trainer, each.name) for each in fields(TrainerState)},
            "history": [asdict(record) for record in self.history],
            "best": dict(self.best),
        }
        with atomic_write(path) as temporary:
            torch.save(values, temporary)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Read what :meth:`save` has written; None if there is no such file, or none that this version can read."""
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (RuntimeError, EOFError, pickle.UnpicklingError):  # damaged
            return None
        if values["format"] != _FORMAT:
            return None
        history = tuple(EpochRecord(**record) for record in values["history"])
        return cls(TrainerState(**values["trainer"]), history, values["best"])
