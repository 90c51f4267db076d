"""Encoders of recordings. Items are recordings; tokens are their valid frames, item after item.

Padding changes nothing: every statistic, convolution and attention is restricted to the frames of the recording.
"""
from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Layout, Representation
from ssl_core.modules import scatter_mean

from .frontend import LogMel
from .transformer import Transformer
from .waves import Waves, centred, masked_mean, standardised, within

Size = Literal["tiny", "base", "large"]


class Frames(NamedTuple):
    """What a front end makes of a batch.

    Args:
        x: (B, L, C), features of single frames.
        valid: (B, L), frames that exist.
    """

    x: Tensor
    valid: Tensor


class FrameEncoder(nn.Module):
    """The interface that methods on frames use: a front end `local`, a context network `body`, and the two together.

    Args:
        width: of the representation.
        channels: C, of the frames of the front end.
        hop: samples between two frames.
        body: the context network.
    """

    axes = 1

    def __init__(self, width: int, channels: int, hop: int, body: Transformer) -> None:
        super().__init__()
        self.width, self.channels, self.hop, self.body = width, channels, hop, body

    @property
    def input_width(self) -> int:
        return self.channels

    def local(self, waves: Waves) -> Frames:
        """Frames before any context."""
        raise NotImplementedError

    def counts(self, lengths: Tensor) -> Tensor:
        """Frames of each recording, at least one: (B,) -> (B,)."""
        raise NotImplementedError

    def inputs(self, waves: Waves) -> Tensor:
        """Frames of the front end, held still, (T, C)."""
        frames = self.local(waves)
        return frames.x[frames.valid].detach()

    def layout(self, waves: Waves) -> Layout:
        """Tokens are frames, placed by their share of the way through the recording."""
        counts = self.counts(waves.lengths)
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
        return Layout(owner, ((place + 0.5) / counts[owner])[:, None])

    def forward(self, waves: Waves, keep: Tensor | None = None) -> Representation:
        """Pooled over time; with `keep` (T,) the other frames reach neither positions nor attention."""
        x, valid = self.local(waves)
        if keep is None:
            last = self.body(x, valid)[0][-1]
            return Representation(masked_mean(last, valid), last[valid])
        shown = torch.zeros_like(valid).masked_scatter(valid, keep)
        rows, owner = self.body.kept(x, valid, shown)
        return Representation(scatter_mean(rows, owner, len(x)), rows)


class Shape(NamedTuple):
    """A configuration of wav2vec 2.0: channels of the convolutions, then the transformer."""

    channels: int
    width: int
    depth: int
    heads: int
    inner: int
    kernel: int
    groups: int
    norm: str
    pre_norm: bool


SHAPES = {"tiny": Shape(48, 96, 3, 4, 192, 16, 4, "layer", False),
          "base": Shape(512, 768, 12, 12, 3072, 128, 16, "group", False),
          "large": Shape(512, 1024, 24, 16, 4096, 128, 16, "layer", True)}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


