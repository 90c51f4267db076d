"""docs/results.md: one page, one section per command. Each script replaces its own section and leaves the others alone."""
from __future__ import annotations

import re
from pathlib import Path

from ssl_core.files import atomically

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the marks of section `name`, at the end of the page if it is new; the page is made if need be."""
    start, end = f"<!-- {name}: made by a command, not by hand -->", f"<!-- end of {name} -->"
    whole, section = page.read_text(encoding="utf-8") if page.exists() else "", f"{start}\n\n{text.strip()}\n\n{end}"
    found = re.search(re.escape(start) + ".*?" + re.escape(end), whole, flags=re.DOTALL)
    new = whole.replace(found.group(0), section) if found else f"{whole.rstrip()}\n\n{section}\n".lstrip()
    atomically(page, lambda beside: beside.write_text(new, encoding="utf-8"))
