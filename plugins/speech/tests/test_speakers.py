"""Encoders of voices and conformer blocks, the gate of pseudo-labels, and CA-DINO."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, Progress
from ssl_core.evaluation import tokens
from ssl_core.objectives.dino import DINO
from ssl_speech.augmentations import Crops, part_of
from ssl_speech.conformer import Conformer, ConformerBlock
from ssl_speech.ecapa import ECAPA
from ssl_speech.gate import mixture, threshold
from ssl_speech.masks import SpanMask
from ssl_speech.methods.ca_dino import CADino, partners, with_margin
from ssl_speech.methods.hubert import HuBERT
from ssl_speech.objectives import CrossEntropy
from ssl_speech.waves import collate, within


def batch(*lengths):
    g = torch.Generator().manual_seed(0)
    return collate([0.2 * torch.randn(n, generator=g) for n in lengths or (8000, 5000, 600)])


def ecapa():
    torch.manual_seed(0)
    return ECAPA(16000, bins=20, channels=8, width=12, scale=4, squeeze=6)


def test_ecapa_does_not_hear_padding_even_while_it_learns():
    net, waves = ecapa(), batch()
    net(waves)  # moves the statistics of its norms
    longer = waves._replace(samples=F.pad(waves.samples, (0, 4000)))
    assert torch.allclose(net(waves).pooled, net(longer).pooled, atol=1e-4)
    net.eval()
    alone = torch.cat([net(collate([r[:n]])).pooled for r, n in zip(waves.samples, waves.lengths, strict=True)])
    assert torch.allclose(net(waves).pooled, alone, atol=1e-4)


def test_attentive_statistics_are_the_plain_ones_where_all_frames_weigh_the_same():
    net = ecapa().double()
    with torch.no_grad():
        net.attend[2].weight.zero_()
    x, valid = torch.randn(2, 7, 24, dtype=torch.float64), within(torch.tensor([7, 4]), 7)
    mean, spread = net.statistics(x, valid)
    for b, n in ((0, 7), (1, 4)):
        assert torch.allclose(mean[b], x[b, :n].mean(0))
        assert torch.allclose(spread[b], (x[b, :n].var(0, correction=0) + 1e-5).sqrt())


def test_ecapa_takes_out_the_channel():
    net, waves = ecapa().eval(), batch(8000, 8000)
    louder = waves._replace(samples=2.0 * waves.samples)
    assert torch.allclose(net(waves).pooled, net(louder).pooled, atol=1e-2)  # a gain is a constant of log-mel bins


def test_a_voice_has_no_frames_to_write():
    with pytest.raises(DataError, match="has no tokens"):
        tokens(ecapa(), [batch()])


def test_conformer_blocks_are_made_of_their_parts():
    torch.manual_seed(0)
    block, x = ConformerBlock(8, 2, 16, 3, 0.0).double(), torch.randn(2, 6, 8, dtype=torch.float64)
    valid = within(torch.tensor([6, 4]), 6)
    y = x + block.before(x) / 2
    y = y + block.attention(block.norm(y), valid)
    gated = block.near.enter(block.near.first(y))
    gated = gated[..., :8] * gated[..., 8:].sigmoid() * valid[..., None]
    padded, weight = F.pad(gated, (0, 0, 1, 1)), block.near.conv.weight[:, 0]
    heard = torch.stack([(padded[:, t: t + 3] * weight.T).sum(dim=1) for t in range(6)], dim=1) + block.near.conv.bias
    y = y + block.near.leave(F.silu(block.near.norm(heard)))
    y = block.last(y + block.after(y) / 2)
    assert torch.allclose(block(x, valid)[0], y)


def test_conformer_hears_no_padding_and_serves_every_method_on_frames():
    torch.manual_seed(0)
    net, waves = Conformer(16000, width=16, depth=1, kernel=5).eval(), batch()
    alone = torch.cat([net(collate([r[:n]])).pooled for r, n in zip(waves.samples, waves.lengths, strict=True)])
    assert torch.allclose(net(waves).pooled, alone, atol=1e-4)
    learner = HuBERT(net, SpanMask(0.8, 6), CrossEntropy(), rate=16000, clusters=4)
    learner.prepare([waves])
    assert learner.step(waves)["loss"].isfinite()
    with pytest.raises(ValueError, match="kernel odd"):
        Conformer(16000, kernel=4)


def test_the_mixture_is_scikit_learns():
    from sklearn.mixture import GaussianMixture
    g = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(700, generator=g) * 0.5 - 2, torch.randn(300, generator=g) + 2]).double()
    weight, mean, spread = mixture(values, steps=200)
    plain = GaussianMixture(2, random_state=0, tol=1e-8, max_iter=500).fit(values[:, None].numpy())
    order = plain.means_[:, 0].argsort()
    assert torch.allclose(mean, torch.from_numpy(plain.means_[order, 0]), atol=0.02)
    assert torch.allclose(weight, torch.from_numpy(plain.weights_[order]), atol=0.01)
    assert torch.allclose(spread, torch.from_numpy(plain.covariances_[order, 0, 0]).sqrt(), atol=0.02)
    at = threshold(values)
    share = plain.predict_proba(at.view(1, 1).numpy())[0]
    assert -2 < at < 2 and abs(share[0] - 0.5) < 0.05


def test_partners_share_the_cluster_and_any_of_them_may_come():
    torch.manual_seed(0)
    label = torch.tensor([0, 1, 0, 2, 0])
    seen = [partners(label) for _ in range(60)]
    assert all(torch.equal(label[p], label) for p in seen)
    assert {int(p[0]) for p in seen} == {0, 2, 4} and {int(p[3]) for p in seen} == {3}


def test_the_margin_makes_the_right_class_harder_by_an_angle():
    cosine, label = torch.tensor([[0.3, -0.2], [0.9, 0.5]], dtype=torch.float64), torch.tensor([0, 1])
    found = with_margin(cosine, label, 0.2)
    assert found[0, 0].item() == pytest.approx(torch.cos(torch.acos(torch.tensor(0.3).double()) + 0.2).item())
    assert found[0, 1] == cosine[0, 1] and found[1, 0] == cosine[1, 0] and found[1, 1] < 0.5
    assert torch.allclose(with_margin(cosine, label, 0.0), cosine, atol=1e-6)


def dino(**options):
    learner = CADino(ecapa(), Crops(16000, small=1), DINO(prototypes=16), clusters=3, memory=32, **options)
    learner.progress = Progress(95, 100)
    return learner


def test_early_on_targets_are_those_of_the_recording_itself(monkeypatch):
    from ssl_speech.methods import ca_dino as module
    called = []
    monkeypatch.setattr(module, "partners", lambda label: called.append(label) or torch.arange(len(label)))
    learner = dino()
    for step, expected in ((10, 0), (50, 1)):
        learner.progress = Progress(step, 100)
        found = learner.step(batch())
        assert len(called) == expected and set(found) == {"loss", "dino"}


@pytest.mark.parametrize("gate, trust, trusted, corrected", [(torch.inf, 0.5, 1.0, 0.0), (-torch.inf, 0.0, 0.0, 1.0),
                                                             (-torch.inf, 1.0, 0.0, 0.0)])
def test_labels_are_trusted_corrected_or_dropped(gate, trust, trusted, corrected):
    learner, waves = dino(trust=trust), batch()
    learner.gate.fill_(gate)
    rows = learner.encoder(waves).pooled
    total, found = learner.naming(waves, rows, torch.tensor([0, 1, 2]))
    assert found["trusted"] == trusted and found["corrected"] == corrected
    if trusted:
        plain = F.cross_entropy(30 * with_margin(learner.cosine(rows), torch.tensor([0, 1, 2]), 0.2), torch.tensor([0, 1, 2]))
        assert torch.allclose(total, plain)
    elif corrected:
        clean = (30 * learner.cosine(learner.encoder(waves).pooled)).softmax(dim=1).detach() ** 10
        plain = F.cross_entropy(30 * learner.cosine(rows), clean / clean.sum(dim=1, keepdim=True))
        assert torch.allclose(total, plain, atol=1e-4)
    else:
        assert total == 0


def test_clusters_and_gate_are_drawn_anew_between_steps():
    learner = dino(rounds=2)
    learner.progress = Progress(0, 100)
    for _ in range(12):  # three recordings a step: the memory of 32 is full
        learner.step(batch())
        learner.after_step()
    assert not learner.found.any()
    learner.progress = Progress(60, 100)
    learner.after_step()
    assert learner.found.any() and torch.allclose(learner.centres, F.normalize(learner.found, dim=1))
    learner.losses.copy_(torch.cat([torch.full((16,), 0.1), torch.full((16,), 5.0)]) * (1 + 0.05 * torch.rand(32)))
    learner.progress = Progress(100, 100)
    learner.after_step()
    assert 0.1 < learner.gate.exp() < 5.0


def test_crops_are_parts_of_recordings():
    torch.manual_seed(0)
    waves = collate([torch.arange(n) / 10_000 for n in (9000, 2000)])
    part = part_of(waves, 3000)
    assert part.lengths.tolist() == [3000, 2000] and torch.equal(part.samples[1, :2000], waves.samples[1, :2000])
    assert torch.allclose(part.samples[0].diff(), torch.full((2999,), 1e-4), atol=1e-5) and not part.samples[1, 2000:].any()
    starts = {round(float(part_of(waves, 3000).samples[0, 0]) * 10_000) for _ in range(30)}
    assert len(starts) > 20
    views = Crops(16000, large=2, small=3)(batch())
    assert [int(v.lengths.max()) for v in views] == [6400] * 2 + [4000] * 3


@pytest.mark.parametrize("make, says", [
    (lambda: dino(aware=0.8, named=0.5), "aware <= named"),
    (lambda: Crops(16000, short=1.0), "short <= long"),
    (lambda: ECAPA(16000, channels=10, scale=4), "multiple of scale"),
])
def test_options_are_checked(make, says):
    with pytest.raises(ValueError, match=says):
        make()
