"""Methods: they learn, resume bit for bit, and do what their papers say."""
import csv

import pytest
import torch

from ssl_core import Progress, pretrain, resume
from ssl_core.testing import killed_at
from ssl_speech import data
from ssl_speech.encoders import Mel, Wav2Vec2
from ssl_speech.masks import SpanMask
from ssl_speech.methods.data2vec import Data2Vec
from ssl_speech.methods.hubert import HuBERT
from ssl_speech.methods.tera import TERA
from ssl_speech.methods.wav2vec2 import Wav2Vec2 as Wav2Vec2Method
from ssl_speech.objectives import L1, CrossEntropy, WithinContrast
from ssl_speech.waves import collate

METHODS = ["wav2vec2", "hubert", "wavlm", "hubertopic", "data2vec-audio", "w2v-bert", "tera", "wav2vec", "vq-wav2vec", "ssast",
           "ssamba", "speecht5", "dm-codec", "ca-dino", "speech-simclr", "speech-vicreg", "supcon-speech"]

TIMES = ("seconds", "items_per_second", "data_wait")


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [{name: float(item) for name, item in row.items() if item and name not in TIMES} for row in csv.DictReader(file)]


OPTIONS = {"hubert": {"method.clusters": 10}, "wavlm": {"method.clusters": 10, "method.mix": 0.5},
           "data2vec-audio": {"method.layers": 1}, "w2v-bert": {"method.layer": 1},
           "hubertopic": {"method.clusters": 10, "method.topics": 3},
           "speecht5": {"method.clusters": 10, "method.bins": 10, "method.depth": 1},
           "dm-codec": {"method.books": 2, "method.entries": 8, "method.channels": 16},
           "ssast": {"encoder.bins": 32}, "ssamba": {"encoder.bins": 32, "encoder.depth": 1, "encoder.state": 4},
           "ca-dino": {"encoder.channels": 16, "objective.prototypes": 32, "method.clusters": 3, "method.memory": 32,
                       "method.aware": 1.0, "method.named": 1.0}}
WAVES = ("wav2vec2", "hubert", "wavlm", "hubertopic", "data2vec-audio", "wav2vec", "vq-wav2vec", "speecht5", "dm-codec")


def train(out, method, epochs=3, log=1, every=1):
    encoder = {"encoder.depth": 2} if method != "ca-dino" else {}
    encoder |= {"encoder.channels": 16} if method in WAVES else {}
    encoder |= OPTIONS.get(method, {})
    return pretrain("speech", method, data="vowels", out=out, quiet=True, epochs=epochs, probe="", baselines=False,
                    trainer={"checkpoint_steps": every, "log_every": log, "tensorboard": False, "accelerator": "cpu"},
                    **{"data.items": 32, "data.seconds": 11.0, "encoder.width": 32}, **encoder)


@pytest.mark.parametrize("method", METHODS)
def test_loss_falls(method, tmp_path):
    run = train(tmp_path / "run", method, epochs=8, log=4, every=0)
    rows = losses(run)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.02
    assert run.result["verdict"] != "diverged" and run.result["width"] == 32
    embedded = run.embed()
    assert embedded.shape == (32, 32) and embedded.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_uninterrupted(method, tmp_path):
    straight = train(tmp_path / "straight", method)
    with killed_at(4):
        train(tmp_path / "cut", method)
    resumed = resume(tmp_path / "cut", quiet=True)
    assert losses(resumed) == losses(straight) and len(losses(straight)) > 5
    theirs = straight.encoder.state_dict()
    assert all(torch.equal(mine, theirs[name]) for name, mine in resumed.encoder.state_dict().items())


def batch(*lengths):
    g = torch.Generator().manual_seed(0)
    return collate([0.2 * torch.randn(n, generator=g) for n in lengths or (16000, 12000, 6000)])


def encoder(kind="mel"):
    torch.manual_seed(0)
    return Mel(16000, width=32, depth=2) if kind == "mel" else Wav2Vec2(16000, channels=16, width=32, depth=2)


