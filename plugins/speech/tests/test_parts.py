"""Masks, distractors, quantiser, clusters, features and objectives against plain versions of themselves."""
from math import exp, log

import pytest
import torch
import torch.nn.functional as F

from ssl_core import Layout, Progress
from ssl_speech.clusters import gathered, kmeans, nearest
from ssl_speech.frontend import MFCC, LogMel, deltas, statistics
from ssl_speech.masks import SpanMask, distractors, spread
from ssl_speech.objectives import L1, CrossEntropy, WithinContrast
from ssl_speech.quantizer import ProductQuantizer, perplexity
from ssl_speech.waves import Waves, centred, collate, standardised, within


def layout(*counts):
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Layout(owner, torch.zeros(len(owner), 1))


def runs(row):
    """Lengths of the runs of True."""
    text = "".join("x" if hidden else " " for hidden in row.tolist())
    return [len(word) for word in text.split()]


@pytest.mark.parametrize("counts", [(50, 99, 30), (1, 2, 3, 5, 8), (19, 20, 21), (400,)])
@pytest.mark.parametrize("ratio, span, least", [(0.65, 10, 2), (0.8, 6, 2), (0.15, 7, 1), (0.95, 3, 1)])
def test_masks_keep_their_promises(counts, ratio, span, least):
    found = layout(*counts)
    for seed in range(30):
        torch.manual_seed(seed)
        hidden = SpanMask(ratio, span, least)(found)
        for count, row in zip(counts, hidden.split(counts), strict=True):
            assert not row.all()  # something stays visible
            if count > 1:
                assert row.any()
            if count >= 2 * span and runs(row):
                assert min(runs(row)) >= span or row.sum() == count - 1  # spans are whole, and of this recording
        torch.manual_seed(seed)
        assert torch.equal(hidden, SpanMask(ratio, span, least)(found))


def plain_share(ratio, span, length, draws, generator):
    """Share of hidden frames, one recording and one span at a time."""
    total = 0
    for _ in range(draws):
        spans = max(2, int(ratio * length / span + float(torch.rand((), generator=generator))))
        hidden = torch.zeros(length, dtype=torch.bool)
        for start in torch.randperm(length - span + 1, generator=generator)[:spans].tolist():
            hidden[start: start + span] = True
        total += int(hidden.sum())
    return total / draws / length


@pytest.mark.parametrize("ratio, span, expected", [(0.65, 10, 0.49), (0.8, 10, 0.57), (0.65, 6, None)])
def test_share_of_hidden_frames_is_the_plain_one(ratio, span, expected):
    torch.manual_seed(0)
    counts = [200] * 200
    ours = SpanMask(ratio, span)(layout(*counts)).double().mean().item()
    plain = plain_share(ratio, span, 200, 300, torch.Generator().manual_seed(1))
    assert ours == pytest.approx(plain, abs=0.015)
    if expected:
        assert ours == pytest.approx(expected, abs=0.03)


def test_every_start_is_equally_likely():
    torch.manual_seed(0)
    hidden = SpanMask(0.5, 10, 1)(layout(*[20] * 6000)).view(-1, 20)  # one span each: 0.5 * 20 / 10
    single = hidden[hidden.sum(dim=1) == 10]
    starts = torch.bincount(single.long().argmax(dim=1), minlength=11)
    share = starts.double() / len(single)
    assert len(starts) == 11 and (share - 1 / 11).abs().max() < 0.015  # the last legal start is used too


def test_short_recordings_do_not_change_the_spans_of_their_neighbours():
    torch.manual_seed(0)
    for _ in range(50):
        hidden = SpanMask(0.65, 10)(layout(100, 7, 100))
        assert min(runs(hidden[107:])) >= 10 and min(runs(hidden[:100])) >= 10


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"ratio": 1.0}, {"span": 0}, {"least": 0}])
def test_masks_check_their_options(wrong):
    with pytest.raises(ValueError):
        SpanMask(**wrong)


