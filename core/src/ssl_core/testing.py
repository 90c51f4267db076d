"""For the tests of plugins."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .train.guards import Checkpoints


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """A training inside dies after this step of the optimizer, and what it then raises ends here.

        with killed_at(5):
            pretrain("graph", "gcool", out="cut", trainer={"checkpoint_steps": 1})
        resumed = resume("cut")

    Raises:
        AssertionError: no training reached that step.
    """
    whole = Checkpoints.on_train_batch_end

    def end(self: Checkpoints, trainer: Any, *rest: Any) -> None:
        whole(self, trainer, *rest)
        if trainer.global_step == step:
            raise Killed
    Checkpoints.on_train_batch_end = end  # type: ignore[assignment,method-assign]
    try:
        yield
    except Killed:
        return
    finally:
        Checkpoints.on_train_batch_end = whole  # type: ignore[method-assign]
    raise AssertionError(f"no training reached step {step}")
