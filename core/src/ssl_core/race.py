"""Which method for these data? Successive halving over ordinary runs, by a score that needs no label.

The score of a contender is RankMe (arXiv:2210.02885), the effective rank of the embedding of all items: a linear probe can
use no more directions than there are, and a method on its way to collapse shows it there first. All contenders are scored
on the same items as they are, without views, so that none is favoured by its own augmentation, and at one width. What it
cannot see is whether the directions hold anything of use: it weeds out what fails on these data rather than finding the best
of what does not. No label is looked at, of any fold, until the winner is known.
"""
from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from . import config as configs
from .components import Recipe
from .config import Config
from .errors import ConfigError, SSLError, listed, nearest
from .files import write_json
from .metrics import rankme, thinned
from .plugins import Plugins
from .pretraining import resume, start
from .run import Run

SHORTEST = 0.2  # seconds of training in one turn
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Contender:
    """A method in the race. `rounds`: that it was in; `why`: it is out, if not for its score; `features`: of this round."""

    name: str
    config: Config
    out: Path | None
    run: Run | None = None
    score: float = 0.0
    rounds: int = 0
    why: str = ""
    features: Tensor | None = None

    @property
    def ended(self) -> bool:
        """Whether its training is complete, so that it has nothing to resume."""
        return self.run is not None and self.run.result.get("verdict", "interrupted") != "interrupted"

    def row(self) -> dict[str, Any]:
        """What the final table says of it."""
        result = {} if self.run is None else self.run.result
        return {"method": self.name, "score": round(self.score, 2), "width": result.get("width"), "rounds": self.rounds,
                "steps": result.get("steps"), "loss": result.get("loss"), "verdict": result.get("verdict"),
                "run": None if self.run is None else str(self.run.path), "why": self.why}


def race(plugin: str, methods: Sequence[str] = (), *, budget: float, options: Mapping[str, Any] | None = None,
         out: Path | str | None = None, say: Callable[[str], None] = lambda line: None) -> list[Contender]:
    """Train all a little, keep the better half, train those further, until one is left, which has the last turn alone.

    Args:
        plugin: whose methods.
        methods: their names; default: all that are not experimental and learn without labels.
        budget: seconds for everything; every round gets the same share of it, divided among those in it.
        options: of every contender: data, epochs, ...; as on the command line.
        out: folder for the runs, one for each method; default: as usual, under runs/.
        say: is told what happens, line by line.

    Returns:
        The contenders, the winner first, then by how far they came and their score.

    Raises:
        ConfigError: no method left to try.
    """
    ends = time.monotonic() + budget
    contenders = enter(plugin, methods, dict(options or {}), out)
    inside = [c for c in contenders if not c.why]
    rounds = ceil(log2(max(1, len(inside)))) + 1
    costs: list[float] = []  # seconds of each turn beside training: reading, scoring
    for number in range(rounds):
        share = time.monotonic() + max(0.0, ends - time.monotonic()) / (rounds - number)
        if number == rounds - 1:
            for winner in inside:
                restored(winner)
        for i, contender in enumerate(inside):
            began = time.monotonic()
            granted = max(SHORTEST, (share - began) / (len(inside) - i) - fmean(costs or [0.0]))
            turn(contender, granted, number + 1)
            costs.append(max(0.0, time.monotonic() - began - granted))
        for contender, score in zip(inside, scores(inside), strict=True):
            contender.score = score
            say(f"round {number + 1} of {rounds}, {contender.name}: {contender.why or f'rank {score:.1f}'}")
        alive = sorted((c for c in inside if not c.why), key=lambda c: -c.score)
        inside = alive[: max(1, ceil(len(alive) / 2))]
        if time.monotonic() > ends and number < rounds - 1:
            say(f"the time is over after {number + 1} of {rounds} rounds; a larger budget tells more")
            break
    for contender in contenders:
        restored(contender)
    found = sorted(contenders, key=lambda c: (bool(c.why), -c.rounds, -c.score))
    finished(found[0])
    return found


