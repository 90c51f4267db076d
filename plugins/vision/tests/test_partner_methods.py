"""Mugs, SlotCon, GenView, transitive invariance and FreeCOS against plain versions and what their papers promise."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError, DataError
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.infonce import NTXent
from ssl_core.stores import Prototypes
from ssl_vision import matches
from ssl_vision.augmentations import Mild, MultiCrop
from ssl_vision.encoders import Conv
from ssl_vision.generated import Generated
from ssl_vision.images import Images
from ssl_vision.methods.freecos import FreeCOS, cells
from ssl_vision.methods.genview import GenView, WeightedNTXent, foreground, pair_quality
from ssl_vision.methods.mugs import Mugs
from ssl_vision.methods.slotcon import SlotCon, slots
from ssl_vision.methods.transitive import Transitive, Triplet
from ssl_vision.objectives import BinaryCrossEntropy
from ssl_vision.views import Traced, View


def conv(width=8):
    torch.manual_seed(0)
    return Conv(1, (0.5,), (0.3,), width)


def images(count=16, side=8, seed=0):
    return Images(torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)), None, torch.arange(count))


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def mugs(**more):
    options = {"projector": (16, 8), "predictor": (16,), "queue": 32, "memory": 32, "neighbours": 3, "heads": 2, **more}
    return Mugs(conv(), MultiCrop((8, 8), 2, 1), DINO(8), **options)


def test_a_group_is_an_image_and_its_nearest_in_memory():
    method, mean = mugs(), torch.randn(4, 8)
    found = method.group(mean)
    for i in range(4):
        cosines = [float(F.cosine_similarity(mean[i], row, dim=0)) for row in method.memory.rows]
        best = sorted(range(32), key=lambda j: -cosines[j])[:3]
        assert torch.equal(found[i], torch.stack([mean[i], *method.memory.rows[best]]))


def test_mugs_is_the_mean_of_three_contrasts_and_remembers_images_as_they_are():
    method, batch = mugs(), images()
    losses = method.step(batch)
    assert torch.allclose(losses["loss"], (losses["instance"] + losses["group"] + losses["cluster"]) / 3)
    losses["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    trained = [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not trained
    plain = method.teacher.copy["encoder"](batch).pooled  # of images without augmentation, the mean of their tokens
    assert torch.allclose(method.memory.held[0], plain, atol=1e-5)
    method.after_step()
    assert torch.allclose(method.memory.latest(16), plain, atol=1e-5)
    assert all(int(contrast.queue.place) == 0 for contrast in method.contrasts.values())  # 2 x 16 keys fill 32 places


def test_mugs_needs_tokens():
    class Flat(Conv):
        def forward(self, images):
            return super().forward(images)._replace(tokens=None)
    with pytest.raises(ConfigError, match="tokens"):
        Mugs(Flat(1, (0.5,), (0.3,), 8), MultiCrop((8, 8), 2, 0), DINO(8), (16, 8), (16,), memory=32, queue=32).step(images(4))
    with pytest.raises(ValueError, match="neighbours"):
        mugs(neighbours=33)


def test_slots_gather_places_as_prototypes_share_them():
    torch.manual_seed(0)
    x, prototypes = F.normalize(torch.randn(2, 5, 3, 3), dim=1), Prototypes(4, 5)
    found, won = slots(x, prototypes, 0.07)
    directions = F.normalize(prototypes.directions, dim=1)
    for b in range(2):
        places = x[b].flatten(1).T
        share = torch.stack([((directions @ place) / 0.07).softmax(0) + 1e-6 for place in places])  # (L, P)
        for p in range(4):
            weights = share[:, p] / share[:, p].sum()
            assert torch.allclose(found[b, p], sum(w * place for w, place in zip(weights, places, strict=True)), atol=1e-5)
            assert bool(won[b, p]) == any(int((directions @ place).argmax()) == p for place in places)


def slotcon(**more):
    options = {"projector": (16, 8), "predictor": (16,), "grid": 3, **more}
    return SlotCon(conv(), Traced(2, jitter=0.0), DINO(6, temperature=0.1, teacher_temperature=0.07), **options)


def test_grouping_compares_the_same_places():
    """Of one view and its mirror image every place is the same, so the loss is the entropy of one's own assignment."""
    method = slotcon()
    still = View(torch.rand(4, 1, 8, 8), None, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]).expand(4, -1, -1), torch.zeros(4, 4))
    mirror = still._replace(theta=torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]]).expand(4, -1, -1))
    x = F.normalize(torch.randn(4, 8, 4, 4), dim=1)
    pair = [x, x.flip(3)]
    found = method.grouped(still, mirror, pair, pair)
    same = method.grouped(still, still, [x, x], [x, x])
    assert torch.allclose(found, same, atol=1e-5)
    wrong = method.grouped(still, still, pair, pair)
    assert (wrong - same).abs() > 1e-3


