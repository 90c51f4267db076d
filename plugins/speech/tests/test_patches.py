"""The scan, Mamba, patches, their mask, and SSAST against plain versions of themselves."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core import Layout
from ssl_speech.encoders import Mel
from ssl_speech.mamba import MambaBlock, Selective
from ssl_speech.masks import ClusterMask, SpanMask
from ssl_speech.methods.hubert import HuBERT
from ssl_speech.methods.ssast import SSAST
from ssl_speech.objectives import CrossEntropy, WithinContrast
from ssl_speech.patches import Patches
from ssl_speech.scan import scan, sequential
from ssl_speech.waves import collate, within


@pytest.mark.parametrize("length", [1, 5, 16, 17, 100, 300])
def test_the_scan_is_the_recurrence(length):
    g = torch.Generator().manual_seed(length)
    a = torch.rand(2, length, 3, 4, generator=g, dtype=torch.float64).requires_grad_()
    b = torch.randn(2, length, 3, 4, generator=g, dtype=torch.float64).requires_grad_()
    weight = torch.randn(2, length, 3, 4, generator=g, dtype=torch.float64)
    ours, plain = scan(a, b), sequential(a, b)
    assert torch.allclose(ours, plain, atol=1e-12)
    for mine, other in zip(torch.autograd.grad((ours * weight).sum(), [a, b]),
                           torch.autograd.grad((plain * weight).sum(), [a, b]), strict=True):
        assert torch.allclose(mine, other, atol=1e-12)


def test_the_scan_leaves_what_it_is_given():
    a, b = torch.rand(1, 40, 2), torch.randn(1, 40, 2)
    before = a.clone(), b.clone()
    scan(a, b)
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


def plain_selective(layer, x):
    """Mamba's algorithm 2, one token and one number at a time, (L, E) -> (L, E)."""
    length, width = x.shape
    padded = torch.cat([x.new_zeros(layer.kernel - 1, width), x])
    weight = layer.conv.weight[:, 0]  # (E, kernel)
    read = torch.stack([(padded[t: t + layer.kernel].T * weight).sum(dim=1) + layer.conv.bias for t in range(length)])
    read = read * read.sigmoid()
    state, out = x.new_zeros(width, layer.state), []
    for t in range(length):
        row = layer.read.weight @ read[t]
        step, enter, leave = row[: layer.rank], row[layer.rank: layer.rank + layer.state], row[layer.rank + layer.state:]
        step = (1 + (layer.step.weight @ step + layer.step.bias).exp()).log()
        keep = (-step[:, None] * layer.decay.exp()).exp()
        state = keep * state + (step * read[t])[:, None] * enter
        out.append(state @ leave + layer.through * read[t])
    return torch.stack(out)


def test_the_state_space_is_the_plain_one():
    torch.manual_seed(0)
    layer, x = Selective(6, state=3).double(), torch.randn(1, 9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, 6, dtype=torch.float64)
    ours, plain = layer(x, torch.ones(1, 9, dtype=torch.bool))[0], plain_selective(layer, x[0])
    assert torch.allclose(ours, plain, atol=1e-6)  # steps and states are single precision
    mine, other = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, plain))
    assert torch.allclose(mine, other, atol=1e-5)


def test_both_directions_are_read_and_padding_by_neither():
    torch.manual_seed(0)
    block, x = MambaBlock(8, 4), torch.randn(2, 11, 8)
    valid = within(torch.tensor([11, 6]), 11)
    whole = block(x, valid)[0]
    assert torch.allclose(block(x[1:, :6], valid[1:, :6])[0][0], whole[1, :6], atol=1e-6)
    changed = x.clone()
    changed[0, 5] = torch.randn(8)
    moved = (block(changed, valid)[0] - whole)[0].abs().amax(dim=1)
    assert (moved > 0).all()  # the future and the past both hear of token 5


@pytest.mark.parametrize("blocks", ["attention", "mamba"])
def test_patches_are_parts_of_the_spectrogram_and_padding_changes_nothing(blocks):
    torch.manual_seed(0)
    encoder = Patches(8000, bins=32, patch=(4, 8), blocks=blocks, width=16, depth=1).eval()
    held = [0.1 * torch.randn(n) for n in (8000, 3000, 100)]
    waves = collate(held)
    frames, layout = encoder.local(waves), encoder.layout(waves)
    mel, there = encoder.mel(collate(held[:1]))
    known = mel[0][there[0]]
    known = (known - known.mean()) / known.std(correction=0) / 2
    for column, row in ((0, 0), (3, 2), (5, 3)):
        patch = known[4 * column: 4 * column + 4, 8 * row: 8 * row + 8].flatten()
        assert torch.allclose(frames.x[0, 4 * column + row], patch, atol=1e-4)
    assert len(layout.owner) == int(frames.valid.sum()) == len(encoder(waves).tokens)
    assert layout.position[9].tolist() == pytest.approx([(2 + 0.5) * 4 / int(frames.valid[0].sum()), 1.5 / 4])
    together, alone = encoder(waves).pooled, torch.cat([encoder(collate([r])).pooled for r in held])
    assert torch.allclose(together, alone, atol=1e-5)


