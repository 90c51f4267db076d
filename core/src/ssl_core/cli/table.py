"""Tables that people read: aligned, and no wider than they must be."""
from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), right: Sequence[int] = ()) -> str:
    """Aligned columns; those in `right` to the right."""
    whole = [*([header] if header else []), *rows]
    widths = [max(len(row[i]) for row in whole) for i in range(len(whole[0]))]
    aligned = [[cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(row)] for row in whole]
    lines = ["  ".join(row) for row in aligned]
    if header:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def scores(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Scores by row and probe. Errors (rmse) are marked as such by their name; a dash where there is none."""
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    body = [[row, *("-" if found.get(name) is None else f"{found[name]:.4f}" for name in names)] for row, found in rows.items()]
    return table(body, ["", *names], right=range(1, len(names) + 1))
