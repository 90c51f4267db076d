"""What an encoder is worth for segmentation: put a light decoder on its maps, train on a few labelled cases, score by case.

    cases = labelled(Path("hippocampus"))
    scores = transfer(run.encoder, cases[:40], cases[180:])        # {"dice": ..., "hd95": ..., "dice_1": ...}
"""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ssl_core import DataError

from . import decoding, readers
from .augmentations import flipped
from .decoders import Decoder, with_maps
from .decoding import Wish
from .readers import Case
from .volumes import Size, Volumes, cut
from .warp import uniform


class Labelled(NamedTuple):
    """A volume and the classes of its voxels.

    Args:
        name: of the case.
        voxels: (C, X, Y, Z) float16 from 0 to 1.
        classes: (X, Y, Z) uint8.
        spacing: edges of a voxel in mm.
    """

    name: str
    voxels: Tensor
    classes: Tensor
    spacing: tuple[float, float, float]


def labelled(source: Path, wish: Wish | None = None) -> list[Labelled]:
    """Every case of a set (see `readers.cases`) that has a segmentation, decoded.

    Raises:
        DataError: there is none, or one has another shape or place than its image.
    """
    wish = wish or Wish()
    found = [pair(case, wish) for case in readers.cases(source) if case.segmentation is not None]
    if not found:
        raise DataError(f"{source} holds no segmentations.\n  Try: `labels` beside `images`, or a column `segmentation`")
    return found


def pair(case: Case, wish: Wish) -> Labelled:
    """An image and its segmentation.

    Raises:
        DataError: they do not fit together.
    """
    assert case.segmentation is not None
    image, mask = decoding.opened(case.image, wish.orient), decoding.opened(case.segmentation, wish.orient)
    if image.shape != mask.shape or not np.allclose(image.spacing, mask.spacing, rtol=1e-3):
        raise DataError(f"{case.segmentation} has {mask.shape} voxels of {mask.spacing} mm, its image {case.image} "
                        f"{image.shape} of {image.spacing}")
    _, low, high = decoding.looked_at(image, wish)
    voxels = torch.from_numpy(decoding.decoded(image, wish, low, high))[None]
    edges = tuple(want or have for want, have in zip(wish.spacing, image.spacing, strict=True))
    return Labelled(case.name, voxels, torch.from_numpy(decoding.classes(mask, wish)), edges)  # type: ignore[arg-type]


