"""The hyperparameters of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.errors import SettingsError
from headstart.train.schedule import Warmup

__all__ = ["TrainConfig"]

_DEFAULT_LR = {"adamw": 1e-3, "sgd": 1e-2}


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of fine-tuning.

    :raises SettingsError: the precision is neither "float32" nor "bfloat16".
    """

    epochs: int
    batch_size: int  # images per step, of all workers together
    optimizer: str = "adamw"  # or "sgd"
    lr: float | None = None  # None: 1e-3 for adamw, 1e-2 for sgd
    weight_decay: float = 0.01
    momentum: float = 0.9  # of sgd
    nesterov: bool = False  # of sgd
    schedule: str = "cosine"  # or "constant" or "steps"
    lr_base_size: int | None = None  # the batch size that lr is meant for; None: that of this training
    warmup_epochs: int = 0
    micro_batch_size: int | None = None  # images that a worker computes at a time; None: its whole share of the batch
    batchnorm: str = "frozen"  # or "train": whether its statistics are updated
    restore_best: bool = True  # keep the weights of the epoch that validated best, not those of the last
    seed: int = 0
    mixup: float = 0.0  # alpha of the Beta distribution of the mixing weights; 0: no mixup
    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    feature_noise: float = 0.0  # standard deviation of Gaussian noise, relative to that of the micro-batch's inputs
    layer_decay: float = 1.0  # factor of the learning rate per block of distance from the head
    precision: str = "float32"  # of forward pass, loss and validation, or "bfloat16"; weights stay float32

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise SettingsError(f"the precision of training must be float32 or bfloat16, got {self.precision!r}")

    @property
    def base_lr(self) -> float:
        """The peak learning rate: ``lr``, by default that of the optimizer, scaled to the batch size.

        Linear scaling rule: "When the minibatch size is multiplied by k, multiply the learning rate by k." Goyal et
        al., Accurate, large minibatch SGD: Training ImageNet in 1 hour, 2017 (arXiv:1706.02677), section 2.1.

        >>> TrainConfig(epochs=90, batch_size=8192, lr=0.1, lr_base_size=256).base_lr
        3.2
        """
        lr = self._unscaled_lr
        return lr if self.lr_base_size is None else lr * self.batch_size / self.lr_base_size

    def warmup(self, steps_per_epoch: int) -> Warmup:
        """The warm-up from the unscaled rate to the peak; from 0 where the rate is not scaled.

        A peak at or below the unscaled rate, of a small batch, is there from the start.
        """
        start = 0.0 if self.lr_base_size is None else min(self._unscaled_lr, self.base_lr)
        return Warmup(self.warmup_epochs * steps_per_epoch, start)

    @property
    def _unscaled_lr(self) -> float:
        return _DEFAULT_LR[self.optimizer] if self.lr is None else self.lr
