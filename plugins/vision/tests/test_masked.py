"""Masked methods of images, each against a plain version of its own and what its paper promises."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError, DataError, pretrain
from ssl_core.masks import RandomMask
from ssl_core.objectives.regression import MSE, SmoothL1
from ssl_vision.crops import Crops, NestedCrops
from ssl_vision.images import Images
from ssl_vision.methods.cropmae import CropMAE
from ssl_vision.methods.dmt_jepa import DMTJEPA, Aggregator, neighbours
from ssl_vision.methods.hybrid_distill import HybridDistill, distinct, divergence, of_tokens
from ssl_vision.methods.mixedae import MixedAE, alike, mixed, partition, recognition
from ssl_vision.methods.semaim import SemAIM
from ssl_vision.methods.simmim import SimMIM
from ssl_vision.swin import Swin
from ssl_vision.vit import ViT

FACTS = {"channels": 3, "image_size": (16, 16), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def images(count=4, channels=3, seed=0):
    drawn = torch.randint(0, 256, (count, channels, 16, 16), generator=torch.Generator().manual_seed(seed))
    return Images(drawn.to(torch.uint8))


def vit(**more):
    torch.manual_seed(0)
    return ViT(**FACTS | {"patch": 4, "width": 32, "depth": 2, "heads": 4} | more)


def swin(**more):
    torch.manual_seed(0)
    return Swin(**FACTS | {"patch": 2, "width": 32, "depths": (2, 2), "window": 4, "head": 8} | more)


def whole(batch):
    """An augmentation that shows the image as it is."""
    return (batch,)


def changed(batch, places, side=4):
    """The images with the pixels of some patches, (B, L) bool, inverted."""
    rows = places.view(len(batch.pixels), 1, 16 // side, 16 // side).repeat_interleave(side, 2).repeat_interleave(side, 3)
    return Images(torch.where(rows, 255 - batch.pixels, batch.pixels))


# SimMIM and the encoders that blank

@pytest.mark.parametrize("make", [vit, swin])
def test_blanked_patches_have_no_influence_and_keep_their_place(make):
    encoder, batch = make().eval(), images()
    hidden, blank = RandomMask(0.5)(encoder.layout(batch)), torch.randn(encoder.blank_width)
    found = encoder(batch, ~hidden, blank).tokens
    assert found.shape == (64, 32)
    assert torch.equal(found, encoder(changed(batch, hidden), ~hidden, blank).tokens)
    assert not torch.allclose(found, encoder(changed(batch, ~hidden), ~hidden, blank).tokens)
    assert not torch.allclose(found[hidden], encoder(batch, ~hidden, -blank).tokens[hidden])
    every = torch.ones_like(hidden)
    assert torch.allclose(encoder(batch, every, blank).tokens, encoder(batch).tokens, atol=1e-6)


def test_swin_without_a_blank_leaves_hidden_places_out():
    encoder, batch = swin().eval(), images()
    hidden = RandomMask(0.5)(encoder.layout(batch))
    found = encoder(batch, ~hidden)
    assert found.tokens.shape == (32, 32)
    assert torch.allclose(found.pooled, found.tokens.view(4, 8, 32).mean(dim=1), atol=1e-6)


def test_swin_takes_many_bands_and_their_places_are_aligned_with_the_pixels():
    many = {"channels": 14, "mean": (0.5,) * 14, "std": (0.25,) * 14}
    encoder, batch = swin(**many).eval(), images(2, channels=14)
    assert encoder(batch).pooled.shape == (2, 32) and encoder.input_width == 14 * 16
    rows = encoder.inputs(batch)
    assert torch.equal(rows[6], encoder.normalized(batch.pixels)[0, :, 4:8, 8:12].flatten())  # row 1, column 2


@pytest.mark.parametrize("more, match", [({"width": 33}, "multiple of 2"), ({"patch": 3}, "do not fall into places")])
def test_swin_refuses_what_does_not_fit(more, match):
    with pytest.raises(ValueError, match=match):
        swin(**more)


def test_simmim_is_the_absolute_error_of_hidden_pixels():
    encoder, batch = vit().double(), images()
    method = SimMIM(encoder, RandomMask(0.6), SmoothL1(beta=0.0)).double()
    torch.manual_seed(5)
    loss = method.step(batch)["loss"]
    torch.manual_seed(5)
    hidden = RandomMask(0.6)(encoder.layout(batch)).view(4, 16)
    x = encoder.enter(encoder.patches(batch)).clone()
    for b, place in hidden.nonzero().tolist():
        x[b, place] = method.blank
    x = x + encoder.places(batch)
    for block in encoder.blocks:
        x = block(x, None)
    guess, wanted = method.decode(encoder.leave(x)), encoder.patches(batch)
    plain = sum((guess[b, place] - wanted[b, place]).abs().mean() for b, place in hidden.nonzero().tolist()) / hidden.sum()
    ours, theirs = (torch.autograd.grad(item, method.blank)[0] for item in (loss, plain))
    assert torch.allclose(loss, plain, atol=1e-12) and torch.allclose(ours, theirs, atol=1e-12)


def test_simmim_asks_for_an_encoder_that_blanks():
    from ssl_vision.encoders import Conv
    with pytest.raises(ConfigError, match="encoder=vit or encoder=swin"):
        SimMIM(Conv(3, FACTS["mean"], FACTS["std"], 16), RandomMask(0.5), MSE())


# CropMAE

def ramp(count=8, side=32):
    """Images whose first channel is the row and whose second is the column, from 0 to 1."""
    line = ((torch.arange(side) + 0.5) / side).expand(side, side)
    return Images(torch.stack([line.T, line, torch.zeros(side, side)]).expand(count, -1, -1, -1).contiguous())


def test_the_second_crop_lies_in_the_first_and_is_flipped_as_it_is():
    torch.manual_seed(0)
    first, second = NestedCrops()(ramp(64))
    for view in (first, second):
        assert view.pixels.shape == (64, 3, 32, 32)
    low, high = (getattr(first.pixels[:, :2], name)(dim=(2, 3)) for name in ("amin", "amax"))
    half = (high - low) / 31 / 2 + 1e-5  # from the centre of a pixel to its border
    assert (second.pixels[:, :2].amin(dim=(2, 3)) >= low - half).all()
    assert (second.pixels[:, :2].amax(dim=(2, 3)) <= high + half).all()
    mirrored = [view.pixels[:, 1, 0, 0] > view.pixels[:, 1, 0, -1] for view in (first, second)]
    assert torch.equal(*mirrored) and 10 < mirrored[0].sum() < 54
    spread = [(view.pixels.amax(dim=(2, 3)) - view.pixels.amin(dim=(2, 3)))[:, :2].prod(dim=1) for view in (first, second)]
    share = (spread[1] / spread[0])
    assert (share > 0.25).all() and (share < 0.65).all()  # the drawn area, up to the border of half a pixel


def test_crops_are_one_or_more_views():
    assert len(Crops()(images())) == 1 and len(Crops(3)(images())) == 3
    kept = Crops(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)(images())[0].pixels
    assert torch.allclose(kept, images().pixels / 255, atol=1e-5)
    with pytest.raises(ValueError, match="views"):
        Crops(0)


def cropmae(**more):
    torch.manual_seed(0)
    return CropMAE(vit(), NestedCrops(), MSE(), **{"hidden": 16, "heads": 4, "depth": 1, "dropout": 0.0} | more)


def test_cropmae_sees_two_views_and_rebuilds_what_is_hidden_of_the_second():
    method, batch = cropmae(ratio=0.9), images()
    first, second = NestedCrops()(batch)
    method.augmentation = lambda _: (first, second)
    torch.manual_seed(1)
    hidden = method.mask(method.encoder.layout(second)).view(4, 16)
    assert hidden.sum(dim=1).tolist() == [14] * 4

    def loss(a, b):
        torch.manual_seed(1)
        method.augmentation = lambda _: (a, b)
        return method.step(batch)["loss"]

    one = loss(first, second)
    assert not torch.allclose(one, loss(Images(1 - first.pixels), second))  # the first view helps
    far = Images(first.pixels.clone().requires_grad_()), Images(second.pixels.clone().requires_grad_())
    loss(*far).backward()
    assert all(view.pixels.grad.abs().sum() > 0 for view in far)
    assert all(p.grad is not None for p in method.parameters())


def test_cropmae_hides_nearly_all_and_always_leaves_a_patch():
    torch.manual_seed(0)
    method = CropMAE(ViT(**FACTS | {"image_size": (224, 224)}, patch=16, width=16, depth=1, heads=2), NestedCrops(), MSE(),
                     hidden=16, heads=4, depth=1)
    hidden = method.mask(method.encoder.layout(Images(torch.zeros(2, 3, 224, 224)))).view(2, 196)
    assert hidden.sum(dim=1).tolist() == [193, 193]
    assert cropmae().mask(cropmae().encoder.layout(images())).view(4, 16).sum(dim=1).tolist() == [15] * 4
    with pytest.raises(ValueError, match="heads=4"):
        cropmae(hidden=18)


# DMT-JEPA

def test_neighbours_are_the_most_alike_within_the_image():
    torch.manual_seed(0)
    grid = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    near, missing = neighbours(grid, 4)
    near, missing = near.view(2, 3, 4, 4, 5), missing.view(2, 3, 4, 4)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                there = [(y, x) for y in (i - 1, i, i + 1) for x in (j - 1, j, j + 1) if 0 <= y < 3 and 0 <= x < 4]
                around = [grid[b, y, x] for y, x in there if (y, x) != (i, j)]  # nothing from the other side of the image
                best = sorted(around, key=lambda row: -F.cosine_similarity(row, grid[b, i, j], dim=0))[:4]
                assert (~missing[b, i, j]).sum() == len(best)
                assert torch.equal(near[b, i, j][: len(best)], torch.stack(best))


def plain_gather(block, summary, others):
    """Attention of one summary, (D,), over itself and some others, (K, D)."""
    rows = block.norm1(torch.cat([summary[None], others]))
    width, heads = rows.shape[1], block.attention.num_heads
    q, k, v = (F.linear(rows, w, b) for w, b in zip(block.attention.in_proj_weight.chunk(3),
                                                    block.attention.in_proj_bias.chunk(3), strict=True))
    answer = []
    for part in torch.arange(width).chunk(heads):
        score = torch.stack([q[0, part] @ row / len(part) ** 0.5 for row in k[:, part]]).softmax(dim=0)
        answer.append((score[:, None] * v[:, part]).sum(dim=0))
    return block.attention.out_proj(torch.cat(answer))


def test_targets_are_gathered_with_the_mean_of_their_own_image():
    torch.manual_seed(0)
    aggregate, grid = Aggregator(8, 2).double(), torch.randn(2, 3, 3, 8, dtype=torch.float64, requires_grad=True)
    found = aggregate.around(grid, 4)
    near, missing = neighbours(grid, 4)
    rows = []
    for n in range(18):
        x = grid[n // 9].mean(dim=(0, 1))
        for block in aggregate.blocks:
            x = x + plain_gather(block, x, near[n][~missing[n]])
            x = x + block.mlp(block.norm2(x))
        rows.append(aggregate.leave(x))
    plain = torch.stack(rows)
    assert torch.allclose(found, plain, atol=1e-12)
    weight = torch.randn(18, 8, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((item * weight).sum(), grid)[0] for item in (found, plain))
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.allclose(aggregate.around(grid[:1], 4), found[:9], atol=1e-12)  # whatever else is in the batch


def test_context_is_gathered_over_what_is_visible_of_each_image():
    torch.manual_seed(0)
    aggregate, x = Aggregator(8, 2).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    found = aggregate.among(x, valid)
    for b, count in ((0, 5), (1, 3)):
        rows = x[b, :count]
        for block in aggregate.blocks:
            rows = rows + plain_gather(block, rows.mean(dim=0), rows)
            rows = rows + block.mlp(block.norm2(rows))
        assert torch.allclose(found[b, :count], aggregate.leave(rows), atol=1e-12)


def test_dmt_jepa_learns_from_a_slow_copy_of_both_parts():
    torch.manual_seed(0)
    method = DMTJEPA(vit(), RandomMask(0.5), SmoothL1())
    before = method.targets(images())
    method.step(images())["loss"].backward()
    assert all(p.grad is not None for p in method.aggregate.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    with torch.no_grad():
        for p in method.aggregate.parameters():
            p.add_(1.0)
    assert torch.equal(method.targets(images()), before)
    method.after_step()
    assert not torch.equal(method.targets(images()), before)
    with pytest.raises(ValueError, match="1 to 8"):
        DMTJEPA(vit(), RandomMask(0.5), SmoothL1(), neighbours=9)


# SemAIM

def semaim(**more):
    torch.manual_seed(0)
    return SemAIM(vit(), whole, MSE(), **more).double()


def masked_streams(method, view, order):
    """Both streams in the order of the image, with explicit masks of what each place may see."""
    encoder, b = method.encoder, len(order)
    rank = order.argsort(dim=1)
    content, query = rank[:, :, None] >= rank[:, None], rank[:, :, None] > rank[:, None]  # [i, j]: i may see j
    query = F.pad(query, (1, 0), value=True)  # the start, before all
    place = encoder.places(view)
    x, asked = encoder.enter(encoder.patches(view)) + place, place.expand(b, -1, -1)
    for block, ask in zip(encoder.blocks, method.asks, strict=True):
        x = block(x, content[:, None])
        shown = torch.cat([method.start.expand(b, 1, -1), encoder.leave(x)], dim=1)
        q, (k, v) = ask.query(ask.norm1(asked)), ask.shown(shown).chunk(2, dim=2)
        heads = [rows.unflatten(2, (ask.heads, -1)).transpose(1, 2) for rows in (q, k, v)]
        score = heads[0] @ heads[1].transpose(2, 3) / heads[0].shape[3] ** 0.5
        score = score.masked_fill(~query[:, None], float("-inf")).softmax(dim=3)
        asked = asked + ask.out((score @ heads[2]).transpose(1, 2).flatten(2))
        asked = asked + ask.mlp(ask.norm2(asked))
    return method.decode(asked)


def test_semaim_in_order_is_masked_attention_in_place():
    method, view = semaim(), images()
    order = torch.rand(4, 16).argsort(dim=1)
    found, plain = method.predicted(view, order), masked_streams(method, view, order)
    plain = plain.gather(1, order[:, :, None].expand_as(plain))
    weight, some = torch.randn_like(found), [method.start, method.encoder.enter.weight, method.asks[0].shown.weight]
    assert torch.allclose(found, plain, atol=1e-10)
    ours, theirs = (torch.autograd.grad((item * weight).sum(), some) for item in (found, plain))
    assert all(torch.allclose(a, b, atol=1e-8) for a, b in zip(ours, theirs, strict=True))


def test_semaim_predicts_a_patch_from_earlier_ones_only():
    method, view = semaim(), images()
    order = torch.rand(4, 16).argsort(dim=1)
    late = order.argsort(dim=1) >= 7
    ours, theirs = (method.predicted(item, order) for item in (view, changed(view, late)))
    assert torch.allclose(ours[:, :8], theirs[:, :8], atol=1e-10)  # the eighth has seen seven
    assert (ours[:, 8:] - theirs[:, 8:]).abs().amax(dim=(1, 2)).min() > 1e-4


def test_semaim_starts_at_the_most_telling_patch_and_goes_outwards():
    method, view = semaim(), images()
    order = method.order(view)
    pooled, tokens = method.encoder(view)
    centre = F.cosine_similarity(pooled[:, None], tokens.view(4, 16, 32), dim=2).argmax(dim=1)
    assert torch.equal(order[:, 0], centre)
    at = torch.stack([order // 4, order % 4], dim=2).double()
    distance = (at - at[:, :1]).norm(dim=2)
    assert (distance.diff(dim=1) > -2e-3).all()
    assert torch.equal(order.sort(dim=1).values, torch.arange(16).expand(4, -1))
    orders = {tuple(method.order(view)[0].tolist()) for _ in range(5)}
    assert len(orders) > 1  # equals are ordered by chance


# MixedAE

def test_every_image_gives_an_equal_share_of_the_places():
    torch.manual_seed(0)
    source = partition(50, 16, 4, torch.device("cpu"))
    assert (F.one_hot(source, 4).sum(dim=1) == 4).all()
    assert len({tuple(row.tolist()) for row in source}) > 40
    rows = torch.arange(8).view(8, 1, 1).expand(8, 16, 2)
    found = mixed(rows, source[:2], 4)
    assert torch.equal(found[0, :, 0], source[0]) and torch.equal(found[1, :, 1], source[1] + 4)


def test_recognition_equals_a_plain_loop():
    torch.manual_seed(0)
    rows, source = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True), partition(2, 6, 3, torch.device("cpu"))
    source[0] = torch.tensor([0, 0, 0, 1, 1, 2])  # one that has no other of its kind
    total = 0.0
    for g in range(2):
        unit = rows[g] / rows[g].norm(dim=1, keepdim=True)
        for i in range(6):
            odds = {j: (unit[i] @ unit[j] / 0.25).exp() for j in range(6) if j != i}
            kin = [j for j in odds if source[g, j] == source[g, i]]
            if kin:
                total = total - sum((odds[j] / sum(odds.values())).log() for j in kin) / len(kin)
    loss = recognition(rows, source, 0.25)
    ours, theirs = (torch.autograd.grad(item, rows)[0] for item in (loss, total / 12))
    assert torch.allclose(loss, total / 12, atol=1e-12) and torch.allclose(ours, theirs, atol=1e-12)


def test_queries_see_the_keys_that_they_score_highest():
    encoder = vit()
    x = torch.randn(2, 16, 32)
    seen, block = alike(encoder.blocks[0], x, 4), encoder.blocks[0]
    q, k, _ = block.qkv(block.norm1(x)).view(2, 16, 3, 4, 8).unbind(dim=2)
    score = torch.einsum("bihd,bjhd->bhij", q, k)
    assert (seen.sum(dim=3) == 4).all()
    assert torch.equal(score.masked_fill(~seen, float("inf")).amin(dim=3) > score.masked_fill(seen, float("-inf")).amax(dim=3),
                       torch.ones(2, 4, 16, dtype=torch.bool))


def test_mixedae_rebuilds_all_images_of_whole_groups():
    torch.manual_seed(0)
    method, seen = MixedAE(vit(), whole, MSE(), hidden=16), []
    method.compare = lambda guess, wanted: seen.append((guess.shape, wanted.shape)) or (guess - wanted).square().mean()
    found = method.step(images(10))
    assert seen == [((96, 48), (96, 48))]  # 8 images, 12 of 16 patches each
    assert torch.allclose(found["loss"], found["rebuilt"] + 0.1 * found["recognised"])
    found["loss"].backward()
    assert all(p.grad is not None for p in method.parameters())
    with pytest.raises(DataError, match="mixes 4 images"):
        method.step(images(3))


# Hybrid distillation

def plain_divergence(student, teacher):
    total, heads = 0.0, student.shape[2]
    for a, b in ((0, 1), (2, 2)):
        for n in range(student.shape[1]):
            for h in range(heads):
                ours, theirs = ((p[a, n, h] @ p[b, n, h].T / p.shape[4] ** 0.5).softmax(dim=1) for p in (student, teacher))
                total = total + (theirs * (theirs / ours).log()).sum() / (heads * student.shape[1] * student.shape[3])
    return total


def test_divergence_equals_a_plain_loop_and_is_nothing_between_equals():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 2, 4, 5, 6, requires_grad=True), torch.randn(3, 2, 4, 5, 6)
    loss, plain = divergence(student, teacher), plain_divergence(student, teacher)
    ours, theirs = (torch.autograd.grad(item, student)[0] for item in (loss, plain))
    assert torch.allclose(loss, plain, atol=1e-6) and torch.allclose(ours, theirs, atol=1e-6)
    assert divergence(teacher, teacher).abs() < 1e-6
    assert divergence(student, torch.randn(3, 2, 2, 5, 12)).isfinite()  # two heads teach four


def test_the_tokens_that_are_dropped_are_those_most_like_the_others():
    torch.manual_seed(0)
    rows = torch.randn(3, 8, 5)
    chosen = distinct(rows, 5)
    alike_ = F.cosine_similarity(rows[:, :, None], rows[:, None], dim=3).sum(dim=2)
    for b in range(3):
        assert chosen[b].tolist() == sorted(alike_[b].argsort()[:5].tolist())
    projections = torch.randn(3, 3, 4, 8, 6)
    assert torch.equal(of_tokens(projections, chosen)[1, 2, 3], projections[1, 2, 3, chosen[2]])


def hybrid(**more):
    torch.manual_seed(0)
    return HybridDistill(vit(), whole, SmoothL1(), **FACTS, **more)


def test_hybrid_distillation_shrinks_the_tokens_and_holds_its_teachers_still():
    method, seen = hybrid(drop=0.25), []
    method.compare = lambda guess, wanted: seen.append(len(guess)) or (guess - wanted).square().mean()
    found = method.step(images())
    assert seen == [4 * 12] and method.layers == {1}  # of two blocks, the middle and the last are one
    assert torch.allclose(found["loss"], found["relations"] + found["features"])
    found["loss"].backward()
    assert all(p.grad is None for part in (method.relations, method.features) for p in part.parameters())
    assert not torch.equal(method.relations.enter.weight, method.encoder.enter.weight)


def test_teachers_are_runs_or_models_of_timm(tmp_path):
    small = {"epochs": 1, "probe": "", "baselines": False, "quiet": True, "trainer": {"tensorboard": False}}
    mae = pretrain("vision", "mae", out=tmp_path / "mae", encoder={"width": 16, "depth": 1}, **small)
    run = pretrain("vision", "hybrid-distill", out=tmp_path / "run", encoder={"width": 16, "depth": 1},
                   method={"relations": str(mae.path), "features": str(mae.path)}, **small)
    assert run.result["loss"] > 0
    found = hybrid(model="vit_tiny_patch16_224").step(images())
    assert found["loss"].isfinite()
    with pytest.raises(ConfigError, match="the same 16 patches"):
        hybrid(features=mae.path).step(Images(images().pixels[:, :1]))


@pytest.mark.parametrize("more", [{"drop": 1.0}, {"layers": (2,)}])
def test_hybrid_distillation_refuses_what_cannot_be(more):
    with pytest.raises(ValueError, match="layers from 0 to 1"):
        hybrid(**more)
