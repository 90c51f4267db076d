"""The device that a verb is asked to work on."""
from __future__ import annotations

from ..errors import ConfigError


def usable(device: str) -> str:
    """The device, if it is there.

    Raises:
        ConfigError: it cannot be used here.
    """
    import torch
    try:
        torch.zeros(1, device=device)
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(f"--device {device} cannot be used here: {why}\n  Try: --device cpu") from error
    return device
