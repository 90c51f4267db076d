"""UniCon-HA, cMIM and the views from weak to strong, beyond what every method is asked in test_methods.py."""
import pytest
import torch
from sklearn.datasets import load_digits

from ssl_core.objectives.cmim import CMIM as Contrast
from ssl_core.objectives.unicon import UniCon
from ssl_vision.encoders import Conv, Timm
from ssl_vision.graded import Graded, quarters
from ssl_vision.images import Images
from ssl_vision.methods.cmim import CMIM
from ssl_vision.methods.unicon_ha import UniConHA, inlierness

QUIET = {"jitter": 0.0, "gray": 0.0, "blur": 0.0, "flip": 0.0}
FACTS = {"channels": 1, "mean": (0.5,), "std": (0.3,)}


def images(count=5, side=8, channels=1):
    torch.manual_seed(0)
    return Images(torch.rand(count, channels, side, side), torch.arange(count))


def test_views_go_from_weak_to_strong_and_through_all_turns():
    still = Graded(levels=2, turns=3, views=2, scale=(1.0, 1.0), ratio=(1.0, 1.0), **QUIET)
    found, batch = still(images()), images()
    assert len(found) == 2 * 3 * 2
    for i, view in enumerate(found):  # level, then turn, then twin
        torch.testing.assert_close(view.pixels, torch.rot90(batch.pixels, i // 2 % 3, (2, 3)))
    torch.manual_seed(0)
    moved = Graded(levels=4, turns=1, scale=(0.1, 1.0), **QUIET)
    lows = [look.scale[0] for look in moved.looks]
    assert lows == pytest.approx([0.775, 0.55, 0.325, 0.1])
    strengths = [look.strengths[0] for look in Graded(levels=4).looks]
    assert strengths == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_turns_need_square_images():
    with pytest.raises(ValueError, match=r"square images, got \(4, 6\)"):
        quarters(Images(torch.rand(2, 1, 4, 6)), 4)


@pytest.mark.parametrize("make, options", [(Conv, {"width": 16}), (Timm, {"image_size": (32, 32), "model": "resnet18"})])
def test_the_last_stage_is_the_representation_and_the_first_ones_are_cheaper(make, options):
    net, batch = make(**FACTS, **options).eval(), images(2, 32)
    with torch.no_grad():
        found = [net.stage(batch, k) for k in range(len(net.stage_widths))]
        torch.testing.assert_close(found[-1], net(batch).pooled, rtol=1e-4, atol=1e-5)
    assert [rows.shape[1] for rows in found] == net.stage_widths
    net.zero_grad()
    net.stage(batch, 0).sum().backward()
    reached = [p.grad is not None for p in net.parameters()]
    assert any(reached) and not all(reached)


def test_stages_of_a_transformer_are_evenly_spaced():
    net = Timm(image_size=(32, 32), model="vit_tiny_patch16_224", **FACTS)
    assert net._stages == [2, 5, 8, 11] and net.stage(images(2, 32), 1).shape == (2, 192)


def unicon_ha(levels=3):
    torch.manual_seed(0)
    return UniConHA(Conv(width=16, **FACTS), Graded(levels, scale=(0.5, 1.0), **QUIET), UniCon(), projector=(8,))


def test_every_stage_has_its_own_loss_and_views():
    method = unicon_ha()
    losses = method.step(images())
    assert set(losses) == {"loss", "stage_1", "stage_2", "stage_3"}
    torch.testing.assert_close(losses["loss"], sum(losses[f"stage_{k}"] for k in (1, 2, 3)) / 3)
    first = next(method.encoder.body[0].parameters())
    by_stage = [torch.autograd.grad(losses[f"stage_{k}"], first, retain_graph=True)[0] for k in (1, 2, 3)]
    assert all(grad.any() for grad in by_stage)
    assert torch.autograd.grad(losses["stage_1"], [*method.encoder.body[6].parameters()], allow_unused=True)[0] is None


@pytest.mark.parametrize("make, said", [
    (lambda: unicon_ha(levels=4), "has 3 stages"),
    (lambda: UniConHA(Conv(width=16, **FACTS), Graded(2, turns=2), UniCon()), "transformations should be augmentation.turns=2"),
    (lambda: UniConHA(Conv(width=16, **FACTS), lambda batch: (batch,), UniCon()), "augmentation=graded, got function")])
def test_parts_that_do_not_fit_are_refused_in_words(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_inlierness_by_hand():
    known, rows = torch.tensor([[[1.0, 0], [0, 2.0]]]), torch.tensor([[[3.0, 4.0], [-2.0, 0], [0, 1.0]]])
    torch.testing.assert_close(inlierness(known, rows), torch.tensor([4.0, 0.0, 1.0]))
    twice = inlierness(known.repeat(2, 1, 1), torch.cat([rows, 3 * rows]))
    torch.testing.assert_close(twice, torch.tensor([8.0, 0.0, 2.0]))  # the mean over turns


def test_a_known_digit_looks_more_normal_than_others():
    """Trained on sixes; the share of pairs of an unseen six and another digit that are ranked rightly."""
    held = load_digits()
    pixels, digit = torch.from_numpy(held.images).float()[:, None] / 16, torch.from_numpy(held.target)
    known, six, other = pixels[digit == 6][:120], pixels[digit == 6][120:], pixels[digit != 6][:200]
    torch.manual_seed(0)
    method = UniConHA(Conv(width=16, **FACTS), Graded(2, scale=(0.5, 1.0), **QUIET), UniCon(), projector=(32,))

    def ranked():
        method.eval()
        rows = [method.rows(Images(x)) for x in (known, six, other)]
        normal, odd = inlierness(rows[0], rows[1]), inlierness(rows[0], rows[2])
        return (normal[:, None] > odd).float().mean().item()

    before, optimizer = ranked(), torch.optim.AdamW(method.parameters(), 3e-3)
    for _ in range(10):
        method.train()
        optimizer.zero_grad()
        method.step(Images(known))["loss"].backward()
        optimizer.step()
    after = ranked()
    assert after > 0.9 and after > before


def test_cmim_is_the_sum_of_its_densities():
    """Against torch.distributions, in the value of every term."""
    torch.manual_seed(0)
    method = CMIM(Conv(width=16, **FACTS), lambda batch: (batch,), Contrast(), 1, (8, 8), latent=6, hidden=16, cells=4)
    method.noise.data.fill_(-0.7)
    method.eval()
    batch = images()
    torch.manual_seed(1)
    found = method.step(batch)
    middle, raw = method.posterior(method.encoder(batch).pooled).chunk(2, dim=1)
    q = torch.distributions.Normal(middle, 0.05 + torch.nn.functional.softplus(raw))
    torch.manual_seed(1)
    z = middle + q.scale * torch.randn_like(middle)
    coarse = batch.pixels.view(5, 4, 2, 4, 2).mean(dim=(2, 4)).flatten(1)
    decoding = -torch.distributions.Normal(method.decoder(z), torch.tensor(-0.35).exp()).log_prob(coarse).sum(dim=1).mean()
    density = torch.distributions.Normal(0, 1).log_prob(z).sum(dim=1) + q.log_prob(z).sum(dim=1)
    torch.testing.assert_close(found["decoding"], decoding)
    torch.testing.assert_close(found["prior"], -density.mean() / 2)
    torch.testing.assert_close(found["loss"], decoding - density.mean() / 2 + Contrast()(z, middle))


def test_the_posterior_of_cmim_has_a_floor():
    """A narrow posterior is rewarded without end; the deviation stops at the floor."""
    torch.manual_seed(0)
    method = CMIM(Conv(width=16, **FACTS), lambda batch: (batch,), Contrast(), 1, (8, 8), latent=4, hidden=8)
    method.posterior.bias.data[4:] = -80
    found = method.parts(images())
    assert all(part.isfinite() for part in found.values())
