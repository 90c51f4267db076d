"""`sslrun doctor`: what is installed, what is broken, and why. Ends with one line that says whether all is well."""
from __future__ import annotations

import json
import os
import platform
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..hookspecs import KINDS
from ..plugins import ALLOW, Plugin, Plugins
from . import parser


def doctor(words: list[str]) -> int:
    """Look at the installation; exit code 2 if something is broken."""
    options = parser("doctor")
    options.add_argument("plugin", nargs="?", help="one plugin only")
    options.add_argument("--plugin", dest="use", metavar="NAME", help="whose data --data is")
    options.add_argument("--data", metavar="NAME_OR_PATH", help="look at a data set instead; data.OPTION=... are its options")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    given = [word for word in words if "=" in word and not word.startswith("-")]
    args = options.parse_args([word for word in words if word not in given])
    if args.data is not None:
        from .examine import examine
        return examine(args, given)
    args.plugin = args.plugin or args.use
    plugins = Plugins()
    if args.plugin is not None and args.plugin not in {plugin.name for plugin in plugins}:
        plugins[args.plugin]  # raises, with the nearest name
    examined = {p.name: _examined(p) for p in plugins if args.plugin in (None, p.name)}
    runs = _writable(Path("runs"))
    faults = [f"plugin {name}" for name, p in examined.items() if p["problems"]]
    faults += [] if runs == "writable" else ["the run directory"]
    refused = {name: who for name, who in plugins.refused.items() if args.plugin in (None, name)}
    found = {"versions": _versions(), "devices": _devices(), "runs": runs, "cache": _cache(), "plugins": examined,
             "refused": refused, "faults": faults}
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


def _cache() -> str:
    """Where data sets are kept that were downloaded, and how large they are."""
    folder = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser()
    sizes = {part.name: sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
             for part in sorted(folder.glob("*")) if part.is_dir()}
    return f"{folder}: " + (", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in sizes.items()) or "empty")


def _unmet(package: str) -> list[str]:
    """What a distribution requires and is not here, or is here in another version."""
    from packaging.requirements import Requirement
    unmet = []
    for requirement in map(Requirement, requires(package) or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            there = ""
        if not there or not requirement.specifier.contains(there, prereleases=True):
            unmet.append(f"{package} requires {requirement}; {f'{there} is installed' if there else 'it is not installed'}\n"
                         f"  Try: pip install '{requirement}'")
    return unmet


def _examined(plugin: Plugin) -> dict[str, Any]:
    """What a plugin offers, and every target of it that does not import."""
    package = plugin.origin.partition(" ")[0]
    problems = _unmet(package) if plugin.origin.count(" ") == 1 else []  # not two packages that claim one name
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
             "devices: " + "; ".join(found["devices"]), f"run directory: {found['runs']}", f"cache: {found['cache']}", ""]
    for name, plugin in found["plugins"].items():
        offers = ", ".join(f"{count} {kind}" for kind, count in plugin["offers"].items() if count)
        lines.append(f"{'x' if plugin['problems'] else ' '} {name}  ({plugin['from']})  {offers}")
        lines += ["    " + line for problem in plugin["problems"] for line in problem.splitlines()]
    lines += [f"- {name}  ({who})  installed, not allowed by {ALLOW}, not imported" for name, who in found["refused"].items()]
    faults = found["faults"]
    return "\n".join([*lines, "", f"broken: {', '.join(faults)}" if faults else "all is well"])
