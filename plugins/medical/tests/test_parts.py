"""The methods' own mathematics: against plain versions, and by what must and must not have an influence."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError, DataError, MaskedPrediction, Progress
from ssl_core.masks import RandomMask
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.infonce import NTXent
from ssl_core.objectives.regression import MSE
from ssl_core.objectives.supcon import SupCon
from ssl_core.objectives.swav import SwAV
from ssl_medical.augmentations import HideBlocks, Pairs
from ssl_medical.bags import AttentionMIL, BagLoader, Bags, Jitter, softmax, synthetic_bags
from ssl_medical.corruptions import Genesis, TurnAndCut
from ssl_medical.data import read
from ssl_medical.encoders import ResNet3D, UNetEncoder
from ssl_medical.methods.adam_v2 import AdamV2, Granular, seen
from ssl_medical.methods.alice import Alice
from ssl_medical.methods.joint_image_volume import JointImageVolume
from ssl_medical.methods.mil import SCMIL
from ssl_medical.methods.restoration import Restoration
from ssl_medical.methods.spark import Spark
from ssl_medical.methods.swin_unetr import SwinUNETR
from ssl_medical.methods.volume_contrast import Regions, VolumeContrast
from ssl_medical.objectives import GraphMatching, Overlap
from ssl_medical.reduction import difference_hash, near_copies
from ssl_medical.slices import Slices
from ssl_medical.sparse import SparseCNN
from ssl_medical.vit import ViT
from ssl_medical.volumes import Volumes, prepared

FACTS = {"channels": 1, "mean": (0.4,), "std": (0.2,)}
SIDE = 16


def cubes(count=4, side=SIDE):
    torch.manual_seed(1)
    return Volumes(torch.rand(count, 1, side, side, side), torch.arange(count) % 2)


def unet():
    torch.manual_seed(0)
    return UNetEncoder(width=32, **FACTS)


def resnet():
    torch.manual_seed(0)
    return ResNet3D(width=32, **FACTS)


def test_overlap_is_its_formula():
    guess, share = torch.rand(5, 8, dtype=torch.double, requires_grad=True), torch.rand(5, 8, dtype=torch.double)
    plain = sum(-math.log(1 - abs(g - s)) for g, s in zip(guess.flatten().tolist(), share.flatten().tolist(), strict=True)) / 40
    found = Overlap()(guess, share)
    assert float(found.detach()) == pytest.approx(plain)
    found.backward()
    wanted = (guess - share).sign() / (1 - (guess - share).abs()) / 40
    torch.testing.assert_close(guess.grad, wanted.detach())
    assert Overlap()(share, share) == 0 and Overlap()(torch.zeros(1, 1), torch.ones(1, 1)).isfinite()


def test_an_assignment_is_doubly_stochastic():
    plan = GraphMatching(iterations=200, epsilon=0.5).assignment(torch.randn(7, 7, dtype=torch.double))
    for axis in (0, 1):
        torch.testing.assert_close(plan.sum(dim=axis), torch.ones(7, dtype=torch.double), atol=1e-6, rtol=0)


def test_matched_views_cost_less_than_shuffled_ones():
    torch.manual_seed(0)
    rows, match = torch.randn(12, 8), GraphMatching(3)
    noisy = rows + 0.1 * torch.randn(12, 8)
    assert match(rows, noisy) < 0.5 < match(rows, noisy[torch.randperm(12)])


def test_graph_matching_finds_the_permutation():
    torch.manual_seed(0)
    fixed, moving = torch.randn(16, 8), torch.randn(16, 8, requires_grad=True)
    match, optimizer = GraphMatching(3), torch.optim.Adam([moving], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        match(fixed, moving).backward()
        optimizer.step()
    (a, _), (b, _) = match.graph(fixed), match.graph(moving)
    assert torch.equal((a @ b.T).argmax(dim=1), torch.arange(16))


def test_mae_beats_the_mean_within_a_minute():
    """What is smooth can be guessed: the error falls below 0.9 of that of the mean, on what is hidden."""
    torch.manual_seed(0)
    rough = torch.rand(48, 1, 2, 2, 2)
    x = F.interpolate(rough, (SIDE,) * 3, mode="trilinear")
    data = {"channels": 1, "mean": (float(x.mean()),), "std": (float(x.std()),)}
    method = MaskedPrediction(ViT(image_size=(SIDE,) * 3, patch=4, width=48, depth=2, **data), RandomMask(0.5), MSE(),
                              target="input", hidden=48, normalize=False)
    optimizer, losses = torch.optim.AdamW(method.parameters(), lr=3e-3), []
    for step in range(120):
        loss = method.step(Volumes(x[(step % 3) * 16:][:16]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) / 10 < 0.9 < losses[0]


@pytest.mark.parametrize("decoder", ["unet", "linear"])
def test_hidden_voxels_only_are_compared(decoder):
    """What was visible is no target: another clean volume there costs the same."""
    method = Restoration(unet(), HideBlocks((0.4,), 4), MSE(), decoder, where="hidden", token=True).eval()
    (view,) = method.augmentation(cubes())
    other = view._replace(clean=torch.where(view.mark, view.clean, torch.rand_like(view.clean)))
    changed = view._replace(clean=torch.where(view.mark, torch.rand_like(view.clean), view.clean))
    found = []
    for each in (view, other, changed):
        method.augmentation = lambda batch, each=each: (each,)
        found.append(method.step(cubes())["loss"])
    assert found[0] == found[1] != found[2]
    found[0].backward()
    assert method.blank.grad.abs().sum() > 0


def test_restoring_compares_normalised_voxels():
    method = Restoration(unet(), Genesis(shuffle=0, bend=0, paint=0, flip=(0, 0, 0)), MSE(), width=8).eval()
    batch = cubes()
    guess = method.decoder(method.encoder.features(batch), (SIDE,) * 3)
    wanted = (guess - (batch.voxels - 0.4) / 0.2).square().mean()
    torch.testing.assert_close(method.step(batch)["loss"], wanted)


def test_swin_unetr_adds_its_three_terms():
    torch.manual_seed(0)
    method = SwinUNETR(resnet(), TurnAndCut(), NTXent(0.5), projection=16, width=8, restore=2.0, turn=3.0, contrast=0.5)
    found = method.step(cubes())
    wanted = 2 * found["restore"] + 3 * found["turn"] + 0.5 * found["contrast"]
    torch.testing.assert_close(found["loss"], wanted)
    found["loss"].backward()
    for head in (method.turns, method.projector, method.decoder):
        assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_swin_unetr_reads_the_whole_map():
    """The published heads read one corner of the coarsest map; these read its mean."""
    method = SwinUNETR(resnet(), TurnAndCut(), NTXent(0.5), projection=16)
    seen_by = []
    method.turns.register_forward_pre_hook(lambda _, args: seen_by.append(args[0]))
    views = TurnAndCut()(cubes())
    method.augmentation = lambda batch: views
    method.step(cubes())
    torch.testing.assert_close(seen_by[0], method.encoder(views[0]).pooled)


def alice():
    torch.manual_seed(0)
    return Alice(unet(), Pairs(), DINO(16), (SIDE,) * 3, projector=(16, 8), patch=4, width=8, heads=2, prototypes=16)


def test_alice_teaches_student_and_not_teacher():
    method = alice()
    found = method.step(cubes())
    torch.testing.assert_close(found["loss"], found["pair"] + found["token"] + 10 * found["restore"])
    found["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    for part in (method.encoder, method.decoder, method.align, method.tokens, method.rows, method.enter):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    before = [p.clone() for p in method.teacher.parameters()]
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1.0)
    method.after_step()
    assert any(not torch.equal(a, b) for a, b in zip(before, method.teacher.parameters(), strict=True))


def test_alice_restores_hidden_voxels_only(monkeypatch):
    """The published code compares the whole volume."""
    method, view = alice().eval(), cubes()
    hidden = torch.zeros(4, 1, SIDE, SIDE, SIDE, dtype=torch.bool)
    hidden[..., :8] = True
    monkeypatch.setattr("ssl_medical.methods.alice.hide", lambda *_: hidden)
    guess = torch.zeros(4, 1, SIDE, SIDE, SIDE)
    monkeypatch.setattr(method.decoder.leave, "forward", lambda inner: guess)
    clean = (view.voxels - 0.4) / 0.2
    torch.testing.assert_close(method.student(view)[3], clean[..., :8].square().mean())


def test_regions_are_targets_that_take_no_gradient():
    torch.manual_seed(0)
    method = VolumeContrast(resnet(), Regions((2, 2, 2), 2), Overlap(), projector=(16, 8))
    found = method.step(cubes())
    torch.testing.assert_close(found["loss"], found["where"] + found["apart"])
    found["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert 0 <= found["apart"] <= 1


def test_spark_compares_hidden_blocks_that_are_normalised():
    torch.manual_seed(0)
    encoder = SparseCNN(image_size=(SIDE,) * 3, width=32, stages=3, **FACTS)
    method, batch = Spark(encoder, RandomMask(0.6), MSE(), width=8), cubes()
    hidden = RandomMask(0.6)(encoder.layout(batch))
    method.augmentation = lambda layout: hidden
    loss = method.step(batch)["loss"]
    where = hidden.view(4, 1, 4, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    scaled = Volumes(torch.where(where, batch.voxels * 0.5 + 0.1, batch.voxels))  # the same blocks, darker
    torch.testing.assert_close(method.step(scaled)["loss"], loss, atol=1e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="encoder=sparse-cnn"):
        Spark(resnet(), RandomMask(0.6), MSE())


def test_octants_make_up_their_anchor():
    x = cubes(2).voxels
    centre, side = torch.zeros(2, 3), torch.ones(2, 1)
    assert torch.allclose(seen(x, centre, side), x, atol=1e-5)
    views = Granular(locals=2, levels=1, gamma=(1.0, 1.0), contrast=0.0, noise=0.0, blur=0.0)(Volumes(x))
    assert len(views) == 1 + 2 + 8
    for i, view in enumerate(views[-8:]):
        corner = [slice(8 * (i >> shift & 1), 8 * (i >> shift & 1) + 8) for shift in (2, 1, 0)]
        part = F.interpolate(x[:, :, corner[0], corner[1], corner[2]], (SIDE,) * 3, mode="trilinear")
        inner = (..., *[slice(1, -1)] * 3)  # at its edges an octant sees its neighbours
        torch.testing.assert_close(view.voxels[inner], part[inner], atol=1e-4, rtol=0)


def test_adam_v2_goes_from_coarse_to_fine_and_holds_targets_still():
    torch.manual_seed(0)
    method = AdamV2(resnet(), Granular(locals=1, levels=2), DINO(16), projector=(16, 8))
    levels = []
    for step in (0, 6):
        method.progress = Progress(step, 10)
        found = method.step(cubes())
        levels.append(method.augmentation.level)
    assert levels == [1, 2]
    torch.testing.assert_close(found["loss"], found["localize"] + found["compose"] + found["decompose"])
    found["loss"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(any(p.grad.abs().sum() > 0 for p in part.parameters()) for part in (method.whole, method.parts, method.encoder))


def test_joint_image_volume_has_three_stages():
    torch.manual_seed(0)
    encoder = Slices(width=16, planes=4, depth=1, heads=2, **FACTS)
    views = cubes(), cubes()
    method = JointImageVolume(encoder, lambda batch: views, SwAV(8), projector=(16, 8), stages=(0.3, 0.6))
    reached = []
    for step in (0, 5, 9):
        method.progress = Progress(step, 10)
        method.zero_grad()
        method.step(cubes())["loss"].backward()
        parts = {"slices": encoder.body.conv1, "join": encoder.blocks, "image": method.of_slices, "volume": method.of_volumes,
                 "guess": method.guess}
        reached.append({name for name, part in parts.items() if any(p.grad.abs().sum() > 1e-12 for p in part.parameters())})
    assert reached == [{"slices", "image"}, {"join", "guess"}, {"slices", "join", "volume"}]
    with pytest.raises(ConfigError, match="encoder=slices"):
        JointImageVolume(resnet(), lambda batch: views, SwAV(8))


def test_hidden_slices_have_no_influence_and_order_has():
    torch.manual_seed(0)
    encoder = Slices(width=16, planes=4, depth=1, heads=2, every=2, **FACTS).eval()
    rows = encoder.slices(cubes(2))
    assert rows.shape == (2, 8, 16)
    hidden = torch.zeros(2, 8, dtype=torch.bool)
    hidden[:, 3] = True
    other = torch.where(hidden[:, :, None], torch.randn_like(rows), rows)
    torch.testing.assert_close(encoder.joined(rows, hidden), encoder.joined(other, hidden))
    assert not torch.allclose(encoder.joined(rows).mean(dim=1), encoder.joined(rows.flip(1)).mean(dim=1), atol=1e-4)


def bags(sizes=(3, 5, 2)):
    torch.manual_seed(0)
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Bags(torch.randn(sum(sizes), 6), owner, torch.arange(len(sizes)) % 2)


def test_attention_is_a_softmax_within_each_bag():
    scores, owner = torch.randn(10) * 30, bags().owner
    found = softmax(scores, owner, 3)
    for bag in range(3):
        torch.testing.assert_close(found[owner == bag], scores[owner == bag].softmax(dim=0))


def test_a_bag_does_not_depend_on_the_others_or_on_the_order_of_instances():
    encoder, batch = AttentionMIL(6, 8, 4).eval(), bags()
    whole = encoder(batch).pooled
    middle = batch.owner == 1
    order = torch.randperm(5)
    alone = encoder(Bags(batch.features[middle][order], torch.zeros(5, dtype=torch.long), batch.labels[1:2])).pooled
    torch.testing.assert_close(whole[1:2], alone)


def test_bags_of_any_size_are_loaded_whole():
    sizes, features = torch.tensor([2, 4, 1, 3]), torch.arange(10.0)[:, None]
    loader = BagLoader(features, sizes, torch.arange(4), torch.tensor([3, 0, 1]), 2, False)
    first, second = loader
    assert first.features[:, 0].tolist() == [7, 8, 9, 0, 1] and first.owner.tolist() == [0, 0, 0, 1, 1]
    assert second.features[:, 0].tolist() == [2, 3, 4, 5] and second.labels.tolist() == [1]


@pytest.mark.parametrize("curve, halfway", [("cosine", 0.5), ("parabolic", 0.75)])
def test_sc_mil_moves_from_contrast_to_classification(curve, halfway):
    torch.manual_seed(0)
    method = SCMIL(AttentionMIL(6, 8, 4), Jitter(noise=0.0, drop=0.0), SupCon(), 2, projector=(8, 4), curve=curve)
    method.target = lambda batch: batch.labels
    for step, weight in ((0, 1.0), (5, halfway), (10, 0.0)):
        method.progress = Progress(step, 10)
        found = method.step(bags())
        torch.testing.assert_close(found["loss"], weight * found["contrast"] + (1 - weight) * found["classify"])


def test_sc_mil_learns_bags():
    torch.manual_seed(0)
    data = synthetic_bags(bags=60, instances=20, share=0.1, batch_size=18)
    method = SCMIL(AttentionMIL(16, 16, 8), Jitter(), SupCon(), 2, projector=(16, 8))
    method.target = data.target
    optimizer, seen_by = torch.optim.AdamW(method.parameters(), lr=1e-2), []
    for step in range(60):
        method.progress = Progress(step, 60)
        for batch in data.train:
            found = method.step(batch)
            optimizer.zero_grad()
            found["loss"].backward()
            optimizer.step()
        seen_by.append(float(found["classify"].detach()))
    assert seen_by[-1] < 0.4 < seen_by[0]


@pytest.mark.parametrize("held, words", [
    ({"features": np.zeros((4, 2))}, "without bag, labels"),
    ({"features": np.zeros((4, 2)), "bag": np.array([0, 0, 1]), "labels": np.array([0, 1])}, "do not fit"),
    ({"features": np.full((3, 2), np.nan), "bag": np.array([0, 0, 1]), "labels": np.array([0, 1])}, "finite"),
    ({"features": np.zeros((3, 2)), "bag": np.array([0, 0, 2]), "labels": np.array([0, 1, 0])}, "needs an instance"),
    ({"features": np.zeros((3, 2)), "bag": np.array([0, 0, 3]), "labels": np.array([0, 1])}, "2 labels")])
def test_wrong_bags_are_explained(tmp_path, held, words):
    np.savez(tmp_path / "bags.npz", **held)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "bags.npz")


def test_bags_are_read(tmp_path):
    held = {"features": np.random.RandomState(0).rand(40, 3), "bag": np.arange(40) % 10, "labels": np.arange(10) % 2}
    np.savez(tmp_path / "bags.npz", **held)
    found = read(tmp_path / "bags.npz", batch_size=4)
    batch = next(iter(found.items))
    assert found.facts == {"in_features": 3, "classes": 2} and batch.owner.tolist() == [i // 4 for i in range(16)]
    np.testing.assert_allclose(batch.features[:4], held["features"][[0, 10, 20, 30]], rtol=1e-6)


def test_near_copies_are_left_out():
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(4, 1, 6, 6, 6), (24,) * 3, mode="trilinear")
    volumes = [prepared(x) for x in (*smooth, smooth[1] * 0.8 + 0.01)]
    assert torch.equal(difference_hash(volumes[1].voxels), difference_hash(volumes[4].voxels))
    assert near_copies(volumes, torch.arange(5), 21) == {4: 1}
    assert near_copies(volumes, torch.arange(5), 0) == {} == near_copies(volumes, torch.tensor([0, 2, 4]), 21)
    with pytest.raises(ValueError, match="distinct"):
        near_copies(volumes, torch.arange(5), 200)


def test_near_copies_are_listed(tmp_path):
    import nibabel as nib
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(3, 1, 6, 6, 6), (20,) * 3, mode="trilinear")[:, 0].numpy()
    for name, values in zip("abcd", (*smooth, smooth[0]), strict=True):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
    found = read(tmp_path, size=16, batch_size=3, distinct=21)
    assert found.size == 3 and len(found.names) == 4
    assert found.skipped == [("d.nii.gz", "not trained on: nearly the same as a.nii.gz")]
