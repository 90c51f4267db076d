"""How frozen encoders are read: all layers, pairs of speakers, discrete units, frames in a file."""
import numpy as np
import pytest
import torch

from ssl_core import Fold, pretrain
from ssl_core.cli import main
from ssl_speech import data
from ssl_speech.encoders import Mel
from ssl_speech.layered import fit, layer_means, layer_weighted, weighted
from ssl_speech.probes import eer, equal_error_rate
from ssl_speech.synthesis import FORMANTS, utterances
from ssl_speech.units import agreement, at_frames, discrete, runs
from ssl_speech.waves import collate


def mel(**options):
    torch.manual_seed(0)
    return Mel(16000, **{"width": 32, "depth": 2} | options).eval()


def test_means_of_all_layers_end_with_the_representation():
    waves = collate([0.1 * torch.randn(n) for n in (8000, 5000, 900)])
    encoder = mel()
    found = layer_means(encoder, [waves, waves])
    assert found.shape == (6, 3, 32)
    assert torch.allclose(found[:3, -1], encoder(waves).pooled, atol=1e-6) and torch.equal(found[:3], found[3:])
    alone = layer_means(encoder, [collate([waves.samples[1, :5000]])])
    assert torch.allclose(alone[0], found[1], atol=1e-5)  # padding counts in no layer
    with pytest.raises(ValueError, match="layers of frames"):
        layer_means(torch.nn.Identity(), [waves])


