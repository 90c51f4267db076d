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
    options.add_argument("--tokens", action="store_true", help="one row for each frame or patch, and the item it belongs to")
    options.add_argument("--units", type=int, default=0, metavar="K", help="name each frame or patch by its cluster, of K")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print what was written as the last line, as JSON")
    args = options.parse_args(words)
    out = Path(args.out)
    if out.suffix not in WRITERS:
        raise ConfigError(f"--out should end in {' or '.join(WRITERS)}, got {args.out!r}")
    if args.tokens or args.units:
        if out.suffix != ".npz":
            raise ConfigError(f"--tokens and --units are written as FILE.npz, got {args.out!r}")
        return _parts(args, out)
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


def _parts(args: Any, out: Path) -> int:
    """Write tokens and their clusters: `owners` holds the item of each."""
    import numpy as np

    from ..evaluation import tokens
    from ..files import atomically, dumps
    from ..run import Run
    run, device = Run.load(args.run), usable(args.device)
    data = run.data(args.data)
    batches = data.train if data.items is None else data.items
    rows, owners = (found.cpu().numpy() for found in tokens(run.encoder.to(device), batches, device))
    found: dict[str, Any] = {"owners": owners} | ({"tokens": rows} if args.tokens else {})
    if args.units:
        found |= _units(rows, args.units)
    if data.names is not None:
        found["names"] = np.array(list(data.names))

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez(file, **found)
    atomically(out, write)
    named = f", {args.units} units" if args.units else ""
    print(f"{len(rows)} tokens of {owners[-1] + 1} items x {rows.shape[1]} features{named} in {out}",
          file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps({"out": str(out), "items": int(owners[-1]) + 1, "tokens": len(rows), "width": rows.shape[1],
                     "units": args.units, "skipped": data.skipped}))
    return 0


def _units(rows: Any, count: int) -> dict[str, Any]:
    """The cluster of each token, from mini-batch k-means, and the centres."""
    from sklearn.cluster import MiniBatchKMeans
    if not 1 <= count <= len(rows):
        raise ConfigError(f"--units should lie between 1 and the {len(rows)} tokens, got {count}")
    found = MiniBatchKMeans(count, batch_size=10_000, n_init=3, random_state=0).fit(rows)
    return {"units": found.predict(rows), "centres": found.cluster_centers_}


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
