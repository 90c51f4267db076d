"""Segmentation and probes: what they measure, and that an encoder's weights reach them."""
import math

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt
from sklearn.metrics import roc_auc_score

from ssl_core import ConfigError, DataError, Fold
from ssl_medical.encoders import UNetEncoder
from ssl_medical.probes import area, auc
from ssl_medical.segmentation import Cubes, Labelled, Segmenter, compared, labelled, scored, transfer
from ssl_medical.volumes import Volumes


def ball(side, centre, radius):
    place = torch.stack(torch.meshgrid(*[torch.arange(float(side))] * 3, indexing="ij"), dim=-1)
    return (place - torch.tensor(centre)).norm(dim=-1) <= radius


def cases(count, side=24):
    """A bright and a dark ball in noise; classes 1 and 2."""
    torch.manual_seed(0)
    found = []
    for i in range(count):
        bright, dark = (ball(side, (torch.rand(3) * 6 + at).tolist(), 4.0) for at in (5, 13))
        dark &= ~bright
        x = 0.5 + 0.4 * bright.float() - 0.4 * dark.float() + 0.05 * torch.randn(side, side, side)
        found.append(Labelled(f"case{i}", x.clamp(0, 1)[None].half(), (bright + 2 * dark).to(torch.uint8), (1.0, 1.0, 2.0)))
    return found


def encoder():
    torch.manual_seed(0)
    return UNetEncoder(1, (0.5,), (0.2,), width=32)


def plain_distance(guess, truth, spacing):
    """The 95th percentile of the distances between both surfaces, the larger of both directions."""
    edges = [mask & ~binary_erosion(mask) for mask in (guess, truth)]
    maps = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return max(np.percentile(maps[1][edges[0]], 95), np.percentile(maps[0][edges[1]], 95))


def test_dice_and_distance_are_those_of_plain_code():
    guess, truth = ball(20, (9.0, 9.0, 9.0), 5.0), ball(20, (11.0, 9.0, 10.0), 4.0)
    dice, distance = compared(guess, truth, (1.0, 1.5, 2.0), True)
    assert dice == pytest.approx(2 * int((guess & truth).sum()) / int(guess.sum() + truth.sum()))
    assert distance == pytest.approx(plain_distance(guess.numpy(), truth.numpy(), (1.0, 1.5, 2.0)), abs=1e-4)


def test_distances_are_in_mm():
    guess, truth = ball(20, (8.0, 10.0, 10.0), 3.0), ball(20, (10.0, 10.0, 10.0), 3.0)
    _, one = compared(guess, truth, (1.0, 1.0, 1.0), True)
    assert compared(guess, truth, (3.0, 3.0, 3.0), True)[1] == pytest.approx(3 * one) and one > 0


def test_nothing_found_costs_the_diagonal_and_nothing_there_does_not_count():
    some, none = ball(10, (5.0, 5.0, 5.0), 2.0), torch.zeros(10, 10, 10, dtype=torch.bool)
    dice, distance = compared(none, some, (1.0, 1.0, 2.0), True)
    assert dice == 0 and distance == pytest.approx(math.sqrt(100 + 100 + 400))
    assert all(math.isnan(value) for value in compared(some, none, (1.0, 1.0, 1.0), True))


class Perfect(torch.nn.Module):
    """Knows the classes of `cases`, from their brightness."""

    def __init__(self):
        super().__init__()
        self.none = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.cat([torch.full_like(x, 0.2), x - 0.5, 0.5 - x], dim=1) + self.none


def test_a_perfect_model_scores_one():
    held = [case._replace(voxels=0.5 + 0.4 * (case.classes == 1).half()[None] - 0.4 * (case.classes == 2).half()[None])
            for case in cases(2)]
    found = scored(Perfect(), held, 16)
    assert found["dice"] == found["dice_1"] == found["dice_2"] == 1.0 and found["hd95"] == 0.0


@pytest.mark.parametrize("frozen", [False, True])
def test_a_few_steps_find_the_balls(frozen):
    start, held = encoder(), cases(6)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    options = {"frozen": frozen, "size": 16, "lr": 5e-3, "width": 8, "overlap": 0.0}
    found = transfer(start, held[:4], held[4:], held[3:4], steps=60, looks=1, **options)
    assert found["dice"] > transfer(start, held[:4], held[4:], steps=1, **options)["dice"] + 0.2
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())  # a copy was trained


