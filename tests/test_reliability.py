"""What goes wrong around a training, by injection: spoilt files, a full disk, bad losses, no memory, dead workers, two runs."""
import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from ssl_core import Data, DataError, Run, RunError, pretrain, resume
from ssl_core.checkpoints import Best, fault, newest, save
from ssl_core.errors import Diverged
from ssl_core.methods import JointEmbedding
from ssl_core.testing import killed_at, same
from ssl_core.train.faults import Finite
from ssl_core.train.guards import Checkpoints

QUICK = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False, "monitor_every": 0}


def train(out, method="contrast", data=None, trainer=None, **options):
    return pretrain("toy", method, data, out=out, quiet=True, baselines=False, probe="", trainer=QUICK | (trainer or {}),
                    **{"epochs": 1} | options)


def cut(path):
    path.write_bytes(path.read_bytes()[:-2000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut, flip, empty])
def test_a_spoilt_checkpoint_gives_way_to_the_one_before(spoil, tmp_path, capsys):
    whole = train(tmp_path / "whole")
    with killed_at(5):
        train(tmp_path / "cut")
    spoil(tmp_path / "cut/checkpoints/last.ckpt")
    resumed = resume(tmp_path / "cut", quiet=True)
    assert "cannot be read" in (said := capsys.readouterr().err) and "going on from the one before it" in said
    same(resumed.path, whole.path)
    assert (tmp_path / "cut/checkpoints/spoilt.ckpt").exists()


def test_without_a_whole_checkpoint_a_run_says_so_and_changes_nothing(tmp_path):
    with killed_at(5):
        train(tmp_path / "run")
    folder = tmp_path / "run/checkpoints"
    for path in folder.iterdir():
        flip(path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match="cannot be read.*checksum.*\n.*Try: removing the folder"):
        resume(tmp_path / "run", quiet=True)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()} and len(before) == 2


def test_a_checkpoint_is_checked_before_it_is_read(tmp_path, monkeypatch):
    save({"x": torch.arange(1000)}, tmp_path / "last.ckpt")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    assert fault(tmp_path / "last.ckpt") == "" and newest(tmp_path) == (tmp_path / "last.ckpt", "")
    flip(tmp_path / "last.ckpt")
    assert "checksum" in fault(tmp_path / "last.ckpt")


def test_the_last_and_the_one_before_are_kept(tmp_path):
    for step in range(3):
        save({"step": step}, tmp_path / "last.ckpt")
    found = {path.name: torch.load(path, weights_only=True)["step"] for path in tmp_path.iterdir()}
    assert found == {"last.ckpt": 2, "before.ckpt": 1}


def test_the_best_checkpoints_stay_whether_or_not_a_run_was_resumed(tmp_path):
    more = {"best": 2, "best_by": "loss", "best_is": "highest"}
    train(tmp_path / "whole", trainer=more)
    with (tmp_path / "whole/metrics.csv").open() as file:
        values = [(float(row["loss"]), int(row["step"])) for row in csv.DictReader(file)]
    kept = sorted((tmp_path / "whole/checkpoints").glob("best-*"))
    assert len(kept) == 2
    best = sorted(values, key=lambda pair: (-float(f"{pair[0]:.6g}"), pair[1]))[:2]
    assert {int(path.name.split("-")[1]) for path in kept} == {step for _, step in best}
    for path in kept:
        assert torch.load(path, weights_only=True)["global_step"] == int(path.name.split("-")[1])
    with killed_at(5):
        train(tmp_path / "cut", trainer=more)
    resume(tmp_path / "cut", quiet=True)
    assert [path.name for path in kept] == [path.name for path in sorted((tmp_path / "cut/checkpoints").glob("best-*"))]


