"""Build every part of a run from its configuration: data, encoder, augmentation, objective, method, optimizer, schedule."""
from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from . import build, config as configs, optimizers
from .batches import seed_all
from .checks import need
from .config import IN_MEMORY, Config
from .contracts import Data
from .errors import ConfigError, DataError, SSLError, nearest
from .files import plain
from .methods import Method
from .plugins import Plugins
from .schedules import SCHEDULES
from .train.options import TrainerOptions
from .weights import load_into


@dataclass(frozen=True)
class Assembly:
    """Every part of a run, built. Nothing is trained yet."""

    config: Config  # with every option in full
    data: Data
    method: Method
    optimizer: Any  # parameter groups -> optimizer
    schedule: Any  # progress -> factor
    trainer: TrainerOptions
    record: dict[str, Any]  # what rebuilds the encoder
    started: str  # which weights it starts from, if not from random ones


def assemble(config: Config, held: Any = None, fresh: bool = True, schema: Mapping[str, Any] | None = None) -> Assembly:
    """Build every part of a run from its configuration, in a fixed order under its seed.

    Args:
        config: what to build.
        held: the data, where they are an object in memory.
        fresh: whether training starts here, so that the weights of `init` are wanted.
        schema: what the data are to be read by, where an encoder that was trained on others goes on with these.

    Raises:
        SSLError: an option, the data or a component is wrong; the message names it.
    """
    found = configs.components(Plugins(), config)
    seed_all(config.seed)
    full: dict[str, Any] = {}

    def made(part: str, target: Any, facts: Mapping[str, Any] | None = None, **known: Any) -> tuple[Any, dict[str, Any]]:
        chosen, facts = config.of(part), facts or {}
        built, options = build.build(part, target, chosen=chosen, facts=facts, **known)
        # what the data say is not written down as chosen: the same options must do for other data, or another seed
        full.update({f"{part}.{name}": item for name, item in options.items() if name in chosen or name not in facts})
        return built, options

    trainer, _ = made("trainer", TrainerOptions)
    if config.schedule not in SCHEDULES:
        raise ConfigError(f"no schedule named {config.schedule!r}{nearest(config.schedule, SCHEDULES)}\n"
                          f"  Offered: {', '.join(SCHEDULES)}")
    schedule, _ = made("schedule", SCHEDULES[config.schedule])
    optimizer = _optimizer(config, trainer, full)
    data, _ = made("data", found["data"].load(), {"seed": config.seed}, given=_source(config, found["data"], held, schema))
    need_data(data)
    facts = {**data.facts, "seed": config.seed}
    seed_all(config.seed)  # so that the weights do not depend on what the data drew: `evaluate` builds their twin
    encoder, options = made("encoder", found["encoder"].load(), facts)
    started = load_into(encoder, config.init) if config.init and fresh else ""  # before a teacher is copied from it
    parts = {"encoder": encoder} | {slot: made(slot, found[slot].load(), facts)[0] for slot in ("augmentation", "objective")}
    method, _ = made("method", found["method"].load(), facts, given=parts)
    method.target, method.ids = data.target, data.ids
    record = {"plugin": config.plugin, "encoder": config.encoder, "options": options, "schema": data.schema,
              "width": encoder.width, "data": config.data, "versions": environment(config.plugin)}
    if schema:  # of the run that this one goes on from: its own data are read by that again
        record["continues"] = True
    return Assembly(replace(config, options=full), data, method, optimizer, schedule, trainer, record, started)


def _optimizer(config: Config, trainer: TrainerOptions, full: dict[str, Any]) -> Any:
    """A function from parameter groups to the optimizer, its options checked now."""
    target, chosen = optimizers.find(config.optimizer), config.of("optimizer")
    taken = build.options(target, ("params",))
    defaults = {"lr": 1e-3} if taken.get("lr") and taken["lr"].required else {}
    scaled_and_clipped = trainer.clip and trainer.precision in ("bf16", "fp16")  # Lightning cannot clip a fused step then
    if "fused" in taken and config.optimizer.lower() in ("adam", "adamw", "sgd"):
        defaults["fused"] = not scaled_and_clipped
    options = defaults | chosen
    build.build("optimizer", target, given={"params": [torch.nn.Parameter(torch.zeros(1))]}, chosen=options)
    full.update({f"optimizer.{name}": options.get(name, option.default) for name, option in taken.items()})
    typed = {name: build.convert(f"optimizer.{name}", item, taken[name].type) for name, item in options.items()}
    return partial(target, **typed)


def _source(config: Config, record: Any, held: Any, schema: Any = None) -> dict[str, Any]:
    """What the core itself gives to a data set: the user's own path or object, and a schema to read it by."""
    given: dict[str, Any] = {}
    path = configs.source(config, record)
    if config.data == IN_MEMORY and held is None:
        raise DataError("this run was trained on an object in memory; give it again.\n  Try: ssl_core.resume(path, data=...)")
    if path is not None:
        given["source"] = held if held is not None else path
    if schema and "schema" in build.options(record.load()):
        given["schema"] = schema
    return given


def need_data(data: Any) -> None:
    """A data set returned what the contract says."""
    need(isinstance(data, Data), "the data set", f"expected a Data, got {type(data).__name__}")
    try:
        empty = len(data.train) == 0
    except TypeError:
        raise DataError("the data set does not say how many batches it has: `Data.train` needs a length") from None
    if empty or data.size == 0:
        why = f" ({len(data.skipped)} were skipped, the first: {data.skipped[0]})" if data.skipped else ""
        raise DataError(f"the data set holds no training item{why}")


def load_data(config: Config, record: Mapping[str, Any], data: Any = None) -> Data:
    """The data of a run, or other data read by the schema that the run's own data gave.

    Args:
        config: of the run.
        record: of its encoder, from `encoder.json`.
        data: a name, a path or an object in memory; None for the run's own.
    """
    held = data if data is not None and not isinstance(data, (str, Path)) else None
    name = config.data if data is None else IN_MEMORY if held is not None else str(data)
    same = held is None and name == config.data
    config = replace(config, data=name, options=config.options if same else
                     {key: item for key, item in config.options.items() if not key.startswith("data.")})
    found = configs.dataset(Plugins(), config.plugin, name)
    known = {} if same and not record.get("continues") else record.get("schema", {})
    read: Data = build.build("data", found.load(), given=_source(config, found, held, known), chosen=config.of("data"),
                             facts={"seed": config.seed})[0]
    need_data(read)
    same_facts(record, read)
    return read


def same_facts(record: Mapping[str, Any], data: Data) -> None:
    """An encoder built for other facts (another number of features) would fail without saying why."""
    facts = plain(data.facts)  # as the record is
    differ = [f"{name}: {facts[name]}, the encoder takes {item}" for name, item in record.get("options", {}).items()
              if name in facts and facts[name] != plain(item)]
    if differ:
        raise DataError(f"these data do not fit the encoder: {'; '.join(differ)}")


def load_probes(config: Config) -> dict[str, Any]:
    """The probes of a run, imported."""
    plugins = Plugins()
    return {name: plugins.find("probes", name, config.plugin).load() for name in configs.probes(config)}


def environment(*plugins: str) -> dict[str, str]:
    """Versions of what a result depends on."""
    from .plugins import Plugins
    installed = Plugins()
    found = {"python": platform.python_version()} | {name: version(name) for name in ("ssl-core", "torch", "lightning")}
    for name in plugins:
        try:
            package, _, number = installed[name].origin.partition(" ")
            found[package] = number
        except SSLError:
            found[name] = "not installed"
    return found
