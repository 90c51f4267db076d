"""HTML by one function that escapes whatever is not HTML already, so that nothing read from a file can become markup."""
from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any


class Html(str):
    """Text that is markup. Everything else that is put into a tag is escaped."""


def tag(name: str, *inside: Any, **attributes: Any) -> Html:
    """`tag("td", "a < b", class_="n")` -> `<td class="n">a &lt; b</td>`.

    Args:
        inside: `Html`, text, None (left out), or lists of such.
        **attributes: `class_` is class and `data_t` is data-t; those that are None are left out.
    """
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(item))}"' for key, item in attributes.items()
                   if item is not None)
    return Html(f"<{name}{said}>{joined(inside)}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    """Parts one after the other, escaped where they are not `Html`."""
    return Html("".join(_one(part) for part in parts))


def _one(part: Any) -> str:
    if part is None:
        return ""
    if isinstance(part, Html):
        return part
    return joined(part) if isinstance(part, (list, tuple)) else escape(str(part))


def number(value: Any) -> str:
    """A number as a person reads it: 4 digits, no exponent where it can be helped; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000 and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"