def test_a_frozen_encoder_does_not_move():
    for frozen in (True, False):
        model = Segmenter(encoder(), 3, frozen, 8)
        model(torch.rand(1, 1, 16, 16, 16)).sum().backward()
        assert any(p.grad is not None for p in model.encoder.parameters()) is not frozen
        assert all(p.grad is not None for p in model.decoder.parameters() if p.requires_grad)


def test_transfer_is_the_same_under_a_seed_and_leaves_torch_alone():
    held = cases(3)
    state = torch.get_rng_state()
    a, b = (transfer(encoder(), held[:2], held[2:], steps=2, size=16, width=8, seed=3) for _ in range(2))
    assert a == b
    torch.set_rng_state(state)
    start = encoder()
    state = torch.get_rng_state()
    transfer(start, held[:2], held[2:], steps=1, size=16, width=8)
    assert torch.equal(torch.get_rng_state(), state)


def test_cubes_and_their_classes_belong_together():
    drawn = Cubes(cases(2), (12, 12, 12))
    torch.manual_seed(0)
    voxels, classes = drawn(16)
    bright = torch.where(classes == 1, voxels, torch.nan).nanmean()
    dark = torch.where(classes == 2, voxels, torch.nan).nanmean()
    assert bright > 0.7 and dark < 0.3


def write(path, values, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([*spacing, 1.0])), path)


def test_cases_are_read_with_their_classes(tmp_path):
    truth = ball(12, (5.0, 6.0, 6.0), 3.0).numpy()
    write(tmp_path / "images" / "a.nii.gz", np.random.RandomState(0).rand(12, 12, 12))
    write(tmp_path / "labels" / "a.nii.gz", truth)
    (case,) = labelled(tmp_path)
    assert np.array_equal(case.classes.numpy(), truth) and case.voxels.shape == (1, 12, 12, 12) and case.spacing == (1.0,) * 3


@pytest.mark.parametrize("values, spacing, words", [
    (np.zeros((12, 12, 11)), (1.0, 1.0, 1.0), "a.nii.gz has .12, 12, 11. voxels"),
    (np.zeros((12, 12, 12)), (1.0, 1.0, 2.0), "2.0"), (np.full((12, 12, 12), 0.5), (1.0, 1.0, 1.0), "no segmentation")])
def test_segmentations_that_do_not_fit_are_named(tmp_path, values, spacing, words):
    write(tmp_path / "images" / "a.nii.gz", np.random.RandomState(0).rand(12, 12, 12))
    write(tmp_path / "labels" / "a.nii.gz", values, spacing)
    with pytest.raises(DataError, match=words) as caught:
        labelled(tmp_path)
    assert "labels" in str(caught.value)


def test_a_set_without_segmentations_is_explained(tmp_path):
    write(tmp_path / "a.nii.gz", np.random.RandomState(0).rand(12, 12, 12))
    with pytest.raises(DataError, match="no segmentations"):
        labelled(tmp_path)


def test_an_encoder_without_maps_is_explained():
    class Flat(torch.nn.Module):
        width = 4

        def forward(self, batch: Volumes):
            return batch
    with pytest.raises(ConfigError, match="gives maps"):
        Segmenter(Flat(), 2)


def fold(count, classes, seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=draw)
    return Fold(torch.randn(count, 6, generator=draw) + 1.5 * torch.eye(classes, 6)[labels], labels)


@pytest.mark.parametrize("classes", [2, 4])
def test_area_is_that_of_scikit_learn(classes):
    torch.manual_seed(0)
    scores, labels = torch.randn(60, classes).double(), torch.randint(classes, (60,))
    share = scores.softmax(dim=1).numpy()
    wanted = roc_auc_score(labels, share[:, 1] if classes == 2 else share, multi_class="ovr")
    assert area(scores, labels) == pytest.approx(wanted)


def test_auc_sees_what_is_there_and_nothing_else():
    folds = [fold(n, 3, seed) for seed, n in enumerate((120, 60, 60))]
    found = auc(*folds)
    assert found["linear_auc"] > 0.75 and found["knn_auc"] > 0.7
    blind = [Fold(torch.randn(len(f.labels), 6, generator=torch.Generator().manual_seed(9 + i)), f.labels)
             for i, f in enumerate(folds)]
    assert all(0.3 < score < 0.7 for score in auc(*blind).values())
    assert auc(*(Fold(f.features, f.labels.float()) for f in folds)) == {}


def test_hippocampus(shared):
    found = labelled(shared / "hippocampus")
    assert len(found) == 200 and all(case.voxels.shape[1:] == case.classes.shape for case in found)
    assert {tuple(case.classes.unique().tolist()) for case in found} == {(0, 1, 2)}