def test_spread_puts_rows_where_frames_are():
    valid = within(torch.tensor([2, 3]), 3)
    assert torch.equal(spread(torch.tensor([True, False, False, True, True]), valid),
                       torch.tensor([[True, False, False], [False, True, True]]))


def test_distractors_are_others_of_the_same_recording_and_uniform():
    torch.manual_seed(0)
    counts = torch.tensor([1, 2, 5])
    found = distractors(counts, 5, 4000)
    for b, count in enumerate(counts.tolist()):
        for row in range(count):
            drawn = set(found[b, row].tolist())
            others = set(range(count)) - {row}
            assert drawn == others if others else True
            if others:
                share = torch.bincount(found[b, row], minlength=5)[sorted(others)] / 4000
                assert (share - 1 / len(others)).abs().max() < 0.05


def plain_contrast(a, b, owner, codes, temperature):
    """Equation 3 of wav2vec 2.0, one frame at a time, all other hidden frames of the recording as distractors."""
    terms = []
    for i in range(len(a)):
        right = F.cosine_similarity(a[i], b[i], dim=0) / temperature
        others = [F.cosine_similarity(a[i], b[j], dim=0) / temperature for j in range(len(a))
                  if j != i and owner[j] == owner[i] and codes[j] != codes[i]]
        terms.append(torch.stack([right, *others]).logsumexp(dim=0) - right)
    return torch.stack(terms).mean()


