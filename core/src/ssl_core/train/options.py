"""The options of the trainer, apart from it: `sslrun show` lists them without importing lightning."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainerOptions:
    """How to train, whatever is trained.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, ...
        devices: how many.
        precision: `32`, `bf16` or `fp16` (mixed; losses stay in 32 bits).
        compile: compile the encoder with torch.compile.
        clip: largest norm of the gradient; 0 for none.
        accumulate: batches per step of the optimizer. (It adds no negatives to a contrastive loss.)
        log_every: steps between two rows of metrics.
        checkpoint_seconds, checkpoint_steps: how often to save; 0 steps: by time only.
        tensorboard: write TensorBoard events.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: Literal["32", "bf16", "fp16"] = "32"
    compile: bool = False
    clip: float = 0.0
    accumulate: int = 1
    log_every: int = 10
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int = 0
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in ("log_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} should be 1 or more, got {getattr(self, name)}")