def test_wav2vec2_logs_the_use_of_its_codebook():
    method = Wav2Vec2Method(encoder("wave"), SpanMask(span=6), WithinContrast(), penalty=0.1)
    found = method.step(batch())
    assert set(found) == {"loss", "contrast", "diversity", "perplexity"}
    assert 2 <= found["perplexity"] <= 64 and 0 <= found["diversity"] < 1
    method.quantizer.choose.weight.data.zero_()
    method.quantizer.choose.bias.data[[0, 32]] = 100.0
    planted = method.step(batch())
    assert planted["perplexity"] == 2 and planted["diversity"] > 0.9
    assert planted["contrast"].abs() < 1e-6  # one code for all: nothing left to tell apart, whatever the encoder does


@pytest.mark.parametrize("broken", [False, True])
def test_a_codebook_that_collapses_is_told_from_one_in_use(broken, tmp_path, monkeypatch):
    own = Wav2Vec2Method.after_step

    def stuck(self):
        own(self)
        if broken and self.progress.step >= 2:
            with torch.no_grad():
                self.quantizer.choose.weight.zero_()
                self.quantizer.choose.bias.zero_()[[0, 32]] = 100.0
    monkeypatch.setattr(Wav2Vec2Method, "after_step", stuck)
    run = train(tmp_path / "run", "wav2vec2", epochs=2)
    used = [row["perplexity"] for row in losses(run) if "perplexity" in row]
    if broken:
        assert run.result["verdict"] == "collapsed" and "codebook" in run.result["reason"] and used[-1] == 2
    else:
        assert run.result["verdict"] != "collapsed" and min(used) > 5


def test_wav2vec2_teaches_context_front_end_and_codes():
    method = Wav2Vec2Method(encoder("wave"), SpanMask(span=6), WithinContrast())
    method.step(batch())["loss"].backward()
    missing = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_gradient_into_the_front_end_is_scaled():
    def slope(gradient):
        method = Wav2Vec2Method(encoder("wave"), SpanMask(span=6), WithinContrast(), gradient=gradient)
        torch.manual_seed(1)
        loss = method.step(batch())["loss"]
        loss.backward()
        return loss.item(), method.encoder.convs[3].conv.weight.grad
    (one, whole), (other, tenth) = slope(1.0), slope(0.1)
    assert one == pytest.approx(other, rel=1e-6) and torch.allclose(0.1 * whole, tenth, atol=1e-7)


def test_wav2vec2_with_the_contrast_of_the_core():
    from ssl_core.objectives.infonce import InfoNCE
    found = Wav2Vec2Method(encoder(), SpanMask(span=6), InfoNCE()).step(batch())
    assert found["loss"].isfinite()


def test_w2v_bert_names_constant_codes():
    method = Wav2Vec2Method(encoder(), SpanMask(span=6), WithinContrast(), groups=1, layer=1, naming=1.0)
    naming = method.step(batch())["naming"]
    naming.backward()
    assert all(p.grad is None for p in method.quantizer.parameters())
    assert all(p.grad is not None for p in method.namer.parameters())


def hubert(kind="wave", **options):
    method = HuBERT(encoder(kind), SpanMask(0.8, 6), CrossEntropy(), rate=16000, clusters=8, **options)
    method.prepare([batch()])
    return method


@pytest.mark.parametrize("kind", ["wave", "mel"])
def test_hubert_labels_fit_the_frames(kind):
    method, waves = hubert(kind), batch()
    frames = method.encoder.local(waves)
    labels = method.label(waves, frames.x.shape[1])
    assert labels.shape == frames.valid.shape
    mfcc = method.mfcc(waves)[0]
    for b, t in ((0, 0), (0, 20), (1, 11), (2, 5)):  # label t is that of the MFCC frame that starts at sample 320 t
        distance = (method.centres - mfcc[b, 2 * t]).square().sum(dim=1)
        assert distance.argmin() == labels[b, t]
    alone = collate([waves.samples[2, :6000]])
    count = int(method.encoder.counts(alone.lengths))
    assert torch.equal(method.label(alone, count)[0], labels[2, :count])  # padding does not change labels


