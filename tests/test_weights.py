"""Where an encoder may start from and where it may go: files of weights, other libraries, ONNX, Hugging Face, model cards."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ssl_core import Run
from ssl_core.errors import ConfigError
from ssl_core.weights import load_into

TOY = ("--plugin", "toy", "--method", "contrast")
QUICK = ("epochs=1", "trainer.tensorboard=false", "trainer.monitor_every=0")


class Net(nn.Module):
    def __init__(self, inputs=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.fixture
def run(done):
    """A finished run of the toy plugin, in `run`."""
    done(*TOY, *QUICK, "--out", "run")
    return Run.load("run")


WRAPPED = {  # how a state dict may come
    "as it is": lambda state: state, "in a checkpoint": lambda state: {"epoch": 3, "state_dict": state, "lr": [0.1]},
    "under module": lambda state: {"model": {f"module.{name}": item for name, item in state.items()}},
    "as an encoder": lambda state: {f"method.encoder.{name}": item for name, item in state.items()} | {"head": torch.ones(5)},
    "without our prefix": lambda state: {name.removeprefix("body."): item for name, item in state.items()},
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_every_weight_is_found_under_any_prefix(how, suffix, tmp_path):
    theirs, ours, path = Net(), Net(), tmp_path / f"w{suffix}"
    content = WRAPPED[how](theirs.state_dict())
    if suffix == ".safetensors":
        flat = content.get("state_dict") or content.get("model") or content
        save_file({name: item.contiguous() for name, item in flat.items()}, path)
    else:
        torch.save(content, path)
    said = load_into(ours, str(path))
    assert f"{len(ours.state_dict())} of {len(ours.state_dict())} weights matched" in said
    assert all(torch.equal(item, theirs.state_dict()[name]) for name, item in ours.state_dict().items())


def test_what_did_not_match_is_told_with_the_reason(tmp_path):
    state = Net(5).state_dict()
    del state["body.2.bias"]
    save_file({**state, "head.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    said = load_into(Net(4), str(tmp_path / "w.safetensors"))
    assert "7 of 9 weights matched" in said
    assert "other shape: body.0.weight (3, 5) for (3, 4)" in said
    assert "left as initialised: body.2.bias" in said and "not used: head.weight" in said


def test_an_index_of_shards_is_read_and_may_not_leave_its_folder(tmp_path):
    theirs, ours = Net(), Net()
    state, folder = theirs.state_dict(), tmp_path / "hf"
    folder.mkdir()
    names = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(state)}
    for file in set(names.values()):
        save_file({name: state[name] for name in names if names[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert "weights matched" in load_into(ours, str(folder))
    assert all(torch.equal(item, state[name]) for name, item in ours.state_dict().items())
    index.write_text(json.dumps({"weight_map": {"a": "../w.safetensors"}}))
    with pytest.raises(ConfigError, match="outside its folder"):
        load_into(ours, str(folder))


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


REFUSED = {
    "what would run code": (lambda path: torch.save({"a": Evil()}, path), "w.pt", "could run code"),
    "no weights at all": (lambda path: torch.save({"epoch": 3}, path), "w.pt", "no weight in"),
    "other weights": (lambda path: save_file({"x": torch.ones(2)}, path), "w.safetensors", "no weight in .* fits"),
    "noise": (lambda path: path.write_bytes(b"not weights"), "w.safetensors", "cannot read the weights"),
    "noise in a pickle": (lambda path: path.write_bytes(b"not weights"), "w.pth", "cannot read the weights"),
    "nothing": (lambda path: None, "w.pt", "no weights at"),
    "an empty folder": (lambda path: path.mkdir(), "folder", "holds no weights"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_started_from_is_refused(what, tmp_path):
    make, name, message = REFUSED[what]
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=message):
        load_into(Net(), str(tmp_path / name))
    assert not Path("touched").exists()


def test_an_encoder_may_translate_the_names_of_others(tmp_path):
    class Known(Net):
        def translate(self, state):
            return {name.replace("layer", "body"): item for name, item in state.items()}
    theirs, ours = Net(), Known()
    torch.save({name.replace("body", "layer"): item for name, item in theirs.state_dict().items()}, tmp_path / "w.pt")
    load_into(ours, str(tmp_path / "w.pt"))
    assert all(torch.equal(item, theirs.state_dict()[name]) for name, item in ours.state_dict().items())


def test_a_training_starts_from_a_checkpoint_of_another(sslrun, done, run):
    code, _, err = sslrun(*TOY, "epochs=0", "probe=", "--init", "run/checkpoints/last.ckpt", "--out", "second")
    assert code == 0 and "9 of 9 weights matched" in err, err
    ours, theirs = load_file("second/encoder.safetensors"), load_file("run/encoder.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_unfinished_run_is_no_start_and_says_how_to_finish_it(fails, run):
    Path("run/encoder.safetensors").unlink()
    message = fails(*TOY, "epochs=0", "--init", "run")
    assert "its training has not ended" in message and "sslrun --resume run" in message


def test_the_encoder_of_a_run_is_a_plain_module(run):
    encoder = run.encoder
    assert isinstance(encoder, nn.Module) and type(encoder).__module__ == "ssl_toy_parts" and not encoder.training
    assert all(torch.equal(item, load_file("run/encoder.safetensors")[name]) for name, item in encoder.state_dict().items())


# --- export


def front(path):
    """The front matter of a card, and its text."""
    _, head, body = Path(path).read_text().split("---\n", 2)
    return yaml.safe_load(head), body


@pytest.mark.parametrize("out, file, card", [("there", "there/model.safetensors", "there/README.md"),
                                             ("deep/enc.safetensors", "deep/enc.safetensors", "deep/enc.md")])
def test_safetensors_hold_the_weights_and_a_card_what_they_are(run, done, out, file, card):
    said = json.loads(done("export", "run", "--to", "safetensors", "--out", out, "--json"))
    assert said["files"] == [file] and said["card"] == card
    assert all(torch.equal(item, load_file(file)[name]) for name, item in run.encoder.state_dict().items())
    with safe_open(file, "pt") as opened:
        known = json.loads(opened.metadata()["ssl_core"])
    assert known["plugin"] == "toy" and known["encoder"] == "net" and known["options"]["width"] == 16
    head, body = front(card)
    result = run.result
    assert "toy" in head["tags"] and "These data are synthetic" in body and "licence of the data: not known" in body
    assert f"{result['verdict']}: {result['reason']}" in body and f"{result['scores']['linear']:.4f}" in body
    assert f"{result['untrained']['knn']:.4f}" in body and f"{result['raw']['knn']:.4f}" in body
    assert "optimizer.lr: 0.01" in body and run.read_json("environment.json")["data"] in body


def test_a_card_tells_the_licence_of_the_data_where_it_is_known(done, distribution):
    distribution("ssl-own", plugin="own", window="""
        from ssl_core import Dataset, Recipe, hookimpl

        @hookimpl
        def ssl_datasets():
            yield Dataset(name="d", target="ssl_toy_parts:blobs", licence="CC BY 4.0", summary="four clusters")

        @hookimpl
        def ssl_methods():
            yield Recipe(name="m", target="ssl_core:JointEmbedding", data="d", encoder="toy/net", augmentation="toy/noise",
                         objective="nt-xent", options={"epochs": 0})
    """)
    done("--plugin", "own", "--method", "m", "--out", "run")
    done("export", "run", "--to", "safetensors", "--out", "there")
    body = front("there/README.md")[1]
    assert "licence of the data: CC BY 4.0" in body and "d: four clusters." in body and "untrained: no step" in body


def test_a_hugging_face_directory_starts_a_run_again(run, done, sslrun):
    done("export", "run", "--to", "hf", "--out", "there")
    known = json.loads(Path("there/config.json").read_text())
    assert known["encoder"] == "net" and known["width"] == 16 and front("there/README.md")[0]["library_name"] == "ssl-core"
    code, _, err = sslrun(*TOY, "epochs=0", "probe=", "--init", "there", "--out", "second")
    assert code == 0 and "9 of 9 weights matched" in err


def test_onnx_computes_what_torch_does_for_any_number_of_items(run, done):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    said = json.loads(done("export", "run", "--to", "onnx", "--out", "enc.onnx", "--json"))
    assert said["difference"] <= 1e-4 and said["inputs"] == {"batch": [32, 8]}
    session = runtime.InferenceSession("enc.onnx")
    for items in (1, 7, 100):
        x = torch.randn(items, 8)
        got = session.run(None, {"batch": x.numpy()})[0]
        np.testing.assert_allclose(got, run.encoder(x).pooled.detach(), atol=1e-4)
    assert "compared with torch" in Path("enc.md").read_text()


def test_an_encoder_that_cannot_go_to_onnx_says_why(run, fails, monkeypatch):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    module = __import__("ssl_toy_parts")
    whole = module.Net.forward
    monkeypatch.setattr(module.Net, "forward", lambda self, x: whole(self, x if x.sum() < 1e9 else -x))
    message = fails("export", "run", "--to", "onnx", "--out", "there")
    assert "Net cannot go to ONNX" in message and "Try: --to safetensors" in message and not Path("there/model.onnx").exists()


def test_onnx_that_computes_something_else_is_not_kept(run, fails, monkeypatch):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    monkeypatch.setattr("ssl_core.finished.export.runtime", lambda: lambda *_: 0.5)
    message = fails("export", "run", "--to", "onnx", "--out", "there")
    assert "differ by 0.5" in message and not Path("there/model.onnx").exists()


def test_onnx_that_is_not_installed_is_named(run, fails, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert "pip install onnx onnxruntime onnxscript" in fails("export", "run", "--to", "onnx", "--out", "there")


def test_a_graph_cannot_go_to_onnx_and_says_why(done, fails):
    pytest.importorskip("ssl_graph", reason="the graph plugin is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    done("--plugin", "graph", "--method", "grace", "epochs=0", "probe=", "encoder.width=8", "--out", "g")
    assert "a batch of type Data is not made of" in fails("export", "g", "--to", "onnx", "--out", "there")


def test_images_go_to_onnx_without_their_labels(done):
    pytest.importorskip("ssl_vision", reason="the vision plugin is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done("--plugin", "vision", "--method", "simclr", "data=digits", "epochs=0", "probe=", "encoder.width=8", "--out", "v")
    said = json.loads(done("export", "v", "--to", "onnx", "--out", "there", "--json"))
    assert said["inputs"] == {"pixels": [256, 1, 8, 8]} and said["difference"] <= 1e-4


def test_what_is_in_the_way_is_not_written_over(run, fails):
    Path("there").mkdir()
    Path("there/README.md").write_text("mine")
    assert "there already and not empty" in fails("export", "run", "--to", "hf", "--out", "there")
    assert Path("there/README.md").read_text() == "mine"
    Path("run/encoder.safetensors").unlink()
    assert "holds no encoder yet" in fails("export", "run", "--to", "hf", "--out", "else")


def test_speech_weights_of_transformers_and_torchaudio_fit(tmp_path):
    speech = pytest.importorskip("ssl_speech.encoders", reason="the speech plugin is not installed")
    torchaudio = pytest.importorskip("torchaudio", reason="torchaudio is not installed")
    from ssl_speech.waves import Waves
    ours = speech.Wav2Vec2(16000, "base", channels=32, width=48, depth=2, heads=4)
    theirs = torchaudio.models.wav2vec2_model(
        "group_norm", [(32, k, s) for k, s in zip(speech.KERNELS, speech.STRIDES)], False, 48, 0.0, 128, 16, 2, 4, 0.0,
        192, 0.0, 0.0, False, 0.0, None).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    said = load_into(ours.eval(), str(tmp_path / "w.pth"))
    names = [name for name in ours.state_dict() if name != "body.mask"]
    assert f"{len(names)} of {len(names) + ('body.mask' in ours.state_dict())} weights matched" in said, said
    waves = torch.randn(2, 8000)
    with torch.no_grad():
        wanted = theirs(waves)[0].mean(dim=1)
        torch.testing.assert_close(ours(Waves(waves, torch.full((2,), 8000))).pooled, wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size, positions", [("tiny", "conv"), ("tiny", "gated"), ("large", "conv")])
def test_an_exported_speech_encoder_is_a_model_of_transformers(size, positions, done):
    pytest.importorskip("ssl_speech", reason="the speech plugin is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from ssl_speech.waves import Waves
    small = ("encoder.channels=16", "encoder.width=32", "encoder.depth=2", "encoder.heads=2")
    done("--plugin", "speech", "--method", "wav2vec2", "data=vowels", "data.items=12", "epochs=0", "probe=", "--out", "s",
         f"encoder.size={size}", f"encoder.positions={positions}", *small)
    assert "AutoModel" in (done("export", "s", "--to", "hf", "--out", "there") and Path("there/README.md").read_text())
    theirs = transformers.AutoModel.from_pretrained("there").eval()
    encoder = Run.load("s").encoder
    waves = Waves(torch.randn(2, 8000), torch.full((2,), 8000))
    given = torch.nn.functional.layer_norm(waves.samples, (8000,)) if encoder.standardise else waves.samples
    with torch.no_grad():
        torch.testing.assert_close(encoder(waves).pooled, theirs(given).last_hidden_state.mean(dim=1), atol=1e-4, rtol=1e-3)


def test_weights_of_timm_fit(tmp_path):
    vision = pytest.importorskip("ssl_vision.encoders", reason="the vision plugin is not installed")
    timm = pytest.importorskip("timm", reason="timm is not installed")
    theirs = timm.create_model("resnet18", num_classes=10)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = vision.resnet18(3, (224, 224), (0.5,) * 3, (0.5,) * 3)
    said = load_into(ours, str(tmp_path / "w.pth"))
    count = len(ours.state_dict())
    assert f"{count} of {count} weights matched" in said and "not used: body.fc.weight" in said
    small = vision.resnet18(3, (32, 32), (0.5,) * 3, (0.5,) * 3)
    assert "other shape: body.conv1.weight (64, 3, 7, 7) for (64, 3, 3, 3)" in load_into(small, str(tmp_path / "w.pth"))


def test_embeddings_hold_the_ids_of_items(done):
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    pytest.importorskip("ssl_speech", reason="the speech plugin is not installed")
    done("--plugin", "speech", "--method", "tera", "data=vowels", "data.items=12", "epochs=0", "probe=", "--out", "s")
    done("embed", "s", "--out", "z.npz")
    done("embed", "s", "--out", "z.parquet")
    with np.load("z.npz", allow_pickle=False) as found:
        assert found["names"].tolist() == [f"vowels/{i}" for i in range(12)]
        table = pyarrow.read_table("z.parquet")
        assert table["name"].to_pylist() == found["names"].tolist()
        np.testing.assert_array_equal(table["z0"].to_numpy(), found["embeddings"][:, 0])


def test_an_encoder_whose_options_have_changed_since_says_so(run, fails):
    path = Path("run/encoder.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"options": record["options"] | {"depth": 3}}))
    assert "has no option 'depth'" in fails("export", "run", "--to", "safetensors", "--out", "there")
