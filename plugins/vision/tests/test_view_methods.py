"""G-SimCLR, BSS, ScatSimCLR, OBoW, SIE, seq-JEPA and TOV-VICReg against plain versions and what their papers promise."""
from math import exp, log

import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError
from ssl_core.objectives.infonce import InfoNCE, NTXent
from ssl_core.objectives.regression import Cosine
from ssl_core.objectives.vicreg import VICReg
from ssl_vision.augmentations import BatchStyle, Jigsaw, Mild, MultiCrop
from ssl_vision.encoders import Conv
from ssl_vision.frames import Drift
from ssl_vision.images import Images
from ssl_vision.methods.g_simclr import ExclusiveNTXent, GSimCLR
from ssl_vision.methods.obow import OBoW
from ssl_vision.methods.scatsimclr import ScatSimCLR
from ssl_vision.methods.seq_jepa import SeqJEPA
from ssl_vision.methods.sie import SIE, Hypernetwork
from ssl_vision.methods.tov_vicreg import TOVVICReg
from ssl_vision.objectives import BinaryCrossEntropy, SoftCrossEntropy
from ssl_vision.views import ACTION, Traced, between


def conv(width=8):
    torch.manual_seed(0)
    return Conv(1, (0.5,), (0.3,), width)


def images(count=16, side=8, seed=0):
    return Images(torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)), None, torch.arange(count))


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def exclusive(a, b, labels, temperature):
    """Row by row, candidate by candidate."""
    both, kind = [*F.normalize(a, dim=1), *F.normalize(b, dim=1)], [*labels.tolist()] * 2
    n, total = len(a), 0.0
    for i, row in enumerate(both):
        own = (i + n) % (2 * n)
        others = [j for j in range(2 * n) if j != i and (j == own or kind[j] != kind[i] or kind[i] < 0)]
        scores = torch.stack([row @ both[j] / temperature for j in others])
        total = total + torch.logsumexp(scores, 0) - row @ both[own] / temperature
    return total / (2 * n)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 1, 2], [-1, -1, 0, 0, 1, 1], [0] * 6])
def test_exclusive_nt_xent_leaves_out_what_is_alike(labels):
    a, b, labels = rows(6, 4), rows(6, 4, seed=1), torch.tensor(labels)
    found, expected = ExclusiveNTXent(0.3)(a, b, labels), exclusive(a, b, labels, 0.3)
    assert torch.allclose(found, expected, atol=1e-12)
    for mine, plain in zip(torch.autograd.grad(found, (a, b)), torch.autograd.grad(expected, (a, b)), strict=True):
        assert torch.allclose(mine, plain, atol=1e-12)
    if len(set(labels.tolist())) == 6:
        assert torch.allclose(found, NTXent(0.3)(a, b), atol=1e-9)
    if labels.tolist() == [0] * 6:
        assert abs(float(found.detach())) < 1e-12  # nothing to tell it from


def test_pseudo_classes_are_found_before_training_and_saved():
    torch.manual_seed(0)
    bars = torch.zeros(60, 1, 8, 8)
    bars[:30, :, 2:4], bars[30:, :, :, 5:7] = 1.0, 1.0
    batch = Images((bars + 0.1 * torch.rand_like(bars)).clamp(0, 1))
    method = GSimCLR(conv(), Mild(), ExclusiveNTXent(), 1, (16, 8), clusters=2, cells=8, code=4, steps=150)
    with torch.no_grad():
        method.prepare(iter([batch]))
    found = method.pseudo(batch)
    assert len(found[:30].unique()) == len(found[30:].unique()) == 1 and found[0] != found[-1]
    assert not any(p.requires_grad for p in method.reader.parameters())
    other = GSimCLR(conv(), Mild(), ExclusiveNTXent(), 1, (16, 8), clusters=2, cells=8, code=4)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.pseudo(batch), found)
    assert method.step(batch)["loss"].isfinite()