def test_hubert_logits_are_cosines():
    method, rows = hubert(), torch.randn(5, 32, requires_grad=True)
    plain = torch.stack([torch.cosine_similarity(method.head(rows)[:, None], method.names[None], dim=2)])[0] / 0.1
    assert torch.allclose(method.logits(rows), plain, atol=1e-5)
    weight = torch.randn(5, 8)
    mine = torch.autograd.grad((method.logits(rows) * weight).sum(), [rows, method.names])
    other = torch.autograd.grad((plain * weight).sum(), [rows, method.names])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, other, strict=True))


def test_hubert_visible_frames_count_only_if_asked():
    torch.manual_seed(1)
    masked = hubert().step(batch())["loss"]
    torch.manual_seed(1)
    both = hubert(visible=1.0).step(batch())["loss"]
    assert both > masked + 0.5


def test_wavlm_labels_are_those_of_the_clean_recording(monkeypatch):
    from ssl_speech.methods import hubert as module
    method, seen = hubert(mix=1.0), {}
    label, read = method.label, module.read
    monkeypatch.setattr(method, "label", lambda waves, n: label(seen.setdefault("labelled", waves), n))
    monkeypatch.setattr(module, "read", lambda e, m, waves, g: read(e, m, seen.setdefault("heard", waves), g))
    clean = batch()
    method.step(clean)
    assert seen["labelled"] is clean and not torch.equal(seen["heard"].samples, clean.samples)


def test_hubert_second_stage_learns_from_a_finished_run(tmp_path):
    first = train(tmp_path / "first", "hubert")
    second = pretrain("speech", "hubert", out=tmp_path / "second", quiet=True, epochs=1, probe="", baselines=False,
                      encoder={"width": 32, "depth": 2, "channels": 16}, trainer={"tensorboard": False, "accelerator": "cpu"},
                      **{"data.items": 32, "method.labels": str(first.path), "method.clusters": 12, "method.layer": 1})
    assert second.result["verdict"] != "diverged"
    method = HuBERT(encoder("wave"), SpanMask(0.8, 6), CrossEntropy(), rate=16000, clusters=6, labels=first.path, layer=1)
    assert not any(p.requires_grad for p in method.teacher.parameters())
    method.prepare([batch()])
    assert len(method.label(batch(), 49).unique()) > 2
    with pytest.raises(ValueError, match="a frame every 320 samples"):
        HuBERT(Mel(16000, hop=0.01), SpanMask(), CrossEntropy(), rate=16000, labels=first.path)


def tera(**options):
    return TERA(encoder(), SpanMask(0.15, 7, 1), L1(), **options)


def altered(method, seed=0):
    waves = batch(*[16000] * 8)
    frames = method.encoder.local(waves)
    torch.manual_seed(seed)
    chosen = torch.rand(frames.valid.shape) < 0.3
    x, cells = method.alter(frames, chosen & frames.valid)
    return frames, chosen & frames.valid, x, cells


def test_tera_changes_only_the_cells_it_asks_for():
    frames, chosen, x, cells = altered(tera(noisy=0.0))
    assert torch.equal(x[~cells], frames.x[~cells])
    bands = cells & ~chosen[..., None]
    assert bands.any(dim=1).sum(dim=1).max() <= int(0.2 * 48)  # one band, of a fifth of the bins at most
    assert (x[bands] == 0).all()


@pytest.mark.parametrize("options, kind", [({"kept": 1.0, "swapped": 0.0}, "kept"), ({"kept": 0.0, "swapped": 1.0}, "swapped"),
                                           ({"kept": 0.0, "swapped": 0.0}, "zero")])
def test_tera_alters_time_by_its_dice(options, kind):
    frames, chosen, x, cells = altered(tera(band=0.0, noisy=0.0, **options))
    assert torch.equal(cells, chosen[..., None].expand_as(cells))
    if kind == "kept":
        assert torch.equal(x, frames.x)
    elif kind == "zero":
        assert not x[chosen].any()
    else:
        for b in range(len(x)):  # every swapped frame is a frame of the same recording
            assert (torch.cdist(x[b][chosen[b]], frames.x[b]).min(dim=1).values < 0.05).all()


def test_tera_throws_dice_for_each_recording():
    method = tera(band=0.0, noisy=0.5, noise=1.0)
    frames, _, x, cells = altered(method)
    loud = [(x[b] - frames.x[b])[~cells[b]].abs().mean() > 0.1 for b in range(8)]
    assert any(loud) and not all(loud)