def contrast_case():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(14, 6, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    owner = torch.tensor([0] * 4 + [1] * 7 + [3] * 2 + [4])  # recording 2 has no hidden frame, 4 has one
    return a, b, owner, torch.randint(5, (14,), generator=g)


def test_contrast_is_the_plain_one():
    a, b, owner, codes = contrast_case()
    ours = WithinContrast(0.1, negatives=0)(a, b, owner, codes)
    plain = plain_contrast(a, b, owner, codes, 0.1)
    assert torch.allclose(ours, plain)
    for mine, other in zip(torch.autograd.grad(ours, [a, b]), torch.autograd.grad(plain, [a, b]), strict=True):
        assert torch.allclose(mine, other)


def test_drawn_distractors_count_as_the_formula_says():
    a, b, owner, codes = contrast_case()
    torch.manual_seed(5)
    ours = WithinContrast(0.1, negatives=8)(a, b, owner, codes)
    torch.manual_seed(5)
    counts = torch.bincount(owner, minlength=5)
    drawn, first, terms = distractors(counts, 7, 8), counts.cumsum(0) - counts, []
    for i in range(len(a)):
        own = int(owner[i])
        right = F.cosine_similarity(a[i], b[i], dim=0) / 0.1
        columns = [int(first[own]) + int(k) for k in drawn[own, i - int(first[own])]] if counts[own] > 1 else []
        others = [F.cosine_similarity(a[i], b[j], dim=0) / 0.1 for j in columns if codes[j] != codes[i]]
        terms.append(torch.stack([right, *others]).logsumexp(dim=0) - right)
    assert torch.allclose(ours, torch.stack(terms).mean())


def test_contrast_has_the_right_sign_and_no_other_recordings():
    a, b, owner, codes = contrast_case()
    codes = torch.arange(14)
    loss = WithinContrast(0.1, negatives=0)
    nearer = loss(a + 0.5 * b, b, owner, codes)
    assert nearer < loss(a, b, owner, codes) < loss(a - 0.5 * b, b, owner, codes)
    other = b.detach().clone()
    other[4:11] = torch.randn(7, 6, dtype=torch.float64)
    same = (owner != 1)
    first = torch.autograd.grad(loss(a, b, owner, codes), a)[0][same]
    assert torch.allclose(torch.autograd.grad(loss(a, other, owner, codes), a)[0][same], first)


def test_identical_codes_are_no_distractors():
    a, b, owner, _ = contrast_case()
    assert WithinContrast(0.1, negatives=0)(a, b, owner, torch.zeros(14, dtype=torch.long)).abs() < 1e-12


def test_simple_objectives():
    a, b = torch.randn(6, 4), torch.randn(6, 4)
    assert torch.allclose(L1()(a, b), (a - b).abs().mean())
    y = torch.randint(4, (6,))
    assert torch.allclose(CrossEntropy()(a, y), -a.log_softmax(1)[range(6), y].mean())


def quantizer(**options):
    torch.manual_seed(0)
    return ProductQuantizer(8, **{"groups": 2, "entries": 5, "width": 6} | options)


def test_quantiser_is_the_plain_one():
    q, x = quantizer().eval(), torch.randn(9, 8)
    found = q(x)
    for i in range(9):
        logits = (q.choose.weight @ x[i] + q.choose.bias).view(2, 5)
        codes = logits.argmax(dim=1)
        assert torch.equal(found.codes[i], codes)
        rows = q.leave(torch.cat([q.book[g, codes[g]] for g in range(2)]))
        assert torch.allclose(found.rows[i], rows, atol=1e-6)
    soft = (x @ q.choose.weight.T).view(9, 2, 5).softmax(dim=2).mean(dim=0)
    used = sum(exp(-sum(p * log(p) for p in group)) for group in soft.tolist())
    assert found.diversity.item() == pytest.approx((10 - used) / 10, abs=1e-5)


def test_quantiser_draws_codes_with_gumbel_noise():
    q = quantizer(groups=1, width=6, temperatures=(1.0, 1.0))
    x = torch.randn(1, 8).expand(20000, 8)
    share = torch.bincount(q(x).codes[:, 0], minlength=5) / 20000
    assert (share - (q.choose.weight @ x[0]).softmax(dim=0)).abs().max() < 0.02


def test_gradient_is_that_of_the_soft_choice():
    q, x = quantizer(temperatures=(0.7, 0.7)), torch.randn(4, 8, requires_grad=True)
    weight = torch.randn(4, 6)
    torch.manual_seed(3)
    (mine,) = torch.autograd.grad((q(x).rows * weight).sum(), x)
    torch.manual_seed(3)
    logits = (x @ q.choose.weight.T).view(4, 2, 5)
    soft = ((logits - torch.empty_like(logits).exponential_().log()) / 0.7).softmax(dim=2)
    (plain,) = torch.autograd.grad((q.leave(torch.einsum("ngv,gvd->ngd", soft, q.book).flatten(1)) * weight).sum(), x)
    assert torch.allclose(mine, plain, atol=1e-5)


@pytest.mark.parametrize("fraction, expected", [(0.0, 2.0), (0.35, 1.0), (0.7, 0.5), (1.0, 0.5)])
def test_temperature_is_a_function_of_progress(fraction, expected):
    q = quantizer()
    q.progress = Progress(int(1000 * fraction), 1000)
    assert q.temperature == pytest.approx(expected)


def test_perplexity_tells_collapse_from_use():
    one = torch.zeros(2, 5)
    one[:, 0] = 1
    assert perplexity(one) == 2 and perplexity(torch.full((2, 5), 0.2)).item() == pytest.approx(10)
    q = quantizer().eval()
    with torch.no_grad():
        q.choose.weight.zero_()
        q.choose.bias[0] = q.choose.bias[5] = 50.0
    found = q(torch.randn(9, 8))
    assert found.perplexity == 2 and found.diversity.item() == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"width": 7}, {"temperatures": (0.0, 1.0)}, {"anneal": 0.0}])
def test_quantiser_checks_its_options(wrong):
    with pytest.raises(ValueError):
        quantizer(**wrong)


def test_kmeans_finds_what_scikit_learn_finds():
    from sklearn.cluster import KMeans
    torch.manual_seed(0)
    rows = torch.cat([8 * torch.randn(1, 4) + torch.randn(60, 4) for _ in range(7)])
    ours = kmeans(rows, 7)
    theirs = KMeans(7, n_init=10, random_state=0).fit(rows.numpy())
    mine = (rows - ours[nearest(rows, ours)]).square().sum().item()
    assert mine <= 1.3 * theirs.inertia_
    assert torch.equal(nearest(rows, ours, block=13), torch.cdist(rows, ours).argmin(dim=1))


