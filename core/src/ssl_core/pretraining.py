"""From a configuration to a result: the one path that every run takes, on the command line and in Python."""
from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import build, config as configs, evaluation, optimizers
from .batches import Batches, move, seed_all, unnoticed
from .config import IN_MEMORY, Config
from .contracts import Data
from .errors import ConfigError, DataError, RunError, SSLError, nearest
from .methods import Method
from .plugins import Plugins
from .run import Run, _plain, versions, write_json
from .schedules import SCHEDULES
from .train.fit import Fit, Fitted, TrainerOptions
from .train.guards import process
from .verdict import verdict


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


def pretrain(plugin: str, method: str, data: Any = None, *, out: Path | str | None = None, quiet: bool = False,
             **options: Any) -> Run:
    """Train one method and score what it learned.

    Args:
        plugin, method: as `sslrun --plugin ... --method ...`.
        data: the name of a data set, a path, or an object in memory that the plugin reads (a PyG `Data`, an array).
        out: the run directory; default: the next free one under `runs`.
        quiet: no progress bar.
        **options: as on the command line: `epochs=50, encoder={"width": 256}, objective="barlow-twins"`.

    Returns:
        The run: `run.encoder`, `run.result`, `run.embed(data)`, `run.evaluate()`.

    Raises:
        SSLError: what is wrong, where, why, and what to try.
    """
    given = dict(configs.flatten(options))
    held = data if data is not None and not isinstance(data, (str, Path)) else None
    if data is not None:
        given["data"] = IN_MEMORY if held is not None else str(data)
    config = configs.resolve(Plugins(), plugin, method, given)
    return start(config, out=out, held=held, quiet=quiet)


def assemble(config: Config, held: Any = None) -> Assembly:
    """Build every part of a run from its configuration, in a fixed order under its seed.

    Raises:
        SSLError: an option, the data or a component is wrong; the message names it.
    """
    found = configs.components(Plugins(), config)
    seed_all(config.seed)
    full: dict[str, Any] = {}

    def made(part: str, target: Any, **known: Any) -> Any:
        built, options = build.build(part, target, chosen=config.of(part), **known)
        full.update({f"{part}.{name}": item for name, item in options.items()})
        return built

    trainer = made("trainer", TrainerOptions)
    if config.schedule not in SCHEDULES:
        raise ConfigError(f"no schedule named {config.schedule!r}{nearest(config.schedule, SCHEDULES)}\n"
                          f"  Offered: {', '.join(SCHEDULES)}")
    schedule = made("schedule", SCHEDULES[config.schedule])
    optimizer = _optimizer(config, full)
    data = made("data", found["data"].load(), given=_source(config, found["data"], held), facts={"seed": config.seed})
    need_data(data)
    facts = {**data.facts, "seed": config.seed}
    seed_all(config.seed)  # so that the weights do not depend on what the data drew: `evaluate` builds their twin
    parts = {slot: made(slot, found[slot].load(), facts=facts) for slot in ("encoder", "augmentation", "objective")}
    method = made("method", found["method"].load(), given=parts, facts=facts)
    method.target = data.target
    encoder_options = {key.partition(".")[2]: item for key, item in full.items() if key.startswith("encoder.")}
    record = {"plugin": config.plugin, "encoder": config.encoder, "options": encoder_options, "schema": data.schema,
              "width": method.encoder.width, "data": config.data, "versions": versions(config.plugin)}
    return Assembly(replace(config, options=full), data, method, optimizer, schedule, trainer, record)


def _optimizer(config: Config, full: dict[str, Any]) -> Any:
    """A function from parameter groups to the optimizer, its options checked now."""
    target, chosen = optimizers.find(config.optimizer), config.of("optimizer")
    taken = build.options(target, ("params",))
    defaults = {"lr": 1e-3} if taken.get("lr") and taken["lr"].required else {}
    if "fused" in taken and config.optimizer.lower() in ("adam", "adamw", "sgd"):
        defaults["fused"] = True
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
        raise DataError("this run was trained on an object in memory; give it again.\n  Try: Run.load(path).resume(data=...)")
    if path is not None:
        given["source"] = held if held is not None else path
    if schema and "schema" in build.options(record.load()):
        given["schema"] = schema
    return given