def test_tera_gets_no_gradient_from_cells_that_were_not_altered():
    method = tera(band=0.0, noisy=0.0)
    waves, seen = batch(), {}
    own = method.compare
    method.compare = lambda a, b: own(seen.setdefault("a", a), b)
    method.step(waves)
    hidden_at_most = 0.5 * method.encoder.layout(waves).owner.numel() * 48
    assert 0 < len(seen["a"]) < hidden_at_most


def data2vec(**options):
    from ssl_core.objectives.regression import MSE
    return Data2Vec(encoder(), SpanMask(span=6), MSE(), **options)


def test_data2vec_targets_are_normalised_means_of_the_upper_layers():
    method, waves = data2vec(layers=2), batch()
    frames = method.encoder.local(waves)
    fed = method.encoder.body(frames.x, frames.valid)[1]  # the teacher starts as a copy
    found = method.targets(frames)
    for b, count in enumerate(frames.valid.sum(dim=1).tolist()):
        plain = torch.stack([(f[b, :count] - f[b, :count].mean(0)) / (f[b, :count].var(0, correction=0) + 1e-5).sqrt()
                             for f in fed]).mean(0)
        assert torch.allclose(found[b, :count], plain, atol=1e-4)


def test_data2vec_teacher_follows_after_the_step_only():
    method = data2vec(momentum=0.9)
    before = [p.clone() for p in method.teacher.parameters()]
    optimizer = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=1.0)
    method.step(batch())["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(method.teacher.parameters(), before, strict=True))
    method.progress = Progress(0, 10)
    method.after_step()
    student = method.encoder.body.state_dict()
    for (name, p), q in zip(method.teacher.copy.named_parameters(), before, strict=True):
        assert torch.allclose(p, 0.9 * q + 0.1 * student[name], atol=1e-6)


def test_prediction_does_not_see_what_is_hidden():
    method, waves = data2vec(), batch()
    frames = method.encoder.local(waves)
    x = frames.x.clone().requires_grad_(True)
    hidden = torch.zeros_like(frames.valid)
    hidden[0, 5:11] = True
    method.head(method.encoder.body(x, frames.valid, hidden)[0][-1])[hidden].sum().backward()
    assert not x.grad[hidden].any() and x.grad[0].any()


@pytest.mark.parametrize("make, says", [
    (lambda: data2vec(layers=3), "layers should lie between 1 and the encoder's 2"),
    (lambda: tera(kept=0.9, swapped=0.9), "shares"),
    (lambda: Wav2Vec2Method(encoder(), SpanMask(), WithinContrast(), layer=7), "layer should lie"),
    (lambda: Wav2Vec2Method(torch.nn.Identity(), SpanMask(), WithinContrast()), "needs an encoder of frames"),
])
def test_options_are_checked(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_real_digits(shared_data, tmp_path):
    """A slice of real recordings, from files to an embedding."""
    root = tmp_path / "some"
    root.mkdir()
    for path in sorted(shared_data("fsdd").rglob("*_[0-5].wav")):
        (root / path.name).symlink_to(path)
    run = pretrain("speech", "hubert", data="fsdd", out=tmp_path / "run", quiet=True, epochs=3, probe="", baselines=False,
                   encoder={"name": "mel", "width": 48, "depth": 2},
                   trainer={"tensorboard": False, "accelerator": "cpu", "log_every": 1}, **{"data.root": str(root)})
    rows = losses(run)
    assert sum(row["loss"] for row in rows[-3:]) < sum(row["loss"] for row in rows[:3]) - 0.2
    assert run.embed().shape == (360, 48) and not run.result["skipped"]


def test_other_data_are_brought_to_the_rate_of_the_encoder(tmp_path):
    run = train(tmp_path / "run", "tera", epochs=1)
    recordings = {"samples": [0.1 * torch.randn(8000).numpy()] * 2, "rate": 8000}
    assert run.embed(recordings).shape == (2, 32)
    assert data.read(recordings, schema={"rate": 16000}).facts["rate"] == 16000
