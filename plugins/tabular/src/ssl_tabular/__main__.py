"""`python -m ssl_tabular FILE [target=COLUMN] [drop=[a,b]] ...`: what a table is taken for, before anything is trained."""
from __future__ import annotations

import sys

from ssl_core import SSLError
from ssl_core.build import build
from ssl_core.config import parse


def main(words: list[str]) -> int:
    """Print kind and content of every column. Options are those of `data.*`, without the `data.`."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    from .data import read
    from .schema import describe
    try:
        data, _ = build("data", read, given={"source": words[0]}, chosen=parse(words[1:]))
    except SSLError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{describe(dict(data.schema))}\n{len(data.train.positions)} rows to train on; "
          + ", ".join(f"{name} {len(fold)}" for name, fold in data.folds.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
