"""The options of the trainer, apart from it: `sslrun show` lists them without importing lightning."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainerOptions:
    """How to train, whatever is trained.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, ...
        devices: how many of one machine.
        num_nodes: how many machines.
        precision: `32`, `bf16` or `fp16` (mixed; losses stay in 32 bits).
        compile: compile the encoder with torch.compile.
        clip: largest norm of the gradient; 0 for none.
        accumulate: batches per step of the optimizer. (It adds no negatives to a contrastive loss.)
        log_every: steps between two rows of metrics.
        checkpoint_seconds, checkpoint_steps: how often to save; 0 steps: by time only.
        max_seconds: stop after so many seconds of training, saved, to be resumed for as many more; 0 for never.
        best: how many of those checkpoints to keep beside the last, the best by `best_by`, a column of metrics.csv.
        best_is: whether the `lowest` or the `highest` value of it is best.
        skip_bad: how many steps of a run may be left out because their loss or gradient is no number.
        replay: share of the batches that come from the data of the run that this one goes on from.
        tensorboard: write TensorBoard events.
        monitor_every: steps between two measurements of the embedding; 0 for never, none to keep them under 3 % of the time.
        on_collapse: `warn` on standard error or `stop` training when the embedding collapses, or `off`.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Literal["32", "bf16", "fp16"] = "32"
    compile: bool = False
    clip: float = 0.0
    accumulate: int = 1
    log_every: int = 10
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int = 0
    max_seconds: float = 0.0
    best: int = 0
    best_by: str = "loss"
    best_is: Literal["lowest", "highest"] = "lowest"
    skip_bad: int = 0
    replay: float = 0.0
    tensorboard: bool = True
    monitor_every: int | None = None
    on_collapse: Literal["off", "warn", "stop"] = "warn"

    def __post_init__(self) -> None:
        least_of = {"log_every": 1, "accumulate": 1, "devices": 1, "num_nodes": 1, "best": 0, "skip_bad": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} should be {least} or more, got {getattr(self, name)}")
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay is a share of the batches, from 0 to less than 1, got {self.replay}")
        if self.monitor_every is not None and self.monitor_every < 0:
            raise ValueError(f"monitor_every should be 0 or more, or none, got {self.monitor_every}")
