"""For those who write plugins: the template, the conformance kit, completion and the examination of what is installed."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

import pytest

from ssl_core.checks import cases
from ssl_core.cli.new import KINDS
from ssl_core.errors import ConfigError, ContractError

SCRIPTS = Path(sys.executable).parent
HOOK = "from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl\n\n\n"
EMPTY = HOOK + "@hookimpl\ndef ssl_encoders():\n    return []\n"


def run(folder, *words, **more):
    """A command of its own process, which sees `folder`/site as installed."""
    environment = os.environ | {"PYTHONPATH": f"{folder / 'site'}", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    ran = subprocess.run([str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True, **more)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_installs_and_passes_its_own_tests(kind, done, tmp_path):
    out = done("new", "my-field", "--like", kind)
    assert "pip install -e ssl-my-field" in out and "sslrun check my-field" in out
    text = "".join(file.read_text() for file in (tmp_path / "ssl-my-field").rglob("*") if file.is_file())
    assert "mydomain" not in text and "ssl_my_field" in text
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", "site")
    run(tmp_path, *pip, "./ssl-my-field")
    assert "\nmy-field  (ssl-my-field 0.1.0)" in run(tmp_path, "sslrun", "list")
    tests = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "ssl-my-field")
    assert "passed" in tests and "failed" not in tests
    if kind == "table":
        found = json.loads(run(tmp_path, "sslrun", "check", "my-field", "--json"))
        assert found["failed"] == 0 and found["passed"] >= 20
        words = ("sslrun", "--plugin", "my-field", "--method", "contrast", "epochs=20", "--json")
        result = json.loads(run(tmp_path, *words))
        assert result["scores"]["linear"] > 0.8 and result["verdict"] == "healthy"


WRONG_NAMES = [("My Field", "lower-case letters"), ("core", "not core"), ("../x", "lower-case"), ("9a", "a letter first")]


@pytest.mark.parametrize("name, message", WRONG_NAMES)
def test_a_name_that_cannot_be_typed_is_refused(name, message, fails, tmp_path):
    assert message in fails("new", name)
    assert not [*tmp_path.iterdir()]


def test_a_folder_is_not_written_over(fails, done, tmp_path):
    done("new", "mine")
    assert "ssl-mine is there already" in fails("new", "mine")
    assert "did you mean 'table'?" in fails("new", "other", "--like", "tabel")
    (tmp_path / "file").write_text("")
    assert "cannot write" in fails("new", "other", "--dir", "file")


PARTS = """
import random

import torch
from torch import nn

from ssl_core import Representation


class Leaks(nn.Module):
    def __init__(self, columns: int, width: int = 16):
        super().__init__()
        self.width, self.layer = width, nn.Linear(columns, width)
    def forward(self, batch):
        rows = self.layer(batch)
        return Representation(rows - rows.mean(0))


class Idle(Leaks):
    def __init__(self, columns: int, width: int = 16):
        super().__init__(columns, width)
        self.unused = nn.Linear(3, 3)
    def forward(self, batch):
        return Representation(self.layer(batch))


class Untyped(nn.Module):
    def __init__(self, width=16):
        super().__init__()


class InPlace:
    def __call__(self, batch):
        batch += 0.1
        return batch, batch + torch.randn_like(batch)


class Unseeded:
    def __call__(self, batch):
        return batch + random.random(), batch


class Ordered(nn.Module):
    gathers = True
    def forward(self, a, b):
        return (a - b.roll(1, 0)).square().mean() + (a[0] - b[0]).square().sum()


class Flat(nn.Module):
    def forward(self, a, b):
        return (a * 0).sum() + (b * 0).sum()


class Rises(nn.Module):
    def forward(self, a, b):
        return -(a - b).square().mean().clamp(max=-1e9) * 0 + _Upward.apply(a, b)


class _Upward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return (a - b).square().mean()
    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return -(a - b), b - a
"""
WINDOW = HOOK + """
@hookimpl
def ssl_encoders():
    yield Component(name="leaks", target="ssl_wrong_parts:Leaks", summary="sees its batch")
    yield Component(name="idle", target="ssl_wrong_parts:Idle", summary="has a layer that it does not use")
    yield Component(name="untyped", target="ssl_wrong_parts:Untyped", summary="an option without a type")
    yield Component(name="gone", target="ssl_wrong_parts:Gone", summary="is not there")
    yield Component(name="mute", target="ssl_wrong_parts:Idle")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="in-place", target="ssl_wrong_parts:InPlace", summary="changes its batch")
    yield Augmentation(name="unseeded", target="ssl_wrong_parts:Unseeded", summary="draws from elsewhere", paper="a talk")


@hookimpl
def ssl_objectives():
    yield Component(name="ordered", target="ssl_wrong_parts:Ordered", summary="cares for the order")
    yield Component(name="flat", target="ssl_wrong_parts:Flat", summary="teaches nothing")
    yield Component(name="rises", target="ssl_wrong_parts:Rises", summary="teaches the contrary")


@hookimpl
def ssl_methods():
    parts = {"data": "toy/blobs", "augmentation": "toy/noise"}
    for name, encoder, objective in (("plain", "leaks", "nt-xent"), ("idle", "idle", "nt-xent"), ("rises", "idle", "rises")):
        yield Recipe(name=name, target="ssl_core:JointEmbedding", **parts, encoder=encoder, objective=objective,
                     summary="a method", options={"optimizer.lr": 0.01, "method.projector": ()})
