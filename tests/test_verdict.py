"""Planted faults of training are named with the step, the numbers and a way out; healthy trainings stay healthy."""
import csv
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ssl_core import Run, pretrain, resume
from ssl_core.testing import killed_at
from ssl_core.train.monitors import Monitors
from ssl_core.verdict import collapsed, rows, stalled, undertrained, verdict

QUICK = {"epochs": 30, "baselines": False, "probe": "", "quiet": True, "trainer.tensorboard": False,
         "trainer.monitor_every": 20}


def train(out, method, plugin="toy", **more):
    return pretrain(plugin, method, out=out, **(QUICK | more))


NO_VARIANCE = {"objective": "vicreg", "augmentation.views": 2, "objective.variance": 0.0, "objective.covariance": 1.0}
FAULTS = {  # method, options, word, words of the reason
    "vicreg without its variance term": ("barlow", NO_VARIANCE, "collapsed", ["as good as one point", "variance term"]),
    "byol without stop-gradient and predictor": ("contrast", {"objective": "cosine"}, "collapsed",
                                                 ["one point", "stop_gradient"]),
    "contrast at a thousandfold rate": ("contrast", {"optimizer.lr": 10.0}, "diverged", ["times as large", "optimizer.lr"]),
    "byol at a thousandfold rate": ("byol", {"optimizer.lr": 10.0}, "diverged", ["times as large", "optimizer.lr"]),
    "masked prediction at a thousandfold rate": ("jepa", {"optimizer.lr": 10.0}, "diverged", ["loss went up to"]),
    "a rate of next to nothing": ("contrast", {"optimizer.lr": 1e-9}, "stalled", ["neither the loss", "higher optimizer.lr"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name, tmp_path):
    method, options, word, said = FAULTS[name]
    result = train(tmp_path / "run", method, **options).result
    assert result["verdict"] == word, result["reason"]
    assert all(part in result["reason"] for part in [*said, "Try "])
    step = result["evidence"]["step"]
    assert 1 <= step <= 240 and f"step {step:.0f} " in result["reason"]
    assert all(isinstance(value, float) for value in result["evidence"].values())


@pytest.mark.parametrize("method", ["contrast", "barlow", "byol", "jepa", "mae"])
def test_healthy_trainings_stay_healthy(method, tmp_path):
    run = train(tmp_path / "run", method)
    assert run.result["verdict"] == "healthy", run.result["reason"]


REAL = {"graph": ("gcool", {"epochs": 8}), "vision": ("simclr", {"epochs": 3}), "tabular": ("tjepa", {"epochs": 2}),
        "speech": ("wav2vec2", {"epochs": 1})}


@pytest.mark.parametrize("plugin", REAL)
def test_healthy_trainings_of_every_plugin_stay_healthy(plugin, tmp_path):
    pytest.importorskip(f"ssl_{plugin}")
    method, options = REAL[plugin]
    run = train(tmp_path / "run", method, plugin, **options)
    assert run.result["verdict"] == "healthy", run.result["reason"]
    assert all("rankme" in row and row["rankme"] > 1 for row in rows(run.path / "metrics.csv")[-1:])


WINDOW = """
    from ssl_core import Component, Dataset, Recipe, hookimpl

    @hookimpl
    def ssl_datasets():
        yield Dataset(name="slow", target="ssl_planted_parts:slow", synthetic=True)

    @hookimpl
    def ssl_methods():
        parts = {"encoder": "toy/net", "augmentation": "toy/noise", "options": {"optimizer.lr": 1e-2}}
        yield Recipe(name="waits", target="ssl_core:JointEmbedding", data="slow", objective="nt-xent", **parts)
        yield Recipe(name="codes", target="ssl_planted_parts:Codes", data="toy/blobs", objective="mse", **parts)
"""
PARTS = """
    import time

    import torch
    from ssl_toy_parts import array, blobs
    from torch import nn
    from torch.utils.data import DataLoader, default_collate

    from ssl_core import Method
    from ssl_core.metrics import perplexity

    def slow(rows: int = 240, seconds: float = 0.1):
        data = blobs(rows)
        def late(items):
            time.sleep(seconds)
            return default_collate(items)
        loader = DataLoader(data.train.dataset, 32, shuffle=True, collate_fn=late)
        return type(data)(train=loader, size=rows, items=data.items, facts=data.facts)

    class Codes(Method):
        \"\"\"Vector quantisation whose codes, but for one, lie out of reach.\"\"\"

        def __init__(self, encoder, augmentation, objective, entries: int = 16, away: float = 0.0):
            super().__init__(encoder, augmentation, objective)
            codes = torch.randn(entries, encoder.width)
            codes[1:] += away
            self.codes = nn.Parameter(codes)

        def step(self, batch):
            rows = self.encoder(self.augmentation(batch)[0]).pooled
            chosen = torch.cdist(rows, self.codes).argmin(dim=1)
            used = torch.tensor(perplexity(chosen.bincount(minlength=len(self.codes))))
            return {"loss": self.compare(rows, self.codes[chosen]) + rows.std(dim=0).sub(1).relu().mean(), "perplexity": used}
"""


@pytest.fixture
def planted(distribution):
    distribution("ssl-planted", plugin="planted", window=WINDOW, parts=PARTS)


def test_a_slow_loader_is_named(planted, tmp_path):
    result = train(tmp_path / "run", "waits", "planted", epochs=3).result
    assert result["verdict"] == "starved" and result["evidence"]["data_wait"] > 0.5
    assert "waited for data" in result["reason"] and "data.workers" in result["reason"]
    shares = [row["data_wait"] for row in rows(tmp_path / "run" / "metrics.csv")]
    assert all(0.5 < share <= 1 for share in shares)


def test_a_dead_codebook_is_named(planted, tmp_path):
    result = train(tmp_path / "run", "codes", "planted", epochs=4, **{"method.away": 1e3}).result
    assert result["verdict"] == "collapsed" and "the codebook uses 1.0 of its entries" in result["reason"]
    assert result["evidence"] == {"step": 1.0, "perplexity": 1.0}


def test_the_codebook_of_an_objective_is_watched(tmp_path):
    run = train(tmp_path / "run", "contrast", objective="swav", epochs=4, **{"objective.prototypes": 32, "objective.queue": 0})
    assert run.result["verdict"] == "healthy"
    found = [row["perplexity"] for row in rows(run.path / "metrics.csv") if "perplexity" in row]
    assert found and all(2 < value <= 32 for value in found)


def used(scores):
    """The perplexity that is written down for scores (N, K)."""
    monitors = Monitors(None, None, None, "off", quiet=True)
    monitors._count(None, None, scores)
    return monitors._listened()["perplexity"]


def test_entries_are_counted_apart_from_what_all_rows_lean_to():
    """DINO's scores are not balanced, its targets are: all rows may prefer one prototype and yet tell items apart."""
    own, lean = torch.eye(32).repeat(4, 1), torch.zeros(32)
    lean[5] = 10.0
    assert used(own) == used(own + lean) == pytest.approx(32)
    three = F.one_hot(torch.arange(120) % 3, 32).float()
    assert used(three + lean) == pytest.approx(3)
    assert used(lean.expand(128, 32)) == 1.0


COLLAPSES = {"objective": "cosine", "quiet": False}


@pytest.mark.parametrize("choice, steps, said", [("stop", 20, True), ("warn", 240, True), ("off", 240, False)])
def test_a_collapse_is_said_at_once_and_stops_if_asked(choice, steps, said, capsys, tmp_path):
    run = train(tmp_path / "run", "contrast", **COLLAPSES, **{"trainer.on_collapse": choice})
    assert run.result["verdict"] == "collapsed" and run.result["steps"] == steps
    assert ("collapsed: from step 20 on" in capsys.readouterr().err) == said
    assert resume(run.path).result == run.result  # it has ended


def table(run):
    with (run.path / "metrics.csv").open() as file:
        clock = ("seconds", "items_per_second", "data_wait")
        return [{name: value for name, value in row.items() if name not in clock} for row in csv.DictReader(file)]


@pytest.mark.parametrize("method", ["contrast", "byol", "jepa"])
def test_monitors_change_nothing_of_a_training(method, tmp_path):
    with_, without = (train(tmp_path / str(every), method, epochs=3, **{"trainer.monitor_every": every, "trainer.log_every": 1})
                      for every in (1, 0))
    theirs = table(without)
    assert [{name: row[name] for name in theirs[0]} for row in table(with_)] == theirs
    assert "rankme" not in theirs[0] and all(float(row["rankme"]) > 1 for row in table(with_))
    ours, plain = with_.encoder.state_dict(), without.encoder.state_dict()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


@pytest.mark.parametrize("method", ["contrast", "byol", "mae"])
def test_a_resumed_run_measures_what_it_would_have(method, tmp_path):
    more = {"epochs": 3, "trainer.monitor_every": 2, "trainer.log_every": 2, "trainer.checkpoint_steps": 1}
    straight = train(tmp_path / "straight", method, **more)
    for stop in (1, 7, 10):
        with killed_at(stop):
            train(tmp_path / f"cut-{stop}", method, **more)
        assert table(resume(tmp_path / f"cut-{stop}", quiet=True)) == table(straight)


def test_columns_are_known_from_the_first_row_and_blank_where_nothing_was_measured(tmp_path):
    run = train(tmp_path / "run", "byol", epochs=5, **{"trainer.monitor_every": 20})
    found = table(run)
    assert {"rankme", "alpha_req", "std", "uniformity", "norm", "alignment", "lidar", "agreement", "val_knn", "val_linear",
            "rows_std", "grad_norm"} <= set(found[0])
    assert [row["step"] for row in found if row["rankme"]] == ["20", "40"]
    assert all(row["grad_norm"] for row in found)
    assert [row["epoch"] for row in found if row["val_knn"]] == ["2", "4"]


def test_probes_are_asked_once_an_epoch(tmp_path):
    found = table(train(tmp_path / "run", "contrast", epochs=2, **{"trainer.monitor_every": 1, "trainer.log_every": 1}))
    assert [row["step"] for row in found if row["val_knn"]] == ["1", "9"] and all(row["rankme"] for row in found)


def test_labels_of_the_test_fold_are_never_looked_at(tmp_path):
    x = torch.randn(240, 8, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).long()
    turned = labels.clone()
    turned[2::3] = 1 - turned[2::3]
    more = {"data": x, "epochs": 2, "trainer.log_every": 1, "trainer.monitor_every": 4}
    one, two = (train(tmp_path / str(i), "contrast", **more, **{"data.labels": y}) for i, y in enumerate((labels, turned)))
    assert table(one) == table(two) and "val_knn" in table(one)[0]


def test_the_norm_of_the_gradient_is_the_step_of_plain_descent(tmp_path):
    start = train(tmp_path / "start", "contrast", epochs=0)
    plain = {"epochs": 1, "optimizer": "sgd", "optimizer.lr": 1e-3, "schedule": "constant", "method.projector": (),
             "data.batch_size": 240, "encoder.dropout": 0.0, "optimizer.weight_decay": 0.0}
    run = train(tmp_path / "run", "contrast", **plain)
    before, after = (dict(r.encoder.named_parameters()) for r in (start, run))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before]).norm() / 1e-3
    assert rows(run.path / "metrics.csv")[0]["grad_norm"] == pytest.approx(moved.item(), rel=1e-3)


