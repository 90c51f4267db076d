"""`sslrun doctor`: what is installed, what is broken, and why. Ends with one line that says whether all is well."""
from __future__ import annotations

import json
import os
import platform
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..hookspecs import KINDS
from ..plugins import Plugin, Plugins
from . import parser


def doctor(words: list[str]) -> int:
    """Look at the installation; exit code 2 if something is broken."""
    options = parser("doctor")
    options.add_argument("plugin", nargs="?", help="one plugin only")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    args = options.parse_args(words)
    plugins = Plugins()
    if args.plugin is not None and args.plugin not in {plugin.name for plugin in plugins}:
        plugins[args.plugin]  # raises, with the nearest name
    examined = {p.name: _examined(p) for p in plugins if args.plugin in (None, p.name)}
    runs = _writable(Path("runs"))
    faults = [f"plugin {name}" for name, p in examined.items() if p["problems"]]
    faults += [] if runs == "writable" else ["the run directory"]
    found = {"versions": _versions(), "devices": _devices(), "runs": runs, "plugins": examined, "faults": faults}
    print(json.dumps(found) if args.json else _text(found))
    return 2 if faults else 0


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("ssl-core", "torch", "lightning", "pluggy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _devices() -> list[str]:
    try:
        import torch
    except Exception as error:
        return [f"torch cannot be imported: {error}"]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [f"cpu ({os.cpu_count()} cores, {torch.get_num_threads()} threads)", *gpus]


def _writable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder if folder.exists() else folder.parent.resolve()):
            return "writable"
    except OSError as error:
        return f"{folder.resolve()}: {error.strerror}"


def _examined(plugin: Plugin) -> dict[str, Any]:
    """What a plugin offers, and every target of it that does not import."""
    problems = []
    if plugin.error is not None:
        cause = plugin.error.__cause__
        problems.append("".join(traceback.format_exception(cause)) if cause else str(plugin.error))
    for kind in KINDS:
        for name, component in plugin.offers.get(kind, {}).items():
            try:
                component.load()
            except Exception as error:
                problems.append(f"{kind[:-1]} {name}: {error}")
    return {"from": plugin.origin, "offers": {kind: len(plugin.offers.get(kind, {})) for kind in KINDS}, "problems": problems}


def _text(found: dict[str, Any]) -> str:
    lines = ["  ".join(f"{name} {number}" for name, number in found["versions"].items()),
             "devices: " + "; ".join(found["devices"]), f"run directory: {found['runs']}", ""]
    for name, plugin in found["plugins"].items():
        offers = ", ".join(f"{count} {kind}" for kind, count in plugin["offers"].items() if count)
        lines.append(f"{'x' if plugin['problems'] else ' '} {name}  ({plugin['from']})  {offers}")
        lines += ["    " + line for problem in plugin["problems"] for line in problem.splitlines()]
    faults = found["faults"]
    return "\n".join([*lines, "", f"broken: {', '.join(faults)}" if faults else "all is well"])
