"""Methods that speak: SpeechT5's part for speech, and DM-Codec."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import pretrain
from ssl_speech.augmentations import AsIs
from ssl_speech.encoders import Mel, Wav2Vec2
from ssl_speech.masks import SpanMask
from ssl_speech.methods.dm_codec import DMCodec, Speaker, along_time
from ssl_speech.methods.speecht5 import Decoder, SpeechT5, last
from ssl_speech.objectives import L1, CrossEntropy
from ssl_speech.waves import collate, within


def batch(*lengths):
    g = torch.Generator().manual_seed(0)
    return collate([0.2 * torch.randn(n, generator=g) for n in lengths or (6400, 4000, 2500)])


def speecht5(**options):
    torch.manual_seed(0)
    method = SpeechT5(Mel(16000, width=16, depth=1), SpanMask(0.8, 4), CrossEntropy(), rate=16000, clusters=4, bins=10, depth=1,
                      **options)
    method.prepare([batch()])
    return method


def test_the_decoder_hears_what_was_said_but_not_what_it_is_to_say():
    torch.manual_seed(0)
    net = Decoder(6, 8, 2, 1, 0.0)
    frames, memory = torch.randn(1, 9, 6, requires_grad=True), torch.randn(1, 4, 8, requires_grad=True)
    rough, _, stop = net(frames, torch.ones(1, 9, dtype=torch.bool), memory, torch.ones(1, 4, dtype=torch.bool))
    slope, heard = torch.autograd.grad(rough[0, 5].sum() + stop[0, 5], [frames, memory])
    assert slope[0, :5].any(dim=1).all() and not slope[0, 5:].any() and heard.any()


def test_the_decoder_hears_no_padding():
    torch.manual_seed(0)
    net = Decoder(6, 8, 2, 1, 0.0)
    frames, memory = torch.randn(2, 9, 6), torch.randn(2, 4, 8)
    there, valid = within(torch.tensor([9, 5]), 9), within(torch.tensor([4, 3]), 4)
    whole = net(frames * there[..., None], there, memory, valid)
    alone = net(frames[1:, :5], there[1:, :5], memory[1:, :3], valid[1:, :3])
    assert all(torch.allclose(a[0], b[1, :5], atol=1e-5) for a, b in zip(alone, whole, strict=True))


def test_codes_replace_states_of_each_recording_by_itself():
    torch.manual_seed(0)
    method = speecht5(replaced=0.3)
    valid = within(torch.tensor([60, 60, 20]), 60)
    states, rows = torch.ones(3, 60, 16), torch.zeros(int(valid.sum()), 16)
    gone = (method.mixed(states, valid, rows) == 0).all(dim=2)
    assert not torch.equal(gone[0], gone[1])  # the authors' code takes the same places for a whole batch
    assert not gone[~valid].any() and 0.15 < gone[valid].float().mean() < 0.45
    method.replaced = 0.0
    assert torch.equal(method.mixed(states, valid, rows), states)


def test_the_loss_is_the_sum_of_its_terms():
    found = speecht5().step(batch())
    codes = found["loss"] - found["naming"] - found["spoken"] - found["ended"]
    assert -1e-5 < codes < 0.1 + 1e-5 and 2 <= found["perplexity"] <= 64
    assert 0.5 < found["spoken"] < 4  # two guesses of standardised bins


def test_the_last_frame_is_the_one_before_the_padding():
    assert last(within(torch.tensor([3, 1]), 3)).tolist() == [[False, False, True], [True, False, False]]


def codec(**options):
    torch.manual_seed(0)
    encoder = Wav2Vec2(16000, channels=8, width=16, depth=1, heads=2)
    return DMCodec(encoder, AsIs(), L1(), rate=16000, books=2, entries=4, channels=16, **options)


def test_frames_become_as_many_samples_as_they_cover():
    torch.manual_seed(0)
    speaker, x = Speaker(16, 16), torch.randn(2, 31, 16, requires_grad=True)
    out = speaker(x)
    assert out.shape == (2, 320 * 31)
    (slope,) = torch.autograd.grad(out[0, 15 * 320 + 160], x)
    heard = slope[0].any(dim=1).nonzero()[:, 0].tolist()
    assert not slope[1].any() and 15 in heard and 15 - heard[0] <= 8 and heard[-1] - 15 <= 8  # a sample is of its own frame


def test_resemblance_is_the_cosine_of_every_column_along_time():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 6, 3, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    valid = within(torch.tensor([6, 4]), 6)
    found = along_time(a, b, valid)
    for i, n in ((0, 6), (1, 4)):
        for column in range(3):
            x, y = a[i, :n, column], b[i, :n, column]
            assert found[i, column].item() == pytest.approx((x @ y / (x.norm() * y.norm())).item(), abs=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), a)
    assert not slope[1, 4:].any()  # padding moves nothing: the authors' code lets it


def test_the_codec_adds_up_and_reaches_every_part():
    method = codec()
    method.prepare([batch()])
    found = method.step(batch())
    plain = 500 * found["wave"] + found["mel"] + 10 * found["commit"] + 120 * found["distil"]
    assert found["loss"].item() == pytest.approx(plain.item(), rel=1e-5)
    found["loss"].backward()
    still = [name for name, p in method.named_parameters() if p.grad is None]
    assert still == ["encoder.body.mask"]
    silent = method.spectra(batch(), batch())
    assert silent == 0


def test_codes_may_resemble_several_finished_runs(tmp_path):
    run = pretrain("speech", "hubert", out=tmp_path / "run", quiet=True, epochs=1, probe="", baselines=False,
                   encoder={"width": 32, "depth": 1, "channels": 8}, trainer={"tensorboard": False, "accelerator": "cpu"},
                   **{"data.items": 16, "method.clusters": 4})
    method = codec(labels=f"{run.path}, {run.path}")
    assert [head.out_features for head in method.heads] == [32, 32]
    waves = batch()
    x, valid = method.encoder.local(waves)
    frames = torch.randn(*valid.shape, 16)
    both = method.resemblance(frames, valid, waves)
    terms = [-F.logsigmoid(along_time(head(frames), target, valid)).mean()
             for head, target in zip(method.heads, method.features(waves, valid.shape[1]), strict=True)]
    assert torch.allclose(both, (terms[0] + terms[1]) / 2)
    assert not any(p.requires_grad for p in method.teachers.parameters())


@pytest.mark.parametrize("make, says", [
    (lambda: speecht5(replaced=1.5), "share"),
    (lambda: DMCodec(Mel(8000), AsIs(), L1(), rate=8000), "every 320 samples"),
])
def test_options_are_checked(make, says):
    with pytest.raises(ValueError, match=says):
        make()