def test_tensorboard_shows_the_monitors(tmp_path):
    run = train(tmp_path / "run", "contrast", epochs=3, **{"trainer.tensorboard": True})
    events = b"".join(path.read_bytes() for path in Path(run.path).glob("tensorboard/*"))
    assert all(name in events for name in (b"rankme", b"uniformity", b"val_linear", b"grad_norm", b"data_wait"))


#: What the monitors see of gCooL on the multiplex graph ACM: its rank falls to six directions, and its scores rise.
ACM = ({"rankme": 75.3, "std": 0.408, "uniformity": -0.641, "rows_std": 0.0026, "lidar": 61.6, "val_knn": 0.66,
        "val_linear": 0.698}, {"rankme": 5.84, "std": 0.455, "uniformity": -0.473, "rows_std": 0.716, "lidar": 1.32,
                               "val_knn": 0.693, "val_linear": 0.718})


def test_few_directions_are_no_collapse_where_they_hold_the_classes():
    start, end = ACM
    row = end | {"step": 100.0}
    assert collapsed(start, [row], [row], 128) is None
    worse = row | {"val_knn": 0.4, "val_linear": 0.5}
    assert "uses 5.8 of 128 dimensions, 75.3 before" in collapsed(start, [worse], [worse], 128)[0]
    blind = {name: value for name, value in row.items() if not name.startswith("val_")}
    assert collapsed(start, [blind], [blind], 128) is not None  # without labels, what views leave alone has gone too
    assert collapsed(start, [blind | {"lidar": 40.0}], [blind], 128) is None
    still = row | {"val_knn": 0.655, "val_linear": 0.70}  # labels that say nothing leave it to the views
    assert collapsed(start, [still], [still], 128) is not None
    assert collapsed(start, [still | {"lidar": 40.0}], [still], 128) is None