def need_data(data: Any) -> None:
    """A data set returned what the contract says."""
    from .checks import need
    need(isinstance(data, Data), "the data set", f"expected a Data, got {type(data).__name__}")
    try:
        empty = len(data.train) == 0
    except TypeError:
        raise DataError("the data set does not say how many batches it has: `Data.train` needs a length") from None
    if empty or data.size == 0:
        why = f" ({len(data.skipped)} were skipped, the first: {data.skipped[0]})" if data.skipped else ""
        raise DataError(f"the data set holds no training item{why}")


def start(config: Config, *, out: Path | str | None = None, held: Any = None, quiet: bool = False) -> Run:
    """Make a run directory and train into it."""
    assembly = assemble(config, held)
    if config.init:
        from .weights import load_into
        print(load_into(assembly.method.encoder, config.init), file=sys.stderr)
    run = Run.create(assembly.config, exact=out)
    environment = {"versions": versions(config.plugin), "seed": config.seed, "data": assembly.data.fingerprint,
                   "skipped": assembly.data.skipped}
    write_json(run.path / "environment.json", _plain(environment))
    return train(run, assembly, quiet)


def resume(path: Path | str, *, data: Any = None, quiet: bool = False) -> Run:
    """Go on where a run stopped; nothing to do for one that has ended.

    Raises:
        RunError: no run there, or its data have changed since.
    """
    run = Run.load(path)
    config = run.config
    if run.result and run.result.get("verdict") != "interrupted":
        return run
    assembly = assemble(config, held=data)
    before = run.read_json("environment.json").get("data", "")
    if before and before != assembly.data.fingerprint:
        raise RunError(f"the data of {path} have changed since it was started ({before} is now {assembly.data.fingerprint}).\n"
                       f"  Try: a new run with --init {path}")
    return train(run, assembly, quiet)


def train(run: Run, assembly: Assembly, quiet: bool) -> Run:
    """Baselines, training, evaluation, result."""
    config, data, method = assembly.config, assembly.data, assembly.method
    peak, probes = process(), load_probes(config)
    fit = Fit(assembly.trainer, config.epochs, run.path, data.size, Plugins().callbacks(config), quiet)
    method.to(fit.device)
    batches = Batches(_resident(data.train, fit.device), config.seed)
    before = run.read_json("baselines.json")
    if not before and config.baselines:
        before = evaluation.baselines(method.encoder, data, probes, fit.device)
        write_json(run.path / "baselines.json", before)
    if not config.epochs:
        return finish(run, assembly, Fitted({}, 0.0, 0, False), before, peak(), fit.device)
    if run.checkpoint is None:
        prepare(method, batches, fit.device)
    seed_all(config.seed)
    try:
        fitted = fit.run(method, batches, assembly.optimizer, assembly.schedule, run.checkpoint)
    except RunError as error:
        fitted = Fitted(fit.metrics.row, 0.0, fit.trainer.global_step, False)
        write_json(run.path / "result.json", describe(run, assembly, fitted, before, peak()) |
                   {"verdict": "diverged", "reason": str(error)})
        raise
    return finish(run, assembly, fitted, before, peak(), fit.device)


def prepare(method: Method, batches: Batches, device: torch.device) -> None:
    """Let the method look at the data once: k-means centres, statistics."""
    if type(method).prepare is Method.prepare:
        return
    method.eval()
    with torch.no_grad():
        method.prepare(move(batch, device) for batch in batches)
    method.train()


def _resident(batches: Any, device: torch.device) -> Any:
    """Batches that lie in memory are put on the device once, not at every step."""
    return [move(batch, device) for batch in batches] if isinstance(batches, (list, tuple)) else batches


def describe(run: Run, assembly: Assembly, fitted: Fitted, before: Mapping[str, Any], peak: float) -> dict[str, Any]:
    """What `result.json` says before anything is scored."""
    config, data = assembly.config, assembly.data
    return {"run": str(run.path), "plugin": config.plugin, "method": config.method, "data": config.data,
            "epochs": config.epochs, "seed": config.seed, "loss": fitted.metrics.get("loss"), "scores": {},
            "untrained": before.get("untrained", {}), "raw": before.get("raw", {}), "rankme": 0.0,
            "width": assembly.method.encoder.width, "verdict": "interrupted", "reason": "", "steps": fitted.steps,
            "seconds": round(fitted.seconds, 2), "items_per_second": round(data.size * config.epochs / fitted.seconds, 1)
            if fitted.seconds else None, "peak_memory_mb": round(peak, 1), "skipped": [list(s) for s in data.skipped]}