def test_items_without_a_common_box_are_left_out_of_the_grouping():
    method, x = slotcon(), F.normalize(torch.randn(2, 8, 4, 4), dim=1)
    here = torch.tensor([[[0.4, 0.0, -0.5], [0.0, 0.4, 0.0]]])
    there = torch.tensor([[[0.4, 0.0, 0.5], [0.0, 0.4, 0.0]]])
    blank = torch.zeros(2, 1, 8, 8)
    a, b = (View(blank, None, torch.cat([here, theta]), torch.zeros(2, 4)) for theta in (here, there))
    alone = [View(blank[:1], None, here, torch.zeros(1, 4))] * 2
    assert torch.allclose(method.grouped(a, b, [x, x], [x, x]), method.grouped(*alone, [x[:1]] * 2, [x[:1]] * 2), atol=1e-5)


def test_only_slots_that_won_a_place_in_both_views_are_told_apart():
    method = slotcon(temperature=0.2).eval()
    mine, theirs = torch.randn(3, 6, 8), torch.randn(3, 6, 8)
    seen, also = torch.rand(3, 6) < 0.7, torch.rand(3, 6) < 0.7
    both = (seen & also).flatten()
    found = method.told(mine, seen, theirs, also)
    queries = F.normalize(method.predictor(mine.flatten(0, 1)[both]), dim=1)
    keys = F.normalize(theirs.flatten(0, 1)[both], dim=1)
    expected = 0.4 * F.cross_entropy(queries @ keys.T / 0.2, torch.arange(len(keys)))
    assert torch.allclose(found, expected, atol=1e-5)
    changed = torch.where((seen & also)[:, :, None], theirs, 100 * torch.randn_like(theirs))
    assert torch.allclose(method.told(mine, seen, changed, also), found, atol=1e-5)
    assert method.told(mine, seen & False, theirs, also).isfinite()