"""
FOUND = {  # case -> words of what is wrong
    "encoder leaks: batch": "the first items alone, and in their batch: they differ by",
    "encoder untyped: record": "its option 'width' has no type",
    "encoder gone: record": "'gone' points at ssl_wrong_parts:Gone",
    "encoder mute: record": "its summary should be one line",
    "augmentation unseeded: record": "its paper should be arXiv:NUMBER",
    "augmentation in-place: items": "it changes the batch that it was given",
    "augmentation unseeded: seed": "one seed of torch gives two sets of views",
    "objective ordered: order": "in another order: they differ by",
    "objective ordered: two processes": "two processes, and of one with the joined batch: they differ by",
    "objective flat: loss": "no gradient reaches the rows",
    "method idle: gradients": "no gradient reaches encoder.unused.weight, encoder.unused.bias",
    "method rises: learns": "20 steps on one batch took the loss of that batch from",
}


@pytest.fixture
def wrong(distribution, monkeypatch):
    site = distribution("ssl-wrong", plugin="wrong", window=WINDOW, parts=PARTS)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ['PYTHONPATH']}")


@pytest.mark.parametrize("name", FOUND)
def test_the_kit_finds_what_is_wrong(name, wrong):
    case = next(case for case in cases("wrong") if case.name == name)
    with pytest.raises(Exception) as found:
        case()
    assert FOUND[name] in str(found.value)


def test_check_tells_all_of_it_and_fails(wrong, sslrun):
    code, out, _ = sslrun("check", "wrong", "--json")
    found = json.loads(out)
    failed = {one["case"] for one in found["cases"] if one["outcome"] == "failed"}
    assert code == 2 and failed >= FOUND.keys() and found["failed"] == len(failed)
    code, out, _ = sslrun("check", "wrong", "--only", "objective flat")
    assert code == 2 and "FAILED loss: " in out and "objective ordered" not in out and "1 failed" in out


def test_a_sound_plugin_passes(done):
    out = done("check", "toy")
    assert ", 0 failed" in out and "ok     batch" in out


def test_a_window_that_imports_torch_is_found(distribution, monkeypatch):
    site = distribution("ssl-heavy", plugin="heavy", window="import torch\n" + EMPTY)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ['PYTHONPATH']}")
    with pytest.raises(ContractError, match="importing ssl_heavy imports torch"):
        cases("heavy")[0]()


def test_expected_failures_are_strict(wrong):
    def of(name, expected):
        return next(case for case in cases("wrong", expected_failures=expected) if case.name == name)

    of("objective flat: loss", {"objective flat: loss": "it is flat"})()
    with pytest.raises(ContractError, match="passes, and was expected to fail: it is flat"):
        of("objective flat: order", {"objective flat: order": "it is flat"})()
    with pytest.raises(ConfigError, match="did you mean 'objective flat: loss'"):
        cases("wrong", expected_failures={"objective flat: los": "misspelt"})


def test_what_cannot_be_asked_is_skipped_with_a_reason(wrong):
    with pytest.raises(SkipTest, match="does not claim to"):
        next(case for case in cases("wrong") if case.name == "objective flat: two processes")()


COMPLETED = [  # what stands on the line, one that is offered, one that is not
    ("sslrun ", "evaluate", "gcn"), ("sslrun --plugin to", "toy", "core"),
    ("sslrun --plugin toy --method con", "contrast", "barlow"),
    ("sslrun --plugin toy --method contrast enc", "encoder=", "epochs="), ("sslrun show toy/con", "toy/contrast", "toy/barlow"),
    ("sslrun --plugin toy --method contrast objective=barl", "barlow-twins", "vicreg"),
    ("sslrun list --kind ob", "objectives", "methods"), ("sslrun --resume r", "runs/mine", "runs/none"),
]


@pytest.mark.parametrize("line, offered, not_offered", COMPLETED)
def test_words_are_completed(line, offered, not_offered, done, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.yaml").write_text("")
    words = done("completion", "bash", "--for", line).split("\n")
    assert offered in [word.strip() for word in words] and not_offered not in "".join(words)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_of_a_shell_works_in_it(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    load = {"bash": "", "zsh": "autoload -U compinit; compinit -u; "}[shell] + f'eval "$(sslrun completion {shell})"; '
    ask = {"bash": 'COMP_LINE="sslrun --plugin toy --method contr"; COMP_POINT=${#COMP_LINE}; _sslrun; echo "${COMPREPLY[@]}"',
           "zsh": "compadd() { shift; echo $@ }; words=(sslrun --plugin toy --method contr); CURRENT=5; _sslrun"}[shell]
    environment = os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    ran = subprocess.run([shell, "-c", load + ask], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "contrast" in ran.stdout, ran.stderr


def test_no_completion_for_another_shell(fails):
    assert "Offered: bash, zsh" in fails("completion", "fish")


def test_doctor_compares_what_is_required_with_what_is_installed(distribution, sslrun):
    metadata = distribution("ssl-asks", plugin="asks", window=EMPTY) / "ssl_asks-1.0.dist-info" / "METADATA"
    wanted = ("ssl-core>=7", "no-such-thing", "numpy", "other; extra == 'more'")
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {line}\n" for line in wanted))
    code, out, _ = sslrun("doctor", "asks")
    assert code == 2 and "ssl-asks requires ssl-core>=7; 0.1.0 is installed" in out
    assert "requires no-such-thing; it is not installed" in out and "numpy;" not in out and "other" not in out
    assert out.rstrip().endswith("broken: plugin asks")


def test_doctor_says_that_all_is_well(done):
    out = done("doctor", "toy")
    assert out.rstrip().endswith("all is well") and "cache: " in out and "run directory: writable" in out