def layers(count, where, seed=0):
    """Features of three layers; only layer `where` tells the classes."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    x = torch.randn(count, 3, 5, generator=g)
    x[:, where, :3] += 4.0 * torch.nn.functional.one_hot(labels, 3)
    return Fold(x, labels)


@pytest.mark.parametrize("where", [0, 2])
def test_weights_go_to_the_layer_that_knows(where):
    found = weighted(layers(300, where), layers(90, where, 1), layers(90, where, 2))
    assert found["layers"] > 0.9 and sum(found["weights"]) == pytest.approx(1)
    assert int(np.argmax(found["weights"])) == where and found["weights"][where] > 0.6


def test_the_fit_is_where_the_gradient_of_the_plain_formula_vanishes():
    fold = layers(120, 1)
    fold = Fold(fold.features.double(), fold.labels)
    mix, weight = fit(fold, torch.zeros(3).double(), torch.zeros(6, 3).double(), 0.1, steps=400)
    mix, weight = mix.requires_grad_(), weight.requires_grad_()
    share = mix.exp() / mix.exp().sum()
    summed = sum(share[layer] * fold.features[:, layer] for layer in range(3))
    scores = summed @ weight[:5] + weight[5]
    loss = -scores.log_softmax(1)[range(120), fold.labels].mean() + 0.05 * weight[:5].square().sum()
    assert all(g.abs().max() < 1e-4 for g in torch.autograd.grad(loss, [mix, weight]))


def test_layer_weighted_reads_an_encoder_and_its_data():
    found = layer_weighted(mel(), data.vowels(items=120, seconds=8.0))
    assert 0.15 < found["layers"] <= 1 and len(found["weights"]) == 3


def plain_eer(scores, same):
    """The threshold, of all there are, at which both rates are nearest."""
    best = (2.0, 0.0)
    for threshold in [*scores.tolist(), 9.0]:
        accepted = float((scores[~same] >= threshold).double().mean())
        refused = float((scores[same] < threshold).double().mean())
        best = min(best, (abs(accepted - refused), (accepted + refused) / 2))
    return best[1]


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_equal_error_rate_is_the_plain_one(gap):
    g = torch.Generator().manual_seed(0)
    same = torch.rand(3000, generator=g) < 0.3
    scores = torch.randn(3000, generator=g) + gap * same
    assert equal_error_rate(scores, same) == pytest.approx(plain_eer(scores, same), abs=2e-3)
    theory = float(torch.special.ndtr(torch.tensor(-gap / 2)))  # two normal distributions, `gap` apart
    assert equal_error_rate(scores, same) == pytest.approx(theory, abs=0.03)


def test_equal_error_rate_at_its_ends():
    same = torch.tensor([True] * 5 + [False] * 5)
    assert equal_error_rate(same.float(), same) == 0 and equal_error_rate(-same.float(), same) == 1
    assert equal_error_rate(torch.zeros(10), same) == pytest.approx(0.5)  # one score for all tells nothing


def test_eer_takes_pairs_of_test_items_without_the_mean_of_training():
    g = torch.Generator().manual_seed(0)
    voices = torch.randn(4, 8, generator=g)
    labels = torch.arange(40) % 4
    rows = voices[labels] + 0.8 * torch.randn(40, 8, generator=g)
    fold, moved = Fold(rows, labels), Fold(rows + 3.0, labels)
    found = eer(fold, fold, fold)["eer"]
    assert 0 < found < 0.3 and eer(moved, moved, moved)["eer"] == pytest.approx(found)
    assert eer(fold, fold, moved)["eer"] != pytest.approx(found)  # the mean is that of training, not of the trials
    assert eer(fold, fold, Fold(rows[:1], labels[:1])) == {} and eer(fold, fold, Fold(rows, labels.double())) == {}


def test_agreement_is_scikit_learns():
    from sklearn.metrics import mutual_info_score
    g = torch.Generator().manual_seed(0)
    phones = torch.randint(6, (500,), generator=g)
    units = torch.where(torch.rand(500, generator=g) < 0.6, 3 * phones, torch.randint(20, (500,), generator=g))
    found = agreement(units, phones)
    share = phones.bincount().double() / 500
    entropy = float(-(share * share.log()).sum())
    assert found["pnmi"] == pytest.approx(mutual_info_score(units, phones) / entropy)
    most = sum(int(phones[units == u].bincount().max()) for u in units.unique().tolist()) / 500
    assert found["phone_purity"] == pytest.approx(most)
    assert found["cluster_purity"] == pytest.approx(sum(int(units[phones == p].bincount().max()) for p in range(6)) / 500)


def test_agreement_at_its_ends():
    phones = torch.tensor([0, 0, 1, 1, -1])
    assert agreement(phones + 7, phones) == {"phone_purity": 1.0, "cluster_purity": 1.0, "pnmi": pytest.approx(1.0)}
    assert agreement(torch.zeros(5).long(), phones)["pnmi"] == pytest.approx(0.0)
    with pytest.raises(ValueError, match="no frame has a phone"):
        agreement(phones, torch.full((5,), -1))


def test_repetitions_of_units_are_taken_out():
    assert runs(torch.tensor([4, 4, 1, 1, 1, 4])).tolist() == [4, 1, 4]
    assert runs(torch.tensor([], dtype=torch.long)).tolist() == []


def test_units_of_spectra_agree_with_the_vowels_that_were_said():
    torch.manual_seed(0)
    spoken = utterances(60, 2, 16000, 0.01, 0)
    encoder, waves = mel(), collate(spoken.samples)
    frames = encoder.local(waves)
    phones = torch.cat([at_frames(v, encoder.hop, 400) for v in spoken.vowels])
    assert len(phones) == int(frames.valid.sum()) and set(phones.tolist()) == {-1, *range(len(FORMANTS))}
    units, centres = discrete(frames.x[frames.valid], 20)
    found = agreement(units, phones)
    shuffled = agreement(units[torch.randperm(len(units))], phones)
    assert found["phone_purity"] > 0.5 > shuffled["phone_purity"] and found["pnmi"] > 0.3 > 0.1 > shuffled["pnmi"]
    again, _ = discrete(frames.x[frames.valid], 20, centres=centres)
    assert torch.equal(again, units)


def test_embed_writes_frames_and_their_units(tmp_path, capsys):
    run = pretrain("speech", "hubert", data="vowels", out=tmp_path / "run", quiet=True, epochs=1, probe="eer", baselines=False,
                   encoder={"name": "mel", "width": 32, "depth": 1}, trainer={"tensorboard": False, "accelerator": "cpu"},
                   **{"data.items": 32, "data.label": "speaker", "method.clusters": 4})
    assert 0 <= run.result["scores"]["eer"] <= 1
    assert main(["embed", str(run.path), "--out", "frames.npz", "--tokens", "--units", "5"]) == 0
    assert "tokens of 32 items x 32 features, 5 units" in capsys.readouterr().out
    with np.load("frames.npz", allow_pickle=False) as found:
        assert found["tokens"].shape == (len(found["owners"]), 32) and (np.diff(found["owners"]) >= 0).all()
        assert set(found["units"]) <= set(range(5)) and found["centres"].shape == (5, 32)
        mean = np.stack([found["tokens"][found["owners"] == i].mean(axis=0) for i in range(32)])
        assert np.allclose(mean, run.embed().numpy(), atol=1e-4) and len(found["names"]) == 32
    assert main(["embed", str(run.path), "--out", "frames.parquet", "--units", "5"]) == 2
    assert main(["embed", str(run.path), "--out", "few.npz", "--units", "100000"]) == 2