def test_all_images_of_a_view_have_one_style_and_candidates_come_from_the_other_view():
    torch.manual_seed(0)
    x = 0.4 + 0.2 * torch.rand(8, 1, 16, 16)
    for view in BatchStyle(low=(0.1, 0.1), scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0)(Images(x)):
        sizes = torch.fft.rfft2(view.pixels).abs()[:, :, 0:2, 0:2]
        assert torch.allclose(sizes, sizes[:1].expand_as(sizes), rtol=1e-3)
    a, b = rows(5, 4), rows(5, 4, seed=1)
    scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.3  # no row of its own view among them
    expected = (F.cross_entropy(scores, torch.arange(5)) + F.cross_entropy(scores.T, torch.arange(5))) / 2
    assert torch.allclose(InfoNCE(0.3)(a, b), expected, atol=1e-9)


def test_pretexts_are_the_turn_and_the_puzzle_of_each_image():
    method, x = ScatSimCLR(conv(), Mild(), NTXent(), (16, 8)), images(40).pixels
    torch.manual_seed(1)
    turned, quarter = method.turned(x)
    moved, order = method.shuffled(x)
    assert set(quarter.tolist()) == {0, 1, 2, 3} and order.max() < 12 and len(order.unique()) > 8
    for i in range(40):
        assert torch.equal(torch.rot90(turned[i], -int(quarter[i]), (1, 2)), x[i])
        assert torch.equal(moved[i], Jigsaw(2, 12)(Images(x[i: i + 1]))[int(order[i])].pixels[0])


def test_weights_of_pretexts_are_those_given():
    method = ScatSimCLR(conv(), Mild(), NTXent(), (16, 8), rotation=0.3, jigsaw=0.7)
    losses = method.step(images())
    expected = losses["contrast"] + 0.3 * losses["rotation"] + 0.7 * losses["jigsaw"]
    assert torch.allclose(losses["loss"], expected)
    plain = ScatSimCLR(conv(), Mild(), NTXent(), (16, 8), rotation=0.0, jigsaw=0.0)
    assert not plain.heads and set(plain.step(images())) == {"loss", "contrast"}
    with pytest.raises(ValueError, match="square"):
        method.turned(torch.rand(2, 1, 8, 6))


def obow(**more):
    options = {"words": 12, "momentum": 0.9, **more}
    return OBoW(conv(), MultiCrop((8, 8), 1, 1), SoftCrossEntropy(), **options)


def test_bags_of_words_are_the_largest_assignment_of_any_place():
    method = obow(sharpness=3.0)
    found = torch.randn(3, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    method.typical.fill_(0.7)
    bags = method.words(found)
    for i in range(3):
        best = torch.zeros(12)
        for place in found[i].flatten(1).T:
            weights = torch.tensor([exp(-3.0 * float((place - word).square().sum()) / 0.7) for word in method.vocabulary.rows])
            best = torch.maximum(best, weights / weights.sum())
        assert torch.allclose(bags[i], best / best.sum(), atol=1e-5)
    turned = method.words(found.flatten(2)[:, :, torch.tensor([3, 1, 0, 2])].unflatten(2, (2, 2)))
    assert torch.allclose(turned, bags, atol=1e-6) and torch.allclose(bags.sum(dim=1), torch.ones(3))


def test_the_student_is_asked_for_the_teachers_words():
    method, batch = obow(), images(5)
    method.eval()
    torch.manual_seed(2)
    found = method.step(batch)["loss"]
    torch.manual_seed(2)
    crops = method.augmentation(batch)
    bags, weights = method.words(method.seen(batch)), F.normalize(
        method.generator(F.normalize(method.vocabulary.rows, dim=1)), dim=1)
    terms = [-(bags[i] * (8.0 * method.encoder(crop).pooled[i] @ weights.T).log_softmax(0)).sum()
             for crop in crops for i in range(5)]
    assert torch.allclose(found, torch.stack(terms).mean(), atol=1e-5)
    assert torch.allclose(weights.norm(dim=1), torch.ones(12), atol=1e-5)


def test_words_come_in_and_leave_whatever_the_batch_and_only_the_student_learns():
    method = obow()  # 12 words, 5 at a time
    seen = []
    for step in range(5):
        batch = images(5, seed=step)
        loss = method.step(batch)["loss"]
        seen += list(method.vocabulary.held[-1])
        loss.backward()
        before = method.typical.clone()
        nearest = method.found
        method.after_step()
        expected = nearest if step == 0 else 0.99 * before + 0.01 * nearest
        assert torch.allclose(method.typical, expected)
    assert torch.equal(method.vocabulary.latest(12), torch.stack(seen[-12:]))
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.generator.parameters())


