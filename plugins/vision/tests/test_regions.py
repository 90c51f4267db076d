"""Methods that know regions: clusters of patches, masks that follow regions, parts from top to bottom."""
import numpy as np
import pytest
import torch

from ssl_core import ConfigError, DataError, pretrain
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.regression import MSE
from ssl_vision.augmentations import SimCLR
from ssl_vision.crops import AsIs, Crops
from ssl_vision.images import Images
from ssl_vision.methods.fsfm import FSFM, chosen
from ssl_vision.methods.solider import Solider, parts
from ssl_vision.regions import cells, clustered
from ssl_vision.swin import Swin
from ssl_vision.vit import ViT

FACTS = {"channels": 3, "image_size": (16, 16), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def images(count=4, side=16, seed=0):
    drawn = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return Images(drawn.to(torch.uint8), None, torch.arange(count))


def vit():
    torch.manual_seed(0)
    return ViT(**FACTS, patch=4, width=32, depth=2, heads=4)


def swin(**more):
    torch.manual_seed(0)
    return Swin(**FACTS, patch=2, width=32, depths=(2, 2), window=4, head=8, **more)


# Clusters

def test_clusters_equal_plain_k_means():
    torch.manual_seed(0)
    rows, start = torch.randn(3, 12, 4, dtype=torch.float64), torch.randint(3, (3, 12))
    start[1] = start[1] % 2  # an empty cluster
    among = torch.rand(3, 12) < 0.8
    found = clustered(rows, start, 3, among, rounds=4)
    for b in range(3):
        labels = start[b].tolist()
        for _ in range(4):
            centres = {}
            for k in range(3):
                own = [rows[b, i] for i in range(12) if labels[i] == k and among[b, i]]
                if own:
                    centres[k] = torch.stack(own).mean(dim=0)
            labels = [min(centres, key=lambda k, i=i: float((rows[b, i] - centres[k]).norm())) for i in range(12)]
        assert found[b].tolist() == labels


@pytest.mark.parametrize("shape, count", [((14, 14), 6), ((4, 4), 6), ((3, 5), 4), ((2, 2), 2)])
def test_the_start_covers_the_grid(shape, count):
    found = cells(*shape, count, torch.device("cpu"))
    assert found.shape == (shape[0] * shape[1],) and found.min() == 0 and found.max() <= count - 1
    assert len(found.unique()) > count // 2


# FSFM

def test_a_region_is_hidden_whole_and_of_the_others_the_same_share():
    torch.manual_seed(0)
    region = torch.randint(5, (64, 196))
    whole, hidden = (rows.view(64, 196) for rows in chosen(region, 0.75))
    assert (hidden.sum(dim=1) == 147).all() and (whole <= hidden).all()
    for b in range(64):
        covered = region[b][whole[b]].unique()
        assert len(covered) == 1 and torch.equal(whole[b], region[b] == covered)  # all of it
        rest = hidden[b][~whole[b]].float().mean()
        for k in set(range(5)) - {int(covered)}:
            inside = hidden[b][region[b] == k]
            assert abs(float(inside.sum() - rest * len(inside))) < 1.5  # to a patch


def test_regions_are_chosen_alike_however_large_they_are_and_one_may_be_spared():
    torch.manual_seed(0)
    region = torch.zeros(4000, 20, dtype=torch.long)
    region[:, 15:18], region[:, 18:] = 1, 2
    whole = chosen(region, 0.75)[0].view(4000, 20)
    share = torch.stack([(whole & (region == k)).any(dim=1).double().mean() for k in range(3)])
    assert (share - 1 / 3).abs().max() < 0.04
    spared = chosen(region, 0.75, spared=0)[0].view(4000, 20)
    assert not (spared & (region == 0)).any() and spared.any(dim=1).all()


def test_a_region_larger_than_the_mask_is_hidden_in_part():
    region = torch.zeros(6, 16, dtype=torch.long)
    whole, hidden = chosen(region, 0.5)
    assert torch.equal(whole, hidden) and (hidden.view(6, 16).sum(dim=1) == 8).all()
    assert (chosen(region[:, :2], 0.9)[1].view(6, 2).sum(dim=1) == 1).all()  # a patch stays


def fsfm(augmentation=None, **more):
    torch.manual_seed(0)
    return FSFM(vit(), augmentation or AsIs(), MSE(), **{"hidden": 16, "clusters": 3} | more)


def test_fsfm_adds_up_its_three_errors():
    method, batch = fsfm(region=0.5, agree=0.25), images()
    torch.manual_seed(3)
    found = method.step(batch)
    assert torch.allclose(found["loss"], found["rebuilt"] + 0.5 * found["region"] + 0.25 * found["apart"])
    torch.manual_seed(3)
    whole, hidden = chosen(method.regions(batch), 0.75)
    guess = method.decode(method.encoder(batch, keep=~hidden), method.encoder.layout(batch), hidden)
    error = (guess - method.encoder.inputs(batch)[hidden]).square().mean(dim=1)
    assert torch.allclose(found["rebuilt"], error.mean(), atol=1e-6)
    assert torch.allclose(found["region"], error[whole[hidden]].mean(), atol=1e-6)
    found["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_maps_say_which_region_a_patch_is_of(tmp_path):
    maps = np.zeros((6, 16, 16), dtype=np.uint8)
    maps[5, :4, :4], maps[5, :4, 4:7], maps[2, 12:, 12:] = 1, 2, 3
    np.save(tmp_path / "maps.npy", maps)
    method, batch = fsfm(regions=tmp_path / "maps.npy"), images()._replace(ids=torch.tensor([5, 0, 2, 1]))
    found = method.regions(batch)
    assert found[0].tolist() == [1, 2] + [0] * 14  # 12 of 16 pixels are of the second
    assert found[2].tolist() == [0] * 15 + [3] and not found[1].any()
    assert method.step(batch)["loss"].isfinite()
    with pytest.raises(DataError, match="augmentation=as-is"):
        fsfm(Crops(), regions=tmp_path / "maps.npy").step(batch)
    with pytest.raises(DataError, match="6 images of this size"):
        method.step(batch._replace(ids=torch.tensor([6, 0, 1, 2])))


def test_maps_that_are_none_are_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((4, 16)))
    for path, match in ((tmp_path / "none.npy", "cannot read the maps"), (tmp_path / "flat.npy", "integers")):
        with pytest.raises(ConfigError, match=match):
            fsfm(regions=path)


def test_maps_are_an_option_of_a_run(tmp_path):
    np.save(tmp_path / "maps.npy", np.random.default_rng(0).integers(0, 3, (1797, 8, 8)))
    run = pretrain("vision", "fsfm", out=tmp_path / "run", quiet=True, epochs=1, probe="", baselines=False,
                   trainer={"tensorboard": False}, encoder={"width": 16, "depth": 1},
                   method={"regions": str(tmp_path / "maps.npy")})
    assert run.result["loss"] > 0


# SOLIDER

def test_parts_are_ordered_from_top_to_bottom_behind_a_background():
    torch.manual_seed(0)
    directions = torch.eye(8)
    for order in ((0, 1, 2), (2, 0, 1)):  # whatever the clusters are called
        grid = 0.1 * torch.randn(2, 9, 4, 8)
        for stripe, direction in enumerate(order):
            grid[:, 3 * stripe: 3 * stripe + 3, 1:3] += 5 * directions[direction]
        found = parts(grid, 3).view(2, 9, 4)
        assert (found[:, :, [0, 3]] == 0).all()
        for stripe in range(3):
            assert (found[:, 3 * stripe: 3 * stripe + 3, 1:3] == stripe + 1).all()


def solider(**more):
    torch.manual_seed(0)
    method = Solider(swin(controlled=True), SimCLR(blur=0.0), DINO(prototypes=8, frozen=0.0), **{"projector": (16, 8)} | more)
    return method


def test_a_coin_decides_between_views_and_parts():
    method, seen = solider(), set()
    for seed in range(6):
        torch.manual_seed(seed)
        found = method.step(images())
        on = [name for name in ("agree", "parts") if torch.equal(found["loss"], found[name])]
        assert on
        seen.update(on)
    assert seen == {"agree", "parts"}
    found["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.encoder.control.parameters())


def test_the_encoder_is_told_how_semantic_to_be():
    encoder, batch = swin(controlled=True, semantic=0.0).eval(), images()
    none, half, all_ = (encoder(batch, semantic=torch.tensor(x)).pooled for x in (0.0, 0.5, 1.0))
    assert torch.equal(encoder(batch).pooled, none)
    assert not torch.allclose(none, half) and not torch.allclose(half, all_)
    assert not hasattr(swin(), "semantic")
    with pytest.raises(ConfigError, match=r"encoder\.controlled=true"):
        Solider(swin(), SimCLR(), DINO())
