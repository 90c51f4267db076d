"""What all methods on frames do first: read the frames, hide some."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ..encoders import FrameEncoder, Frames
from ..masks import spread
from ..transformer import Transformer


def need_frames(encoder: Any) -> None:
    """Raise a ValueError unless `encoder` has frames along time and a context network that sees both ways."""
    if not isinstance(encoder, FrameEncoder) or encoder.axes != 1 or not isinstance(encoder.body, Transformer):
        raise ValueError(f"this method needs an encoder of frames (wav2vec2, mel), got {type(encoder).__name__}")


def need_patches(encoder: Any) -> None:
    """Raise a ValueError unless the tokens of `encoder` are patches of time and frequency."""
    if not isinstance(encoder, FrameEncoder) or encoder.axes != 2:
        raise ValueError(f"this method needs an encoder of patches (patches), got {type(encoder).__name__}")


def read(encoder: FrameEncoder, mask: Any, waves: Any, gradient: float = 1.0) -> tuple[Frames, Tensor]:
    """Frames of a batch, and which of them the mask hides, (B, L) bool.

    Args:
        gradient: factor of the gradient that flows into the front end.
    """
    frames = encoder.local(waves)
    if gradient != 1:
        frames = frames._replace(x=gradient * frames.x + (1 - gradient) * frames.x.detach())
    return frames, spread(mask(encoder.layout(waves)), frames.valid)


def power(frames: Frames) -> Tensor:
    """Mean square of the front end's output over the frames that exist, ()."""
    weight = frames.valid[..., None]
    return (frames.x * weight).square().sum() / (weight.sum() * frames.x.shape[2])
