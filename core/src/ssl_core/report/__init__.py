"""One HTML file that says what came of a run, or of several side by side. It loads nothing from anywhere."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..assembly import Assembly
from ..files import atomically
from ..run import Run


def write(runs: Sequence[Run | Path | str], out: Path | str | None = None, device: torch.device | str = "cpu") -> Path:
    """Write the report of one run, or of several.

    Args:
        runs: run directories. One that has not ended, or whose data or plugin are gone, is shown as far as can be.
        out: the file; default: `report.html` in the first run's directory.
        device: where to embed.

    Returns:
        Where it was written.

    Raises:
        RunError: no run there, or the file cannot be written.
    """
    opened = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    place = Path(out) if out is not None else opened[0].path / "report.html"
    return _write([(run, None) for run in opened], place, device, True)


def write_after(run: Run, assembly: Assembly, device: torch.device | str) -> Path:
    """The report at the end of a training, with what is at hand; maps that take seconds are left to `sslrun report`."""
    return _write([(run, assembly)], run.path / "report.html", device, False)


def _write(runs: Sequence[tuple[Run, Any]], out: Path, device: torch.device | str, full: bool) -> Path:
    from .gather import gather
    from .page import page
    text = page([gather(run, assembly, device=device, full=full) for run, assembly in runs])
    atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))
    return out