class Segmenter(nn.Module):
    """An encoder and a decoder of its maps: voxels (B, C, X, Y, Z) from 0 to 1 -> logits (B, K, X, Y, Z).

    Args:
        encoder: with `features`; it is copied.
        classes: K, the background included.
        frozen: leave the encoder as it is.
        width: channels inside the decoder.
    """

    def __init__(self, encoder: Any, classes: int, frozen: bool = False, width: int = 16) -> None:
        super().__init__()
        self.encoder = deepcopy(with_maps(encoder, type(self).__name__)).requires_grad_(not frozen)
        self.decoder = Decoder(encoder.maps, encoder.strides, classes, width, image=len(encoder.normalized.mean))
        self.frozen = frozen

    def forward(self, voxels: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.encoder.features(Volumes(voxels))
        return self.decoder(maps, voxels.shape[2:], self.encoder.normalized(voxels))


def transfer(encoder: Any, train: Sequence[Labelled], test: Sequence[Labelled], validation: Sequence[Labelled] = (), *,
             frozen: bool = False, steps: int = 300, batch_size: int = 4, size: int = 32, lr: float = 2e-3, width: int = 16,
             looks: int = 4, overlap: float = 0.5, seed: int = 0,
             device: str = "cpu") -> dict[str, float]:
    """Train on some cases, score on others.

    Args:
        validation: cases that choose among `looks` states of the training, evenly spread; without any, the last one counts.
        frozen: train the decoder only.
        steps, batch_size, lr: of AdamW with one cycle (warm-up of a tenth, then a cosine).
        size: side of the cubes to train on, in voxels; two thirds of them are centred on a labelled voxel.
        width: channels inside the decoder.
        overlap: of the windows that cover a case to be scored, as a share of their sides.
        seed: of the decoder's weights and of the cubes.

    Returns:
        `dice` and `hd95` (mm), means over classes without the background; `dice_1`, `hd95_1`, ... of each. See `scored`.
    """
    from monai.losses import DiceCELoss
    classes = 1 + max(int(case.classes.max()) for case in (*train, *test))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Segmenter(encoder, classes, frozen, width).to(device).train()
        taught = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(taught, lr=lr, weight_decay=1e-2)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(2, steps), pct_start=0.1)
        compare, best, kept = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False), -1.0, None
        drawn = Cubes(train, (size,) * 3)
        for step in range(1, steps + 1):
            voxels, truth = (x.to(device) for x in drawn(batch_size))
            loss = compare(model(voxels).float(), truth)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(taught, 1.0)
            optimizer.step()
            cycle.step()
            if validation and step % max(1, steps // looks) == 0:
                dice = scored(model, validation, size, overlap, distances=False)["dice"]
                if dice > best:
                    best, kept = dice, deepcopy(model.state_dict())
        if kept is not None:
            model.load_state_dict(kept)
        return scored(model, test, size, overlap)


class Cubes:
    """Random training cubes of labelled cases, mirrored along A and S and changed in brightness, from torch's generator."""

    def __init__(self, cases: Sequence[Labelled], size: Size, labelled: float = 2 / 3) -> None:
        self.cases, self.size, self.labelled = cases, size, labelled
        self.spots = [case.classes.nonzero() for case in cases]

    def __call__(self, count: int) -> tuple[Tensor, Tensor]:
        """Voxels (count, C, *size) and classes (count, 1, *size)."""
        voxels, classes = [], []
        for _ in range(count):
            i = int(torch.randint(len(self.cases), ()))
            case, spots = self.cases[i], self.spots[i]
            if len(spots) and torch.rand(()) < self.labelled:
                centre = spots[torch.randint(len(spots), ())].tolist()
            else:
                centre = [int(torch.randint(side, ())) for side in case.classes.shape]
            voxels.append(cut(case.voxels.float(), centre, self.size))
            classes.append(cut(case.classes[None], centre, self.size))
        both = flipped(torch.cat([torch.stack(voxels), torch.stack(classes).float()], dim=1), (0.0, 0.5, 0.5))
        x, y = both[:, :-1], both[:, -1:].long()
        return (x * uniform((count, 1, 1, 1, 1), (0.8, 1.2), x.device)).clamp(0, 1), y


@torch.no_grad()
def scored(model: nn.Module, cases: Sequence[Labelled], size: int, overlap: float = 0.5, distances: bool = True
           ) -> dict[str, float]:
    """Dice in [0, 1] and the 95th percentile of the Hausdorff distance in mm, per class, as means over cases.

    Windows of `size` voxels cover a case. A class that a case does not have is left out of that case; where the model finds
    none of a class that is there, the distance is the diagonal of the volume.
    """
    from monai.inferers import sliding_window_inference
    model.eval()
    where = next(model.parameters()).device
    rows: list[list[tuple[float, float]]] = []
    for case in cases:
        whole = case.voxels[None].float().to(where)
        logits: Any = sliding_window_inference(whole, (size,) * 3, 4, model, overlap=overlap, mode="gaussian")
        guess = logits.argmax(dim=1)[0].cpu()
        rows.append([compared(guess == k, case.classes == k, case.spacing, distances) for k in range(1, logits.shape[1])])
    model.train()
    table = np.array(rows)  # (cases, classes, 2)
    means = np.array([[mean(column) for column in of.T] for of in table.transpose(1, 0, 2)])
    names = ("dice", "hd95") if distances else ("dice",)
    found = {name: mean(means[:, i]) for i, name in enumerate(names)}
    return found | {f"{name}_{k + 1}": float(row[i]) for k, row in enumerate(means) for i, name in enumerate(names)}


def mean(values: np.ndarray) -> float:
    """Of those that are numbers; NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def compared(guess: Tensor, truth: Tensor, spacing: tuple[float, float, float], distance: bool) -> tuple[float, float]:
    """Dice and HD95 (mm) of two masks (X, Y, Z); NaN where there is nothing to find."""
    if not truth.any():
        return float("nan"), float("nan")
    dice = 2 * float((guess & truth).sum()) / float(guess.sum() + truth.sum())
    if not distance:
        return dice, float("nan")
    if not guess.any():
        return dice, float(np.linalg.norm([n * edge for n, edge in zip(truth.shape, spacing, strict=True)]))
    from monai.metrics import compute_hausdorff_distance
    both = (x[None, None].float() for x in (guess, truth))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*")  # MONAI calls itself in a way it warns of
        return dice, float(compute_hausdorff_distance(*both, include_background=True, percentile=95, spacing=spacing))