def scores(contenders: Sequence[Contender]) -> list[float]:
    """RankMe of each, at the width of the narrowest: wider embeddings are projected to it at random, or width would win."""
    width = min((c.features.shape[1] for c in contenders if c.features is not None), default=0)
    found = []
    for contender in contenders:
        rows, contender.features = contender.features, None
        if rows is None or not rows.isfinite().all():
            found.append(0.0)
        elif rows.shape[1] == width:
            found.append(rankme(rows))
        else:
            draw = torch.Generator().manual_seed(0)
            found.append(rankme(rows @ torch.randn(rows.shape[1], width, generator=draw, dtype=rows.dtype)))
    return found


def enter(plugin: str, methods: Sequence[str], options: dict[str, Any], out: Path | str | None) -> list[Contender]:
    """The contenders; one that cannot take part says why."""
    plugins = Plugins()
    offered = plugins[plugin].offers["methods"]
    for name in methods:
        if name not in offered:
            raise ConfigError(f"no method named {name!r} in {plugin}{nearest(name, offered)}\n"
                              f"  Offered: {listed(sorted(offered))}")
    names = list(methods) or [name for name, recipe in offered.items() if not recipe.experimental]
    first = offered[names[0]] if names else None
    data = {"data": options.get("data") or first.data} if isinstance(first, Recipe) else {}
    found = []
    for name in names:
        place = None if out is None else Path(out) / name
        config = configs.resolve(plugins, plugin, name, options | data)
        contender = Contender(name, config, place)
        if not methods and learns_from_labels(plugins, config):
            contender.why = "it learns from labels"
        found.append(contender)
    if all(c.why for c in found):
        raise ConfigError(f"{plugin} offers no method that could race.\n"
                          f"  Try: --methods a,b,c, two or more of `sslrun list {plugin}`")
    return found


def learns_from_labels(plugins: Plugins, config: Config) -> bool:
    """Whether the objective asks for labels."""
    objective = configs.components(plugins, config)["objective"].load()
    return "labels" in inspect.signature(getattr(objective, "forward", objective)).parameters


def turn(contender: Contender, seconds: float, number: int) -> None:
    """Train for so long, as a run of its own that goes on where it stopped, and embed the data."""
    contender.rounds = number
    try:
        if contender.run is None:
            first = replace(contender.config, probe="", baselines=False)  # scores come at the end, of the winner only
            contender.run = start(timed(first, seconds), out=contender.out, quiet=True)
        elif not contender.ended:
            contender.run.write_config(timed(contender.run.config, seconds))
            contender.run = resume(contender.run.path, quiet=True)
        contender.run.write_config(timed(contender.run.config, 0.0))
        contender.features = thinned(contender.run.embed())
    except SSLError as error:
        contender.why = str(error).partition("\n")[0]
    except Exception as error:
        contender.why = f"failed: {type(error).__name__}: {error}".partition("\n")[0]


def timed(config: Config, seconds: float) -> Config:
    return replace(config, options={**config.options, "trainer.max_seconds": float(seconds)})


def restored(contender: Contender) -> None:
    """The run as its user would have started it, so that `--resume` ends with scores and baselines."""
    if contender.run is not None:
        wanted = contender.config
        contender.run.write_config(replace(contender.run.config, probe=wanted.probe, baselines=wanted.baselines))


def finished(contender: Contender) -> None:
    """Scores of a winner whose training was complete before its last turn."""
    if contender.run is not None and contender.ended and contender.config.probe and not contender.run.result.get("scores"):
        found = contender.run.evaluate()
        kept = {key: found[key] for key in ("scores", "untrained", "raw") if key in found}
        write_json(contender.run.path / "result.json", contender.run.result | kept)


def seconds(text: str) -> float:
    """"90s", "10m", "1.5h" or a number of seconds.

    Raises:
        ConfigError: it is no such thing.
    """
    number, unit = (text[:-1], UNITS[text[-1]]) if text and text[-1] in UNITS else (text, 1.0)
    try:
        found = float(number) * unit
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ConfigError(f"--budget should be a time such as 90s, 10m or 1h, got {text!r}")
    return found