class ConvLayer(nn.Module):
    """A strided convolution, a norm, GELU. Statistics over time (`group`) are taken over the recording, not its padding.

    With a kernel of at most two strides, the convolution is two matrix products of blocks of one stride. Frames then stay
    rows throughout, which spares the norms and GELU from working across the grain.

    Args:
        inputs, outputs, kernel, stride: of the convolution.
        norm: `layer` over channels, `group` over time with one channel a group, or `none`.
        bias: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: str, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.kernel, self.stride = kernel, stride
        self.kind, self.norm = norm, nn.LayerNorm(outputs) if norm != "none" else None

    def counts(self, lengths: Tensor) -> Tensor:
        return ((lengths - self.kernel).div(self.stride, rounding_mode="floor") + 1).clamp(min=1)

    def convolved(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T', C'), the convolution alone."""
        length, more = (x.shape[1] - self.kernel) // self.stride + 1, self.kernel - self.stride
        needed = (length + (more > 0)) * self.stride
        x = F.pad(x, (0, 0, 0, needed - x.shape[1]))  # pads, or crops what no frame needs
        blocks = x.reshape(len(x), needed // self.stride, -1)
        weight = self.conv.weight.permute(0, 2, 1).flatten(1)  # (C', kernel * C)
        head, tail = weight.split([self.stride * x.shape[2], more * x.shape[2]], dim=1)
        out = F.linear(blocks[:, :length], head, self.conv.bias)
        return out + F.linear(blocks[:, 1: length + 1, : tail.shape[1]], tail) if more else out

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, C), (B,) frames that exist after this layer -> (B, T', C')."""
        x = self.convolved(x)
        if self.kind == "group":
            x = centred(x, within(lengths, x.shape[1]), self.norm.eps) * self.norm.weight + self.norm.bias
        elif self.norm is not None:
            x = self.norm(x)
        return F.gelu(x)


class Wav2Vec2(FrameEncoder):
    """Convolutions over samples, then a transformer over 20 ms frames (wav2vec 2.0, arXiv:2006.11477).

    Args:
        rate: samples per second, from the data; 16,000 for published weights.
        size: `tiny`, `base` or `large`; the options below change one part of it, 0 or `size` for its own.
        norm: of the convolutions: `layer` for each of them, with a bias and standardised recordings, or `group` for the
            first only; `size` for what the size has.
        channels: of the convolutions.
        width, depth, heads: of the transformer; its feed-forward nets are as much wider as in `size`.
        dropout, layer_drop: while training.
        positions: `conv`, or `gated`: WavLM's relative positions on top.
    """

    def __init__(self, rate: int, size: Size = "tiny", norm: Literal["size", "layer", "group"] = "size", channels: int = 0,
                 width: int = 0, depth: int = 0, heads: int = 0, dropout: float = 0.0, layer_drop: float = 0.0,
                 positions: Literal["conv", "gated"] = "conv") -> None:
        shape = SHAPES[size]
        chosen: dict[str, Any] = {"channels": channels, "width": width, "depth": depth, "heads": heads,
                                  "inner": shape.inner * width // shape.width if width else 0}
        shape = shape._replace(**{name: item for name, item in chosen.items() if item})
        shape = shape if norm == "size" else shape._replace(norm=norm)
        body = Transformer(shape.channels, shape.width, shape.depth, shape.heads, shape.inner, shape.kernel, shape.groups,
                           dropout, layer_drop, shape.pre_norm, positions == "gated")
        super().__init__(shape.width, shape.channels, 320, body)
        self.rate, self.standardise, self.reach = rate, shape.norm == "layer", 400
        self.shape, self.positions = shape, positions
        norms = ["layer"] * 7 if shape.norm == "layer" else ["group"] + ["none"] * 6
        self.convs = nn.ModuleList(
            ConvLayer(shape.channels if i else 1, shape.channels, kernel, stride, norms[i], shape.norm == "layer")
            for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)))

    def translate(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of transformers or torchaudio (wav2vec 2.0, HuBERT, WavLM) by our names, for `--init`."""
        from .weights import translated
        return translated(self, given)

    def huggingface(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The configuration and the weights of the `Wav2Vec2Model` (or `WavLMModel`) of transformers that computes the same."""
        from .weights import to_transformers
        kind, model = ("wavlm", "WavLMModel") if self.positions == "gated" else ("wav2vec2", "Wav2Vec2Model")
        shape = self.shape
        return {"model_type": kind, "architectures": [model], "hidden_size": shape.width, "num_hidden_layers": shape.depth,
                "num_attention_heads": shape.heads, "intermediate_size": shape.inner, "conv_dim": [shape.channels] * 7,
                "conv_kernel": list(KERNELS), "conv_stride": list(STRIDES), "conv_bias": shape.norm == "layer",
                "feat_extract_norm": shape.norm, "do_stable_layer_norm": shape.pre_norm, "layerdrop": 0.0,
                "num_conv_pos_embeddings": shape.kernel, "num_conv_pos_embedding_groups": shape.groups}, to_transformers(self)

    def counts(self, lengths: Tensor) -> Tensor:
        for conv in self.convs:
            lengths = conv.counts(lengths)
        return lengths

    def local(self, waves: Waves) -> Frames:
        samples = standardised(waves) if self.standardise else waves.samples
        x, lengths = F.pad(samples, (0, max(0, self.reach - samples.shape[1])))[..., None], waves.lengths
        for conv in self.convs:
            lengths = conv.counts(lengths)
            x = conv(x, lengths)
        return Frames(x, within(lengths, x.shape[1]))


class Mel(FrameEncoder):
    """A transformer over log-mel frames (TERA, arXiv:2007.06028; the cheapest start for any method here).

    Args:
        rate: samples per second, from the data.
        bins: of the mel scale.
        hop: seconds between two frames; each covers 25 ms.
        normalize: mean 0 and deviation 1 over each recording: of all `bins` together, which keeps the shape of the
            spectrum; or of `each` by itself (CMVN), which removes much of speaker and channel.
        width, depth, heads: of the transformer; its feed-forward nets have twice the width.
        dropout, layer_drop: while training.
        positions: `conv`, or `gated`: WavLM's relative positions on top.
    """

    def __init__(self, rate: int, bins: int = 48, hop: float = 0.02, normalize: Literal["bins", "each"] = "bins",
                 width: int = 96, depth: int = 3, heads: int = 4, dropout: float = 0.0, layer_drop: float = 0.0,
                 positions: Literal["conv", "gated"] = "conv") -> None:
        if hop <= 0 or bins < 1:
            raise ValueError(f"hop and bins should be positive, got hop={hop}, bins={bins}")
        body = Transformer(bins, width, depth, heads, 2 * width, 16, 4, dropout, layer_drop, gated=positions == "gated")
        super().__init__(width, bins, round(rate * hop), body)
        self.rate, self.normalize = rate, normalize
        self.mel = LogMel(rate, bins, step=self.hop)

    def counts(self, lengths: Tensor) -> Tensor:
        return self.mel.counts(lengths)

    @torch.no_grad()
    def local(self, waves: Waves) -> Frames:
        x, valid = self.mel(waves)
        if self.normalize == "each":
            return Frames(centred(x, valid), valid)
        flat = centred(x.flatten(1)[..., None], valid.repeat_interleave(x.shape[2], dim=1))
        return Frames(flat.view_as(x), valid)
