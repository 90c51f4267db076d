"""One encoder from several of the same kind: the average of their weights, or a mixture that is learned (Self Positioning)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .. import evaluation, report
from ..assembly import Assembly, assemble, environment, load_probes
from ..batches import move, seed_all, unnoticed
from ..errors import RunError
from ..files import plain, write_json
from ..run import Run

Weights = dict[str, Tensor]
How = Literal["mean", "self-positioning"]


@unnoticed()
def merge(runs: Sequence[Run | Path | str], out: Path | str, how: How = "mean", weights: Sequence[float] = (), steps: int = 50,
          device: torch.device | str = "cpu") -> Run:
    """Write a run directory whose encoder is made of those of several finished runs; `embed`, `evaluate`, `export` take it.

    Averages are of use where the runs started from the same weights (model soups, arXiv:2203.05482): one `--init`, or one
    seed with other data, views or options. Statistics of batch norms are measured anew, on the data of the first run.

    Args:
        runs: two or more.
        out: the new run directory.
        how: `mean`; or `self-positioning`: the weights and a scale of the whole are learned (see `position`).
        weights: of the runs in a `mean`; default: equal.
        steps: of `self-positioning`.
        device: where to compute.

    Raises:
        RunError: fewer than two, one that has not ended, encoders that differ, or starts that differ where they may not.
    """
    opened = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    parts = [whole(run) for run in opened]
    alike(opened, parts)
    if weights and len(weights) != len(opened):
        raise RunError(f"{len(weights)} weights were given for {len(opened)} runs")
    first = opened[0]
    built = assemble(first.config, fresh=False)
    if how == "self-positioning":
        merged, shares = position(opened, parts, steps, device)
    else:
        total = sum(weights) or 1.0
        shares = [weight / total for weight in weights] or [1 / len(parts)] * len(parts)
        merged = averaged(parts, shares)
    encoder = first.untrained()
    encoder.load_state_dict(merged)
    recalibrate(encoder.to(device), built, device)
    about: dict[str, Any] = {
        "versions": environment(first.config.plugin), "seed": first.config.seed, "data": built.data.fingerprint, "how": how,
        "merged": {str(run.path): share for run, share in zip(opened, shares, strict=True)}}
    run = Run.create(first.config, exact=out, about=plain(about))
    run.save_encoder(encoder, first.read_json("encoder.json"))
    found = evaluation.evaluate(encoder, built.data, load_probes(first.config), device)
    known = {key: item for key, item in first.result.items() if key in KEPT}
    said = f"{how} of {len(opened)} runs: {', '.join(str(run.path) for run in opened)}"
    write_json(run.path / "result.json", known | found | {
        "run": str(run.path), "verdict": "merged", "reason": said, "loss": None, "seconds": None, "items_per_second": None,
        "evidence": {f"share of {Path(path).name}": share for path, share in about["merged"].items()}})
    report.write([run], device=device)
    return run


KEPT = ("plugin", "method", "data", "epochs", "seed", "untrained", "raw", "skipped", "peak_memory_mb")


def whole(run: Run) -> Weights:
    """The weights of a finished run.

    Raises:
        RunError: it has not ended.
    """
    if run.result.get("verdict") in (None, "interrupted"):
        raise RunError(f"{run.path} has not ended, so there is nothing to merge.\n  Try: sslrun --resume {run.path}")
    return {name: item.detach().clone() for name, item in run.encoder.state_dict().items()}


def alike(runs: Sequence[Run], parts: Sequence[Weights]) -> None:
    """The runs hold encoders of one kind."""
    if len(runs) < 2:
        raise RunError("merging takes two runs or more")
    first = runs[0].read_json("encoder.json")
    for run, part in zip(runs[1:], parts[1:], strict=True):
        record = run.read_json("encoder.json")
        for key in ("plugin", "encoder"):
            if record.get(key) != first.get(key):
                raise RunError(f"{run.path} and {runs[0].path} differ in their {key}: {record.get(key)}, {first.get(key)}")
        other = [f"{name} {tuple(item.shape)} and {tuple(parts[0][name].shape) if name in parts[0] else 'none'}"
                 for name, item in part.items() if name not in parts[0] or item.shape != parts[0][name].shape]
        if other or part.keys() != parts[0].keys():
            raise RunError(f"the encoders of {run.path} and {runs[0].path} have other weights: {', '.join(other[:3])}.\n"
                           f"  Try: runs with the same encoder options")


def averaged(parts: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """The weighted average of floats; whole numbers (counters) are those of the first."""
    return {name: torch.stack([share * part[name].double() for part, share in zip(parts, shares, strict=True)]).sum(dim=0)
            .to(item.dtype) if item.is_floating_point() else item for name, item in parts[0].items()}


@torch.no_grad()
def recalibrate(encoder: Any, built: Assembly, device: torch.device | str) -> None:
    """Measure the statistics of batch norms anew, as an average over the training batches: those of the parts do not fit."""
    norms = [module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
             and module.track_running_stats]
    if norms:
        seed_all(built.config.seed)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.train()
        for batch in built.data.train:
            encoder(move(batch, device))
    encoder.eval()


def position(runs: Sequence[Run], parts: Sequence[Weights], steps: int, device: torch.device | str
             ) -> tuple[Weights, list[float]]:
    """Self Positioning (arXiv:2410.15035; from its abstract, so the details are our own).

    With base weights b and task vectors d_k = w_k - b, find shares p (a softmax) and a scale s by gradient descent on the sum
    of the runs' own losses at b + s * sum_k p_k d_k, each on batches of its own data and relative to where it began.

    Returns:
        The merged weights, and s * p.

    Raises:
        RunError: the runs did not start from the same weights.
    """
    base = runs[0].untrained().state_dict()
    for run in runs[1:]:
        other = run.untrained().state_dict()
        if any(not torch.equal(base[name], other[name]) for name in base):
            raise RunError(f"{run.path} and {runs[0].path} did not start from the same weights, so their differences from the "
                           f"start cannot be mixed.\n  Try: runs with the same --init, or with the same seed")
    names = [name for name, _ in runs[0].encoder.named_parameters()]  # statistics of batch norms are measured anew
    base = {name: base[name].to(device) for name in names}
    moved = {name: torch.stack([part[name].to(device) for part in parts]) - base[name] for name in names}  # (K, ...)
    turns = [Turn(run, device) for run in runs]
    place, scale = torch.zeros(len(runs), requires_grad=True, device=device), torch.zeros((), requires_grad=True, device=device)
    search = torch.optim.Adam([place, scale], lr=0.05)

    def mixed() -> Weights:
        shares = scale.exp() * place.softmax(dim=0)
        return {name: base[name] + torch.tensordot(shares, moved[name], dims=1) for name in names}
    seed_all(runs[0].config.seed)
    for _ in range(steps):
        search.zero_grad()
        torch.stack([turn(mixed()) for turn in turns]).sum().backward()
        search.step()
    with torch.no_grad():
        found = {name: item.cpu() for name, item in mixed().items()}
    return {name: found.get(name, item) for name, item in parts[0].items()}, (scale.exp() * place.softmax(dim=0)).tolist()


class Turn(nn.Module):
    """The loss of a finished run on its next training batch, as a function of the weights of its encoder.

    Args:
        run: with a checkpoint, which holds its heads.
        device: where to compute.
    """

    def __init__(self, run: Run, device: torch.device | str) -> None:
        super().__init__()
        if run.checkpoint is None:
            raise RunError(f"{run.path} holds no checkpoint, so the heads of its loss are gone.\n  Try: --how mean")
        built = assemble(run.config, fresh=False)
        state = torch.load(run.checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        self.inner = _Step(built.method)
        self.inner.method.load_state_dict({name.removeprefix("method."): item for name, item in state.items()
                                           if name.startswith("method.")})
        self.inner.requires_grad_(False).to(device).train()
        self.batches, self.device, self.first = built.data.train, device, 0.0
        self.left: Iterator[Any] = iter(())

    def forward(self, weights: Weights) -> Tensor:
        batch: Any = next(self.left, None)
        if batch is None:
            self.left = iter(self.batches)
            batch = next(self.left)
        named = {f"method.encoder.{name}": item for name, item in weights.items()}
        loss = functional_call(self.inner, named, (move(batch, self.device),))
        self.first = self.first or max(abs(loss.item()), 1e-6)
        return loss / self.first


class _Step(nn.Module):
    """`step` as `forward`, which is what `functional_call` calls."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Any) -> Tensor:
        return self.method.step(batch)["loss"]
