"""Start an encoder from weights that exist already."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import ConfigError


def load_into(encoder: Any, source: str) -> str:
    """Copy every weight that has the same name and shape; say which did and which did not.

    Args:
        encoder: the module to fill.
        source: a run directory, or a .safetensors file.

    Raises:
        ConfigError: nothing there, or nothing in it fits.
    """
    from safetensors.torch import load_file
    path = Path(source).expanduser()
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file() or path.suffix != ".safetensors":
        raise ConfigError(f"no weights at {source}.\n  Try: --init RUN, or --init FILE.safetensors")
    try:
        given = load_file(str(path))
    except Exception as error:
        raise ConfigError(f"cannot read the weights in {path}: {error}") from error
    wanted = encoder.state_dict()
    matched = {name: given[name] for name in wanted if name in given and given[name].shape == wanted[name].shape}
    other = [f"{name} {tuple(given[name].shape)} for {tuple(wanted[name].shape)}" for name in wanted
             if name in given and name not in matched]
    missing = [name for name in wanted if name not in given]
    if not matched:
        raise ConfigError(f"no weight in {path} fits this encoder; it holds {', '.join(list(given)[:5])}, ...; "
                          f"wanted: {', '.join(list(wanted)[:5])}, ...")
    encoder.load_state_dict(matched, strict=False)
    lines = [f"started from {path}: {len(matched)} of {len(wanted)} weights matched"]
    lines += [f"  other shape: {', '.join(other)}"] if other else []
    lines += [f"  left as initialised: {', '.join(missing)}"] if missing else []
    return "\n".join(lines)
