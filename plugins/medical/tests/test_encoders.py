"""Encoders: contracts, hidden blocks that cost nothing and leak nothing, and the way into MONAI's own networks."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError
from ssl_core.checks import representation
from ssl_core.transformer import kept
from ssl_medical.decoders import Blockwise, Decoder
from ssl_medical.encoders import ResNet3D, SwinEncoder, UNetEncoder
from ssl_medical.export import to_monai
from ssl_medical.sparse import SparseCNN, SparseNorm
from ssl_medical.vit import ViT, fitting_patch, sincos
from ssl_medical.volumes import Volumes, blocks

FACTS = {"channels": 1, "mean": (0.4,), "std": (0.2,)}
MAKE = {
    "vit3d": lambda: ViT(image_size=(32, 32, 32), patch=8, width=24, depth=2, heads=2, **FACTS),
    "resnet3d": lambda: ResNet3D(width=32, **FACTS),
    "unet3d": lambda: UNetEncoder(width=32, **FACTS),
    "swin": lambda: SwinEncoder(width=48, **FACTS),
    "sparse-cnn": lambda: SparseCNN(image_size=(32, 32, 32), width=32, **FACTS),
}


def built(name):
    torch.manual_seed(0)
    return MAKE[name]().eval()


def cubes(count=2, side=32):
    torch.manual_seed(1)
    return Volumes(torch.rand(count, 1, side, side, side))


@pytest.mark.parametrize("name", MAKE)
def test_contract(name):
    encoder, batch = built(name), cubes()
    with torch.no_grad():
        out, maps = encoder(batch), encoder.features(batch)
    representation(name, encoder.width, out)
    assert [found.shape[1] for found in maps] == list(encoder.maps)
    assert [32 // found.shape[2] for found in maps] == list(encoder.strides)
    with torch.no_grad():
        alone = encoder(Volumes(batch.voxels[1:])).pooled
    torch.testing.assert_close(out.pooled[1:], alone, atol=1e-4, rtol=1e-4)  # a row does not depend on the other items


@pytest.mark.parametrize("name", MAKE)
def test_bytes_and_halves_are_read_like_floats(name):
    encoder, voxels = built(name), torch.randint(256, (1, 1, 32, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        a, b = encoder(Volumes(voxels)).pooled, encoder(Volumes(voxels.float() / 255)).pooled
    torch.testing.assert_close(a, b)


def test_how_bright_a_volume_is_can_be_told():
    """Instance norm would erase it."""
    batch = cubes(1)
    for name in MAKE:
        encoder = built(name)
        with torch.no_grad():
            a, b = encoder(batch).pooled, encoder(Volumes(batch.voxels * 0.5 + 0.3)).pooled
        assert (a - b).norm() > 0.02 * a.norm(), name


@pytest.mark.parametrize("name", ["vit3d", "sparse-cnn"])
def test_what_is_hidden_has_no_influence(name):
    encoder, batch = built(name), cubes()
    layout = encoder.layout(batch)
    assert layout.position.shape == (len(layout.owner), 3) and 0 < layout.position.min() and layout.position.max() < 1
    hidden = torch.rand(len(layout.owner)) < 0.6
    side = 32 // encoder.patch
    where = hidden.view(2, 1, side, side, side).repeat_interleave(encoder.patch, 2)
    where = where.repeat_interleave(encoder.patch, 3).repeat_interleave(encoder.patch, 4)
    other = Volumes(torch.where(where, torch.rand_like(batch.voxels), batch.voxels))
    with torch.no_grad():
        a, b = encoder(batch, keep=~hidden), encoder(other, keep=~hidden)
    assert len(a.tokens) == int((~hidden).sum())
    torch.testing.assert_close(a.tokens, b.tokens)
    torch.testing.assert_close(a.pooled, b.pooled)
    assert not torch.allclose(encoder(batch).pooled, a.pooled, atol=1e-3)


def test_hidden_blocks_are_dropped_before_the_transformer():
    encoder, batch, seen = built("vit3d"), cubes(), []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    keep = torch.zeros(2, 64, dtype=torch.bool)
    keep[:, :16] = True
    encoder(batch, keep=keep.flatten())
    assert seen == [16]


def test_tokens_of_a_mask_are_those_of_a_smaller_set():
    """With all kept the two ways agree, and uneven masks give each item the same as alone."""
    encoder, batch = built("vit3d"), cubes()
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch).tokens, encoder(batch, keep=torch.ones(128, dtype=torch.bool)).tokens)
        keep = torch.rand(128) < torch.tensor([0.2, 0.7]).repeat_interleave(64)
        both = encoder(batch, keep=keep).pooled
        for i in range(2):
            alone = encoder(Volumes(batch.voxels[i:i + 1]), keep=keep.view(2, 64)[i]).pooled
            torch.testing.assert_close(both[i:i + 1], alone, atol=1e-5, rtol=1e-4)


def test_blocks_lie_as_the_layout_says():
    batch = Volumes(torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))[None] / 15)  # channel = coordinate
    encoder = ViT(3, (16, 16, 16), (0.0,) * 3, (1.0,) * 3, patch=4, width=24, depth=1, heads=2)
    centre = encoder.inputs(batch).view(64, 3, -1).mean(dim=2) * 15
    torch.testing.assert_close(centre, encoder.layout(batch).position * 16 - 0.5)
    assert torch.equal(blocks(batch.voxels, 4).flatten(0, 1), encoder.inputs(batch))


@pytest.mark.parametrize("size, patch, found", [((28,) * 3, 0, 4), ((32,) * 3, 0, 4), ((64,) * 3, 0, 8), ((96,) * 3, 0, 12),
                                                ((64, 64, 32), 16, 16)])
def test_patches_fit(size, patch, found):
    assert fitting_patch(size, patch) == found


def test_a_patch_that_does_not_fit_is_explained():
    with pytest.raises(ValueError, match="choose one of"):
        ViT(image_size=(28, 28, 28), patch=8, **FACTS)
    with pytest.raises(ValueError, match="do not divide"):
        SparseCNN(image_size=(28, 28, 28), **FACTS)


def test_positions_are_distinct():
    place = torch.cartesian_prod(*[torch.arange(6.0)] * 3)
    codes = sincos(place, 26)
    assert codes.shape == (216, 26) and (torch.cdist(codes, codes) + torch.eye(216) > 1e-2).all()


def test_kept_columns():
    keep = torch.tensor([[True, False, True], [False, True, False]])
    chosen, valid = kept(keep)
    assert chosen[0].tolist() == [0, 2] and chosen[1, 0] == 1 and valid.tolist() == [[True, True], [True, False]]
    assert kept(torch.tensor([[True, False], [False, True]]))[1] is None


def test_sparse_norm_is_that_of_the_visible_voxels():
    torch.manual_seed(0)
    x, norm = torch.randn(3, 8, 4, 4, 4, dtype=torch.double), SparseNorm(8, 2).double()
    seen = (torch.rand(3, 1, 4, 4, 4) < 0.5).double()
    found = norm(x.float(), seen)
    for i in range(3):
        active = x[i, :, seen[i, 0].bool()].float()  # (8, N)
        wanted = F.group_norm(active[None], 2)[0]
        torch.testing.assert_close(found[i][:, seen[i, 0].bool()].float(), wanted, atol=1e-4, rtol=1e-4)
        assert (found[i][:, ~seen[i, 0].bool()] == 0).all()


def test_without_a_mask_sparse_norm_is_group_norm():
    x = torch.randn(2, 8, 4, 4, 4)
    torch.testing.assert_close(SparseNorm(8, 4)(x, torch.ones(2, 1, 4, 4, 4)), F.group_norm(x, 4), atol=1e-5, rtol=1e-4)


def test_sparse_maps_are_zero_where_hidden_at_every_scale():
    encoder, batch = built("sparse-cnn"), cubes()
    keep = torch.rand(2, 64) < 0.4
    keep[:, 0] = True
    for (x, seen), stride in zip(encoder.pyramid(batch, keep.flatten()), encoder.strides, strict=True):
        assert seen.shape[2:] == x.shape[2:] == (32 // stride,) * 3
        assert (x * (1 - seen) == 0).all() and seen.mean() == keep.float().mean()


@pytest.mark.parametrize("name", MAKE)
def test_decoders_reach_every_voxel(name):
    encoder, batch = built(name), cubes(1)
    maps = encoder.features(batch)
    image = Decoder(encoder.maps, encoder.strides, 3, 8, image=1)(maps, (32, 32, 32), batch.voxels)
    assert image.shape == (1, 3, 32, 32, 32)
    assert Blockwise(encoder.maps[-1], encoder.strides[-1], 2)(maps, (32, 32, 32)).shape == (1, 2, 32, 32, 32)


def test_the_linear_head_writes_each_block_from_its_place():
    head, coarse = Blockwise(1, 4, 1), torch.zeros(1, 1, 2, 2, 2)
    coarse[0, 0, 1, 0, 1] = 1
    torch.nn.init.zeros_(head.leave.bias)
    found = head([coarse], (8, 8, 8))[0, 0] != 0
    assert found[4:, :4, 4:].all() and found.sum() == 64


def normalized(encoder, batch):
    return encoder.normalized(batch.voxels)


def test_export_into_monais_vit():
    encoder, batch = built("vit3d"), cubes()
    theirs = to_monai(encoder).eval()
    with torch.no_grad():
        tokens, _ = theirs(normalized(encoder, batch))
        torch.testing.assert_close(tokens.flatten(0, 1), encoder(batch).tokens, atol=1e-4, rtol=1e-4)


def test_export_into_monais_resnet():
    encoder, batch = built("resnet3d"), cubes()
    theirs = to_monai(encoder).eval()
    assert type(theirs).__module__.startswith("monai")
    with torch.no_grad():
        torch.testing.assert_close(theirs(normalized(encoder, batch)), encoder(batch).pooled, atol=1e-5, rtol=1e-4)


def test_export_into_monais_unet():
    encoder, batch = built("unet3d"), cubes()
    theirs = to_monai(encoder, 4).eval()
    with torch.no_grad():
        x = normalized(encoder, batch)
        assert theirs(x).shape == (2, 4, 32, 32, 32)
        for stage in (theirs.conv_0, theirs.down_1, theirs.down_2, theirs.down_3, theirs.down_4):
            x = stage(x)
        torch.testing.assert_close(x.mean(dim=(2, 3, 4)), encoder(batch).pooled)


@pytest.mark.parametrize("second", [False, True])
def test_export_into_monais_swin_unetr(second):
    torch.manual_seed(0)
    encoder, batch = SwinEncoder(width=192, heads=(3, 3, 3, 3), second=second, **FACTS).eval(), cubes(1)
    theirs = to_monai(encoder, 3).eval()
    with torch.no_grad():
        found = theirs.swinViT(normalized(encoder, batch))
        for ours, other in zip(encoder.features(batch), found, strict=True):
            torch.testing.assert_close(ours, other)


def test_what_monai_does_not_have_is_said():
    with pytest.raises(ConfigError, match="no network like SparseCNN"):
        to_monai(built("sparse-cnn"))


@pytest.mark.parametrize("make, words", [
    (lambda: ViT(image_size=(32,) * 3, width=10, heads=4, **FACTS), "width"), (lambda: ResNet3D(width=30, **FACTS), "width"),
    (lambda: UNetEncoder(width=40, **FACTS), "width"), (lambda: SwinEncoder(width=50, **FACTS), "width"),
    (lambda: SwinEncoder(width=96, heads=(4, 3, 3, 3), **FACTS), "heads"),
    (lambda: SparseCNN(image_size=(32,) * 3, width=36, **FACTS), "width")])
def test_wrong_options_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
