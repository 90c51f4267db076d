"""Weights of wav2vec 2.0, HuBERT and WavLM in the layout of transformers' state dicts, both ways."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ssl_core import ConfigError

from .encoders import Wav2Vec2

#: Our name -> theirs, block by block; {i} is the number of a convolution or of a block.
NAMES = {
    "convs.{i}.conv": "feature_extractor.conv_layers.{i}.conv",
    "convs.{i}.norm": "feature_extractor.conv_layers.{i}.layer_norm",
    "body.norm": "feature_projection.layer_norm", "body.project": "feature_projection.projection",
    "body.mask": "masked_spec_embed", "body.last": "encoder.layer_norm",
    "body.positions.bias": "encoder.pos_conv_embed.conv.bias",
    "body.positions.scale": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "body.positions.direction": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    "body.blocks.{i}.attention.leave": "encoder.layers.{i}.attention.out_proj",
    "body.blocks.{i}.first": "encoder.layers.{i}.layer_norm", "body.blocks.{i}.second": "encoder.layers.{i}.final_layer_norm",
    "body.blocks.{i}.up": "encoder.layers.{i}.feed_forward.intermediate_dense",
    "body.blocks.{i}.down": "encoder.layers.{i}.feed_forward.output_dense",
    "body.relative.bias": "encoder.layers.0.attention.rel_attn_embed",
    "body.blocks.{i}.attention.gate.linear": "encoder.layers.{i}.attention.gru_rel_pos_linear",
    "body.blocks.{i}.attention.gate.scale": "encoder.layers.{i}.attention.gru_rel_pos_const",
}
ENTER = "body.blocks.{i}.attention.enter"
PARTS = [f"encoder.layers.{{i}}.attention.{part}_proj" for part in "qkv"]
OLD = {"conv.weight_g": "conv.parametrizations.weight.original0", "conv.weight_v": "conv.parametrizations.weight.original1"}


def theirs(name: str) -> list[str]:
    """The names in transformers of one of our weights: one, or three for the fused projections of attention."""
    number = re.search(r"\.(\d+)\.", name)
    i = number[1] if number else ""
    for ours, other in NAMES.items():
        stem = ours.format(i=i)
        if name == stem or name.startswith(stem + "."):
            return [other.format(i=i) + name[len(stem):]]
    stem = ENTER.format(i=i)
    return [part.format(i=i) + name[len(stem):] for part in PARTS] if name.startswith(stem) else []


def to_transformers(encoder: Wav2Vec2) -> dict[str, Tensor]:
    """The weights of an encoder as transformers' `Wav2Vec2Model` or `HubertModel` names them."""
    found: dict[str, Tensor] = {}
    for name, weight in encoder.state_dict().items():
        names = theirs(name)
        found |= dict(zip(names, weight.chunk(len(names)), strict=True)) if names else {}
    return {name: weight.clone() for name, weight in found.items()}


def from_transformers(encoder: Wav2Vec2, given: Mapping[str, Tensor]) -> list[str]:
    """Fill an encoder from a state dict of transformers; heads and quantisers in it are left alone.

    Args:
        encoder: of the same configuration.
        given: weights, with or without a prefix such as `wav2vec2.` or `hubert.`.

    Returns:
        Names in `given` that were not used.

    Raises:
        ConfigError: a weight is missing or has another shape.
    """
    plain = plainly(given)
    filled = {}
    for name, weight in encoder.state_dict().items():
        names = theirs(name)
        if name == "body.mask" and names[0] not in plain:  # transformers makes it only where it masks
            continue
        missing = [other for other in names if other not in plain]
        if missing:
            raise ConfigError(f"the weights lack {missing[0]}; they hold {', '.join(list(plain)[:4])}, ...\n"
                              f"  Try: an encoder with the same depth and norm (encoder.size, encoder.norm)")
        found = torch.cat([plain.pop(other) for other in names])
        if found.shape != weight.shape:
            raise ConfigError(f"{names[0]} is {tuple(found.shape)}, this encoder wants {tuple(weight.shape)}.\n"
                              f"  Try: the encoder.size that the weights were made for")
        filled[name] = found
    encoder.load_state_dict(filled, strict=False)
    return list(plain)


def plainly(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of transformers, whichever model and version, or of torchaudio, by the names of today's `Wav2Vec2Model`."""
    found = {}
    for name, weight in given.items():
        short = re.sub(r"^(wav2vec2|hubert|wavlm|model)\.", "", name)
        short = re.sub(r"^encoder\.(transformer\.|(?=feature_projection))", lambda m: "encoder." if m[1] else "", short)
        for before, after in OLD.items():
            short = short.replace(before, after)
        found[short] = weight
    return found


def translated(encoder: Wav2Vec2, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers or torchaudio by our names; those that we have no place for keep theirs."""
    plain, found = plainly(given), {}
    for name in encoder.state_dict():
        names = theirs(name)
        if names and all(other in plain for other in names):
            found[name] = torch.cat([plain.pop(other) for other in names])
    return found | plain


def from_file(encoder: Wav2Vec2, path: Path | str) -> list[str]:
    """Fill an encoder from a `model.safetensors` of transformers; returns the names that were not used."""
    from safetensors.torch import load_file
    try:
        return from_transformers(encoder, load_file(str(path)))
    except OSError as error:
        raise ConfigError(f"cannot read the weights in {path}: {error}") from error
