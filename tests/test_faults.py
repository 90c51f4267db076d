"""Whatever a plugin or a user gets wrong: one message that names it, exit code 2, and everything else goes on working."""
import json
import os

import pytest
import torch

HOOK = "from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl\n\n\n@hookimpl\n"

BROKEN = {  # what is wrong: window, words of the message
    "an import that fails": ("import there_is_no_such_module", ["ModuleNotFoundError", "there_is_no_such_module"]),
    "a syntax error": ("def (:", ["SyntaxError"]),
    "an exit while it is imported": ("raise SystemExit(3)", ["SystemExit: 3"]),
    "a misspelt hook": (HOOK + "def ssl_encoder():\n    yield", ["no hook ssl_encoder", "did you mean 'ssl_encoders'?"]),
    "an unknown hook": (HOOK + "def ssl_quantum():\n    yield", ["no hook ssl_quantum", "newer ssl-core", "optionalhook"]),
    "a name offered twice": (
        HOOK + "def ssl_encoders():\n    yield Component(name='a', target='x:A')\n    yield Component(name='a', target='x:B')",
        ["ssl_encoders", "'a' is offered twice, as x:A and as x:B"]),
    "no record": (HOOK + "def ssl_encoders():\n    yield 'gcn'", ["ssl_encoders should yield Component records, not 'gcn'"]),
    "a record of another kind": (
        HOOK + "def ssl_methods():\n    yield Component(name='a', target='x:A')", ["ssl_methods should yield Recipe records"]),
    "a name that cannot be typed": (
        HOOK + "def ssl_encoders():\n    yield Component(name='My Net', target='x:A')", ["'My Net' is not a name"]),
    "a hook that fails": (HOOK + "def ssl_datasets():\n    yield 1 / 0", ["ZeroDivisionError"]),
    "a hook that asks for too much": (HOOK + "def ssl_encoders(config):\n    yield", ["PluginValidationError", "config"]),
    "a record with a field too many": (
        HOOK + "def ssl_encoders():\n    yield Component(name='a', target='x:A', colour=1)", ["TypeError", "colour"]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_named_and_harms_no_other(fault, distribution, sslrun, fails):
    window, words = BROKEN[fault]
    distribution("ssl-broken", "2.7", plugin="broken", window=window)
    message = fails("--plugin", "broken", "--method", "any")
    assert all(word in message for word in ["ssl-broken 2.7 could not be loaded", "Try: sslrun doctor broken", *words]), message
    code, out, _ = sslrun("list")
    assert code == 0 and "\nx broken  (ssl-broken 2.7)" in out and "\ntoy  (ssl-toy 0.1.0)" in out and "contrast" in out
    assert max(map(len, out.splitlines())) <= 80
    listed = json.loads(sslrun("list", "--json")[1])
    assert words[0] in listed["broken"]["error"] and listed["toy"]["error"] is None
    code, out, _ = sslrun("doctor", "broken")
    assert code == 2 and "broken: plugin broken" in out and all(word in out for word in words)
    assert "Traceback" in out  # here it is asked for


def test_a_broken_plugin_does_not_stop_the_run_of_another(distribution, sslrun):
    distribution("ssl-broken", plugin="broken", window="import there_is_no_such_module")
    code, _, err = sslrun("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=", "--json")
    assert code == 0, err


def test_a_plugin_that_is_half_registered_is_not_registered_at_all(distribution, sslrun):
    """The callbacks of a plugin whose other hooks fail are not called."""
    distribution("ssl-half", plugin="half", window=HOOK + "def ssl_encoders():\n    yield 5\n\n\n@hookimpl\n"
                 "def ssl_callbacks(config):\n    raise RuntimeError('called')\n")
    assert sslrun("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=")[0] == 0


def test_callbacks_that_fail_are_named(distribution, fails):
    distribution("ssl-calls", "0.3", plugin="calls", window=HOOK + "def ssl_callbacks(config):\n    raise RuntimeError('no')\n")
    message = fails("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=")
    assert "callbacks of ssl-calls 0.3 failed: RuntimeError: no" in message and "sslrun doctor calls" in message


def test_two_packages_with_one_plugin_name_are_both_named(distribution, sslrun, fails):
    for name, version in (("ssl-first", "1.0"), ("ssl-second", "2.0")):
        distribution(name, version, plugin="twin", window=HOOK + "def ssl_encoders():\n    return []\n")
    message = fails("--plugin", "twin", "--method", "any")
    assert "2 packages claim the plugin name 'twin'" in message and "ssl-first 1.0" in message and "ssl-second 2.0" in message
    assert "x twin" in sslrun("list")[1] and "2 packages claim" in sslrun("doctor", "twin")[1]


@pytest.mark.parametrize("generation, upgrade", [("v2", "ssl-core"), ("v0", "ssl-alien"), ("vnext", "ssl-alien")])
def test_another_generation_is_known_and_never_imported(generation, upgrade, distribution, sslrun, fails, tmp_path):
    window = f"open({str(tmp_path / 'imported')!r}, 'w')"
    distribution("ssl-alien", "5.0", plugin="alien", window=window, group=f"ssl_core.{generation}")
    message = fails("--plugin", "alien", "--method", "any")
    assert f"ssl-alien 5.0 was written for plugin API {generation[1:]}" in message
    assert f"pip install --upgrade {upgrade}" in message
    assert "x alien  (ssl-alien 5.0)" in sslrun("list")[1]
    assert sslrun("doctor", "alien")[0] == 2
    assert not (tmp_path / "imported").exists()


def test_doctor_finds_targets_that_do_not_import(distribution, sslrun, fails):
    window = HOOK + "def ssl_encoders():\n" + "".join(f"    yield Component(name={n!r}, target={t!r})\n" for n, t in (
        ("sound", "ssl_dead_parts:Sound"), ("gone", "ssl_dead_parts:Gone"), ("far", "no_such_library.nets:Net")))
    distribution("ssl-dead", plugin="dead", window=window, parts="class Sound:\n    pass\n")
    code, out, _ = sslrun("doctor", "dead")
    assert code == 2 and "encoder gone" in out and "'no_such_library', which is not installed" in out and "sound" not in out
    assert sslrun("list", "dead")[0] == 0  # a list imports no target
    message = fails("--plugin", "toy", "--method", "contrast", "encoder=dead/far")
    assert "needs the module 'no_such_library'" in message and "pip install no_such_library" in message


TOY = ("--plugin", "toy", "--method", "contrast")
MISTAKES = [  # words of the command, words of the message
    (("--plugin", "toi", "--method", "contrast"), ["no plugin named 'toi'", "did you mean 'toy'?", "installed: "]),
    (("--plugin", "quantum", "--method", "x"), ["no plugin named 'quantum'", "pip install ssl-quantum"]),
    (("--plugin", "toy"), ["--plugin and --method are needed", "contrast", "barlow"]),
    (("--plugin", "toy", "--method", "contrsat"), ["no method named 'contrsat'", "did you mean 'contrast'?"]),
    (("lst",), ["no command named 'lst'", "did you mean 'list'?"]),
    (("list", "toi"), ["did you mean 'toy'?"]), (("doctor", "toi"), ["did you mean 'toy'?"]),
    (("show", "toy/contrsat"), ["toy offers nothing named 'contrsat'", "did you mean 'contrast'?", "sslrun list toy"]),
    ((*TOY, "encoder=nett"), ["no encoder named 'nett'", "did you mean 'net'?"]),
    ((*TOY, "encoder=toi/net"), ["no plugin named 'toi'"]),
    ((*TOY, "data=blob"), ["no dataset named 'blob'", "did you mean 'blobs'?"]),
    ((*TOY, "data=no/such.pt"), ["no file or folder no/such.pt"]),
    ((*TOY, "probe=knn,liner"), ["no probe named 'liner'", "did you mean 'linear'?"]),
    ((*TOY, "objective=barlow-twin"), ["did you mean 'barlow-twins'?"]),
    ((*TOY, "optimizer=adamww"), ["no optimizer named 'adamww'", "did you mean 'adamw'?"]),
    ((*TOY, "schedule=cosin"), ["no schedule named 'cosin'", "did you mean 'cosine'?"]),
    ((*TOY, "schedule.warmup=10"), ["warmup should lie between 0 and 1, got 10"]),
    ((*TOY, "epoch=5"), ["unknown option 'epoch'", "did you mean 'epochs'?"]),
    ((*TOY, "lr=5"), ["did you mean optimizer.lr?"]),
    ((*TOY, "enocder.width=5"), ["did you mean 'encoder'?"]),
    ((*TOY, "encoder.widht=5"), ["encoder Net has no option 'widht'", "did you mean 'width'?", "It takes: columns, width"]),
    ((*TOY, "encoder.width=many"), ["encoder.width should be int, got 'many'"]),
    ((*TOY, "encoder.width=-1"), ["encoder Net could not be built", "width=-1"]),
    ((*TOY, "epochs=-1"), ["epochs should be 0 or more, got -1"]),
    ((*TOY, "epochs=many"), ["epochs should be int, got 'many'"]),
    ((*TOY, "epochs"), ["expected key=value, got 'epochs'"]),
    ((*TOY, "trainer.precision=17"), ["trainer.precision should be one of '32'"]),
    ((*TOY, "trainer.log_every=0"), ["log_every should be 1 or more"]),
    ((*TOY, "trainer.accelerator=abacus"), ["the trainer cannot be built", "abacus", "trainer.accelerator=auto"]),
    ((*TOY, "optimizer.lr=-1"), ["Invalid learning rate: -1"]),
    ((*TOY, "augmentation=random-mask"), ["needs an augmentation that makes views; 'random-mask' makes mask"]),
    (("--plugin", "toy", "--method", "jepa", "augmentation=noise"), ["makes mask; 'noise' makes views"]),
    ((*TOY, "--config", "none.yaml"), ["cannot read the options in none.yaml"]),
    ((*TOY, "--config", "wrong.yaml"), ["wrong.yaml is not YAML"]),
    ((*TOY, "--config", "key.yaml"), ["unknown option 'encodr'", "did you mean 'encoder'?"]),
    ((*TOY, "--init", "none.safetensors"), ["no weights at none.safetensors", "--init RUN"]),
    ((*TOY, "--init", "wrong.yaml"), ["cannot read the weights in wrong.yaml", ".safetensors"]),
    ((*TOY, "--out", "file"), ["cannot make a run directory in file", "--out DIR"]),
    ((*TOY, "--out", "file/below"), ["cannot make a run directory in file/below"]),
    (("--resume", "none"), ["none is no run directory"]),
    (("--resume", "folder"), ["folder is no run directory", "config.yaml"]),
    (("--resume", "folder", "epochs=5"), ["folder is no run directory"]),
    (("--resume", "folder", "data=x.pt"), ["--resume takes no other option", "epochs=+20"]),
    (("--resume", "folder", "--seed", "5"), ["--resume takes no other option"]),
    (("evaluate", "folder"), ["folder is no run directory"]),
    (("embed", "folder", "--out", "x.npz"), ["folder is no run directory"]),
    (("embed", "folder", "--out", "x.csv"), ["--out should end in .npz or .parquet, got 'x.csv'"]),
    (("evaluate", "folder", "cora"), ["expected data=NAME_OR_PATH, got 'cora'"]),
]


@pytest.mark.parametrize("words, message", MISTAKES, ids=lambda item: " ".join(item))
def test_a_mistake_is_answered_in_one_message(words, message, fails, tmp_path):
    (tmp_path / "wrong.yaml").write_text("a: [1\n")
    (tmp_path / "key.yaml").write_text("encodr: net\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    found = fails(*words)
    assert all(word in found for word in message), found
    assert not (tmp_path / "runs").exists() or "trainer.accelerator=abacus" in words  # nothing half-made is left behind


def test_a_traceback_is_shown_when_it_is_asked_for(sslrun):
    code, _, err = sslrun(*TOY, "encoder=nett", "--traceback")
    assert code == 2 and "Traceback" in err and "no encoder named 'nett'" in err


def test_a_failure_of_ours_says_so(sslrun, monkeypatch):
    monkeypatch.setattr("ssl_core.cli.listing.Plugins", lambda: 1 / 0)
    code, out, err = sslrun("list")
    assert code == 1 and out == "" and "failure of ours: ZeroDivisionError" in err and "--traceback" in err
    assert "Traceback (most recent" not in err
    code, _, err = sslrun("list", "--traceback")
    assert code == 1 and "Traceback (most recent" in err


def test_a_run_is_not_written_over(fails, sslrun):
    assert sslrun(*TOY, "epochs=0", "probe=", "--out", "mine")[0] == 0
    assert "mine holds a run already" in (message := fails(*TOY, "epochs=0", "--out", "mine")) and "--resume mine" in message


def test_a_folder_that_may_not_be_written_to_is_named(fails, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert "Permission denied" in fails(*TOY, "epochs=0", "--out", "mine")


def test_a_run_whose_data_have_changed_is_not_resumed(fails, sslrun, tmp_path):
    torch.save(torch.randn(64, 8), tmp_path / "x.pt")
    assert sslrun(*TOY, "data=x.pt", "epochs=1", "--out", "run")[0] == 0
    (tmp_path / "run" / "result.json").unlink()
    torch.save(torch.randn(64, 8), tmp_path / "x.pt")
    message = fails("--resume", "run")
    assert "the data of run have changed" in message and "--init run" in message


SPOILT = [  # file of a run, what it holds, words of the message, what is done with the run
    ("result.json", "{", "cannot read", ("--resume", "run")),
    ("config.yaml", "epochs: 3\n", "is not the configuration of a run", ("--resume", "run")),
    ("config.yaml", "plugin: toi\nmethod: contrast\ndata: blobs\n", "did you mean 'toy'", ("evaluate", "run")),
    ("encoder.safetensors", "x", "do not fit the encoder", ("evaluate", "run")),
    ("encoder.json", "[", "cannot read", ("evaluate", "run")),
    ("encoder.json", None, "holds no encoder yet", ("evaluate", "run")),
    ("encoder.safetensors", None, "holds no encoder yet", ("embed", "run", "--out", "x.npz")),
    ("checkpoints/last.ckpt", "x", "checkpoint", ("--resume", "run")),
]


@pytest.mark.parametrize("file, text, message, words", SPOILT)
def test_a_spoilt_run_is_named(file, text, message, words, sslrun, fails, tmp_path):
    assert sslrun(*TOY, "epochs=1", "probe=", "--out", "run", "trainer.tensorboard=false")[0] == 0
    path = tmp_path / "run" / file
    path.unlink() if text is None else path.write_text(text)
    if file.startswith("checkpoints"):
        (tmp_path / "run" / "result.json").unlink()
    assert message in fails(*words)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


@pytest.mark.parametrize("file", ["config.yaml", "checkpoints/last.ckpt", "encoder.safetensors"])
def test_opening_a_run_runs_no_code(file, fails, sslrun, tmp_path):
    assert sslrun(*TOY, "epochs=1", "probe=", "--out", "run")[0] == 0
    path = tmp_path / "run" / file
    if file == "config.yaml":
        path.write_text(path.read_text() + "evil: !!python/object/apply:os.mkdir [hacked]\n")
    else:
        torch.save({"state_dict": Evil()}, path)
    (tmp_path / "run" / "result.json").unlink()
    fails(*(("evaluate", "run") if file == "encoder.safetensors" else ("--resume", "run")))
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("words", [("evaluate", "run"), ("embed", "run", "--out", "x.npz")])
def test_a_device_that_is_not_there_is_named(words, sslrun, fails):
    assert sslrun(*TOY, "epochs=0", "probe=", "--out", "run")[0] == 0
    assert "--device abacus cannot be used here" in fails(*words, "--device", "abacus")


def test_data_that_do_not_fit_the_encoder_of_a_run(sslrun, fails, tmp_path):
    assert sslrun(*TOY, "epochs=0", "probe=", "--out", "run")[0] == 0
    torch.save(torch.randn(64, 9), tmp_path / "nine.pt")
    assert "do not fit the encoder: columns: 9, the encoder takes 8" in fails("evaluate", "run", "data=nine.pt")


def test_weights_that_fit_nothing_are_refused_and_some_that_do_are_told(sslrun, fails):
    assert sslrun(*TOY, "epochs=0", "probe=", "--out", "run")[0] == 0
    message = fails("--plugin", "toy", "--method", "jepa", "--init", "run", "--out", "none")
    assert "no weight in run/encoder.safetensors fits this encoder" in message and "body.0.weight" in message


def test_a_checkpoint_that_cannot_be_read_does_not_end_the_run(sslrun, fails, tmp_path):
    assert sslrun(*TOY, "epochs=1", "probe=", "--out", "run")[0] == 0
    (tmp_path / "run" / "result.json").unlink()
    whole = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(whole[:1000])
    fails("--resume", "run")
    assert not (tmp_path / "run" / "result.json").exists()
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(whole)
    assert sslrun("--resume", "run")[0] == 0


def test_an_encoder_of_another_domain_is_named_with_the_batch_that_it_was_given(fails):
    message = fails("--plugin", "graph", "--method", "gcool", "encoder=toy/net", "encoder.columns=64", "epochs=1", "probe=")
    assert "encoder Net failed on a batch of type Data: " in message