def finish(run: Run, assembly: Assembly, fitted: Fitted, before: Mapping[str, Any], peak: float, device: torch.device) -> Run:
    """Score the trained encoder, judge it, and write the encoder and the result."""
    method, result = assembly.method, describe(run, assembly, fitted, before, peak)
    if fitted.interrupted:
        result["reason"] = f"stopped at step {fitted.steps}; go on with: sslrun --resume {run.path}"
    else:
        method.to(device).eval()
        found = evaluation.evaluate(method.kept, assembly.data, load_probes(assembly.config), device)
        word, reason = verdict(steps=fitted.steps, loss=fitted.metrics.get("loss"), rankme=found["rankme"],
                               untrained_rankme=before.get("untrained_rankme"), width=found["width"])
        result |= found | {"verdict": word, "reason": reason}
    run.save_encoder(method.kept.cpu(), assembly.record)
    write_json(run.path / "result.json", result)
    return run


def load_probes(config: Config) -> dict[str, Any]:
    """The probes of a run, imported."""
    plugins = Plugins()
    return {name: plugins.find("probes", name, config.plugin).load() for name in configs.probes(config)}


def load_data(run: Run, data: Any = None) -> Data:
    """The data of a run, or other data read by the schema that the run's own data gave."""
    config, record = run.config, run.read_json("encoder.json")
    held = data if data is not None and not isinstance(data, (str, Path)) else None
    name = config.data if data is None else IN_MEMORY if held is not None else str(data)
    same = name == config.data
    config = replace(config, data=name, options=config.options if same else
                     {key: item for key, item in config.options.items() if not key.startswith("data.")})
    found = configs.dataset(Plugins(), config.plugin, name)
    known = {} if same else record.get("schema", {})
    read: Data = build.build("data", found.load(), given=_source(config, found, held, known), chosen=config.of("data"),
                             facts={"seed": config.seed})[0]
    need_data(read)
    _same_facts(run, record, read)
    return read


def _same_facts(run: Run, record: Mapping[str, Any], data: Data) -> None:
    """An encoder built for other facts (another number of features) would fail without saying why."""
    differ = [f"{name}: {data.facts[name]}, the encoder takes {item}" for name, item in record.get("options", {}).items()
              if name in data.facts and data.facts[name] != item]
    if differ:
        raise DataError(f"these data do not fit the encoder of {run.path}: {'; '.join(differ)}")


def evaluate_run(run: Run, data: Any = None, probe: str | None = None, device: str = "cpu") -> dict[str, Any]:
    """Score a finished run's encoder, its untrained twin and the raw features, by the protocol of `evaluation`."""
    config = run.config if probe is None else replace(run.config, probe=probe)
    probes, found, record = load_probes(config), load_data(run, data), run.read_json("encoder.json")
    scored = evaluation.evaluate(run.encoder.to(device), found, probes, device)
    with unnoticed():
        seed_all(config.seed)
        twin = Plugins().find("encoders", record["encoder"], record["plugin"]).load()(**record["options"])
        before = evaluation.baselines(twin.to(device), found, probes, device)
    return {"run": str(run.path), "data": str(data) if isinstance(data, (str, Path)) else config.data} | scored | before


def dumps(result: Mapping[str, Any]) -> str:
    """One line of JSON; numbers that JSON does not know become null."""
    def clean(item: Any) -> Any:
        if isinstance(item, float) and item - item != 0:
            return None
        if isinstance(item, Mapping):
            return {key: clean(value) for key, value in item.items()}
        return [clean(value) for value in item] if isinstance(item, (list, tuple)) else item
    return json.dumps(clean(result), allow_nan=False)


__all__ = ["SSLError", "assemble", "evaluate_run", "load_data", "pretrain", "resume", "start"]
