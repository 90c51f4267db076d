"""A run that died and was resumed is bit for bit the run that did not die."""
import csv

import pytest
import torch

from ssl_core import pretrain, resume
from ssl_core.testing import killed_at

METHODS = ["contrast", "barlow", "byol", "jepa", "mae"]
STOPS = [1, 8, 11, 23]  # the first step, the last of an epoch (8 steps each), the middle of one, one before the end


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [(row["step"], row["epoch"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


def train(out, method, **more):
    return pretrain("toy", method, out=out, quiet=True, baselines=False,
                    trainer={"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}, **more)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_uninterrupted(method, tmp_path):
    straight = train(tmp_path / "straight", method)
    for stop in STOPS:
        with killed_at(stop):
            train(tmp_path / f"cut-{stop}", method)
        resumed = resume(tmp_path / f"cut-{stop}", quiet=True)
        assert losses(resumed) == losses(straight)
        ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert resumed.result["scores"] == straight.result["scores"]
        assert resumed.result["verdict"] == straight.result["verdict"]
