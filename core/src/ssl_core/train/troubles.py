"""What is said when something outside the method ends a training: no memory, no room, a dead worker, a file that is gone."""
from __future__ import annotations

import gc
import traceback
from pathlib import Path
from typing import Any

import torch

from ..batches import cut, move, size
from ..distributed import world
from ..errors import ContractError, DataError, RunError, SSLError
from ..files import FULL, unwritable
from .module import Training

MEMORY = ("out of memory", "DefaultCPUAllocator", "can't allocate memory", "Cannot allocate memory")


def said(error: Exception, folder: Path, training: Training) -> SSLError | None:
    """The same error in words for a user; None where there is nothing better to say than what it says itself."""
    text = str(error)
    cause = error.__cause__ or error if isinstance(error, ContractError) else error  # found on the first batch
    if memory(cause):
        release(error)
        return RunError(f"out of memory in step {training.global_step + 1}, {fitting(training)}; trainer.precision=bf16 and a "
                        f"smaller encoder need less; `sslrun --resume {folder}` goes on with the options it was started with")
    if broken_off(cause):
        known = (str(cause) or type(cause).__name__).splitlines()[0]
        return RunError(f"a process that loads data died ({known}): often it was killed for want of memory.\n"
                        f"  Try: fewer data.workers, then a new run; or sslrun --resume {folder}, if it was an accident")
    if isinstance(error, SSLError) and "in DataLoader worker process" in text:  # it comes with the traceback of the worker
        return type(error)(text.rpartition(f"{type(error).__name__}: ")[2].strip())
    if isinstance(error, OSError) and error.errno in FULL:
        return unwritable(folder, error)
    if isinstance(error, OSError) and error.filename and folder.resolve() not in Path(error.filename).resolve().parents:
        return DataError(f"cannot read {error.filename}: {error.strerror}. Has it been moved while the run was reading it?\n"
                         f"  Try: putting it back, then sslrun --resume {folder}")
    return None


def broken_off(error: BaseException) -> bool:
    """Whether it tells of the death of a worker: found by the loader that waits for it, or while it hands a batch over."""
    if isinstance(error, (EOFError, OSError)):
        return any(Path(frame.filename).name == "resource_sharer.py" for frame in traceback.extract_tb(error.__traceback__))
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error) and \
        any(word in str(error) for word in ("exited unexpectedly", "killed"))


def memory(error: BaseException | None) -> bool:
    """Whether it says that there is none left."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or \
        isinstance(error, RuntimeError) and any(word in str(error) for word in MEMORY)


def release(error: BaseException | None) -> None:
    """Let go of what the frames of a failed step hold: its tensors."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__, error = None, error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fitting(training: Training) -> str:
    """How many items the first batch holds, and about how many would fit, by forward and backward passes of parts of it."""
    batch = next(iter(training.batches))
    items = size(batch)
    if world() > 1 or cut(batch, items, 1) is None:
        return f"with {items or 'all'} items in a batch.\n  Try: half as many"
    fits, fails = 0, items + 1
    while fails - fits > max(1, items // 32):
        middle = (fits + fails) // 2
        if runs(training, cut(batch, items, middle)):
            fits = middle
        else:
            fails = middle
    if fits == items:
        return f"though the {items} items of the first batch fit.\n  Try: a somewhat smaller data.batch_size"
    return f"with {items} items in a batch; about {fits} would fit.\n  Try: data.batch_size={fits}" if fits else \
        f"with {items} items in a batch; not even one would fit.\n  Try: smaller items"


def runs(training: Training, batch: Any) -> bool:
    """Whether a step of these items, without the optimizer's part, finds the memory it needs."""
    try:
        with training.trainer.precision_plugin.forward_context():
            loss = training.method.step(move(batch, training.device))["loss"]
        loss.backward()
        return True
    except Exception as error:  # too few items for a batch norm, say: then they do not fit either
        release(error)
        return False
    finally:
        training.method.zero_grad(set_to_none=True)
