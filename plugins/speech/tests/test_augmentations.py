"""Views of recordings: each part does what it says, and padding stays out of it."""
import pytest
import torch

from ssl_speech.augmentations import Perturb, at_speed, level, mixed, with_noise
from ssl_speech.waves import Waves, collate, within

OFF = {"speed": 0.0, "reverb": 0.0, "band": 0.0, "notch": 0.0, "noise": 0.0, "gap": 0.0, "gain": (0.0, 0.0)}


def waves(*lengths):
    g = torch.Generator().manual_seed(0)
    return collate([0.2 * torch.randn(n, generator=g) for n in lengths or (16000, 9000, 1600)])


def test_views_keep_items_and_leave_the_batch_alone():
    torch.manual_seed(0)
    batch = waves()
    before = batch.samples.clone()
    views = Perturb(16000, views=3)(batch)
    assert len(views) == 3 and torch.equal(batch.samples, before)
    for view in views:
        assert len(view.lengths) == 3 and view.samples.isfinite().all()
        assert not view.samples.masked_fill(within(view.lengths, view.samples.shape[1]), 0.0).any()
    assert views[0].samples.shape != views[1].samples.shape or not torch.equal(views[0].samples, views[1].samples)


def test_everything_off_changes_nothing():
    (view,) = Perturb(16000, views=1, **OFF)(waves())
    assert torch.equal(view.lengths, waves().lengths)
    assert torch.allclose(view.samples[:, :16000], waves().samples, atol=1e-6) and not view.samples[:, 16000:].any()


def test_same_seed_same_views():
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        found.append(Perturb(8000)(waves())[1].samples)
    assert torch.equal(*found)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_moves_pitch_and_length(factor):
    time = torch.arange(16000) / 16000
    batch = collate([(2 * torch.pi * 200 * time).sin(), (2 * torch.pi * 200 * time[:8000]).sin()])
    played = at_speed(batch, torch.full((2,), factor), 0.9)
    assert played.lengths.tolist() == [int(16000 / factor), int(8000 / factor)]
    for row, length in zip(played.samples, played.lengths, strict=True):
        place = torch.arange(int(length)) / 16000
        assert (row[:length] - (2 * torch.pi * 200 * factor * place).sin()).abs()[:-2].max() < 0.01


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_wanted_level(snr):
    torch.manual_seed(0)
    samples, lengths, _ = waves()
    there = within(lengths, samples.shape[1])
    noisy = with_noise(samples, there, torch.full((3, 1), snr))
    ratio = 20 * (level(samples, there) / level(noisy - samples, there)).log10()
    assert torch.allclose(ratio, torch.full((3, 1), snr), atol=0.01)
    assert torch.equal(noisy * ~there, torch.zeros_like(noisy))


def spectrum(x):
    return torch.fft.rfft(x[0]).abs()


def test_band_limits_and_notches_take_energy_away():
    torch.manual_seed(0)
    batch = waves(16000)
    (limited,) = Perturb(16000, views=1, **OFF | {"band": 1.0}, cut=0.5)(batch)
    share = spectrum(limited.samples[:, :16000]) / spectrum(batch.samples)
    assert share.quantile(0.99) < 1.2 and (share < 0.2).sum() > 50 and (share > 0.8).sum() > 500
    (notched,) = Perturb(16000, views=1, **OFF | {"notch": 1.0}, width=0.5)(batch)
    share = spectrum(notched.samples[:, :16000]) / spectrum(batch.samples)
    assert (share < 0.2).any() and share.median() < 1.1


def test_rooms_keep_the_direct_sound_and_decay():
    torch.manual_seed(0)
    rooms = Perturb(8000).rooms(50, 4000, torch.device("cpu"))
    early, late = rooms[:, 1:400].square().mean(), rooms[:, 3600:].square().mean()
    assert rooms.shape == (50, 4000) and (rooms[:, 0].abs() > 0.3).float().mean() > 0.9 and late < early / 30


def test_gaps_are_one_stretch_of_at_most_the_wanted_share():
    torch.manual_seed(0)
    batch = waves(*[4000] * 40)
    (view,) = Perturb(16000, views=1, **OFF | {"gap": 1.0}, length=0.3)(batch)
    silent = (view.samples[:, :4000] == 0)
    share = silent.double().mean(dim=1)
    assert share.max() <= 0.3 and share.mean().item() == pytest.approx(0.15, abs=0.04)
    assert ((silent[:, 1:] & ~silent[:, :-1]).sum(dim=1) <= 1).all()


def test_gain_stays_in_its_range():
    torch.manual_seed(0)
    batch = waves(*[500] * 100)
    (view,) = Perturb(16000, views=1, **OFF | {"gain": (-6.0, 6.0)})(batch)
    decibel = 20 * (view.samples[:, :500].norm(dim=1) / batch.samples.norm(dim=1)).log10()
    assert decibel.min() >= -6.01 and decibel.max() <= 6.01 and decibel.std() > 2


WRONG = [{"speed": 2.0}, {"speeds": (0.0, 1.0)}, {"speeds": (1.1, 0.9)}, {"views": 0}, {"width": -0.1}]


@pytest.mark.parametrize("wrong", WRONG)
def test_options_are_checked(wrong):
    with pytest.raises(ValueError):
        Perturb(16000, **wrong)


def test_mixing_lays_another_recording_over_a_part():
    torch.manual_seed(0)
    batch = waves(1600, 1200, 800, 1000)
    for _ in range(5):
        found = mixed(batch, 1.0, noise=0.0)
        added = found.samples - batch.samples
        for i, row in enumerate(added):
            place = row.nonzero()[:, 0]
            if not len(place):
                continue
            span = slice(int(place[0]), int(place[-1]) + 1)
            piece = row[span]
            assert len(piece) <= batch.lengths[i] // 2 and place[-1] < batch.lengths[i]
            fits = []
            for j, other in enumerate(batch.samples):
                if len(piece) > 50:
                    windows = other.unfold(0, len(piece), 1)
                    cosine = (windows @ piece) / (windows.norm(dim=1) * piece.norm()).clamp(min=1e-9)
                    fits += [j] if cosine.max() > 0.999 else []
            if len(piece) > 50:
                assert len(fits) == 1 and fits[0] != i  # one other recording, never its own
                ratio = 20 * (batch.samples[i][span].norm() / piece.norm()).log10()
                assert -5.01 <= ratio <= 5.01


def test_mixing_share_and_single_recordings():
    torch.manual_seed(0)
    batch = waves(*[2000] * 200)
    changed = (mixed(batch, 0.2).samples != batch.samples).any(dim=1).double().mean()
    assert changed.item() == pytest.approx(0.2, abs=0.08)
    alone = Waves(batch.samples[:1], batch.lengths[:1])
    assert mixed(alone, 1.0) is alone