def test_scores_of_a_discriminator_are_no_rows_that_could_collapse(tmp_path):
    run = train(tmp_path / "run", "dgi", "graph", data="digits", encoder={"width": 64})
    assert run.result["verdict"] == "healthy" and not any(row["rows_std"] for row in table(run))


def test_the_step_of_a_collapse_is_the_first_from_which_it_stays():
    start = {"rankme": 60.0, "std": 0.9}
    series = [{"step": float(step), "rankme": rank, "std": 0.9} for step, rank in ((10, 3), (20, 50), (30, 4), (40, 2))]
    assert collapsed(start, series, series, 128)[1]["step"] == 30
    assert collapsed(start, series[:2], series[:2], 128) is None


def falling(losses, **more):
    return [{"step": 10.0 * (i + 1), "loss": loss, **more} for i, loss in enumerate(losses)]


def test_undertrained_is_a_loss_that_falls_as_fast_as_ever():
    found = undertrained(falling([10 - 0.2 * i for i in range(40)]))
    assert found is not None and "Try more epochs" in found[0] and found[1]["step"] == 310
    assert undertrained(falling([2 + 8 * 0.9**i for i in range(40)])) is None  # it has come to rest
    assert undertrained(falling([10 - 0.2 * i for i in range(8)])) is None  # too few rows to tell
    assert undertrained(falling([10 - 0.001 * i for i in range(40)])) is None  # it hardly fell at all


