"""A training that is killed again and again, anywhere in a step or in the writing of a checkpoint, loses nothing.

`benchmarks/crash_loop.py` does the same fifty times for each method, with real SIGKILLs among them.
"""
from importlib.util import find_spec

import pytest

from ssl_core import RunError, pretrain, resume
from ssl_core.testing import MOMENTS, crash_loop, killed_at, same

QUICK = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}

SMALL = {  # plugin, method: what makes it small; one for each composer, each plugin and each kind of memory
    ("toy", "contrast"): {"epochs": 1}, ("toy", "barlow"): {"epochs": 1}, ("toy", "byol"): {"epochs": 1},
    ("toy", "jepa"): {"epochs": 1}, ("toy", "mae"): {"epochs": 1},
    ("toy", "contrast", "queue"): {"epochs": 1, "objective": "nnclr", "objective.queue": 64},
    ("toy", "contrast", "prototypes"): {"epochs": 1, "objective": "swav", "objective.prototypes": 8},
    ("toy", "contrast", "clusters"): {"epochs": 1, "objective": "interclr", "objective.queue": 64, "objective.clusters": 4},
    ("graph", "gcool"): {"epochs": 8, "encoder.width": 16},
    ("graph", "graphmae"): {"epochs": 8, "encoder.width": 16},
    ("vision", "simclr"): {"epochs": 2, "data.batch_size": 256, "encoder.width": 16},
    ("vision", "mae"): {"epochs": 2, "data.batch_size": 256, "encoder.width": 16, "encoder.depth": 1},
    ("speech", "tera"): {"epochs": 1, "data.items": 60},
    ("speech", "wav2vec2"): {"epochs": 1, "data.items": 60},
    ("tabular", "scarf"): {"epochs": 4, "encoder.width": 16},
    ("tabular", "tjepa"): {"epochs": 4, "encoder.width": 16},
}


def trainer(plugin, method, *_, **options):
    return lambda path: pretrain(plugin, method, out=path, quiet=True, baselines=False, probe="", **options,
                                 **{f"trainer.{key}": item for key, item in QUICK.items()})


def again(path):
    return resume(path, quiet=True)


@pytest.mark.parametrize("case", SMALL, ids="-".join)
def test_nothing_is_lost(case, tmp_path):
    if case[0] != "toy" and find_spec(f"ssl_{case[0]}") is None:
        pytest.skip(f"the plugin {case[0]} is not installed")
    counts = crash_loop(trainer(*case, **SMALL[case]), again, tmp_path, kills=3, seed=len("-".join(case)))
    assert counts["kills"] == 3


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", [1, 8, 9])
def test_every_moment_of_a_step(moment, step, tmp_path):
    train = trainer("toy", "byol", epochs=2)
    train(tmp_path / "whole")
    with killed_at(step, moment):
        train(tmp_path / "cut")
    same(again(tmp_path / "cut").path, tmp_path / "whole")


def test_a_crash_loop_sees_what_is_lost(tmp_path):
    """The check itself can fail: a resume that starts over with another seed is caught."""
    def careless(path):
        (path / "config.yaml").write_text((path / "config.yaml").read_text().replace("seed: 0", "seed: 1"))
        for file in (path / "checkpoints").glob("*"):
            file.unlink()
        return again(path)

    with pytest.raises((AssertionError, RunError)):
        crash_loop(trainer("toy", "contrast", epochs=1), careless, tmp_path, kills=1)


def test_a_step_that_no_training_reaches_is_told(tmp_path):
    with pytest.raises(AssertionError, match="no training reached step 99"), killed_at(99):
        trainer("toy", "contrast", epochs=1)(tmp_path / "run")
