"""Choosing and joining: the race of methods, the merging of runs, the distillation of data. Each on runs of the toy plugin."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ssl_core import ConfigError, Run
from ssl_core.finished.distillation import predicted
from ssl_core.finished.merging import averaged, merge, recalibrate
from ssl_core.race import Contender, race, scores, seconds, turn

TOY = ("--plugin", "toy", "--method", "contrast")
QUICK = ("epochs=2", "trainer.tensorboard=false", "trainer.monitor_every=0", "probe=knn")
SHORT = {"epochs": 4, "trainer.tensorboard": False, "trainer.monitor_every": 0, "probe": "knn"}


# --- race


@pytest.mark.parametrize("text, wanted", [("90s", 90), ("10m", 600), ("1.5h", 5400), ("7", 7)])
def test_budgets(text, wanted):
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "m", "-3s", "0", "ten", "nan", "inf"])
def test_budgets_that_are_none(text):
    with pytest.raises(ConfigError, match="--budget should be a time"):
        seconds(text)


def test_the_better_half_goes_on_as_the_runs_that_they_are(sslrun, monkeypatch):
    """Scores are planted: barlow best, then byol. Every turn goes on where the last one of that run stopped."""
    planted = {"barlow": 9.0, "byol": 5.0, "contrast": 3.0, "mae": 1.0}
    steps = []
    whole = Run.embed

    def embed(self, *rest):
        steps.append((self.path.name, json.loads((self.path / "result.json").read_text())["steps"]))
        return whole(self, *rest)
    monkeypatch.setattr(Run, "embed", embed)
    monkeypatch.setattr("ssl_core.race.scores", lambda inside: [planted[c.name] for c in inside])
    monkeypatch.setattr("ssl_core.race.turn", lambda contender, granted, number: turn(contender, 0.02, number))
    code, out, err = sslrun("race", "--plugin", "toy", "--budget", "90", "--methods", ",".join(planted), "--out", "races",
                            "epochs=20000", *QUICK[1:], "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["winner"] == "barlow" and [row["method"] for row in said["contenders"]] == list(planted)
    assert [row["rounds"] for row in said["contenders"]] == [3, 2, 1, 1]
    assert [name for name, _ in steps[:4]] == list(planted) or sorted(name for name, _ in steps[:4]) == sorted(planted)
    taken = [step for name, step in steps if name == "barlow"]
    assert len(taken) == 3 and taken == sorted(set(taken))  # resumed, never from the start
    assert err.count("of 3, ") == 7 and "byol" in err
    run = Run.load("races/barlow")
    assert run.result["verdict"] == "interrupted" and run.config.probe == "knn" and run.config.baselines
    assert run.config.options["trainer.max_seconds"] == 0.0
    text = Path("races/byol/config.yaml").read_text()
    assert "probe: knn" in text and "baselines: true" in text


def test_a_winner_that_ended_is_scored_and_the_others_are_not_looked_at_by_label():
    found = race("toy", ["contrast", "barlow"], budget=60, options=SHORT, out="races")
    assert [c.ended for c in found] == [True, True] and found[0].score >= found[1].score and not found[0].why
    assert found[0].run.result["scores"].keys() == {"knn"} and found[0].run.result["untrained"]
    assert found[1].run.result["scores"] == {} and not (found[1].run.path / "baselines.json").exists()


def test_who_cannot_take_part_says_why(monkeypatch, distribution):
    distribution("ssl-own", plugin="own", window="""
        from ssl_core import Recipe, hookimpl

        @hookimpl
        def ssl_methods():
            parts = {"data": "toy/blobs", "encoder": "toy/net", "augmentation": "toy/noise"}
            yield Recipe(name="good", target="ssl_core:JointEmbedding", **parts, objective="nt-xent", options={"epochs": 1})
            yield Recipe(name="broken", target="ssl_own_parts:Broken", **parts, objective="nt-xent", options={"epochs": 1})
            yield Recipe(name="told", target="ssl_core:JointEmbedding", **parts, objective="supcon", options={"epochs": 1})
            yield Recipe(name="odd", target="ssl_core:JointEmbedding", **parts, objective="nt-xent", experimental=True)
    """, parts="""
        from ssl_core import JointEmbedding

        class Broken(JointEmbedding):
            def step(self, batch):
                raise RuntimeError("it broke")
    """)
    lines = []
    found = race("own", budget=20, options={"trainer.tensorboard": False, "probe": ""}, out="races", say=lines.append)
    assert found[0].name == "good" and {c.name for c in found} == {"good", "broken", "told"}
    why = {c.name: c.why for c in found}
    assert why["told"] == "it learns from labels" and "it broke" in why["broken"] and not why["good"]


def test_a_race_of_unknown_methods_is_refused(fails):
    assert "did you mean 'barlow'?" in fails("race", "--plugin", "toy", "--budget", "9s", "--methods", "barlw")
    assert "--budget should be a time" in fails("race", "--plugin", "toy", "--budget", "soon")
    assert "method is given as --methods here" in fails("race", "--plugin", "toy", "--budget", "9s", "method=barlow")


def test_width_alone_does_not_win():
    """The same eight directions, in an embedding of 16 and one of 128 numbers; and one of 16 that collapsed."""
    torch.manual_seed(0)
    rows = torch.randn(400, 8)
    found = [Contender(name, None, None, features=features) for name, features in (
        ("narrow", rows @ torch.randn(8, 16)), ("wide", rows @ torch.randn(8, 128)),
        ("noise", rows @ torch.randn(8, 128) + 1e-3 * torch.randn(400, 128)), ("one", rows[:, :1] @ torch.randn(1, 16)),
        ("nan", torch.full((400, 16), float("nan"))))]
    for contender in found:
        contender.features = contender.features.double()
    narrow, wide, noise, one, nan = scores(found)
    assert abs(narrow - wide) < 1.5 and noise < 9 and one < 1.1 and nan == 0.0
    assert scores([Contender("none", None, None)]) == [0.0]


def test_a_race_ends_with_its_time(monkeypatch):
    lines = []
    found = race("toy", ["contrast", "barlow", "byol"], budget=0.01, options=SHORT | {"epochs": 2000}, out="races",
                 say=lines.append)
    assert [c.rounds for c in found] == [1, 1, 1] and "the time is over after 1 of 3 rounds" in lines[-1]
    assert found[0].score == max(c.score for c in found)


# --- merge


@pytest.fixture
def two(done):
    """Two runs from the same weights: one seed, other views."""
    done(*TOY, *QUICK, "--out", "a")
    done(*TOY, *QUICK, "augmentation.size=0.6", "--out", "b")
    return Run.load("a"), Run.load("b")


def test_the_average_is_the_average():
    parts = [{"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}, {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(5)}]
    found = averaged(parts, [0.25, 0.75])
    assert found["w"].tolist() == [2.5, 5.0] and found["n"] == 3 and found["n"].dtype == torch.long


def test_a_merged_run_is_a_run(two, done):
    said = json.loads(done("merge", "a", "b", "--out", "m", "--json"))
    ours, a, b = (load_file(f"{name}/encoder.safetensors") for name in "mab")
    for name in a:
        if a[name].is_floating_point() and "running" not in name:
            torch.testing.assert_close(ours[name], (a[name] + b[name]) / 2)
    assert said["verdict"] == "merged" and said["scores"].keys() == {"knn"} and said["untrained"] and said["run"] == "m"
    assert Run.load("m").evaluate()["scores"] == said["scores"]
    assert "0." in done("evaluate", "m") and "240 items" in done("embed", "m", "--out", "z.npz")
    done("export", "m", "--to", "safetensors", "--out", "there")
    assert "merged: mean of 2 runs: a, b" in Path("there/README.md").read_text() and Path("m/report.html").exists()
    assert Run.load("m").read_json("environment.json")["merged"] == {"a": 0.5, "b": 0.5}


def test_shares_are_as_asked(two, done):
    done("merge", "a", "b", "--out", "m", "--weights", "3,1")
    ours, a, b = (load_file(f"{name}/encoder.safetensors")["body.0.weight"] for name in "mab")
    torch.testing.assert_close(ours, 0.75 * a + 0.25 * b)


def test_statistics_of_batch_norms_are_those_of_the_data():
    class Built:
        class config:
            seed = 0
        class data:
            train = [torch.randn(20, 3) * 2 + 5 for _ in range(4)]
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    net[0].running_mean.fill_(100.0)
    recalibrate(net, Built, "cpu")
    torch.testing.assert_close(net[0].running_mean, torch.stack([x.mean(dim=0) for x in Built.data.train]).mean(dim=0))
    torch.testing.assert_close(net[0].running_var, torch.stack([x.var(dim=0) for x in Built.data.train]).mean(dim=0))
    assert not net.training


def test_a_learned_mixture_is_no_worse_for_its_own_losses_than_where_it_began(two):
    from ssl_core.finished.merging import Turn, position
    parts = [{name: item.clone() for name, item in run.encoder.state_dict().items()} for run in two]
    merged, shares = position(two, parts, 20, "cpu")
    assert len(shares) == 2 and all(share > 0 for share in shares) and merged.keys() == parts[0].keys()

    def loss(weights):
        torch.manual_seed(0)
        floats = {name: weights[name] for name, _ in two[0].encoder.named_parameters()}
        turns = [Turn(run, "cpu") for run in two]
        for one in turns:
            one.first = 1.0
        with torch.no_grad():
            return float(sum(one(floats) for _ in range(8) for one in turns))
    base = two[0].untrained().state_dict()
    assert loss(merged) < loss({name: item for name, item in base.items()})
    delta = [parts[k]["body.0.weight"] - base["body.0.weight"] for k in (0, 1)]
    torch.testing.assert_close(merged["body.0.weight"], base["body.0.weight"] + shares[0] * delta[0] + shares[1] * delta[1],
                               atol=1e-5, rtol=1e-4)


def test_self_positioning_on_the_command_line(two, done):
    said = json.loads(done("merge", "a", "b", "--out", "m", "--how", "self-positioning", "--steps", "3", "--json"))
    assert said["reason"].startswith("self-positioning of 2 runs") and sum(said["evidence"].values()) > 0.5


def test_what_cannot_be_merged_is_refused(two, done, fails):
    done(*TOY, *QUICK, "encoder.width=8", "--out", "narrow")
    done("--plugin", "toy", "--method", "jepa", *QUICK, "--out", "cells")
    done(*TOY, *QUICK, "--seed", "4", "--out", "other")
    assert "two runs or more" in fails("merge", "a", "--out", "m")
    assert "have other weights" in fails("merge", "a", "narrow", "--out", "m")
    assert "differ in their encoder: cells, net" in fails("merge", "a", "cells", "--out", "m")
    assert "2 weights were given for 3 runs" in fails("merge", "a", "b", "other", "--out", "m", "--weights", "1,2")
    assert "--weights should be" in fails("merge", "a", "b", "--out", "m", "--weights", "x")
    assert "did not start from the same weights" in fails("merge", "a", "other", "--out", "m", "--how", "self-positioning")
    assert "holds a run already" in fails("merge", "a", "b", "--out", "b")
    Path("b/result.json").unlink()
    assert "b has not ended" in fails("merge", "a", "b", "--out", "m") and not Path("m").exists()


def test_a_merge_draws_no_number_of_the_caller(two):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    merge(two, "m")
    assert torch.equal(torch.rand(2), wanted)


# --- distil


def test_kernel_ridge_regression_is_that_of_scikit_learn():
    from sklearn.kernel_ridge import KernelRidge
    known, targets, asked = torch.randn(12, 5).double(), torch.randn(12, 3).double(), torch.randn(7, 5).double()
    with_bias = torch.cat([known, torch.ones(12, 1)], dim=1).numpy()
    alpha = 1e-6 * (with_bias**2).sum()
    right = KernelRidge(alpha=alpha, kernel="linear").fit(with_bias, targets.numpy()).predict(
        torch.cat([asked, torch.ones(7, 1)], dim=1).numpy())
    np.testing.assert_allclose(predicted(asked, known, targets).numpy(), right, rtol=1e-4, atol=1e-6)


def test_gradients_reach_synthetic_items_and_targets():
    known, targets = (torch.randn(6, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    asked = torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda k, t: predicted(asked, k, t), (known, targets), atol=1e-3, rtol=1e-2)


def test_a_distilled_set_is_written_with_what_it_is_worth(done):
    done(*TOY, *QUICK, "--out", "a")
    said = json.loads(done("distill", "a", "--items", "12", "--steps", "150", "--out", "d.npz", "--json"))
    with np.load("d.npz", allow_pickle=False) as found:
        assert found["inputs"].shape == (12, 8) and found["targets"].shape == (12, 16) and found["names"].shape == (12,)
        assert np.isfinite(found["inputs"]).all()
        origin = [int(name) for name in found["names"]]
    assert len(set(origin)) == 12 and 0 < said["error"] < said["error_real"]  # on items that nothing was learned from


def test_what_cannot_be_distilled_is_refused(done, fails):
    done(*TOY, *QUICK, "--out", "a")
    assert "from 240; 1 to 120 can" in fails("distill", "a", "--items", "200", "--out", "d.npz")
    assert "should end in .npz" in fails("distill", "a", "--items", "2", "--out", "d.txt")
    assert "should be 1 or more" in fails("distill", "a", "--items", "0", "--out", "d.npz")
    pytest.importorskip("ssl_graph", reason="the graph plugin is not installed")
    done("--plugin", "graph", "--method", "grace", "epochs=0", "probe=", "encoder.width=8", "--out", "g")
    assert "a batch of type Data is not one tensor" in fails("distill", "g", "--items", "4", "--out", "d.npz")
