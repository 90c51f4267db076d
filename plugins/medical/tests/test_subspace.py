"""Learners with slices of the embedding, the margin loss, fine-tuning in stages, and sets that are made smaller."""
import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, Progress, pretrain
from ssl_core.objectives.supcon import SupCon
from ssl_medical.augmentations import Views
from ssl_medical.data import read
from ssl_medical.encoders import ResNet3D
from ssl_medical.methods.dynamic_subspace import DynamicSubspace, Margin
from ssl_medical.reduction import entropy, redundant, spread_out
from ssl_medical.segmentation import Labelled
from ssl_medical.sparse import SparseCNN
from ssl_medical.staging import Stage, staged
from ssl_medical.volumes import Volumes, prepared

FACTS = {"channels": 1, "mean": (0.5,), "std": (0.25,)}


def learner(**options):
    torch.manual_seed(0)
    method = DynamicSubspace(ResNet3D(width=32, **FACTS), Views(2), Margin(), width=12, memory=64, **options)
    method.target = lambda batch: batch.labels
    return method


def volumes(count=8):
    return Volumes(torch.rand(count, 1, 16, 16, 16), torch.arange(count) % 2)


def test_margin_loss_is_that_of_its_pairs():
    torch.manual_seed(0)
    rows, labels = torch.randn(10, 6, dtype=torch.float64, requires_grad=True), torch.arange(10) % 3
    objective = Margin(1.1, 0.3)
    torch.manual_seed(4)
    ours = objective(rows, labels=labels)
    unit = F.normalize(rows, dim=1)
    apart = torch.stack([torch.stack([(a - b).norm() if i != j else a.sum() * 0 + 1.0 for j, b in enumerate(unit)])
                         for i, a in enumerate(unit)])
    other = labels[:, None] != labels
    torch.manual_seed(4)
    chosen = torch.multinomial(objective.likelihood(apart.detach(), other, 6), 10, replacement=True)
    terms, count = [], 0
    for i in range(10):
        for j in range(10):
            if i != j and labels[i] == labels[j]:
                assert labels[chosen[i, j]] != labels[i]
                near = (apart[i, j] - 1.1 + 0.3).clamp(min=0)
                far = (1.1 + 0.3 - apart[i, chosen[i, j]]).clamp(min=0)
                terms.append(near + far)
                count += bool((near > 0) | (far > 0))
    plain = torch.stack(terms).sum() / count
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, rows), torch.autograd.grad(plain, rows))


def test_negatives_are_drawn_against_the_density_of_distances():
    apart = torch.tensor([[1.0, 0.2, 0.5, 1.0, 1.39, 1.5]]).expand(6, 6)
    found = Margin().likelihood(apart, torch.tensor([[False, True, True, True, True, True]]).expand(6, 6), 16)[0]

    def one_over(d):
        return d ** (2.0 - 16) * (1 - d * d / 4) ** ((3.0 - 16) / 2)

    assert found[0] == 0 and found[5] == 0, "neither itself nor what is too far"
    torch.testing.assert_close(found[1], found[2]), "nearer than 0.5 counts as 0.5"
    assert float(found[3] / found[4]) == pytest.approx(one_over(1.0) / one_over(1.39), rel=1e-4)


@pytest.mark.parametrize("labels", [torch.zeros(4, dtype=torch.long), torch.tensor([0]), -torch.ones(3, dtype=torch.long)])
def test_batches_of_one_class_cost_what_they_can(labels):
    rows = torch.randn(len(labels), 5, requires_grad=True)
    loss = Margin()(rows, labels=labels)
    loss.backward()
    assert loss.isfinite() and rows.grad.isfinite().all()


def test_quantities_are_refused():
    with pytest.raises(DataError, match="needs classes"):
        Margin()(torch.randn(4, 3), labels=torch.rand(4))


def test_learners_are_added_and_then_learn_together():
    method = learner(learners=3, joint=0.75)
    assert [method.now(Progress(step, 100)) for step in (0, 24, 25, 50, 74, 75, 99)] == [1, 1, 2, 3, 3, 0, 0]
    rows = F.normalize(torch.randn(64, 12), dim=1)
    method.seen.push(rows)
    before = method.centres.clone()
    method.progress = Progress(23, 100)
    method.after_step()
    assert torch.equal(method.centres, before)
    method.progress = Progress(24, 100)
    method.step(volumes(4))
    method.after_step()
    assert not torch.equal(method.centres[:2], before[:2]) and torch.equal(method.centres[2], before[2])


