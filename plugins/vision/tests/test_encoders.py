"""Encoders: their contract, and what hiding tokens means."""
import json

import pytest
import torch
import torch.nn.functional as F

from ssl_core import ConfigError
from ssl_core.masks import BoxMask, RandomMask
from ssl_core.plugins import Plugins
from ssl_core.transformer import kept
from ssl_vision.encoders import Conv, Normalized, Timm, fitting_patch, resnet18
from ssl_vision.images import Images
from ssl_vision.vit import ViT, sincos

FACTS = {"channels": 3, "image_size": (16, 16), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
OPTIONS = {"vit": {"width": 32, "depth": 2, "heads": 4}, "timm": {"model": "vit_tiny_patch16_224", "patch": 4},
           "swin": {"width": 32, "depths": (2, 2), "patch": 2, "window": 4}}
NAMES = [name for name in Plugins()["vision"].offers["encoders"] if name != "resnet50"]  # as resnet18, but large


def made(name, **more):
    from ssl_core.build import build
    target = Plugins().find("encoders", name, "vision").load()
    torch.manual_seed(0)
    return build("encoder", target, chosen=OPTIONS.get(name, {}) | more, facts=FACTS)


def images(count=4, side=16, seed=0):
    drawn = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return Images(drawn.to(torch.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    encoder, options = made(name)
    encoder.eval()
    batch = images()
    whole = encoder(batch)
    assert whole.pooled.shape == (4, encoder.width) and whole.pooled.isfinite().all()
    if whole.tokens is not None:
        assert whole.tokens.shape[1] == encoder.width and len(whole.tokens) % 4 == 0
    alone = torch.cat([encoder(Images(batch.pixels[i: i + 1])).pooled for i in range(4)])
    assert torch.allclose(alone, whole.pooled, atol=1e-5)  # a row does not depend on the other items, nor on how many
    as_floats = encoder(Images(batch.pixels.float() / 255)).pooled
    assert torch.allclose(as_floats, whole.pooled, atol=1e-4)
    torch.manual_seed(0)
    twin = Plugins().find("encoders", name, "vision").load()(**json.loads(json.dumps(options)))  # as a run rebuilds it
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin.eval()(batch).pooled, whole.pooled)


def test_pixels_are_normalised_by_channel():
    x, norm = images().pixels, Normalized((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.25, 0.3])[:, None, None]
    assert torch.allclose(norm(x), (x.float() / 255 - mean) / std, atol=1e-5)
    assert torch.allclose(norm(x.float() / 255), (x.float() / 255 - mean) / std, atol=1e-5)
    assert not norm.state_dict()


def test_small_stem_keeps_the_resolution():
    assert resnet18(**FACTS).body.conv1.stride == (1, 1)
    assert resnet18(**FACTS | {"image_size": (224, 224)}).body.conv1.stride == (2, 2)
    assert resnet18(**FACTS | {"image_size": (224, 224)}, stem="small").body.conv1.kernel_size == (3, 3)
    assert resnet18(**FACTS, stem="full").body.conv1.stride == (2, 2)
    assert resnet18(**FACTS | {"channels": 1, "mean": (0.5,), "std": (0.2,)}).body.conv1.in_channels == 1


@pytest.mark.parametrize("size, patch", [((8, 8), 2), ((28, 28), 4), ((32, 32), 4), ((96, 96), 12), ((224, 224), 16),
                                         ((32, 48), 4), ((30, 30), 3)])
def test_patch_fits(size, patch):
    assert fitting_patch(size, 0) == patch
    assert fitting_patch(size, 2) == 2


@pytest.mark.parametrize("make, match", [
    (lambda: fitting_patch((30, 30), 4), "does not divide images of 30 x 30"),
    (lambda: ViT(**FACTS, width=30), "multiple of 4"),
    (lambda: Conv(3, (0.5,) * 3, (0.2,) * 3, width=30), "multiple of 4")])
def test_impossible_options_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_unknown_model_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        Timm(**FACTS, model="resnet_18")


def vit(**more):
    torch.manual_seed(0)
    return ViT(**FACTS, patch=4, width=32, depth=3, heads=4, **more).eval()


def masked_attention(encoder, batch, keep):
    """The same transformer over all tokens, with hidden ones masked out of the attention."""
    b, (h, w) = len(batch.pixels), (4, 4)
    grid = encoder.layout(batch).position[: h * w] * 4 - 0.5
    x = encoder.enter(encoder.inputs(batch)).view(b, h * w, -1) + sincos(grid, encoder.width)
    for block in encoder.blocks:
        x = block(x, keep.view(b, 1, 1, -1))
    x = encoder.leave(x)
    return torch.stack([x[i][keep.view(b, -1)[i]].mean(dim=0) for i in range(b)]), x.flatten(0, 1)[keep]


@pytest.mark.parametrize("ragged", [False, True])
def test_dropping_tokens_is_masking_them(ragged):
    encoder, batch = vit(), images()
    keep = ~RandomMask(0.6)(encoder.layout(batch))
    if ragged:
        keep[3], keep[20:24] = not keep[3], True
    found = encoder(batch, keep)
    pooled, tokens = masked_attention(encoder, batch, keep)
    assert torch.allclose(found.pooled, pooled, atol=1e-5) and torch.allclose(found.tokens, tokens, atol=1e-5)
    assert (kept(keep.view(4, -1))[1] is None) != ragged  # equal counts need no mask


def test_hidden_patches_have_no_influence():
    encoder, batch = vit(), images()
    hidden = BoxMask(0.5)(encoder.layout(batch))
    patches = batch.pixels.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, C, 4, 4, 4, 4)
    changed = torch.where(hidden.view(4, 1, 4, 4, 1, 1), 255 - patches, patches).permute(0, 1, 2, 4, 3, 5).reshape(4, 3, 16, 16)
    other = Images(changed.contiguous())
    assert torch.equal(encoder(batch, ~hidden).tokens, encoder(other, ~hidden).tokens)
    assert not torch.allclose(encoder(batch, hidden).tokens, encoder(other, hidden).tokens)


def test_all_tokens_kept_is_no_mask():
    encoder, batch = vit(), images()
    assert torch.allclose(encoder(batch, torch.ones(64, dtype=torch.bool)).tokens, encoder(batch).tokens, atol=1e-6)


def test_tokens_inputs_and_layout_are_aligned():
    encoder, batch = vit(), images()
    inputs, layout = encoder.inputs(batch), encoder.layout(batch)
    assert inputs.shape == (64, encoder.input_width) and layout.position.shape == (64, encoder.axes)
    assert torch.equal(layout.owner, torch.arange(4).repeat_interleave(16))
    assert torch.equal(layout.position[6], torch.tensor([1.5 / 4, 2.5 / 4]))  # row 1, column 2
    plain = encoder.normalized(batch.pixels)[0, :, 4:8, 8:12]
    assert torch.equal(inputs[6], plain.flatten())
    unfolded = F.unfold(encoder.normalized(batch.pixels), 4, stride=4).transpose(1, 2).flatten(0, 1)
    assert torch.equal(inputs, unfolded)


def test_positions_are_told_apart_and_crops_span_the_same_range():
    encoder = vit()
    place = sincos(encoder.layout(images(1)).position * 4 - 0.5, 32)
    alike = F.cosine_similarity(place[:, None], place[None], dim=2)
    assert (alike - torch.eye(16)).max() < 0.999
    assert encoder(images(2, side=8)).tokens.shape == (8, 32)
    with pytest.raises(ValueError, match="do not divide"):
        encoder(images(2, side=10))


def test_gradient_reaches_every_weight():
    encoder = vit()
    encoder(images(), ~RandomMask(0.5)(encoder.layout(images()))).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
