"""Every method of the window learns on a small slice, can be resumed, and reaches the encoder. One table."""
import csv

import pytest
import torch

from ssl_core import pretrain, resume
from ssl_core.config import resolve
from ssl_core.plugins import Plugins
from ssl_core.testing import killed_at

METHODS = Plugins()["vision"].offers["methods"]
SMALL = {"epochs": 2, "probe": "", "baselines": False, "data.batch_size": 256,
         "trainer": {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}}
FEW = {"unicon-ha": {"augmentation.levels": 2}, "scatsimclr": {"encoder.blocks": 1}}  # of many views or blocks
SHALLOW = {"vit": {"encoder.depth": 1}, "swin": {"encoder.depths": (1, 1)}}  # by the encoder of the recipe


def train(out, method, **more):
    width = {"encoder.width": 16} | SHALLOW.get(METHODS[method].encoder, {}) | FEW.get(method, {})
    return pretrain("vision", method, out=out, quiet=True, **SMALL | width | more)


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("method", METHODS)
def test_learns_and_resumes_bit_for_bit(method, tmp_path):
    straight = train(tmp_path / "straight", method)
    seen = losses(straight)
    assert len(seen) == 8 and all(abs(loss) < 1e4 for loss in seen)
    first, last = sum(seen[:2]) / 2, sum(seen[-2:]) / 2
    assert last < first + 0.25 * abs(first)  # it may rise a little at first, where a slow copy or a queue is still empty
    with killed_at(5):
        train(tmp_path / "cut", method)
    resumed = resume(tmp_path / "cut", quiet=True)
    assert losses(resumed) == seen
    ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("data", ["digits", "cifar10", "mnist", "photos.zip"])
@pytest.mark.parametrize("method", METHODS)
def test_options_exist(method, data, tmp_path, monkeypatch):
    """Every option of every recipe is one that its component takes, for the paper's photos and for small images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").touch()
    from ssl_core.build import options
    config, plugins = resolve(Plugins(), "vision", method, {"data": data}), Plugins()
    for part, kind in (("encoder", "encoders"), ("augmentation", "augmentations"), ("objective", "objectives")):
        taken = options(plugins.find(kind, getattr(config, part), "vision").load())
        assert set(config.of(part)) <= set(taken), part
    taken = options(METHODS[method].load())
    assert set(config.of("method")) <= set(taken)


def test_a_few_epochs_beat_the_untrained_encoder(tmp_path):
    run = pretrain("vision", "simclr", out=tmp_path / "run", quiet=True, epochs=8, probe="linear",
                   trainer={"tensorboard": False}, encoder={"width": 32})
    assert run.result["verdict"] == "healthy"
    assert run.result["scores"]["linear"] > run.result["untrained"]["linear"] + 0.01


def test_supervised_objectives_ask_for_labels(tmp_path):
    from ssl_core import DataError
    with pytest.raises(DataError, match="labels"):
        pretrain("vision", "supcon", torch.rand(64, 1, 8, 8), out=tmp_path / "run", quiet=True, epochs=1, encoder="conv",
                 augmentation="mild", optimizer="adamw", **{"method.projector": [16]})


def test_the_rate_of_simsiam_falls_but_for_its_predictor(tmp_path):
    """arXiv:2011.10566, appendix A: a predictor that stops learning lets the rest collapse."""
    run = train(tmp_path / "run", "simsiam", **{"optimizer": "sgd", "optimizer.lr": 0.05})
    held = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group.get("constant", False) for group in held] == [False, False, True, True]
    assert all(group["lr"] < 0.01 for group in held[:2]) and all(group["lr"] == 0.05 for group in held[2:])


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_batch_may_be_embedded_in_pieces(precision, tmp_path):
    trainer = SMALL["trainer"] | {"precision": precision}
    whole, pieces = (losses(train(tmp_path / str(chunk), "simclr", trainer=trainer, **{"method.chunk": chunk}))
                     for chunk in (0, 100))
    assert len(pieces) == 8 and abs(pieces[0] - whole[0]) < 0.3 and pieces[-1] < pieces[0]  # batch norms differ