def test_the_vocabulary_starts_with_what_the_teacher_sees():
    method, before = obow(), obow().vocabulary.rows.clone()
    method.eval()
    method.prepare(iter([images(8), images(8), images(8)]))
    assert not torch.allclose(method.vocabulary.rows, before) and (method.vocabulary.rows >= 0).all()  # behind a ReLU


def test_borders_are_cut_where_the_map_is_large_enough():
    method = OBoW(Conv(1, (0.5,), (0.3,), 8), MultiCrop((24, 24), 1, 1), SoftCrossEntropy(), words=8)
    assert method.seen(images(2, 24)).shape == (2, 8, 4, 4) and method.seen(images(2, 8)).shape == (2, 8, 2, 2)


def test_soft_cross_entropy_is_the_divergence_but_for_a_constant():
    a, b = rows(4, 5), torch.rand(4, 5).double().softmax(1)
    found = SoftCrossEntropy(0.5)(a, b)
    kl = F.kl_div((a / 0.5).log_softmax(1), b, reduction="batchmean")
    entropy = -(b * b.log()).sum(dim=1).mean()
    assert torch.allclose(found, kl + entropy)
    assert torch.allclose(*(torch.autograd.grad(x, a)[0] for x in (found, kl)))
    marks = torch.rand(4, 5).double()
    plain = -(marks * a.sigmoid().log() + (1 - marks) * (-a).sigmoid().log()).mean()
    assert torch.allclose(BinaryCrossEntropy()(a, marks), plain)


def test_the_hypernetwork_is_the_linear_map_that_it_never_makes():
    net, x, action = Hypernetwork(4, 3).double(), rows(6, 3), rows(6, 4, seed=1)
    found = net(x, action)
    banks = net.bank.weight.view(3, 4, 3).permute(1, 0, 2)  # W_k, (K, D, D)
    expected = torch.stack([sum(action[i, k] * banks[k] for k in range(4)) @ x[i] for i in range(6)])
    assert torch.allclose(found, expected, atol=1e-12)
    grads = [torch.autograd.grad(y.square().sum(), (x, action, net.bank.weight)) for y in (found, expected)]
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*grads, strict=True))


def test_sie_is_the_sum_of_its_terms_and_holds_nothing_still():
    method = SIE(conv(), Traced(2), VICReg(0.0, 10.0, 1.0), (16, 12), invariance=10.0, equivariance=4.5, variance=5.0).double()
    method.compare = lambda *x: method.objective(*x)
    batch = Images(images(12).pixels.double())
    torch.manual_seed(3)
    losses = method.step(batch)
    torch.manual_seed(3)
    a, b = method.augmentation(batch)
    (s1, m1), (s2, m2) = method.halves(a), method.halves(b)
    guess = method.predictor(m1, between(a, b))

    def alive(x):
        return F.relu(1 - (x.var(dim=0) + 1e-4).sqrt()).mean()

    def overlap(x):
        c = torch.cov(x.T)
        return (c.square().sum() - c.diagonal().square().sum()) / x.shape[1]
    z1, z2 = torch.cat([s1, m1], 1), torch.cat([s2, m2], 1)
    expected = (10 * (s1 - s2).square().mean() + 4.5 * (guess - m2).square().mean() + 5 * alive(z1) + 5 * alive(z2)
                + 5 * alive(guess) + overlap(z1) + overlap(z2))
    assert torch.allclose(losses["loss"], expected, rtol=1e-5)
    for row in (a, b):
        row.pixels.requires_grad_()
    (_, m1), (_, m2) = method.halves(a), method.halves(b)
    F.mse_loss(method.predictor(m1, between(a, b)), m2).backward()
    assert a.pixels.grad.any() and b.pixels.grad.any()
    with pytest.raises(ValueError, match="even"):
        odd = conv()
        odd.width = 7
        SIE(odd, Traced(2), VICReg())


