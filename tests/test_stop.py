"""A run can be stopped or killed at any moment, and goes on as if it had not been."""
import contextlib
import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssl_core import Run, pretrain
from ssl_core.train import guards

TOY = ("--plugin", "toy", "--method", "contrast")
QUICK = ("epochs=1", "probe=", "baselines=false", "trainer.tensorboard=false")


def weights(path):
    return load_file(Path(path) / "encoder.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(path):
    with (Path(path) / "metrics.csv").open() as file:
        return [(row["step"], row["epoch"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("cut", [1, 2, 4, 5, 7])
def test_a_resume_inside_an_accumulated_step_or_between_two_rows(cut, done, monkeypatch):
    """Eight batches an epoch, three a step: steps end at batches 3, 6 and 8; rows come every second step."""
    words = (*TOY, "epochs=3", "probe=", "baselines=false", "trainer.tensorboard=false", "trainer.accumulate=3",
             "trainer.log_every=2", "trainer.checkpoint_steps=1")
    done(*words, "--out", "whole")
    assert [row[0] for row in rows("whole")] == ["1", "2", "4", "6", "8", "9"]
    end = guards.Checkpoints.on_train_batch_end

    def dies(self, trainer, *rest):
        end(self, trainer, *rest)
        if trainer.global_step == cut:
            raise SystemExit("killed")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(guards.Checkpoints, "on_train_batch_end", dies)
        pretrain("toy", "contrast", out="cut", quiet=True, epochs=3, probe="", baselines=False, trainer={
            "tensorboard": False, "accumulate": 3, "log_every": 2, "checkpoint_steps": 1})
    done("--resume", "cut")
    assert rows("cut") == rows("whole") and same(weights("cut"), weights("whole"))
    ours, theirs = Run.load("cut").result, Run.load("whole").result
    assert ours["loss"] == theirs["loss"] and ours["steps"] == theirs["steps"]


def test_ctrl_c_belongs_to_the_caller_again_after_an_error(sslrun, monkeypatch):
    def fails(*_):
        raise RuntimeError("no")

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(guards.Checkpoints, "on_train_batch_end", fails)
        assert sslrun(*TOY, *QUICK)[0] == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_belong_to_the_caller_again_after_a_run(done):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    done(*TOY, *QUICK)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_ctrl_c_stops_at_once_and_the_run_can_go_on(sslrun, done, monkeypatch):
    end = guards.Checkpoints.on_train_batch_end
    words = (*TOY, "epochs=2", "probe=", "trainer.tensorboard=false", "trainer.checkpoint_steps=2")
    done(*words, "--out", "whole")

    def twice(self, trainer, *rest):
        end(self, trainer, *rest)
        if trainer.global_step == 5:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(guards.Checkpoints, "on_train_batch_end", twice)
        code, _, err = sslrun(*words, "--out", "cut")
    assert code == 130 and "once more to stop at once" in err and "Traceback" not in err
    assert signal.getsignal(signal.SIGINT) is before and Run.load("cut").result == {}
    done("--resume", "cut")
    assert rows("cut") == rows("whole") and same(weights("cut"), weights("whole"))


DISTURBED = """
import random, signal, sys, time, torch
from pathlib import Path
from ssl_core.checkpoints import newest, save

signal.signal(signal.SIGALRM, signal.default_int_handler)
path, parts, came, last = Path(sys.argv[1]), {i: torch.randn(100) for i in range(80)}, 0, -1
save(parts | {"turn": last}, path)
for turn in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + 0.004 * random.random())
        save(parts | {"turn": turn}, path)
        time.sleep(0.01)
    except KeyboardInterrupt:
        came += 1
    found = torch.load(newest(path.parent)[0], weights_only=True)["turn"]
    assert found in (turn, last), (found, turn, last)
    last = found
print(came)
"""


def test_an_interrupt_while_a_checkpoint_is_written(tmp_path):
    """Torch ends the whole process (`terminate called`) where Python's answer to a signal raises while it writes."""
    ended = subprocess.run([sys.executable, "-c", DISTURBED, tmp_path / "last.ckpt"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == 100


@pytest.mark.parametrize("moment", ["on_train_epoch_end", "on_train_end"])
def test_a_stop_after_the_last_step_loses_nothing(moment, sslrun, done, monkeypatch):
    """Ctrl-C may come when there is no step left to end: the run is complete but for its scores."""
    done(*TOY, *QUICK, "--out", "whole")

    def stops(self, *_):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(guards.FirstBatch, moment, stops)  # the first of our callbacks
        code, out, _ = sslrun(*TOY, *QUICK, "--out", "cut", "--json")
    assert code == 130 and json.loads(out)["verdict"] == "interrupted"
    assert Run.load("cut").checkpoint is not None
    result = json.loads(done("--resume", "cut", "--json"))
    assert result["loss"] == Run.load("whole").result["loss"] and result["steps"] == 8
    assert same(weights("cut"), weights("whole")) and rows("cut") == rows("whole")


LONG = (*TOY, "epochs=80", "probe=", "baselines=false", "trainer.tensorboard=false", "trainer.checkpoint_steps=17")


def started(*words):
    """A run in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "ssl_core", *words], **pipes, text=True)


def wait_for(there, process):
    deadline = time.monotonic() + 120
    while not there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def changed(path):
    """A question: is the file there, and another one than now? (Between two checkpoints it is away for a moment.)"""
    def time_of():
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
    before = time_of()
    return lambda: time_of() not in (None, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_later(number, done, tmp_path):
    process = started(*LONG, "--out", "run", "--json")
    wait_for(changed(tmp_path / "run/metrics.csv"), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "stopping after this step" in err
    result = json.loads(out)
    assert result["verdict"] == "interrupted" and "sslrun --resume run" in result["reason"] and 0 < result["steps"] < 640
    resumed = json.loads(done("--resume", "run", "--json"))
    assert resumed["verdict"] == "healthy" and resumed["steps"] == 640
    assert rows("run")[-1][0] == "640"


def test_a_run_killed_three_times_is_the_run_that_was_not(done, tmp_path):
    """SIGKILL at moments that nobody chose: between two checkpoints, while one is written, anywhere."""
    done(*LONG, "--out", "whole")
    draw = random.Random(time.time_ns())
    for words in ((*LONG, "--out", "cut"), ("--resume", "cut"), ("--resume", "cut")):
        process = started(*words)
        wait_for(changed(tmp_path / "cut/checkpoints/last.ckpt"), process)
        time.sleep(draw.random() / 4)
        process.kill()
        process.communicate()
    done("--resume", "cut")
    assert rows("cut") == rows("whole") and same(weights("cut"), weights("whole"))
    assert Run.load("cut").result["loss"] == Run.load("whole").result["loss"]