def test_kmeans_leaves_no_centre_without_rows():
    torch.manual_seed(0)
    rows = torch.randn(40, 3)
    assert len(nearest(rows, kmeans(rows, 20)).unique()) == 20
    assert kmeans(torch.ones(5, 3), 8).isfinite().all()  # more centres than different rows


def test_gathered_is_a_fair_sample():
    torch.manual_seed(0)
    rows = gathered((torch.full((100, 1), float(i)) for i in range(50)), most=1000)
    assert len(rows) == 1000 and rows.mean().item() == pytest.approx(24.5, abs=1.5)
    assert len(gathered([torch.ones(3, 1)], 10)) == 3


def speech(*lengths):
    g = torch.Generator().manual_seed(2)
    return [0.2 * torch.randn(n, generator=g).cumsum(0).sin() for n in lengths]


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("make", [lambda rate: LogMel(rate, 40), MFCC], ids=["mel", "mfcc"])
def test_features_do_not_depend_on_padding(make, rate):
    frontend, held = make(rate), speech(rate, rate // 2, 900)
    together = statistics(*frontend(collate(held)))
    alone = torch.cat([statistics(*frontend(collate([r]))) for r in held])
    assert torch.allclose(together, alone, atol=1e-4)


def test_log_mel_is_torchaudios():
    from torchaudio.transforms import MelSpectrogram
    waves = collate(speech(16000))
    mel, _ = LogMel(16000, 40)(waves)
    make = MelSpectrogram(16000, n_fft=1024, win_length=400, hop_length=160, f_min=20.0, n_mels=40, center=False,
                          window_fn=lambda n: torch.hann_window(n, periodic=False))
    theirs = make(F.pad(waves.samples, (312, 312)))  # its window lies in the middle of 1,024 samples, ours at the start
    assert torch.allclose(mel[0], (theirs[0].T + 1e-6).log()[: mel.shape[1]], atol=1e-3)


def test_mfcc_is_the_liftered_cosine_transform_of_log_mel():
    waves = collate(speech(8000))
    mel, _ = LogMel(16000, 40)(waves)
    found, _ = MFCC(16000)(waves)
    bands = torch.arange(40) + 0.5
    for n in (0, 1, 5, 12):
        scale = (1 if n else 0.5**0.5) * (2 / 40) ** 0.5 * (1 + 11 * torch.sin(torch.tensor(torch.pi * n / 22)))
        plain = (mel[0] * torch.cos(torch.pi * n * bands / 40)).sum(dim=1) * scale
        assert torch.allclose(found[0, :, n], plain, atol=1e-3)


def test_deltas_are_the_plain_regression():
    x, valid = torch.randn(2, 9, 3), within(torch.tensor([9, 5]), 9)
    found = deltas(x, valid)
    for b, count in enumerate((9, 5)):
        for t in range(count):
            plain = sum(k * (x[b, min(t + k, count - 1)] - x[b, max(t - k, 0)]) for k in (1, 2)) / 10
            assert torch.allclose(found[b, t], plain, atol=1e-6)


def test_standardised_recordings():
    waves = Waves(torch.cat([3 + 2 * torch.randn(1, 500), torch.zeros(1, 500)]), torch.tensor([400, 500]))
    found = standardised(waves)
    assert found[0, :400].mean().abs() < 1e-5 and found[0, :400].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert not found[0, 400:].any() and not found[1].any()


def test_centred_ignores_padding():
    x, valid = torch.randn(2, 6, 3), within(torch.tensor([6, 4]), 6)
    found = centred(x, valid)
    assert torch.allclose(found[1, :4], (x[1, :4] - x[1, :4].mean(0)) / x[1, :4].std(0, correction=0), atol=1e-5)
