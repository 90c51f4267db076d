"""Views from weak to strong, each of every quarter turn of the image (UniCon-HA, arXiv:2308.10155)."""
from __future__ import annotations

import torch

from .augmentations import Look, Strengths, checked, ordered
from .images import Images, unit
from .warp import Pair


class Graded:
    """For each level: views of the image, then as many of the image turned by one quarter, by two, ...

    The weakest level comes first. At level k of K, crop, jitter, gray and blur have k / K of their full strength.

    Args:
        levels: of strength; one for each stage of the network that is to be trained on its own.
        turns: quarter turns, the first of which is none.
        views: of each turn.
        scale, ratio, flip, jitter, strengths, gray, blur, sigma: of the strongest level, as in `SimCLR`.
    """

    def __init__(self, levels: int = 4, turns: int = 4, views: int = 2, scale: Pair = (0.08, 1.0), ratio: Pair = (3 / 4, 4 / 3),
                 flip: float = 0.5, jitter: float = 0.8, strengths: Strengths = (0.4, 0.4, 0.4, 0.1), gray: float = 0.2,
                 blur: float = 0.5, sigma: Pair = (0.1, 2.0)) -> None:
        checked(views, flip=flip, jitter=jitter, gray=gray, blur=blur)
        ordered(scale=scale, ratio=ratio, sigma=sigma)
        if levels < 1 or not 1 <= turns <= 4:
            raise ValueError(f"levels should be 1 or more and turns from 1 to 4, got {levels} and {turns}")
        self.levels, self.turns, self.views = levels, turns, views
        self.looks = []
        for share in ((level + 1) / levels for level in range(levels)):
            colours = strengths[0] * share, strengths[1] * share, strengths[2] * share, strengths[3] * share
            shown = min(1 - share * (1 - scale[0]), scale[1]), scale[1]
            self.looks.append(Look(shown, ratio, flip, jitter, colours, gray * share, blur * share, sigma, 0.0))

    def __call__(self, images: Images) -> tuple[Images, ...]:
        turned = quarters(images, self.turns)
        return tuple(Images(look(image.pixels), image.labels)
                     for look in self.looks for image in turned for _ in range(self.views))


def quarters(images: Images, turns: int) -> list[Images]:
    """The images, then turned by one quarter, by two, by three; pixels from 0 to 1.

    Raises:
        ValueError: they are not square.
    """
    x = unit(images.pixels)
    if turns > 1 and x.shape[2] != x.shape[3]:
        raise ValueError(f"turns by a quarter need square images, got {tuple(x.shape[2:])}")
    return [Images(torch.rot90(x, k, (2, 3)), images.labels) for k in range(turns)]