def grid(columns, rows):
    """A layout of items with so many columns of patches each."""
    owner = torch.cat([torch.full((n * rows,), i) for i, n in enumerate(columns)])
    tokens = [(torch.arange(n * rows), n) for n in columns]
    return Layout(owner, torch.cat([torch.stack([(t // rows + 0.5) / n, (t % rows + 0.5) / rows], dim=1) for t, n in tokens]))


@pytest.mark.parametrize("columns, rows", [((10, 3, 6), 4), ((1, 2), 1), ((64,), 8)])
def test_squares_hide_the_share_of_every_item(columns, rows):
    layout = grid(columns, rows)
    for seed in range(10):
        torch.manual_seed(seed)
        hidden = ClusterMask(0.6)(layout)
        for n, part in zip(columns, hidden.split([n * rows for n in columns]), strict=True):
            assert int(part.sum()) == min(max(1, round(0.6 * n * rows)), n * rows - 1)


def test_no_corner_is_spared_and_none_is_preferred():
    torch.manual_seed(0)
    hidden = ClusterMask(0.4)(grid([12] * 1500, 8)).view(1500, 12, 8).float().mean(dim=0)
    corners = torch.stack([hidden[0, 0], hidden[0, -1], hidden[-1, 0], hidden[-1, -1]])
    assert corners.min() > 0.15  # the authors' code never hides the first patch
    assert corners.max() - corners.min() < 0.06  # ... and hides low ones more often than high ones
    assert (hidden - hidden.flip(0)).abs().max() < 0.06 and (hidden - hidden.flip(1)).abs().max() < 0.06


def test_hidden_patches_hang_together():
    torch.manual_seed(0)

    def neighbours(mask):
        found = mask(grid([20] * 50, 8)).view(50, 20, 8)
        return float((found[:, 1:] & found[:, :-1]).sum() / found.sum())
    assert neighbours(ClusterMask(0.4)) > neighbours(ClusterMask(0.4, 1, 1)) + 0.2


def test_squares_do_not_wrap_from_one_row_into_the_next():
    torch.manual_seed(0)
    hidden = ClusterMask(9 / 160, 3, 3)(grid([20] * 200, 8)).view(200, 20, 8)  # one square each, or parts of two at an edge
    for item in hidden:
        columns, rows = item.nonzero().T
        whole = columns.max() - columns.min() <= 2 and rows.max() - rows.min() <= 2
        inside = 1 <= columns.float().median() <= 18 and 1 <= rows.float().median() <= 6
        assert whole or not (inside and len(set(rows.tolist())) == 8)


@pytest.mark.parametrize("wrong", [{"ratio": 1.0}, {"smallest": 0}, {"smallest": 4, "largest": 3}])
def test_squares_check_their_options(wrong):
    with pytest.raises(ValueError, match="wanted"):
        ClusterMask(**wrong)


def test_squares_need_two_axes():
    with pytest.raises(ValueError, match="2 axes"):
        ClusterMask()(Layout(torch.zeros(5, dtype=torch.long), torch.rand(5, 1)))


def ssast(blocks="attention", **options):
    torch.manual_seed(0)
    encoder = Patches(8000, bins=32, patch=(4, 8), blocks=blocks, width=16, depth=1)
    return SSAST(encoder, ClusterMask(0.5, 2, 3), WithinContrast(1.0, 0, cosine=False), **options)


def waves():
    g = torch.Generator().manual_seed(1)
    return collate([0.1 * torch.randn(n, generator=g) for n in (4000, 2500)])


def test_the_contrast_is_over_targets_for_each_prediction():
    g = torch.Generator().manual_seed(0)
    guess, target = (torch.randn(9, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    owner = torch.tensor([0] * 4 + [1] * 5)
    ours = WithinContrast(1.0, 0, cosine=False)(guess, target, owner)
    terms = []
    for i in range(9):
        others = torch.stack([guess[i] @ target[j] for j in range(9) if owner[j] == owner[i]])
        terms.append(others.logsumexp(0) - guess[i] @ target[i])
    plain = torch.stack(terms).mean()
    assert torch.allclose(ours, plain)
    slopes = [torch.autograd.grad(loss, [guess, target]) for loss in (ours, plain)]
    assert all(torch.allclose(mine, other) for mine, other in zip(*slopes, strict=True))


@pytest.mark.parametrize("blocks", ["attention", "mamba"])
def test_hidden_patches_are_not_seen(blocks):
    method = ssast(blocks)
    frames = method.encoder.local(waves())
    hidden = torch.zeros_like(frames.valid)
    hidden[0, 5:20] = True
    x = frames.x.clone().requires_grad_(True)
    method.painter(method.encoder.body(x, frames.valid, hidden)[0][-1][hidden]).sum().backward()
    assert not x.grad[hidden].any() and x.grad[0].any()


def test_one_mask_and_one_pass_serve_both_tasks(monkeypatch):
    method, passes = ssast(paint=3.0), []
    own = method.encoder.body.forward
    monkeypatch.setattr(method.encoder.body, "forward", lambda *args: passes.append(args[2]) or own(*args))
    found = method.step(waves())
    assert len(passes) == 1 and found["loss"].item() == pytest.approx((found["found"] + 3 * found["painted"]).item())
    frames = method.encoder.local(waves())
    fill = F.mse_loss(torch.zeros_like(frames.x[passes[0]]), frames.x[passes[0]])
    assert 0.3 * fill < found["painted"] < 3 * fill


def test_frames_and_patches_are_not_confused():
    with pytest.raises(ValueError, match="encoder of patches"):
        SSAST(Mel(8000), ClusterMask(), WithinContrast())
    with pytest.raises(ValueError, match="encoder of frames"):
        HuBERT(Patches(8000), SpanMask(), CrossEntropy(), rate=8000)
    with pytest.raises(ValueError, match="multiple of the height"):
        Patches(8000, bins=40)
