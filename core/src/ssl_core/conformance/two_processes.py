"""One of two processes, started by `objectives.in_two_processes`: loss and gradients of its half of the batch."""
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..plugins import Plugins
from .objectives import gathers, half_of


def main(plugin: str, folder: str, rank: str) -> None:
    """Write what this process found, for every objective that claims to gather, to FOLDER/RANK.pt."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{Path(folder) / 'meet'}", rank=int(rank), world_size=2)
    found: dict[str, Any] = {}
    for name, record in Plugins()[plugin].offers["objectives"].items():
        if gathers(record):
            try:
                found[name] = half_of(record, int(rank), 2)
            except Exception as error:  # both processes fail alike, or the group waits and says so
                found[name] = f"{type(error).__name__}: {error}"
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
