"""Continual pre-training: a run goes on from the end of another one, with everything it had."""
import csv
import json

import pytest
import torch

from ssl_core import ConfigError, Run, RunError, pretrain, resume
from ssl_core.continuing import Replayed, total
from ssl_core.testing import killed_at, rows, same

QUICK = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False, "monitor_every": 0}
STEADY = {"schedule": "constant", "method.momentum": 0.0}


def train(out, method="contrast", **options):
    return pretrain("toy", method, out=out, quiet=True, baselines=False, probe="", trainer=QUICK, **{"epochs": 2} | options)


@pytest.mark.parametrize("objective", ["nt-xent", "nnclr", "swav"])
def test_two_halves_are_the_whole(objective, tmp_path):
    """Of a schedule that knows no end; optimizer, statistics, queue and prototypes go on as they were."""
    options = {"schedule": "constant", "objective": objective}
    whole = train(tmp_path / "whole", epochs=4, **options)
    first = train(tmp_path / "first", **options)
    second = resume(first.path, epochs="+2", out=tmp_path / "second", quiet=True)
    assert rows(first.path) + rows(second.path) == rows(whole.path)
    ours, theirs = second.encoder.state_dict(), whole.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert second.config.epochs == 4 and second.result["steps"] == 32


@pytest.mark.parametrize("rows_", [240, 96])
def test_new_data_of_another_size_end_when_they_should(rows_, tmp_path):
    """The schedule's end is that of the new run: the steps of before, and the new epochs of the new data."""
    first = train(tmp_path / "first", schedule="infinite", **{"schedule.warmup": 2, "schedule.cooldown": 4,
                                                              "schedule.anneal": 0.25})
    second = resume(first.path, data="blobs", epochs="+3", out=tmp_path / "second", quiet=True, **{"data.rows": rows_})
    with (second.path / "metrics.csv").open() as file:
        found = [(int(row["step"]), float(row["lr"])) for row in csv.DictReader(file)]
    steps = 16 + 3 * (rows_ // 32 + bool(rows_ % 32))
    assert found[0][0] == 17 and found[-1][0] == steps == second.result["steps"]
    assert found[0][1] == pytest.approx(0.3 * 1e-2)  # the constant rate: no second warm-up
    assert found[-1][1] < 0.2 * 0.3 * 1e-2  # annealed at the end that is now known


def test_a_run_that_goes_on_is_killed_and_resumed(tmp_path):
    first = train(tmp_path / "first")
    more = {"epochs": "+2", "quiet": True, "data": "blobs", "data.seed": 7}
    whole = resume(first.path, out=tmp_path / "whole", **more)
    for step in (17, 20, 24):
        with killed_at(step):
            resume(first.path, out=tmp_path / f"cut-{step}", **more)
        same(resume(tmp_path / f"cut-{step}", quiet=True).path, whole.path)
    with killed_at(17, "start"):  # before it has a checkpoint of its own
        resume(first.path, out=tmp_path / "early", **more)
    same(resume(tmp_path / "early", quiet=True).path, whole.path)
    assert Run.load(first.path).result["steps"] == 16  # the first run is as it was


def test_a_trunk_that_is_gone_is_named(tmp_path):
    first = train(tmp_path / "first")
    with killed_at(17, "start"):
        resume(first.path, epochs="+1", out=tmp_path / "second", quiet=True)
    for path in (first.path / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="first holds no checkpoint any more"):
        resume(tmp_path / "second", quiet=True)


def test_on_the_command_line(done, tmp_path):
    words = [f"trainer.{key}={item}" for key, item in QUICK.items()]
    done("--plugin", "toy", "--method", "byol", "epochs=1", "probe=", "baselines=false", *words, "--out", "first")
    result = json.loads(done("--resume", "first", "data=blobs", "data.rows=64", "epochs=+2", "--out", "second", "--json"))
    assert result["epochs"] == 3 and result["steps"] == 8 + 2 * 2 and result["data"] == "blobs"
    about = json.loads((tmp_path / "second/environment.json").read_text())["continues"]
    assert about == {"run": "first", "epoch": 1, "step": 8, "schema": {}}


@pytest.mark.parametrize("given, error, message", [
    ({"epochs": 2}, ConfigError, "2 epochs are done, so epochs=2 leaves none"),
    ({"epochs": "many"}, ConfigError, "epochs should be a number, or as [+]20"),
    ({"epochs": "+1", "encoder.width": 5}, ConfigError, "encoder.width cannot be chosen anew"),
    ({"epochs": "+1", "seed": 5}, ConfigError, "seed cannot be chosen anew"),
    ({"epochs": "+1", "data": "blob"}, Exception, "did you mean 'blobs'"),
    ({"encoder.width": 5}, RunError, "goes on as it was started, without encoder.width"),
])
def test_what_cannot_be_is_refused(given, error, message, tmp_path):
    first = train(tmp_path / "first", epochs=2)
    with pytest.raises(error, match=message):
        resume(first.path, out=tmp_path / "second", quiet=True, **given)
    assert not (tmp_path / "second").exists()


def test_only_from_a_good_end(tmp_path):
    with killed_at(5):
        train(tmp_path / "cut")
    with pytest.raises(RunError, match="has not come to a good end.*\n.*--resume"):
        resume(tmp_path / "cut", epochs="+1", quiet=True)


def test_data_of_other_columns_are_refused(tmp_path):
    first = train(tmp_path / "first", data=torch.randn(64, 8))
    with pytest.raises(Exception, match="columns: 9, the encoder takes 8"):
        resume(first.path, data=torch.randn(64, 9), epochs="+1", out=tmp_path / "second", quiet=True)


def test_replay_mixes_old_batches_in_evenly():
    new, old = [f"n{i}" for i in range(9)], ["o0", "o1"]
    mixed = Replayed(new, old, 0.25)
    assert len(mixed) == 12 == len(list(mixed))
    assert list(mixed) == ["n0", "n1", "n2", "o0", "n3", "n4", "n5", "o1", "n6", "n7", "n8", "o0"]
    assert list(Replayed(new, old, 0.0)) == new and len(Replayed(new, old, 0.5)) == 18


def test_a_run_with_replay(tmp_path):
    first = train(tmp_path / "first")
    more = {"epochs": "+1", "quiet": True, "data": "blobs", "data.rows": 96, "trainer.replay": 0.5}
    whole = resume(first.path, out=tmp_path / "whole", **more)
    assert whole.result["steps"] == 16 + 3 + 3
    with killed_at(19):
        resume(first.path, out=tmp_path / "cut", **more)
    same(resume(tmp_path / "cut", quiet=True).path, whole.path)
    with pytest.raises(ConfigError, match="replay mixes in the data of the run that this one goes on from"):
        pretrain("toy", "contrast", out=tmp_path / "none", quiet=True, trainer=QUICK | {"replay": 0.5})


@pytest.mark.parametrize("given, found", [("+3", 5), (3, 3), ("7", 7)])
def test_epochs_as_they_are_typed(given, found):
    assert total(given, 2) == found