@pytest.mark.parametrize("highest", [False, True])
def test_best_is_what_it_says(highest, tmp_path):
    best = Best(tmp_path, 2, "x", highest)
    for step, value in enumerate([3.0, -1.0, float("nan"), 2.0, -5.0]):
        save({"step": step}, tmp_path / "last.ckpt")
        best.consider(tmp_path / "last.ckpt", step, value)
    assert [int(path.name.split("-")[1]) for path in best.kept()] == ([0, 3] if highest else [4, 1])


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError.__mro__[1], match="no column 'lost'.*did you mean 'loss'"):
        train(tmp_path / "run", trainer={"best": 1, "best_by": "lost"})


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_cleanly_with_the_last_good_state(tmp_path, monkeypatch):
    whole, write = train(tmp_path / "whole"), torch.save

    def full(content, file, *rest):
        write(content, file, *rest)
        if content.get("global_step") == 5:
            no_room()

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(RunError, match="No space left.*\n.*making room"):
            train(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["before.ckpt", "last.ckpt"]
    same(resume(tmp_path / "run", quiet=True).path, whole.path)


def test_no_room_for_a_row_of_metrics(tmp_path, monkeypatch):
    from ssl_core.train import logs
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(logs.Metrics, "_append", lambda self: no_room() if self.row["step"] == 4 else None)
        with pytest.raises(RunError, match="No space left.*\n.*making room"):
            train(tmp_path / "run")
    resumed = resume(tmp_path / "run", quiet=True)
    assert resumed.result["loss"] == whole.result["loss"]


@pytest.fixture
def tiny(tmp_path):
    """A file system of 4 MiB."""
    if sys.platform != "linux" or os.geteuid() or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield tmp_path
    os.chdir("/")
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_disk_that_really_is_full(tiny):
    """Room for a few checkpoints, then for none; what fills it goes, and the run ends as if nothing had been."""
    with killed_at(4):
        train(tiny / "run")
    room = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
    (tiny / "full").write_bytes(bytes(room - 8192))
    before = (tiny / "run/checkpoints/last.ckpt").read_bytes()
    with pytest.raises(RunError, match="No space left"):
        resume(tiny / "run", quiet=True)
    assert (tiny / "run/checkpoints/last.ckpt").read_bytes() == before
    (tiny / "full").unlink()
    assert resume(tiny / "run", quiet=True).result["steps"] == 8


def bad_at(monkeypatch, *steps, value=float("nan")):
    """The loss and everything that a step leaves behind are spoilt in these steps."""
    whole, seen = JointEmbedding.step, [0]

    def step(self, batch):
        if self.teacher is None or torch.is_grad_enabled():
            seen[0] += 1
        spoilt = seen[0] - 1 in steps  # the first call is the check of the first batch
        return whole(self, batch * value if spoilt else batch)
    monkeypatch.setattr(JointEmbedding, "step", step)


@pytest.fixture
def states(monkeypatch):
    """Weights, buffers and optimizer after every step."""
    found, whole = [], Checkpoints.on_train_batch_end

    def note(self, trainer, training, *rest):
        whole(self, trainer, training, *rest)
        own = {name: tensor for name, tensor in training.method.state_dict().items() if "teacher" not in name}
        found.append(deepcopy([own, trainer.optimizers[0].state_dict()["state"]]))
    monkeypatch.setattr(Checkpoints, "on_train_batch_end", note)
    return found


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


MEMORIES = {"plain": ("contrast", {}), "queue": ("contrast", {"objective": "nnclr", "objective.queue": 64}),
            "teacher": ("byol", {}), "prototypes": ("contrast", {"objective": "swav", "objective.prototypes": 8}),
            "lars": ("contrast", {"optimizer": "lars"}), "sgd": ("contrast", {"optimizer": "sgd"})}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("on_host", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_step_is_not_taken(memory, on_host, value, tmp_path, monkeypatch, states):
    """Nor do its rows stay in queues and statistics; on the host, and by the flag of fused optimizers."""
    method, options = MEMORIES[memory]
    if not on_host and memory == "lars":
        pytest.skip("it is not fused, so the host is asked")
    bad_at(monkeypatch, 3, 7, value=value)
    start = Finite.on_train_start

    def elsewhere(self, *given):
        start(self, *given)
        self.on_host = on_host
    monkeypatch.setattr(Finite, "on_train_start", elsewhere)
    run = train(tmp_path / "run", method, trainer={"skip_bad": 2, "checkpoint_steps": 0}, **options)
    assert run.result["verdict"] != "diverged" and run.result["loss"] is not None and len(states) == 8
    kept = [equal(a, b) for a, b in zip(states, states[1:])]
    assert kept == [False, True, False, False, False, True, False]  # the states after steps 3 and 7 are those before
    assert all(tensor.isfinite().all() for tensor in states[-1][0].values())


def test_one_bad_step_too_many_ends_the_run_with_a_report(tmp_path, monkeypatch):
    bad_at(monkeypatch, 2, 4, 6)
    with pytest.raises(Diverged, match=r"the loss became nan at step 6 \(epoch 0, batch 5 of it.*2 such steps are left out"):
        train(tmp_path / "run", trainer={"skip_bad": 2})
    report = json.loads((tmp_path / "run/faults/step-6.json").read_text())
    assert report["step"] == 6 and report["batch"] == 5 and report["losses"] == {"loss": "nan"}
    assert report["largest gradients"][0] == ["encoder.body.0.weight", "nan"] and report["steps left out"] == 3
    assert len(report["items"]["ids"]) == report["items"]["count"] == 32


def test_a_method_may_have_other_losses_later_on(tmp_path, monkeypatch):
    bad_at(monkeypatch, 3, 5, 6)
    spoilt, seen = JointEmbedding.step, [0]

    def step(self, batch):
        seen[0] += 1
        found = spoilt(self, batch)
        return found | {"extra": found["loss"] * 2} if seen[0] > 5 else found
    monkeypatch.setattr(JointEmbedding, "step", step)
    with pytest.raises(Diverged, match="the loss became nan at step 6"):
        train(tmp_path / "run", trainer={"skip_bad": 2})
    report = json.loads((tmp_path / "run/faults/step-6.json").read_text())
    assert report["losses"] == {"loss": "nan", "extra": "nan"}


def test_the_limit_holds_over_resumes(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        bad_at(patch, 2)
        with killed_at(4):
            train(tmp_path / "run", trainer={"skip_bad": 1})
    bad_at(monkeypatch, 1)  # no first batch is checked now, so this is the second step
    with pytest.raises(Diverged, match="1 such steps are left out"):
        resume(tmp_path / "run", quiet=True)


SEED = 3  # which does not draw that item into the first batch, where the contracts would find it


def test_the_items_that_spoil_a_batch_are_named(tmp_path):
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    x[11, 3] = torch.inf
    with pytest.raises(Diverged) as error:
        train(tmp_path / "run", data=x, seed=SEED, **{"data.batch_size": 16})
    report = json.loads(next((tmp_path / "run/faults").glob("*.json")).read_text())["items"]
    assert [report["ids"][i] for i in report["not finite"]] == [11], str(error.value)


def test_out_of_memory_says_how_many_items_would_fit(tmp_path, monkeypatch):
    whole = JointEmbedding.step

    def hungry(self, batch):
        if len(batch) > 21:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return whole(self, batch)
    monkeypatch.setattr(JointEmbedding, "step", hungry)
    with pytest.raises(RunError, match=r"out of memory in step 1, with 32 items in a batch; about 21 would fit\.\n.*"
                                       r"data\.batch_size=21"):
        train(tmp_path / "run")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_in_the_middle(error, tmp_path, monkeypatch):
    def none_left(*_):
        raise error
    monkeypatch.setattr("ssl_core.methods.JointEmbedding.after_step", none_left)
    with pytest.raises(RunError, match="out of memory in step .*, though the 32 items of the first batch fit"):
        train(tmp_path / "run")


class Fragile(Dataset):
    """Items of which one does something else than being read."""

    def __init__(self, fails):
        self.fails = fails

    def __len__(self):
        return 64

    def __getitem__(self, i):
        if i == 40:
            self.fails()
        return torch.full((8,), float(i)) + torch.arange(8)


def dies():
    os.kill(os.getpid(), signal.SIGKILL)


def refuses():
    raise DataError("item-40.wav is no recording")


def gone():
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/item-40.png")


@pytest.mark.parametrize("fails, workers, message", [
    (dies, 1, "a process that loads data died.*want of memory"),
    (refuses, 0, "^item-40.wav is no recording$"), (refuses, 1, "^item-40.wav is no recording$"),
    (gone, 0, "cannot read /data/item-40.png: No such file.*Has it been moved"),
])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch, of the dead worker
def test_an_item_or_a_worker_that_fails_is_said_plainly(fails, workers, message, tmp_path, monkeypatch):
    loader = DataLoader(Fragile(fails), 16, num_workers=workers)
    monkeypatch.setattr("ssl_toy_parts.array", lambda source, batch_size=32: Data(
        train=loader, size=64, items=[torch.ones(4, 8)], facts={"columns": 8}, fingerprint="x"))
    with pytest.raises((RunError, DataError), match=message):
        train(tmp_path / "run", data=torch.ones(2, 2))
    assert fails is dies or (tmp_path / "run/checkpoints/last.ckpt").exists()  # of the batches before


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EOFError(),
                                   FileNotFoundError(errno.ENOENT, "No such file or directory")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch, of the batch that nobody took
def test_a_worker_that_dies_while_it_hands_a_batch_over_is_said_as_plainly(error, tmp_path, monkeypatch):
    def broken(ident):
        raise error

    loader = DataLoader(Fragile(lambda: None), 16, num_workers=1)
    monkeypatch.setattr("ssl_toy_parts.array", lambda source, batch_size=32: Data(
        train=loader, size=64, items=[torch.ones(4, 8)], facts={"columns": 8}, fingerprint="x"))
    monkeypatch.setattr("multiprocessing.resource_sharer._resource_sharer.get_connection", broken)
    with pytest.raises(RunError, match="a process that loads data died"):
        train(tmp_path / "run", data=torch.ones(2, 2))


def test_a_worker_that_dies_while_the_first_batch_is_checked_is_no_fault_of_the_method(tmp_path, monkeypatch):
    def died(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    monkeypatch.setattr(JointEmbedding, "step", died)
    with pytest.raises(RunError, match="^a process that loads data died .DataLoader worker .pid 7. is killed"):
        train(tmp_path / "run")


def test_clocks_that_jump_change_nothing(tmp_path, monkeypatch):
    now, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() + (-1) ** next(jumps) * 10**7)
    run = train(tmp_path / "run", trainer={"checkpoint_steps": 0, "checkpoint_seconds": 1e6})
    assert 0 < run.result["seconds"] < 1000
    assert not (tmp_path / "run/checkpoints/before.ckpt").exists()  # the time for another one had not come


def test_the_core_reads_no_clock_that_jumps():
    source = Path(sys.modules["ssl_core"].__file__).parent
    found = [path for path in source.rglob("*.py") if "time.time(" in path.read_text() and "template" not in path.parts]
    assert found == []


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path):
    with killed_at(3):
        train(tmp_path / "run")
    (tmp_path / "run/.lock").unlink()
    (tmp_path / "run/.lock").mkdir()  # root may write anywhere but here
    with pytest.raises(RunError, match="cannot write to"):
        resume(tmp_path / "run", quiet=True)


def test_two_runs_do_not_share_a_directory_and_a_killed_one_leaves_no_lock(tmp_path):
    words = ["--plugin", "toy", "--method", "contrast", "epochs=200", "probe=", "baselines=false", "trainer.tensorboard=false",
             "trainer.checkpoint_steps=5", "trainer.monitor_every=0", "--out", "run"]
    process = subprocess.Popen([sys.executable, "-m", "ssl_core", *words], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/checkpoints/last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    with pytest.raises(RunError, match=f"in use by process {process.pid} on "):
        resume("run", quiet=True)
    process.kill()
    process.communicate()
    (tmp_path / "run/config.yaml").write_text((tmp_path / "run/config.yaml").read_text().replace("epochs: 200", "epochs: 1"))
    assert Run.load("run").result == {} and resume("run", quiet=True).result["verdict"]