def test_a_learner_sees_its_slice_and_its_cluster():
    method, batch = learner(learners=2, joint=1.0), volumes()
    method.progress = Progress(6, 10)
    views = Views(2)(batch)
    method.augmentation = lambda batch: views
    method.objective = SupCon()
    rows = [method.rows(view) for view in views]
    mine = (F.normalize(sum(rows).detach(), dim=1) @ method.centres.T).argmax(dim=1)
    parts = [SupCon()(*(row[mine == k][:, 6 * k:6 * k + 6] for row in rows), labels=batch.labels[mine == k])
             for k in range(2) if (mine == k).any()]
    torch.testing.assert_close(method.step(batch)["loss"], torch.stack(parts).sum() / 2)
    gates = method.attention(batch)
    assert gates.shape == (8, 1, 16, 16, 16) and 0 < gates.min() and gates.max() < 1


def cases(classes, count=3, seed=0):
    """Synthetic cubes whose bright half is a class."""
    draw, found = torch.Generator().manual_seed(seed), []
    for i in range(count):
        mask = torch.zeros(16, 16, 16, dtype=torch.uint8)
        for k in range(1, classes):
            mask[:, :, 5 * k:5 * k + 5] = k
        voxels = (0.3 * mask + 0.1 * torch.rand(16, 16, 16, generator=draw)).clamp(0, 1)[None].half()
        found.append(Labelled(str(i), voxels, mask, (1.0, 1.0, 1.0)))
    return found


def test_stages_hand_on_the_encoder_and_may_have_other_classes():
    torch.manual_seed(0)
    encoder = SparseCNN(image_size=(16,) * 3, width=32, **FACTS)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    stages = [Stage(cases(3), steps=4, lr=1e-2, alone=0.5), Stage(cases(2, seed=1), steps=24, lr=1e-2)]
    found = staged(encoder, stages, cases(2, seed=2), cases(2, count=1, seed=3), size=16, width=8, batch_size=2, looks=2)
    assert found["dice"] > 0.7 and set(found) == {"dice", "hd95", "dice_1", "hd95_1"}
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    with pytest.raises(ValueError, match="one stage"):
        staged(encoder, [], cases(2))


def test_what_is_kept_is_spread_out():
    torch.manual_seed(0)
    centres = torch.randn(4, 20)
    rows = torch.cat([centres, centres + 0.01 * torch.randn(4, 20), centres[:2] + 0.01])
    kept, nearest = spread_out(rows, 4)
    assert {i % 4 if i < 8 else i - 8 for i in kept} == {0, 1, 2, 3} and kept[0] == 0
    groups = [i % 4 if i < 8 else i - 8 for i in range(10)]
    assert all(groups[nearest[i]] == groups[i] for i in range(10)) and all(nearest[i] == i for i in kept)


def test_entropy_is_that_of_gray_values():
    assert entropy(torch.zeros(1, 4, 4, 4)) == 0
    half = torch.cat([torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)], dim=1)
    assert float(entropy(half)) == pytest.approx(1.0)


def test_redundant_volumes_are_named():
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(3, 1, 6, 6, 6), (24,) * 3, mode="trilinear")
    found = [prepared(x) for x in (*smooth, smooth[1] * 0.98, torch.full((1, 24, 24, 24), 0.5) + 0.01 * torch.rand(24, 24, 24))]
    rows = torch.arange(5)
    assert redundant(found, rows, None, 0.0, "embedding", None) == {}
    assert redundant(found, rows[:4], list("abcde"), 0.25, "embedding", None) == {3: "not trained on: b stands for it"}
    assert list(redundant(found, rows, None, 0.2, "entropy", None)) == [4]
    with pytest.raises(ValueError, match="reduce"):
        redundant(found, rows, None, 1.0, "entropy", None)


def test_an_earlier_run_makes_a_set_smaller(tmp_path):
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(6, 1, 6, 6, 6), (20,) * 3, mode="trilinear")[:, 0].numpy()
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, values in zip("abcdefg", (*smooth, smooth[0] * 0.99), strict=True):
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
    small = {"epochs": 1, "data.size": 16, "data.batch_size": 3, "encoder.width": 24, "encoder.depth": 1, "encoder.patch": 8,
             "probe": "", "baselines": False, "quiet": True}
    first = pretrain("medical", "mae3d", folder, out=tmp_path / "first", **small)
    found = read(folder, size=16, batch_size=3, reduce=0.15, reduce_with=first.path)
    assert found.size == 6 and len(found.names) == 7
    assert found.skipped == [("g.nii.gz", "not trained on: a.nii.gz stands for it")]
    again = pretrain("medical", "mae3d", folder, out=tmp_path / "second", **small | {
        "data.reduce": 0.15, "data.reduce_with": str(first.path)})
    assert [name for name, _ in again.result["skipped"]] == ["g.nii.gz"]
