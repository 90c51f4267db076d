"""Every method trains on real rows, its loss falls, and a run that died and was resumed is bit for bit the one that did not."""
import csv

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from ssl_core import ConfigError, pretrain
from ssl_core.assembly import assemble
from ssl_core.batches import seed_all
from ssl_core.config import resolve
from ssl_core.plugins import Plugins
from ssl_core.pretraining import resume
from ssl_core.testing import killed_at

SMALL = {"encoder.width": 16}
METHODS = {
    "tjepa": SMALL | {"encoder.depth": 1, "encoder.heads": 2, "encoder.hidden": 16, "method.depth": 1, "method.hidden": 16,
                      "method.width": 16},
    "scarf": SMALL, "tabular-barlow": SMALL, "vime": SMALL, "dae": SMALL, "binning": SMALL,
    "subtab": SMALL | {"encoder.hidden": 16},
    "table-integration": SMALL | {"augmentation.copies": 2, "method.projector": [8]},
    "item-recsys": SMALL | {"method.projector": [8]},
    "tip": SMALL | {"encoder.depth": 1, "encoder.heads": 2, "method.projection": 8},
    "saint": SMALL | {"encoder.heads": 2, "encoder.row_width": 16, "encoder.reference": 16},
}
QUICK = {"trainer": {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}, "baselines": False, "probe": "linear",
         "quiet": True, "epochs": 2}


@pytest.fixture(scope="module")
def table():
    """A slice of real rows with numbers, a category, a date and missing values."""
    found = load_breast_cancer(as_frame=True).frame.iloc[:160, [0, 1, 6, 7, 20, 30]].copy()
    found["size"] = pd.cut(found["mean radius"], 4, labels=["s", "m", "l", "xl"]).astype(object)
    found["when"] = pd.Timestamp("2021-03-01") + pd.to_timedelta((found["worst radius"] * 9).astype(int), unit="D")
    found.loc[found.index[::7], "mean texture"] = None
    return found.rename(columns={"target": "benign"})


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [(row["step"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


def with_images(method, table):
    """The table, for `tip` beside an image of each row."""
    if method != "tip":
        return table
    return table, torch.rand(len(table), 6, 6, generator=torch.Generator().manual_seed(0)).numpy()


def go(out, method, table):
    return pretrain("tabular", method, with_images(method, table), out=out, **QUICK, **METHODS[method],
                    **{"data.target": "benign", "data.batch_size": 32})


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_uninterrupted(method, table, tmp_path):
    straight = go(tmp_path / "straight", method, table)
    assert len(losses(straight)) == 8 and straight.result["verdict"] in ("healthy", "collapsed")
    with killed_at(3):
        go(tmp_path / "cut", method, table)
    held = with_images(method, table)
    resumed = resume(tmp_path / "cut", data=held, quiet=True)
    assert losses(resumed) == losses(straight)
    ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed.result["scores"] == straight.result["scores"]
    (tmp_path / "new").mkdir()
    table[table.columns[::-1]].drop(columns="benign").to_csv(tmp_path / "new" / "new.csv", index=False)
    if method == "tip":
        np.save(tmp_path / "new" / "images.npy", held[1])
    new = tmp_path / "new" / ("" if method == "tip" else "new.csv")
    assert torch.allclose(straight.embed(new), straight.embed(held), atol=1e-5), "other order, no labels"


@pytest.mark.parametrize("method", METHODS)
def test_loss_falls(method):
    parts = assemble(resolve(Plugins(), "tabular", method, METHODS[method]))
    seed_all(0)
    made = parts.method
    optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=3e-3)
    made.prepare(iter(parts.data.train))
    found = []
    for _ in range(14):
        for batch in parts.data.train:
            loss = made.step(batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            made.after_step()
            found.append(loss.detach())
    first, last = torch.stack(found[:3]).mean(), torch.stack(found[-3:]).mean()
    assert last < 0.97 * first


def test_bins_are_balanced_and_ordered():
    parts = assemble(resolve(Plugins(), "tabular", "binning", {"encoder.width": 16, "method.bins": 5}))
    made = parts.method
    made.prepare(iter(parts.data.train))
    numbers = torch.cat([batch.numeric for batch in parts.data.train])
    ranks = made.ranks(numbers)
    assert ranks.unique().tolist() == [0, 1, 2, 3, 4]
    assert ((ranks[:, 0, None] == torch.arange(5)).double().mean(dim=0) - 0.2).abs().max() < 0.05
    order = numbers[:, 0].argsort()
    assert (ranks[order, 0].diff() >= 0).all()


@pytest.mark.parametrize("method, options, message", [
    ("tjepa", {"augmentation": "random-mask"}, "augmentation=column-subsets"),
    ("tjepa", {"encoder": "mlp"}, "encoder=transformer"),
    ("subtab", {"encoder": "mlp"}, "encoder=windows"), ("saint", {"encoder": "mlp"}, "encoder=saint"),
    ("item-recsys", {"augmentation": "corrupt"}, "augmentation=correlated-features"),
    ("tjepa", {"augmentation": "corrupt"}, "makes mask"), ("binning", {"method.bins": 1}, "bins should be 2"),
])
def test_parts_that_do_not_fit_are_refused(method, options, message):
    with pytest.raises(ConfigError, match=message):
        assemble(resolve(Plugins(), "tabular", method, options))


def test_composers_of_the_core_work_on_columns(table, tmp_path):
    run = pretrain("tabular", "tjepa", table, out=tmp_path / "run", **QUICK | {"epochs": 1},
                   **{"data.target": "benign", "encoder.readout": "mean", "encoder.width": 16, "encoder.depth": 1})
    assert run.result["width"] == 16
