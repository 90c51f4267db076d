"""The scattering transform against plain convolutions, and what it must not change under."""
import numpy as np
import pytest
import torch
from scipy import signal

from ssl_vision.scattering import Scattering, gaussian, morlet


def photos(side=16):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scales, orientations", [(1, 4), (2, 8), (3, 2)])
def test_shape_and_number_of_paths(scales, orientations):
    transform = Scattering(scales, orientations)
    paths = 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2
    found = transform(photos())
    assert transform.paths == paths and found.shape == (2, 3 * paths, 16 // 2**scales, 16 // 2**scales)
    assert not list(transform.parameters()) and not transform.state_dict()


def test_wavelets_have_mean_zero_and_the_blur_has_sum_one():
    for scale in range(3):
        for i in range(4):
            assert morlet(scale, np.pi * i / 4, 4).sum(dim=(1, 2)).abs().max() < 1e-9
    assert float(gaussian(1.6).sum()) == pytest.approx(1)


def test_a_blank_image_has_its_brightness_and_nothing_else():
    found = Scattering()(torch.full((1, 1, 16, 16), 0.7))
    assert torch.allclose(found[:, 0], torch.tensor(0.7)) and found[:, 1:].abs().max() < 1e-5


def test_paths_are_plain_convolutions():
    transform, x = Scattering(2, 4), photos(64)[:1, :1]
    found, smooth = transform(x)[0], gaussian(1.6).numpy()

    def modulus(plane, scale, i):
        real, imaginary = morlet(scale, np.pi * i / 4, 4).numpy()
        return np.hypot(*(signal.correlate2d(plane, part, "same", "symm") for part in (real, imaginary)))

    plane = x[0, 0].double().numpy()
    wanted = {0: plane, 1 + 2: modulus(plane, 0, 2), 1 + 4 + 3 * 4 + 1: modulus(modulus(plane, 0, 3), 1, 1)}
    for path, expected in wanted.items():  # far from the border, which scipy mirrors by half a pixel
        inside = signal.correlate2d(expected, smooth, "same", "symm")[::4, ::4][5:11, 5:11]
        assert np.allclose(found[path, 5:11, 5:11], inside, atol=1e-5)


def test_turning_the_image_turns_the_orientations():
    transform, x = Scattering(2, 4), photos()[:, :1]
    for scale in range(2):
        first, turned = transform.modulus(x, scale), transform.modulus(torch.rot90(x, 1, (2, 3)), scale)
        assert torch.allclose(turned, torch.rot90(first, 1, (2, 3)).roll(2, 1), atol=1e-5)


def test_a_small_shift_changes_little():
    x = torch.nn.functional.avg_pool2d(photos(34), 3, 1)
    transform = Scattering()
    here, there = transform(x), transform(x.roll(1, 3))
    assert (here - there)[..., 2:-2, 2:-2].norm() < 0.5 * (x - x.roll(1, 3)).norm()
