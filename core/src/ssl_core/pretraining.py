"""From a configuration to a result: the one path that every run takes, on the command line and in Python."""
from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import config as configs, evaluation
from .assembly import Assembly, assemble, environment, load_probes
from .batches import Batches, move, seed_all
from .config import IN_MEMORY, Config
from .errors import Diverged, RunError
from .files import plain, write_json
from .methods import Method
from .plugins import Plugins
from .run import Run
from .train.fit import Fit, Fitted
from .train.guards import process
from .verdict import verdict


def pretrain(plugin: str, method: str, /, data: Any = None, *, out: Path | str | None = None, quiet: bool = False,
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


def start(config: Config, *, out: Path | str | None = None, held: Any = None, quiet: bool = False) -> Run:
    """Make a run directory and train into it."""
    assembly = assemble(config, held)
    if assembly.started:
        print(assembly.started, file=sys.stderr)
    run = Run.create(assembly.config, exact=out)
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
    assembly = assemble(config, held=data, fresh=run.checkpoint is None)
    before = run.read_json("environment.json").get("data", "")
    if before and before != assembly.data.fingerprint:
        raise RunError(f"the data of {path} have changed since it was started ({before} is now {assembly.data.fingerprint}).\n"
                       f"  Try: a new run with --init {path}")
    return train(run, assembly, quiet)


def train(run: Run, assembly: Assembly, quiet: bool) -> Run:
    """Baselines, training, evaluation, result."""
    config, data, method = assembly.config, assembly.data, assembly.method
    if not run.read_json("environment.json"):
        write_json(run.path / "environment.json", plain({
            "versions": environment(config.plugin), "seed": config.seed, "data": data.fingerprint, "skipped": data.skipped}))
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
    except Diverged as error:
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
    """Batches that lie in memory, and loaders that can move, are put on the device once, not at every step."""
    return move(batches, device) if isinstance(batches, (list, tuple)) or hasattr(batches, "to") else batches


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
    run.save_encoder(method.kept, assembly.record)  # first: whatever goes wrong with the scores, the weights are there
    if fitted.interrupted:
        result["reason"] = f"stopped at step {fitted.steps}; go on with: sslrun --resume {run.path}"
    else:
        method.to(device).eval()
        found = evaluation.evaluate(method.kept, assembly.data, load_probes(assembly.config), device)
        word, reason = verdict(steps=fitted.steps, loss=fitted.metrics.get("loss"), rankme=found["rankme"],
                               untrained_rankme=before.get("untrained_rankme"), width=found["width"])
        result |= found | {"verdict": word, "reason": reason}
    write_json(run.path / "result.json", result)
    return run
