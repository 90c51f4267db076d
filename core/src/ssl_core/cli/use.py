"""`sslrun embed`: the features of a data set, in a file."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import parser
from .device import usable


def embed(words: list[str]) -> int:
    """Write the features of a data set."""
    options = parser("embed")
    options.add_argument("run", help="a run directory")
    options.add_argument("--data", help="a data set or a path (default: the run's own)")
    options.add_argument("--out", required=True, help="FILE.npz or FILE.parquet")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print what was written as the last line, as JSON")
    args = options.parse_args(words)
    out = Path(args.out)
    if out.suffix not in WRITERS:
        raise ConfigError(f"--out should end in {' or '.join(WRITERS)}, got {args.out!r}")
    from ..evaluation import embed as embed_items
    from ..files import atomically, dumps
    from ..run import Run
    run, device = Run.load(args.run), usable(args.device)
    data = run.data(args.data)
    features = embed_items(run.encoder.to(device), data.train if data.items is None else data.items, device)
    names = list(data.names) if data.names is not None else [str(i) for i in range(len(features))]
    atomically(out, lambda beside: WRITERS[out.suffix](beside, features.cpu().numpy(), names, data.labels))
    print(f"{len(features)} items x {features.shape[1]} features in {out}", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps({"out": str(out), "items": len(features), "width": features.shape[1], "skipped": data.skipped}))
    return 0


def _npz(path: Path, features: Any, names: list[str], labels: Any) -> None:
    import numpy as np
    with path.open("wb") as file:
        np.savez(file, embeddings=features, names=np.array(names), **({} if labels is None else {"labels": labels.numpy()}))


def _parquet(path: Path, features: Any, names: list[str], labels: Any) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ConfigError("writing Parquet needs pyarrow.\n  Try: pip install pyarrow, or --out FILE.npz") from error
    columns = {"name": names} | {f"z{i}": features[:, i] for i in range(features.shape[1])}
    pq.write_table(pa.table(columns if labels is None else columns | {"label": labels.numpy()}), path)


WRITERS = {".npz": _npz, ".parquet": _parquet}
