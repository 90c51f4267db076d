"""wav2vec, its codes, and learning with labels, against plain versions of themselves."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError
from ssl_core.objectives.supcon import SupCon
from ssl_speech import data
from ssl_speech.augmentations import AsIs, Perturb
from ssl_speech.causal import CausalWav2Vec
from ssl_speech.encoders import Mel
from ssl_speech.masks import distractors
from ssl_speech.methods.supcon import SupConSpeech
from ssl_speech.methods.wav2vec import Wav2Vec
from ssl_speech.objectives import Binary, CrossEntropy
from ssl_speech.quantizer import Nearest, Residual
from ssl_speech.waves import Waves, collate


def batch(*lengths):
    g = torch.Generator().manual_seed(0)
    return collate([0.2 * torch.randn(n, generator=g) for n in lengths or (6000, 4000, 700)])


def encoder(**options):
    torch.manual_seed(0)
    return CausalWav2Vec(16000, **{"channels": 8, "width": 12, "depth": 2} | options)


def method(objective=None, codes="none", **options):
    return Wav2Vec(encoder(codes=codes, entries=6), AsIs(), objective or Binary(), **{"steps": 3, "negatives": 4} | options)


def test_no_frame_hears_the_future():
    net, waves = encoder().eval(), batch(6000)
    x = waves.samples.clone().requires_grad_(True)
    context = net.body(*net.local(Waves(x, waves.lengths)))[0][-1][0]
    (slope,) = torch.autograd.grad(context[10].sum(), x)
    last = int(slope[0].nonzero().max())
    assert 10 * 160 < last < 10 * 160 + 465  # its own samples are the last that count


@pytest.mark.parametrize("codes", ["none", "gumbel", "kmeans"])
def test_padding_changes_nothing(codes):
    net, waves = encoder(codes=codes, entries=6).eval(), batch()
    together = net(waves)
    alone = torch.cat([net(collate([r[:n]])).pooled for r, n in zip(waves.samples, waves.lengths, strict=True)])
    assert torch.allclose(together.pooled, alone, atol=1e-5)
    assert len(together.tokens) == len(net.layout(waves).owner)


def plain_logits(learner, context, target, counts, steps, negatives, seed):
    """Equation 2, one frame and one step at a time."""
    torch.manual_seed(seed)
    other = distractors(counts, target.shape[1], negatives)
    maps = learner.ahead.weight.view(steps, -1, context.shape[2]), learner.ahead.bias.view(steps, -1)
    found = []
    for b, count in enumerate(counts.tolist()):
        for k in range(1, steps + 1):
            for i in range(count - k):
                guess = maps[0][k - 1] @ context[b, i] + maps[1][k - 1]
                columns = [i + k, *other[b, i + k].tolist()]
                found.append(torch.stack([guess @ target[b, t] for t in columns]))
    return torch.stack(found)


def test_scores_are_those_of_frames_to_come_and_their_negatives():
    learner = method().double()
    context = torch.randn(2, 9, 12, dtype=torch.float64, requires_grad=True)
    target, counts = torch.randn(2, 9, 8, dtype=torch.float64, requires_grad=True), torch.tensor([9, 5])
    torch.manual_seed(3)
    ours = learner.logits(context, target, counts)
    plain = plain_logits(learner, context, target, counts, 3, 4, 3)
    assert torch.allclose(ours.sort(dim=0).values, plain.float().sort(dim=0).values.to(ours.dtype), atol=1e-5)
    zeros = torch.zeros(len(ours), dtype=torch.long)
    loss, other = Binary()(ours, zeros), Binary()(plain, zeros)
    assert torch.allclose(loss.double(), other, atol=1e-6)
    for mine, theirs in zip(torch.autograd.grad(loss, [context, target]), torch.autograd.grad(other, [context, target]),
                            strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_frame_to_come_is_never_its_own_negative():
    learner = method(negatives=50)
    with torch.no_grad():
        learner.ahead.weight.zero_()
        learner.ahead.bias.fill_(1.0)
    places = torch.arange(9.0)[None, :, None].expand(2, 9, 8)  # a target that says where it stands
    found = learner.logits(torch.zeros(2, 9, 12), places, torch.tensor([9, 6]))
    assert len(found) == 8 + 7 + 6 + 5 + 4 + 3 and (found[:, 1:] != found[:, :1]).all()
    assert found[21:].max() < 6 * 8  # and comes from the recording itself, not its padding


def test_binary_is_the_plain_sum():
    a, b = torch.randn(7, 5, dtype=torch.float64), torch.randint(5, (7,))
    plain = sum(-(a[i, j] if j == b[i] else -a[i, j]).sigmoid().log() for i in range(7) for j in range(5)) / 7
    assert torch.allclose(Binary()(a, b), plain)
    assert Binary()(a + 2 * F.one_hot(b, 5), b) < Binary()(a, b)


@pytest.mark.parametrize("codes", ["gumbel", "kmeans"])
def test_codes_are_learned_and_their_use_is_logged(codes):
    learner = method(CrossEntropy(), codes)
    learner.prepare([batch()])
    found = learner.step(batch())
    assert 2 <= found["perplexity"] <= 12
    found["loss"].backward()
    missing = [name for name, p in learner.named_parameters() if p.grad is None]
    assert missing == []


def test_the_nearest_entry_is_the_plain_one():
    torch.manual_seed(0)
    q, x = Nearest(6, 2, 5), torch.randn(9, 6, requires_grad=True)
    found = q(x)
    entries = []
    for i in range(9):
        for g in range(2):
            part = x[i, 3 * g: 3 * g + 3]
            code = int((q.book[g] - part).square().sum(dim=1).argmin())
            assert found.codes[i, g] == code
            entries.append(q.book[g, code])
    plain = torch.stack(entries).view(9, 6)
    assert torch.allclose(found.rows, plain, atol=1e-6)
    weight = torch.randn(9, 6)
    assert torch.allclose(torch.autograd.grad((found.rows * weight).sum(), x, retain_graph=True)[0], weight)  # copied
    commit = (plain - x.detach()).square().mean() + 0.25 * (plain.detach() - x).square().mean()
    slopes = [torch.autograd.grad(loss, [x, q.book]) for loss in (found.commit, commit)]
    assert all(torch.allclose(mine, other, atol=1e-6) for mine, other in zip(*slopes, strict=True))


def test_each_codebook_takes_what_is_left():
    torch.manual_seed(0)
    x = torch.randn(300, 4)
    residual = Residual(4, books=4, entries=16)
    residual.settle(x)
    total, found = residual(x)
    left, errors = x, []
    for book, part in zip(residual.books, found, strict=True):
        assert torch.equal(part.codes[:, 0], torch.cdist(left, book.book[0]).argmin(dim=1))
        left = left - book.book[0][part.codes[:, 0]]
        errors.append(left.square().mean().item())
    assert torch.allclose(total, x - left, atol=1e-5)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3 * errors[0]


def test_settled_codebooks_are_all_in_use():
    torch.manual_seed(0)
    q, x = Nearest(4, 2, 8), torch.randn(200, 4)
    q.settle(x)
    assert all(len(q(x).codes[:, g].unique()) == 8 for g in range(2))


def test_training_batches_carry_their_labels():
    held = data.vowels(items=40, seconds=4.0)
    seen = torch.cat([held.target(b) for b in held.train])
    assert sorted(seen.tolist()) == sorted(held.labels.tolist())
    assert all(b.labels is None for b in held.items)


def test_joined_recordings_have_a_label_if_all_of_them_have():
    recordings = {"samples": [0.1 * torch.randn(4000).numpy() for _ in range(12)], "rate": 16000,
                  "labels": ["a", "b"] * 6}
    assert set(torch.cat([b.labels for b in data.read(recordings, seconds=2.0, longest=1.0).train]).tolist()) == {0, 1}
    joined = data.read(recordings, seconds=2.0, longest=1.0, join=1.0)
    assert -1 in torch.cat([b.labels for b in joined.train]).tolist()


def supcon(**options):
    torch.manual_seed(0)
    learner = SupConSpeech(Mel(16000, width=16, depth=1), Perturb(16000), SupCon(), classes=3, **options)
    learner.target = lambda waves: waves.labels
    return learner


def test_supcon_is_the_plain_sum_over_positives():
    learner, waves = supcon(), batch(6000, 5000, 4000, 5000)._replace(labels=torch.tensor([0, 1, 0, -1]))
    seen = []
    learner.projector.register_forward_hook(lambda module, given, out: seen.append(out))
    found = learner.step(waves)["contrast"]
    z = F.normalize(torch.cat(seen).double(), dim=1)
    label, terms = [0, 1, 0, 7] * 2, []
    for i in range(8):
        against = torch.stack([z[i] @ z[a] / 0.1 for a in range(8) if a != i]).logsumexp(0)
        alike = [z[i] @ z[p] / 0.1 for p in range(8) if p != i and label[p] == label[i]]
        terms.append(against - torch.stack(alike).mean())
    assert found.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-4)


def test_naming_leaves_out_what_has_no_label():
    learner = supcon(naming=1.0, contrast=0.1)
    waves = batch(6000, 5000, 4000)
    one = learner.step(waves._replace(labels=torch.tensor([0, 2, -1])))
    assert one["loss"].item() == pytest.approx((0.1 * one["contrast"] + one["naming"]).item(), rel=1e-5)
    none = learner.step(waves._replace(labels=torch.tensor([-1, -1, -1])))
    assert none["naming"] == 0 and none["loss"].isfinite()
    one["loss"].backward()
    assert all(p.grad is not None for p in learner.head.parameters())


def test_supcon_needs_labels_and_says_so():
    learner = supcon()
    learner.target = None
    with pytest.raises(DataError, match="learns from labels"):
        learner.step(batch())


@pytest.mark.parametrize("make, says", [
    (lambda: Wav2Vec(Mel(16000), AsIs(), Binary()), "hears no future"),
    (lambda: method(steps=0), "steps and negatives"),
    (lambda: supcon(contrast=0.0), "weights of 0 or more"),
    (lambda: encoder(codes="kmeans", groups=5), "multiple of groups"),
])
def test_options_are_checked(make, says):
    with pytest.raises(ValueError, match=says):
        make()
