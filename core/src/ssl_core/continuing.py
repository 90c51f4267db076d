"""Continual pre-training: a new run that goes on from the end of another one, on new data, with old data mixed in if asked."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from . import config as configs
from .batches import Begun
from .checkpoints import newest
from .config import PARTS, Config
from .errors import ConfigError, RunError, listed
from .plugins import Plugins
from .run import Run

#: What may be chosen anew; weights, teacher and the state of the optimizer are kept, so what they are made of stays.
FREE = ("data", "epochs", "schedule", "trainer", "probe", "baselines")


class Trunk(NamedTuple):
    """The run that another one goes on from.

    Args:
        run: its directory; "" for a run that starts at the beginning.
        epoch, step: where it ended.
        schema: by which its data were read.
    """

    run: str = ""
    epoch: int = 0
    step: int = 0
    schema: Mapping[str, Any] = {}

    @property
    def begun(self) -> Begun:
        return Begun(self.epoch, self.step)

    def checkpoint(self) -> Path | None:
        """Its last checkpoint, None without a trunk.

        Raises:
            RunError: it is gone.
        """
        if not self.run:
            return None
        found, _ = newest(Path(self.run) / "checkpoints", mend=False)
        if found is None:
            raise RunError(f"{self.run} holds no checkpoint any more, and this run goes on from it.\n  Try: putting it back")
        return found

    def replayed(self, batches: Any, share: float) -> Any:
        """Training batches with those of the trunk's data among them."""
        if not share:
            return batches
        if not self.run:
            raise ConfigError("trainer.replay mixes in the data of the run that this one goes on from, and there is none.\n"
                              "  Try: sslrun --resume RUN data=NEW epochs=+20 trainer.replay=0.2")
        return Replayed(batches, Run.load(self.run).data().train, share)


def further(run: Run, given: Mapping[str, Any]) -> tuple[Config, Trunk]:
    """The configuration of a run that goes on from `run`, and where that one ended.

    Raises:
        RunError: it has not ended.
        ConfigError: an option that cannot be chosen anew.
    """
    old, result = run.config, run.result
    if result.get("verdict", "interrupted") in ("interrupted", "diverged") or not result.get("steps"):
        raise RunError(f"{run.path} has not come to a good end ({result.get('verdict', 'it was interrupted')}), so there is "
                       f"nothing to go on from.\n  Try: sslrun --resume {run.path}")
    for key in given:
        if key.partition(".")[0] not in FREE:
            raise ConfigError(f"{key} cannot be chosen anew: weights and optimizer go on as they are.\n"
                              f"  Try: one of {listed(FREE)}; or a new run with --init {run.path}")
    epochs = total(given.get("epochs", 0), old.epochs)
    base = {key: item for key, item in old.flat().items() if key not in ("plugin", "method", "init")}
    if given.get("data", old.data) != old.data:
        base = {key: item for key, item in base.items() if not key.startswith("data.")}
    chosen = configs.layered(base, {**given, "epochs": epochs})
    options = {key: chosen.pop(key) for key in list(chosen) if key.partition(".")[0] in PARTS and "." in key}
    config = replace(old, **chosen, init="", options=options)
    configs.components(Plugins(), config)
    schema = run.read_json("encoder.json").get("schema", {}) if config.data != old.data else {}
    return config, Trunk(str(run.path), old.epochs, result["steps"], schema)


def total(epochs: Any, done: int) -> int:
    """Epochs in all: "+20" are so many more than `done`."""
    text = str(epochs)
    if not text.removeprefix("+").isdigit():
        raise ConfigError(f"epochs should be a number, or as +20 so many more, got {epochs!r}")
    wanted = done + int(text) if text.startswith("+") else int(text)
    if wanted <= done:
        raise ConfigError(f"{done} epochs are done, so epochs={epochs} leaves none.\n  Try: epochs=+20")
    return wanted


class Replayed:
    """New batches with old ones among them, evenly: experience replay (doi:10.1007/BF00992699), batch by batch.

    Args:
        new, old: batches; the old ones start again where they end.
        share: of all batches, how many are old.
    """

    def __init__(self, new: Iterable[Any], old: Iterable[Any], share: float) -> None:
        self.new, self.old, self.each = new, old, share / (1 - share)

    def __len__(self) -> int:
        count = len(self.new)  # type: ignore[arg-type]
        return count + int(count * self.each + 1e-9)

    def __iter__(self) -> Iterator[Any]:
        old, given = self._old(), 0
        for number, batch in enumerate(self.new, start=1):
            yield batch
            while given < int(number * self.each + 1e-9):
                given += 1
                yield next(old)

    def _old(self) -> Iterator[Any]:
        while True:
            yield from self.old