def seq(views=4):
    return SeqJEPA(conv(), Traced(views), Cosine(), action=6, depth=1, heads=2, hidden=16)


def test_seq_jepa_predicts_the_last_view_from_the_others_and_all_actions():
    method, batch = seq().eval(), images(6)
    torch.manual_seed(1)
    found = method.step(batch)["loss"]
    torch.manual_seed(1)
    views = method.augmentation(batch)
    pooled = [method.encoder(view).pooled for view in views[:3]]
    actions = [method.action(between(a, b)) for a, b in zip(views, views[1:], strict=False)]
    tokens = [method.enter(torch.cat([x, a], 1)) for x, a in zip(pooled, [*actions[:2], torch.zeros(6, 6)], strict=True)]
    whole = torch.stack([method.first.expand(6, -1), *tokens], dim=1)
    guess = method.predictor(torch.cat([method.body(whole)[:, 0], actions[2]], dim=1))
    target = method.teacher(views[3]).pooled
    assert torch.allclose(found, (2 - 2 * F.cosine_similarity(guess, target)).mean(), atol=1e-5)
    assert torch.allclose(method.together(views[:3]), method.body(whole)[:, 0], atol=1e-5)


def test_seq_jepa_lets_no_pixel_of_the_last_view_in():
    method, batch = seq().eval(), images(6)
    views = method.augmentation(batch)
    for view in views:
        view.pixels.requires_grad_()
    method.augmentation = lambda batch: views
    method.step(batch)["loss"].backward()
    assert all(view.pixels.grad.any() for view in views[:3]) and views[3].pixels.grad is None
    assert all(p.grad is None for p in method.teacher.parameters())
    with pytest.raises(ValueError, match="3 or more"):
        seq(2)
    assert method.action[0].in_features == ACTION and method.action[0].bias is None and not method.action[1].affine


def test_the_class_is_one_for_frames_in_the_order_of_time_and_for_half_of_them():
    method = TOVVICReg(conv(), Drift(blur=0.0), VICReg(), (16, 16))
    torch.manual_seed(0)
    shown, in_order = method.shuffled(torch.arange(3.0)[:, None, None].expand(3, 4000, 1))
    assert torch.equal(in_order.bool(), (shown == torch.arange(3.0)).all(dim=1))
    assert abs(float(in_order.mean()) - 0.5) < 0.03
    others = shown[~in_order.bool()]
    orders, counts = others.unique(dim=0, return_counts=True)
    assert len(orders) == 5 and counts.min() > 0.8 * counts.max() and (others.sort(dim=1).values == torch.arange(3.0)).all()


def test_tov_vicreg_adds_the_question_to_vicreg():
    method, batch = TOVVICReg(conv(), Drift(blur=0.0), VICReg(), (16, 16), temporal=0.5), images()
    torch.manual_seed(4)
    losses = method.step(batch)
    torch.manual_seed(4)
    views = method.augmentation(batch)
    spread = VICReg()(*(method.projector(method.encoder(view).pooled) for view in views[:2]))
    assert torch.allclose(losses["loss"], spread + 0.5 * losses["order"], rtol=1e-4)
    assert abs(losses["order"].item() - log(2)) < 0.3
    assert method.judge.in_features == 3 * method.encoder.width


@pytest.mark.parametrize("make, match", [
    (lambda: GSimCLR(conv(), Mild(), ExclusiveNTXent(), 1, clusters=1), "clusters should be 2"),
    (lambda: ScatSimCLR(conv(), Mild(), NTXent(), side=4), "side should be 2 or 3"),
    (lambda: SoftCrossEntropy(0.0), "positive"),
])
def test_impossible_options_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_maps_are_asked_for_in_words():
    class Flat(Conv):
        def forward(self, images):
            return super().forward(images)._replace(tokens=None)
    method = OBoW(Flat(1, (0.5,), (0.3,), 8), MultiCrop((8, 8), 1, 1), SoftCrossEntropy(), words=8)
    with pytest.raises(ConfigError, match="no tokens"):
        method.step(images(4))
