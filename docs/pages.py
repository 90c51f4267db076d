"""Pages made from what is installed: one per method, the hooks, the command line, and the table in the README.

mkdocs calls `on_config` and `on_files`, so the pages of the site are made anew with every build and cannot be stale. The table
in the README is checked in; `python docs/pages.py` renews it, and a test fails where it is not what the registry says.
"""
from __future__ import annotations

import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

from ssl_core import config, contracts, hookspecs
from ssl_core.cli import VERBS, main
from ssl_core.cli.listing import described
from ssl_core.components import Recipe
from ssl_core.plugins import Plugins

ROOT = Path(__file__).resolve().parent.parent
OURS = ("graph", "medical", "speech", "tabular", "vision")
START, END = "<!-- methods: made by python docs/pages.py -->", "<!-- end of methods -->"


def on_config(config: Any) -> Any:
    """Put the guides and the pages of methods into the navigation."""
    for entry in config["nav"]:
        if "Guides" in entry:
            entry["Guides"] = sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs" / "guides").glob("*.md"))
            entry["Guides"] += [name for name in ("reliability.md",) if (ROOT / "docs" / name).exists()]
        if "Methods" in entry:
            pages: dict[str, list[str]] = {}
            for path in generated():
                if path.startswith("methods/") and path != "methods/index.md":
                    pages.setdefault(path.split("/")[1], []).append(path)
            entry["Methods"] = ["methods/index.md", *({plugin: of} for plugin, of in pages.items())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to those in the folder."""
    from mkdocs.structure.files import File
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def generated() -> dict[str, str]:
    """{path: Markdown} of every page that is made from the registry."""
    plugins = Plugins()
    head = "# Methods\n\nWhat the five plugins offer, each with a page of its own.\n\n"
    pages = {"methods/index.md": head + table(plugins, links=True)}
    for plugin in OURS:
        for name, recipe in plugins[plugin].offers["methods"].items():
            assert isinstance(recipe, Recipe)
            pages[f"methods/{plugin}/{name}.md"] = method(plugins, plugin, recipe)
    pages["reference/hooks.md"] = hooks()
    pages["reference/command-line.md"] = command_line()
    return pages


def table(plugins: Plugins, links: bool = False) -> str:
    """Plugin x method, in Markdown."""
    lines = ["| plugin | methods |", "|---|---|"]
    for plugin in OURS:
        names = [f"[{name}]({plugin}/{name}.md)" if links else f"`{name}`" for name in plugins[plugin].offers["methods"]]
        lines.append(f"| `ssl-{plugin}` | {', '.join(names)} |")
    return "\n".join(lines)


def method(plugins: Plugins, plugin: str, recipe: Recipe) -> str:
    """The page of one method: what, paper, components, options, results."""
    record = described(plugins, plugin, recipe)
    where, _, line = record["code"].rpartition(":")
    lines = [f"# {recipe.name}", "", f"{recipe.summary[:1].upper()}{recipe.summary[1:]}.", ""]
    if recipe.experimental:
        lines += ["!!! warning \"Experimental\"", "    Details could not be checked against the paper or its code.", ""]
    lines += [f"Paper: {linked(recipe.paper)}", ""] if recipe.paper else []
    lines += ["```sh", f"sslrun --plugin {plugin} --method {recipe.name}", "```", "", "## How it is made", "",
              "| part | component | what it is |", "|---|---|---|"]
    for slot, kind in config.SLOTS.items():
        name = getattr(recipe, slot)
        found = plugins.find(kind, name, plugin)
        made_up = ", synthetic" if getattr(found, "synthetic", False) else ""
        lines.append(f"| {slot} | `{name}` | {cell(found.summary)}{made_up} |")
    lines += [f"| method | `{record['target']}` | {cell(record['doc'].splitlines()[0] if record['doc'] else '')} |", "",
              "Any of them can be exchanged: `objective=barlow-twins`, `encoder.width=256`.", "",
              f"The code: `{relative(where)}`, line {line}.", "", "```text", record["doc"], "```", "",
              "## Options", "", "With the values of a run that gives none.", "", "| option | value |", "|---|---|"]
    lines += [f"| `{key}` | `{cell(str(item))}` |" for key, item in record["options"].items()
              if key not in ("plugin", "method")]
    lines += ["", "## Measured", "", *measured(plugin, recipe.name)]
    return "\n".join(lines)


def linked(paper: str) -> str:
    kind, _, number = paper.partition(":")
    places = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
    return f"[{paper}]({places[kind]}{number})" if kind in places else paper


def cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def relative(where: str) -> str:
    """A path inside the repository, or below `site-packages`."""
    parts = Path(where).parts
    for mark in ("site-packages", "core", "plugins"):
        if mark in parts:
            return "/".join(parts[parts.index(mark) + (mark == "site-packages"):])
    return Path(where).name


def measured(plugin: str, name: str) -> list[str]:
    """The rows of docs/results.md that stand for this method, with the heads of their tables."""
    found, head, section = [], "", ""
    for line in (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        if line.startswith("| ") and "|---" not in line and not line.startswith(("| raw", "| untrained")):
            cells = [part.strip().strip("`") for part in line.strip("|").split("|")]
            if cells[0] in ("method", "run"):
                head = line
            elif cells[0] in (name, f"{plugin}/{name}") and head:
                found += [f"{section}:", "", head, "|---" * (head.count("|") - 1) + "|", line, ""]
    there = [*found, "The whole tables, with raw features, untrained encoders and commands: [results](../../results.md)."]
    return there if found else ["No figures yet: see [results](../../results.md) for what has been measured."]


def hooks() -> str:
    """Every hook with its signature, the records they yield, and the contracts."""
    lines = ["# Hooks", "", "A plugin is a module named by an entry point of the group `ssl_core.v1`. Its functions, marked",
             "`@hookimpl`, have these names. None of them may import torch; all but the last yield records.", ""]
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("ssl_"):
            lines += [f"## {name}", "", f"`{name}{inspect.signature(function)}`", "", inspect.getdoc(function) or "", ""]
    lines += ["# Records", ""]
    for record in dict.fromkeys([hookspecs.Component, *hookspecs.KINDS.values(), hookspecs.Dataset]):
        lines += [f"## {record.__name__}", "", "```text", inspect.getdoc(record) or "", "```", ""]
    lines += ["# Contracts", ""]
    for name in ("Representation", "Layout", "Encoder", "TokenEncoder", "Progress", "Fold", "Data"):
        lines += [f"## {name}", "", "```text", inspect.getdoc(getattr(contracts, name)) or "", "```", ""]
    return "\n".join(lines)


def command_line() -> str:
    """What each verb says of itself."""
    lines = ["# Command line", "", "```text", said(["--help"]), "```", ""]
    for verb in VERBS:
        lines += [f"## {verb}", "", "```text", said([verb, "--help"]), "```", ""]
    return "\n".join(lines)


def said(words: list[str]) -> str:
    """Standard output of `sslrun WORDS`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(words)
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE).strip()


def readme() -> str:
    """The README with its table made anew."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    return f"{before}{START}\n{table(Plugins())}\n{END}{after}"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
