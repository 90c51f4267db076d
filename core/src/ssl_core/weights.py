"""Start an encoder from weights that exist already: of a run, of a file, or of another library."""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import ConfigError, SSLError, listed

State = dict[str, Tensor]
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")
NAMES = ("encoder.safetensors", "model.safetensors", "model.safetensors.index.json")  # in a directory: ours, Hugging Face's


def load_into(encoder: Any, source: str) -> str:
    """Copy every weight that fits by name and shape; say which did, which did not and why.

    A prefix that all names of one side share ("module.", "backbone.", "wav2vec2.") is no difference. An encoder that knows
    the names of another library offers `translate(state: dict) -> dict`, from theirs to its own.

    Args:
        encoder: the module to fill.
        source: a run directory, a Hugging Face directory, a .safetensors file, or a state dict of torch (.pt, .pth, ...).

    Raises:
        ConfigError: nothing there, or nothing in it fits.
    """
    path = located(source)
    given, wanted = read(path), encoder.state_dict()
    found = fitting(given, wanted)
    if hasattr(encoder, "translate"):
        found = max(found, fitting(encoder.translate(dict(given)), wanted), key=lambda part: _matches(part, wanted))
    matched = {name: weight for name, weight in found.items() if name in wanted and weight.shape == wanted[name].shape}
    if not matched:
        raise ConfigError(f"no weight in {path} fits this encoder; it holds {listed(list(given)[:5])}, ...; "
                          f"wanted: {listed(list(wanted)[:5])}, ...\n"
                          f"  Try: the encoder that the weights were made for (encoder=..., encoder.size=...)")
    encoder.load_state_dict(matched, strict=False)
    return told(path, found, wanted, matched)


def told(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], matched: Mapping[str, Tensor]) -> str:
    """How many weights matched, and which did not and why."""
    other = [f"{name} {tuple(found[name].shape)} for {tuple(weight.shape)}" for name, weight in wanted.items()
             if name in found and name not in matched]
    missing, unused = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
    lines = [f"started from {path}: {len(matched)} of {len(wanted)} weights matched"]
    for what, names in (("other shape", other), ("left as initialised", missing), ("not used", unused)):
        if names:
            more = f", and {len(names) - 20} more" if len(names) > 20 else ""
            lines.append(f"  {what}: {', '.join(names[:20])}{more}")
    return "\n".join(lines)


def located(source: str) -> Path:
    """The file that holds the weights: `source`, or the known one in it.

    Raises:
        ConfigError: there is none.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return path / name
        unfinished = (path / "config.yaml").is_file()
        raise ConfigError(f"{path} holds no weights{' yet: its training has not ended' if unfinished else ''} (looked for "
                          f"{listed(NAMES)})" + (f"\n  Try: sslrun --resume {path}" if unfinished else ""))
    if not path.is_file():
        raise ConfigError(f"no weights at {source}.\n  Try: --init RUN, or --init FILE.safetensors")
    return path


def read(path: Path) -> State:
    """Every tensor of a file of weights by name. Nothing is unpickled but tensors and plain containers.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        if path.suffix == ".json":
            return shards(path)
        if path.suffix in PICKLED:
            return dict(tensors(torch.load(path, map_location="cpu", weights_only=True)))
        from safetensors.torch import load_file
        return load_file(str(path))
    except SSLError:
        raise
    except Exception as error:
        why = "it holds more than tensors, and opening it could run code" if "weights_only" in str(error).lower() else \
            str(error).partition("\n")[0]
        raise ConfigError(f"cannot read the weights in {path}: {why}\n  Try: a .safetensors file, or a state dict that was "
                          f"saved by torch.save(model.state_dict())") from error


def shards(path: Path) -> State:
    """The weights of a Hugging Face index, whose files lie beside it."""
    from safetensors.torch import load_file
    names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    for name in names:
        if Path(name).name != name:
            raise ConfigError(f"{path} points at {name!r}, outside its folder")
    return {key: weight for name in names for key, weight in load_file(str(path.with_name(name))).items()}


def tensors(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors in nested mappings by dotted name: a checkpoint keeps its weights under "state_dict" or "model"."""
    if isinstance(content, Mapping):
        for key, item in content.items():
            if isinstance(item, Tensor):
                yield f"{prefix}{key}", item
            else:
                yield from tensors(item, f"{prefix}{key}.")


def fitting(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> State:
    """The given weights by the encoder's names: without a prefix of theirs, under one of ours, whichever matches most.

    A change of prefix has to make most of the weights under it fit: some layer has the shape of some other by chance.
    """
    ours, theirs = _prefixes(wanted), _prefixes(given)
    best: State = {}
    for prefix in theirs:
        inside = {name[len(prefix):]: weight for name, weight in given.items() if name.startswith(prefix)}
        for under in ours:
            named = {under + name: weight for name, weight in inside.items()}
            most = not prefix + under or 2 * _matches(named, wanted) > len(named)
            if most and _matches(named, wanted) > _matches(best, wanted):
                best = named
    return best or dict(given)


def _prefixes(names: Mapping[str, Any], deepest: int = 3, most: int = 12) -> list[str]:
    """"" and the most common first parts of the names: "module.", "module.encoder.", ..."""
    counts = Counter(".".join(parts[:k]) + "." for name in names for parts in [name.split(".")]
                     for k in range(1, min(deepest, len(parts) - 1) + 1))
    return ["", *(prefix for prefix, _ in counts.most_common(most))]


def _matches(named: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int:
    return sum(weight.shape == wanted[name].shape for name, weight in named.items() if name in wanted)