def test_a_next_stage_is_no_divergence():
    """A loss jumps where a warm-up ends; weights that are where they were did not blow up."""
    start = {"rankme": 40.0, "std": 0.5, "weights": 10.0}
    jumped = falling([0.001] * 10 + [4.0] * 10, rankme=1.0, std=1e-4, weights=10.0)
    known = {"steps": 200, "loss": 4.0, "rankme": 1.0, "untrained_rankme": 40.0, "width": 128, "start": start}
    assert verdict(**known, rows=jumped).word == "collapsed"
    assert verdict(**known, rows=[row | {"weights": 20.0} for row in jumped]).word == "diverged"


def test_stalled_needs_an_embedding_that_stands_still():
    flat = falling([2.0] * 40, rankme=9.0, std=0.7, norm=1.5, lr=1e-9)
    assert stalled(flat) is not None
    assert stalled([row | {"norm": 1.5 + 0.01 * i} for i, row in enumerate(flat)]) is None
    assert stalled(falling([2.0] * 40)) is None  # not measured


@pytest.mark.parametrize("given, word", [
    ({"steps": 0, "loss": None}, "untrained"), ({"loss": float("nan")}, "diverged"), ({"rankme": 0.0}, "diverged"),
    ({"rankme": 3.0}, "collapsed"), ({"rankme": 3.0, "untrained_rankme": 4.0}, "healthy"),
    ({"rankme": 3.0, "untrained_rankme": None}, "healthy"), ({}, "healthy")])
def test_without_monitors_the_ranks_before_and_after_decide(given, word):
    known = {"steps": 50, "loss": 0.1, "rankme": 40.0, "untrained_rankme": 60.0, "width": 128} | given
    assert verdict(**known).word == word


def test_a_result_says_the_evidence(tmp_path):
    run = train(tmp_path / "run", "contrast", baselines=True, epochs=2)
    result = json.loads((run.path / "result.json").read_text())
    assert result["evidence"] == {"rankme": result["rankme"], "rankme_start": Run.load(run.path).read_json(
        "baselines.json")["untrained_rankme"]}


def test_a_large_batch_is_thinned_before_it_is_measured(tmp_path, monkeypatch):
    """A graph of 200,000 nodes is one batch: its views are not compared row by row in 64 bits."""
    from ssl_core import metrics
    seen, whole = [], metrics.lidar
    monkeypatch.setattr(metrics, "lidar", lambda views: seen.append(len(views)) or whole(views))
    x = torch.randn(5000, 8, generator=torch.Generator().manual_seed(0))
    run = train(tmp_path / "run", "contrast", data=x, epochs=1, **{"data.batch_size": 5000, "objective": "barlow-twins"})
    assert max(seen) < 2100 and rows(run.path / "metrics.csv")[-1]["rankme"] > 1
