"""From a configuration to a result: the one path that every run takes, on the command line and in Python."""
from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from . import config as configs, evaluation, report
from .assembly import Assembly, assemble, environment, load_probes, same_facts
from .batches import Batches, move, seed_all
from .checkpoints import newest
from .config import IN_MEMORY, Config
from .continuing import Trunk, further
from .distributed import first, launched
from .errors import Diverged, RunError
from .files import claimed, plain, write_json
from .methods import Method
from .plugins import Plugins
from .run import Run
from .train.fit import Fit, Fitted
from .train.guards import process
from .verdict import rows, verdict

NONE = Trunk()  # of a run that starts at the beginning


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
    return train(create(assembly, out, NONE), assembly, quiet, NONE)


def create(assembly: Assembly, out: Path | str | None, trunk: Trunk) -> Run:
    """A new run directory. Of several processes the first makes it, and the others write nothing."""
    if not first():
        return Run(out or "runs")
    config, data = assembly.config, assembly.data
    about = {"versions": environment(config.plugin), "seed": config.seed, "data": data.fingerprint, "skipped": data.skipped}
    return Run.create(config, exact=out, about=plain(about | ({"continues": trunk._asdict()} if trunk.run else {})))


def resume(path: Path | str, *, data: Any = None, epochs: int | str | None = None, out: Path | str | None = None,
           quiet: bool = False, **options: Any) -> Run:
    """Go on where a run stopped; with `epochs`, go on from a run that has ended, into a new run directory.

    Args:
        path: the run.
        data: the object in memory that an interrupted run was trained on; or with `epochs`: new data, as in `pretrain`.
        epochs: "+20" for so many more, or how many in all. Weights, teacher, queue and optimizer go on as they are.
        out: the new run directory; default: the next free one under `runs`.
        quiet: no progress bar.
        **options: with `epochs`: of the data, the schedule or the trainer, as in `pretrain`.

    Raises:
        RunError: no run there, or its data have changed since.
    """
    if epochs is not None:
        return proceed(path, dict(configs.flatten(options)) | {"epochs": epochs}, data, out, quiet)
    if options:
        raise RunError(f"a run goes on as it was started, without {', '.join(options)}.\n"
                       f"  Try: epochs='+20', to go on from a run that has ended")
    run = Run.load(path)
    config = run.config
    if run.result and run.result.get("verdict") != "interrupted":
        return run
    trunk = trunk_of(run)
    assembly = assemble(config, held=data, fresh=not trunk.run and not (run.path / "checkpoints").exists(), schema=trunk.schema)
    before = run.read_json("environment.json").get("data", "")
    if before and before != assembly.data.fingerprint:
        raise RunError(f"the data of {path} have changed since it was started ({before} is now {assembly.data.fingerprint}).\n"
                       f"  Try: a new run with --init {path}")
    return train(run, assembly, quiet, trunk)


def proceed(path: Path | str, given: Mapping[str, Any], data: Any, out: Path | str | None, quiet: bool) -> Run:
    """Continual pre-training: from the end of one run into another."""
    held = data if data is not None and not isinstance(data, (str, Path)) else None
    name = {} if data is None else {"data": IN_MEMORY if held is not None else str(data)}
    before = Run.load(path)
    config, trunk = further(before, {**given, **name})
    assembly = assemble(config, held=held, fresh=False, schema=trunk.schema)
    same_facts(before.read_json("encoder.json"), assembly.data)
    return train(create(assembly, out, trunk), assembly, quiet, trunk)


def trunk_of(run: Run) -> Trunk:
    """The run that this one goes on from."""
    return Trunk(**run.read_json("environment.json").get("continues", {}))


def train(run: Run, assembly: Assembly, quiet: bool, trunk: Trunk) -> Run:
    """Baselines, training, evaluation, result. Of several processes the first does all but the training."""
    if not first():
        fitting(run, assembly, True, trunk)[1]()
        return run
    with claimed(run.path):
        return scored(run, assembly, quiet, trunk)


def scored(run: Run, assembly: Assembly, quiet: bool, trunk: Trunk) -> Run:
    """Train, with scores before and after."""
    config, peak = assembly.config, process()
    fit, fitted = fitting(run, assembly, quiet, trunk)
    before = run.read_json("baselines.json")
    if not before and config.baselines:
        before = evaluation.baselines(assembly.method.encoder, assembly.data, load_probes(config), fit.device)
        write_json(run.path / "baselines.json", before)
    try:
        return finish(run, assembly, fitted() if config.epochs else Fitted({}, 0.0, 0, False), before, peak(), fit.device)
    except Diverged as error:
        last = Fitted(fit.metrics.row | {"loss": float("nan")}, 0.0, fit.trainer.global_step, False)
        write_json(run.path / "result.json", describe(run, assembly, last, before, peak()) |
                   {"verdict": "diverged", "reason": str(error)})
        raise


def fitting(run: Run, assembly: Assembly, quiet: bool, trunk: Trunk) -> tuple[Fit, Callable[[], Fitted]]:
    """The trainer, and a function that trains, from the newest checkpoint if there is one."""
    config, data, method = assembly.config, assembly.data, assembly.method
    fit = Fit(assembly.trainer, config.epochs, run.path, data.size, Plugins().callbacks(config), quiet, data)
    method.to(fit.device)
    batches = Batches(_resident(trunk.replayed(data.train, assembly.trainer.replay), fit.device), config.seed, trunk.begun)

    def fitted() -> Fitted:
        checkpoint, message = newest(run.path / "checkpoints", mend=first())
        if message:
            print(message, file=sys.stderr)
        checkpoint = checkpoint or trunk.checkpoint()
        if checkpoint is None:
            prepare(method, batches, fit.device)
        others = launched()
        seed_all(config.seed + (1_000_003 * others.rank if others else 0))  # each draws its own views
        return fit.run(method, batches, assembly.optimizer, assembly.schedule, checkpoint)
    return fit, fitted


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
        said = verdict(steps=fitted.steps, loss=fitted.metrics.get("loss"), rankme=found["rankme"], width=found["width"],
                       untrained_rankme=before.get("untrained_rankme"), start=fitted.start,
                       rows=rows(run.path / "metrics.csv"))
        result |= found | {"verdict": said.word, "reason": said.reason, "evidence": said.evidence}
    write_json(run.path / "result.json", result)
    if not fitted.interrupted:
        _report(run, assembly, device)
    return run


def _report(run: Run, assembly: Assembly, device: torch.device) -> None:
    """Write `report.html`. A run is whole without it, so whatever goes wrong with it is said and no more."""
    try:
        report.write_after(run, assembly, device)
    except Exception as error:
        print(f"no report was written: {type(error).__name__}: {error}", file=sys.stderr)