def test_slotcon_is_both_halves_and_asks_for_prototypes():
    method = slotcon(grouping=0.3)
    losses = method.step(images())
    assert torch.allclose(losses["loss"], 0.3 * losses["grouping"] + 0.7 * losses["slots"])
    losses["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    with pytest.raises(ConfigError, match="objective=dino"):
        SlotCon(conv(), Traced(2), NTXent())


def test_weighted_nt_xent_with_equal_weights_is_nt_xent():
    a, b = rows(7, 5), rows(7, 5, seed=1)
    plain = NTXent(0.3)(a, b)
    for weights in (None, torch.full((7,), 1 / 7).double()):
        found = WeightedNTXent(0.3)(a, b, weights)
        assert torch.allclose(found, plain, atol=1e-9)
        grads = [torch.autograd.grad(loss, (a, b)) for loss in (found, NTXent(0.3)(a, b))]
        assert all(torch.allclose(mine, theirs, atol=1e-9) for mine, theirs in zip(*grads, strict=True))
    only = torch.zeros(7).double().index_fill_(0, torch.tensor([2]), 1.0)
    both, terms = F.normalize(torch.cat([a, b]), dim=1), []
    for i in (2, 9):
        scores = both @ both[i] / 0.3
        others = [j for j in range(14) if j != i]
        terms.append(scores[others].logsumexp(0) - scores[(i + 7) % 14])
    assert torch.allclose(WeightedNTXent(0.3)(a, b, only), sum(terms) / 2, atol=1e-9)


def scenes(count=6):
    """Maps with an object in the middle before a background; both differ from scene to scene."""
    g = torch.Generator().manual_seed(0)
    things, grounds = torch.randn(2, count, 12, 1, 1, generator=g).unbind(0)
    middle = torch.zeros(1, 1, 6, 6)
    middle[:, :, 2:4, 2:4] = 1.0
    lift = torch.zeros(12)
    lift[0] = 8.0  # what all objects have in common
    return things + lift[:, None, None], grounds, middle


def test_the_foreground_is_what_stands_in_the_middle():
    things, grounds, middle = scenes()
    found = foreground(middle * things + (1 - middle) * grounds)
    assert found[:, 2:4, 2:4].min() > 0.5 and found[:, 0].max() < 0.5
    assert torch.allclose(found.amin(dim=(1, 2)), torch.zeros(6)) and torch.allclose(found.amax(dim=(1, 2)), torch.ones(6))


def test_a_good_pair_shows_one_thing_before_two_backgrounds():
    things, grounds, middle = scenes()
    turned = grounds.roll(1, dims=0)
    same = middle * things + (1 - middle) * grounds
    moved = middle * things + (1 - middle) * turned
    other = middle * things.roll(1, dims=0) + (1 - middle) * grounds
    good, bad = pair_quality(same, moved), pair_quality(same, other)
    assert (good > bad).all() and pair_quality(same, same).abs().max() < 1e-4


def test_weights_of_pairs_take_no_gradient_and_sum_to_one():
    method, kept = GenView(conv(), Generated(blur=0.0), WeightedNTXent(), (16, 8)), []
    compare = method.compare
    method.compare = lambda *x, weights: kept.append(weights) or compare(*x, weights=weights)
    method.step(images())["loss"].backward()
    assert kept[0].shape == (16,) and not kept[0].requires_grad and torch.allclose(kept[0].sum(), torch.tensor(1.0))


def test_triplet_is_a_hinge_on_the_nearest_others():
    a, b = rows(6, 4), rows(6, 4, seed=1)
    cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    for hardest in (2, 0):
        terms = []
        for i in range(6):
            others = sorted((cosines[i, j] for j in range(6) if j != i), key=lambda x: -x.item())[: hardest or None]
            terms += [(x - cosines[i, i] + 0.5).clamp(min=0) for x in others]
        expected, found = torch.stack(terms).mean(), Triplet(0.5, hardest)(a, b)
        assert torch.allclose(found, expected, atol=1e-12)
        grads = [torch.autograd.grad(x, (a, b), retain_graph=True) for x in (found, expected)]
        assert all(torch.allclose(mine, plain, atol=1e-12) for mine, plain in zip(*grads, strict=True))


def test_a_graph_is_read_both_ways_and_walked_over_two_edges(tmp_path):
    np.save(tmp_path / "matches.npy", np.array([[10, 20], [20, 30], [40, 40], [10, 99]]))
    names = torch.tensor([10, 20, 30, 40])
    ways = matches.table(matches.pairs(tmp_path / "matches.npy"), names, 3)
    found = [{int(names[j]) for j in row if j >= 0} for row in ways]
    assert found == [{20}, {10, 30}, {20}, set()]  # 99 is not among the items, and nothing matches itself
    torch.manual_seed(0)
    ends = matches.walk(ways, torch.zeros(400, dtype=torch.long), 2)
    assert set(names[ends].tolist()) == {20, 10, 30}  # one step; there and back; a match of a match
    assert set(names[matches.walk(ways, torch.zeros(99, dtype=torch.long), 1)].tolist()) == {20}
    assert names[matches.walk(ways, torch.tensor([3]), 2)].tolist() == [40]


@pytest.mark.parametrize("held", [np.zeros((3, 3), int), np.zeros((3, 2)), np.array([[-1, 2]])])
def test_a_file_that_is_no_graph_is_refused(held, tmp_path):
    np.save(tmp_path / "matches.npy", held)
    with pytest.raises(DataError, match="pairs of items"):
        matches.pairs(tmp_path / "matches.npy")
    with pytest.raises(DataError, match="cannot be read"):
        matches.pairs(tmp_path / "none.npy")


def test_nearest_rows_are_those_of_a_plain_search():
    x = torch.rand(30, 4)
    far = torch.cdist(x, x).fill_diagonal_(torch.inf)
    assert torch.equal(matches.nearest(x, 3, block=7), far.topk(3, dim=1, largest=False).indices)
    assert (matches.nearest(x[:2], 3) == torch.tensor([[1, -1, -1], [0, -1, -1]])).all()


def transitive(**more):
    return Transitive(conv(), Mild(), Triplet(), 1, (8, 8), (16, 8), **{"bank": 40, **more})


def test_partners_are_images_that_match_and_are_saved(tmp_path):
    np.save(tmp_path / "matches.npy", np.array([[3, 7], [100, 3]]))
    method = transitive(matches=tmp_path / "matches.npy", hops=1)
    method.prepare(iter([images(20), images(20, seed=1)._replace(ids=torch.arange(20, 40))]))
    batch = images(20)
    found = method.partners(batch)
    assert torch.allclose(found[3], batch.pixels[7], atol=1 / 255) and torch.allclose(found[7], batch.pixels[3], atol=1 / 255)
    assert torch.allclose(found[5], batch.pixels[5], atol=1 / 255)  # nothing matches it
    strange = batch._replace(ids=torch.arange(900, 920))
    assert torch.equal(method.partners(strange), batch.pixels)  # of an item that is not held, its own
    other = transitive(hops=1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.partners(batch), found)
    with pytest.raises(DataError, match="number of the item"):
        method.prepare(iter([batch._replace(ids=None)]))


def test_without_a_graph_the_nearest_pixels_match_and_three_pairs_are_compared():
    method, pairs = transitive(neighbours=1, hops=1), []
    batch = Images(torch.cat([images(10).pixels, (images(10).pixels + 0.01).clamp(0, 1)]), None, torch.arange(20))
    method.prepare(iter([batch]))
    assert torch.equal(method.table[:20, 0], torch.arange(20).roll(10))
    compare = method.compare
    method.compare = lambda *x: pairs.append(x) or compare(*x)
    assert method.step(batch)["loss"].isfinite() and len(pairs) == 3


def freecos(**more):
    return FreeCOS(conv(), Mild(), BinaryCrossEntropy(), 1, (8, 8), **{"trees": 4, **more})


def test_every_token_marks_its_own_cell():
    method = freecos()
    assert method.cell == (4, 4) and method.encoder.training
    marks = torch.arange(64.0).view(1, 1, 8, 8)
    found = cells(marks, (4, 4))
    assert torch.equal(found[1].view(4, 4), marks[0, 0, :4, 4:]) and torch.equal(found[2].view(4, 4), marks[0, 0, 4:, :4])


def test_marks_lie_where_the_image_was_changed():
    method = freecos(low=1e-6)  # only the mean is taken from another image
    torch.manual_seed(1)
    x = torch.full((30, 1, 8, 8), 0.5)
    shown, marks = method.overlaid(x)
    change = (shown - shown.flatten(1).median(dim=1).values[:, None, None, None]).abs()
    assert 0 <= marks.min() and marks.max() <= 1 and marks.mean() > 0.02
    assert torch.corrcoef(torch.stack([change.flatten(), marks.flatten()]))[0, 1] > 0.5


def test_trees_are_those_of_the_seed():
    assert torch.equal(freecos(seed=3).trees, freecos(seed=3).trees)
    assert not torch.equal(freecos(seed=3).trees, freecos(seed=4).trees)
    with pytest.raises(ValueError, match="rounds"):
        freecos(rounds=9)
