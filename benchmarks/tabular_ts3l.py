"""An epoch of SCARF and of VIME against TabularS3L's release (`pip install ts3l`), on the same table of numbers.

Same sizes, same batch size, no worker processes, AdamW on both sides; loading and corrupting rows is part of an epoch, since
there the two differ most. Epochs alternate in this process.

Writes its section of docs/results.md.

    python benchmarks/tabular_ts3l.py [--rows 4096] [--columns 54] [--batch 128] [--width 256] [--depth 4] [--repeat 3]
"""
from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from page import PAGE, write_section
from side_by_side import absent, where
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_core import JointEmbedding
from ssl_core.objectives.infonce import InfoNCE
from ssl_core.objectives.regression import MSE
from ssl_tabular.augmentations import Corrupt
from ssl_tabular.encoders import MLP
from ssl_tabular.methods.vime import VIME
from ssl_tabular.rows import RowBatches, Rows


def epoch(batches: Iterable[Any], module: nn.Module, loss: Callable[[Any], Tensor], fused: bool) -> Callable[[], float]:
    """A function that trains one epoch and tells its seconds."""
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3, fused=fused or None)

    def go() -> float:
        start = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
        return time.perf_counter() - start
    return go


def ours(method: str, x: Tensor, given: argparse.Namespace) -> Callable[[], float]:
    rows = Rows(x, torch.zeros_like(x, dtype=torch.bool), torch.zeros(len(x), 0, dtype=torch.long))
    encoder = MLP(x.shape[1], (), given.width, given.depth, norm=True)
    made: Any
    if method == "scarf":
        made = JointEmbedding(encoder, Corrupt(0.6), InfoNCE(1.0), projector=(given.width, given.width), norm="none")
    else:
        made = VIME(encoder, Corrupt(0.3, exact=False, draw="shuffle"), MSE(), x.shape[1], ())
    return epoch(RowBatches(rows, torch.arange(len(x)), given.batch), made, lambda batch: made.step(batch)["loss"], True)


def theirs(method: str, x: Tensor, given: argparse.Namespace) -> Callable[[], float]:
    from ts3l.pl_modules import SCARFLightning, VIMELightning
    from ts3l.utils.backbone_utils import MLPBackboneConfig
    from ts3l.utils.embedding_utils import IdentityEmbeddingConfig
    from ts3l.utils.scarf_utils import SCARFConfig, SCARFDataset
    from ts3l.utils.vime_utils import VIMEConfig, VIMEDataset
    frame = pd.DataFrame(x.numpy(), columns=[f"c{i}" for i in range(x.shape[1])])
    parts = {"task": "classification", "loss_fn": "CrossEntropyLoss", "output_dim": 2,
             "embedding_config": IdentityEmbeddingConfig(input_dim=x.shape[1]),
             "backbone_config": MLPBackboneConfig(input_dim=x.shape[1], hidden_dims=given.width, n_hiddens=given.depth)}
    columns: dict[str, Any] = {"continuous_cols": list(frame.columns), "category_cols": []}
    if method == "scarf":
        config = SCARFConfig(**parts, pretraining_head_dim=given.width, corruption_rate=0.6, tau=1.0)
        module, rows = SCARFLightning(config), SCARFDataset(frame, config=config, **columns)
    else:
        config = VIMEConfig(**parts, predictor_dim=given.width, num_continuous=x.shape[1], cat_cardinality=[], p_m=0.3)
        module, rows = VIMELightning(config), VIMEDataset(frame, config=config, **columns)
    return epoch(DataLoader(rows, given.batch, shuffle=True), module, module._get_first_phase_loss, False)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rows": 4096, "columns": 54, "batch": 128, "width": 256, "depth": 4, "repeat": 3}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    try:
        import ts3l  # noqa: F401
    except ImportError:
        absent("TabularS3L")
    torch.manual_seed(0)
    x = torch.randn(given.rows, given.columns)
    words = " ".join(f"--{name} {getattr(given, name)}" for name in ("rows", "columns", "batch", "width", "depth", "repeat"))
    lines = ["## SCARF and VIME", "", f"Made by `python benchmarks/tabular_ts3l.py {words}`; torch {torch.__version__}, on "
             f"{where('cpu')}. Rows are random noise; medians of epochs that alternate in one process.", "",
             "| method | | rows per second | times as fast |", "|---|---|--:|--:|"]
    for method in ("scarf", "vime"):
        sides = {"TabularS3L": theirs(method, x, given), "ours": ours(method, x, given)}
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(given.repeat + 1):
            for name, go in sides.items():
                spent = go()
                if turn:  # the first warms up
                    times[name].append(spent)
        base = statistics.median(times["TabularS3L"])
        for name, found in times.items():
            middle = statistics.median(found)
            lines.append(f"| {method} | {name} | {given.rows / middle:,.0f} | {base / middle:.1f} |")
    print("\n".join(lines[4:]))
    write_section("tabular-ts3l", "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
