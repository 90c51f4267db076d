"""The command line from end to end on the toy plugin: what it prints, what it writes, and that it can be stopped."""
import csv
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from ssl_core import Run, pretrain
from ssl_core.assembly import assemble
from ssl_core.config import resolve
from ssl_core.plugins import Plugins

TOY = ("--plugin", "toy", "--method", "contrast")
QUICK = ("epochs=1", "probe=", "baselines=false", "trainer.tensorboard=false")
KEYS = {"run", "plugin", "method", "data", "epochs", "seed", "loss", "scores", "untrained", "raw", "rankme", "width", "verdict",
        "seconds", "items_per_second", "peak_memory_mb", "skipped"}
FILES = {"config.yaml", "environment.json", "metrics.csv", "result.json", "encoder.safetensors", "encoder.json",
         "checkpoints/last.ckpt"}


def one_object(out):
    """Standard output under --json: one line, one object, and nothing that is not JSON."""
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def weights(path):
    return load_file(Path(path) / "encoder.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(path):
    with (Path(path) / "metrics.csv").open() as file:
        return [(row["step"], row["epoch"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


def test_a_run_leaves_its_files_and_prints_its_result(done, tmp_path):
    result = one_object(done(*TOY, "--json", "epochs=2", "--seed", "3"))
    assert KEYS <= result.keys() and result["run"] == "runs/toy-contrast-blobs-1"
    folder = tmp_path / result["run"]
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert FILES <= written and any(name.startswith("tensorboard/events") for name in written)
    assert not any(Path(name).name.startswith(".") for name in written - {".lock"})  # nothing half-written
    assert json.loads((folder / "result.json").read_text()) == result
    assert {k: result[k] for k in ("plugin", "method", "data", "epochs", "seed", "width", "skipped")} == {
        "plugin": "toy", "method": "contrast", "data": "blobs", "epochs": 2, "seed": 3, "width": 16, "skipped": []}
    for scores in (result["scores"], result["untrained"], result["raw"]):
        assert scores.keys() == {"linear", "knn", "nmi", "ari", "acc"} and all(-1 <= v <= 1 for v in scores.values())
    found = json.loads((folder / "environment.json").read_text())
    assert found["seed"] == 3 and found["data"] and {"ssl-core", "ssl-toy", "torch"} <= found["versions"].keys()
    assert rows(folder)[-1][0] == "16"
    assert done(*TOY, "epochs=0", "probe=").strip().endswith("runs/toy-contrast-blobs-2")


def test_without_json_a_person_reads_a_table(sslrun):
    code, out, err = sslrun(*TOY, "epochs=1", "trainer.tensorboard=false")
    assert code == 0 and "toy/contrast on blobs: 1 epochs" in out and "run directory: runs/toy-contrast-blobs-1" in out
    table = [line.split()[0] for line in out.splitlines() if "0." in line and "  " in line]
    assert table == ["raw", "untrained", "contrast"]
    assert "step" in err  # the bar


def test_a_dry_run_writes_nothing(done, tmp_path):
    out = done(*TOY, "--dry-run", "encoder.width=24")
    assert "encoder.width=24" in out and "all parts fit together: 240 items, 8 batches an epoch" in out
    assert one_object(done(*TOY, "--dry-run", "--json"))["optimizer.lr"] == 0.01
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("method", ["contrast", "byol", "mae"])
def test_the_config_of_a_run_gives_the_same_run(method, done):
    words = ("--plugin", "toy", "--method", method, "epochs=2", "--seed", "5", "encoder.width=12", "optimizer=sgd",
             "schedule=wsd")
    first = one_object(done(*words, "--out", "first", "--json"))
    second = one_object(done("--config", "first/config.yaml", "--out", "second", "--json"))
    assert {k: first[k] for k in ("loss", "scores", "untrained", "rankme")} == {
        k: second[k] for k in ("loss", "scores", "untrained", "rankme")}
    assert same(weights("first"), weights("second")) and rows("first") == rows("second")
    assert Path("first/config.yaml").read_text() == Path("second/config.yaml").read_text()


def test_the_seed_decides_and_nothing_else_does(done):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(random.randrange(9))  # whatever happened before
        done(*TOY, *QUICK, "--seed", seed, "--out", name)
    assert same(weights("a"), weights("b")) and not same(weights("a"), weights("c"))


PRECEDENCE = [  # file, words, options of the run
    (None, (), {"epochs": 3, "optimizer.lr": 1e-2, "encoder.width": 16, "objective": "nt-xent"}),
    ("epochs: 4\n", (), {"epochs": 4}), ("epochs: 4\nseed: 8\n", ("epochs=5",), {"epochs": 5, "seed": 8}),
    ("seed: 8\n", ("--seed", "9"), {"seed": 9}),
    ("optimizer:\n  lr: 1e-3\nencoder: {name: net, width: 8}\n", (), {"optimizer.lr": 1e-3, "encoder.width": 8}),
    ("encoder.width: 8\n", ("encoder.width=9",), {"encoder.width": 9}),
    ("objective: barlow-twins\n", (), {"objective": "barlow-twins", "objective.temperature": None}),
    ("objective.temperature: 0.7\n", ("objective=infonce",), {"objective.temperature": "its own"}),
    (None, ("optimizer=sgd",), {"optimizer": "sgd", "optimizer.lr": 1e-3}),  # the rate was meant for adamw
    (None, ("optimizer=sgd", "optimizer.lr=0.5"), {"optimizer.lr": 0.5}),
    ("method: byol\nplugin: toy\n", (), {"method": "contrast"}),  # the command line wins
    (None, ("trainer.precision=32",), {"trainer.precision": "32"}),
    (None, ("method.projector=[32,8]",), {"method.projector": [32, 8]}),
]


@pytest.mark.parametrize("file, words, wanted", PRECEDENCE, ids=str)
def test_defaults_before_recipe_before_file_before_command_line(file, words, wanted, done, tmp_path):
    if file is not None:
        (tmp_path / "own.yaml").write_text(file)
        words = "--config", "own.yaml", *words
    found = one_object(done(*TOY, *words, "--dry-run", "--json"))
    if wanted == {"objective.temperature": "its own"}:
        assert found["objective.temperature"] != 0.7
    else:
        assert {key: found.get(key) for key in wanted} == wanted


def test_plugin_and_method_may_stand_in_the_file(done, tmp_path):
    (tmp_path / "own.yaml").write_text("plugin: toy\nmethod: byol\nepochs: 0\nprobe: []\n")
    assert one_object(done("--config", "own.yaml", "--json"))["method"] == "byol"


def test_a_recipe_says_what_holds_for_one_data_set(distribution, done):
    distribution("ssl-per", plugin="per", window="""
        from ssl_core import Recipe, hookimpl

        @hookimpl
        def ssl_methods():
            yield Recipe(name="m", target="ssl_core:JointEmbedding", data="toy/blobs", encoder="toy/net",
                         augmentation="toy/noise", objective="nt-xent", options={"data.rows": 64, "epochs": 2},
                         per_data={"toy/blobs": {"epochs": 5, "encoder.width": 8, "data.batch_size": 16}})
    """)
    words = ("--plugin", "per", "--method", "m", "--dry-run", "--json")
    found = one_object(done(*words))
    assert [found[key] for key in ("epochs", "encoder.width", "data.rows", "data.batch_size")] == [5, 8, 64, 16]
    assert one_object(done(*words, "encoder.width=9", "epochs=1"))["encoder.width"] == 9


@pytest.mark.parametrize("method", ["contrast", "jepa"])
def test_evaluate_gives_the_scores_of_the_run_again(method, done):
    result = one_object(done("--plugin", "toy", "--method", method, "epochs=2", "--out", "run", "--json"))
    again = one_object(done("evaluate", "run", "--json"))
    assert {k: again[k] for k in ("scores", "untrained", "raw", "rankme", "width")} == {
        k: result[k] for k in ("scores", "untrained", "raw", "rankme", "width")}
    one = one_object(done("evaluate", "run", "--probe", "knn", "--json"))
    assert one["scores"] == {"knn": result["scores"]["knn"]}
    assert f"{result['scores']['knn']:.4f}" in done("evaluate", "run")


def test_data_without_labels_are_trained_on_and_embedded(done, tmp_path):
    torch.save(torch.randn(50, 8), tmp_path / "own.pt")
    result = one_object(done(*TOY, "data=own.pt", "epochs=1", "--json"))
    assert result["scores"] == result["raw"] == {} and result["verdict"] == "healthy" and result["rankme"] > 1
    assert result["run"] == "runs/toy-contrast-own-1"
    assert "nothing to score" in done("evaluate", result["run"])
    assert "0." not in done("evaluate", result["run"]).partition("rankme")[0]


def test_embeddings_are_written_with_names_and_labels(done, tmp_path):
    done(*TOY, *QUICK, "--out", "run")
    said = one_object(done("embed", "run", "--out", "deep/er/z.npz", "--json"))
    assert said == {"out": "deep/er/z.npz", "items": 240, "width": 16, "skipped": []}
    with np.load(tmp_path / "deep/er/z.npz", allow_pickle=False) as found:
        torch.testing.assert_close(torch.from_numpy(found["embeddings"]), Run.load("run").embed())
        assert found["names"].tolist() == [str(i) for i in range(240)] and found["labels"].tolist() == [0, 1, 2, 3] * 60
    torch.save(torch.randn(7, 8), tmp_path / "own.pt")
    assert "7 items x 16 features" in done("embed", "run", "--data", "own.pt", "--out", "own.npz")
    assert set(np.load(tmp_path / "own.npz")) == {"embeddings", "names"}


def test_embeddings_as_parquet_need_pyarrow_and_say_so(done, sslrun, tmp_path, monkeypatch):
    done(*TOY, *QUICK, "--out", "run")
    with monkeypatch.context() as without:
        for name in ("pyarrow", "pyarrow.parquet"):
            without.setitem(sys.modules, name, None)
        code, out, err = sslrun("embed", "run", "--out", "z.parquet")
    assert code == 2 and "pip install pyarrow" in err and not (tmp_path / "z.parquet").exists()
    table = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    done("embed", "run", "--out", "z.parquet")
    assert table.read_table("z.parquet").column_names == ["name", *(f"z{i}" for i in range(16)), "label"]


def test_lists_fit_a_screen_and_json_parses(done):
    for words in (("list",), ("list", "toy"), ("list", "--kind", "methods")):
        assert all(len(line) <= 80 for line in done(*words).splitlines()), words
    assert "all is well" in done("doctor", "toy")
    listed = one_object(done("list", "--json"))
    assert set(listed["toy"]["methods"]) == {"contrast", "barlow", "byol", "jepa", "mae"}
    assert "linear" in listed["core"]["probes"]
    assert one_object(done("list", "toy", "--kind", "encoders", "--json"))["toy"].keys() == {"from", "error", "encoders"}
    examined = one_object(done("doctor", "toy", "--json"))
    assert examined["faults"] == [] and examined["plugins"]["toy"]["offers"]["methods"] == 5
    assert "[synthetic]" in done("list", "toy")


def test_show_tells_every_option_of_a_method(done):
    shown = one_object(done("show", "toy/byol", "--json"))
    planned = one_object(done("--plugin", "toy", "--method", "byol", "--dry-run", "--json"))
    assert {key for key in planned if key not in shown["options"]} == set()
    assert shown["options"]["optimizer.lr"] == 0.01 and shown["options"]["encoder.columns"] == "(from the data)"
    assert "joint_embedding.py" in shown["code"]
    text = done("show", "toy/byol")
    assert "method.momentum=0.9" in text and "encoder.width=16" in text
    assert one_object(done("show", "infonce", "--json"))["paper"].startswith("arXiv:")


def test_weights_start_from_a_run_and_what_did_not_fit_is_told(sslrun, done):
    done(*TOY, *QUICK, "--out", "first")
    code, _, err = sslrun(*TOY, "epochs=0", "probe=", "--init", "first", "--out", "second")
    assert code == 0 and "9 of 9 weights matched" in err and same(weights("first"), weights("second"))
    torch.save(torch.randn(40, 5), "five.pt")
    code, _, err = sslrun(*TOY, "epochs=0", "probe=", "data=five.pt", "--init", "first", "--out", "third")
    assert code == 0 and "8 of 9 weights matched" in err and "body.0.weight (16, 8) for (16, 5)" in err
    ours, theirs = weights("third"), weights("first")
    assert torch.equal(ours["body.4.weight"], theirs["body.4.weight"]) and ours["body.0.weight"].shape == (16, 5)


def test_resuming_an_ended_run_changes_nothing(done, tmp_path):
    first = one_object(done(*TOY, *QUICK, "--out", "run", "--json"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert one_object(done("--resume", "run", "--json")) == first
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before


def test_no_epochs_score_the_untrained_encoder(done):
    result = one_object(done(*TOY, "epochs=0", "--json"))
    assert result["verdict"] == "untrained" and result["loss"] is None and result["steps"] == 0
    assert result["scores"] == result["untrained"] and not (Path(result["run"]) / "checkpoints").exists()


def test_python_does_the_same_as_the_command_line(done):
    words = one_object(done(*TOY, "epochs=2", "encoder.width=12", "--out", "words", "--json"))
    run = pretrain("toy", "contrast", epochs=2, encoder={"width": 12}, out="python", quiet=True)
    assert run.result["scores"] == words["scores"] and same(weights("words"), weights("python"))
    assert run.evaluate()["scores"] == words["scores"]
    x = torch.randn(9, 8)
    assert torch.equal(run.embed(x), run.encoder(x).pooled)


def test_the_config_file_is_plain_yaml(done):
    done(*TOY, "epochs=0", "probe=", "--out", "run")
    flat = yaml.safe_load(Path("run/config.yaml").read_text())
    assert flat["encoder.width"] == 16 and flat["plugin"] == "toy" and not any(isinstance(item, dict) for item in flat.values())


def test_a_saved_configuration_does_for_another_seed_and_for_other_data(done, tmp_path):
    """What the data say (columns, seed) is no choice of the user's, so it is not written down as one."""
    torch.save(torch.randn(64, 5), tmp_path / "five.pt")
    done("--plugin", "toy", "--method", "contrast", "epochs=0", "probe=", "--out", "first")
    saved = (tmp_path / "first" / "config.yaml").read_text()
    assert "encoder.columns" not in saved and "data.seed" not in saved and "encoder.width" in saved
    done("--config", "first/config.yaml", "data=five.pt", "--seed", "1", "--out", "second")
    assert json.loads((tmp_path / "second" / "encoder.json").read_text())["options"]["columns"] == 5


def test_a_teacher_starts_from_the_given_weights_too(done, tmp_path):
    done("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=", "--out", "first")
    method = assemble(resolve(Plugins(), "toy", "byol", {"init": str(tmp_path / "first")})).method
    trained = Run.load(tmp_path / "first").encoder.state_dict()
    for encoder in (method.encoder, method.teacher.copy["encoder"]):
        assert all(bool((weight == trained[name]).all()) for name, weight in encoder.state_dict().items())
