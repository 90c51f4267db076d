"""`sslrun list` and `sslrun show`: what there is. `list` reads shop windows only and imports no torch."""
from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any

from ..components import Component, Dataset, Recipe
from ..errors import PluginError, nearest
from ..hookspecs import KINDS
from ..plugins import Plugin, Plugins
from . import parser

WIDTH = 80


def list_(words: list[str]) -> int:
    """Print what the installed plugins offer."""
    options = parser("list")
    options.add_argument("plugin", nargs="?", help="one plugin only")
    options.add_argument("--kind", choices=[*KINDS], help="one kind of component only")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    args = options.parse_args(words)
    plugins = Plugins()
    shown = [plugins[args.plugin]] if args.plugin else [*plugins]
    kinds = [args.kind] if args.kind else [*KINDS]
    if args.json:
        print(json.dumps({plugin.name: _record(plugin, kinds) for plugin in shown}))
    else:
        print("\n\n".join(_page(plugin, kinds) for plugin in shown))
    return 0


def _record(plugin: Plugin, kinds: Any) -> dict[str, Any]:
    offers = {kind: {name: _fields(component) for name, component in plugin.offers.get(kind, {}).items()} for kind in kinds}
    return {"from": plugin.origin, "error": str(plugin.error) if plugin.error else None, **offers}


def _fields(component: Component) -> dict[str, Any]:
    return {key: item if isinstance(item, (str, bool, dict)) else str(item) for key, item in asdict(component).items()
            if key != "name"}


def _page(plugin: Plugin, kinds: Any) -> str:
    lines = textwrap.wrap(f"{'x ' if plugin.error else ''}{plugin.name}  ({plugin.origin})", WIDTH, subsequent_indent="    ")
    for line in str(plugin.error or "").splitlines():
        lines += textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="    ")
    for kind in kinds:
        for name, component in plugin.offers.get(kind, {}).items():
            head = f"  {kind[:-1]:<13} {name:<20} "
            lines += textwrap.wrap(_summary(component), WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) or [head]
    return "\n".join(lines)


def _summary(component: Component) -> str:
    marks = ["experimental"] if component.experimental else []
    marks += ["synthetic"] if isinstance(component, Dataset) and component.synthetic else []
    return component.summary + (f" [{', '.join(marks)}]" if marks else "")


def show(words: list[str]) -> int:
    """Print one method or component with every option."""
    options = parser("show")
    options.add_argument("name", help="PLUGIN/NAME, such as graph/gcool")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    args = options.parse_args(words)
    plugins = Plugins()
    plugin, slash, name = args.name.rpartition("/")
    found = _find(plugins, plugin or "core", name)
    record = described(plugins, plugin or "core", found)
    print(json.dumps(record, default=str) if args.json else _sheet(args.name, record))
    return 0


def _find(plugins: Plugins, plugin: str, name: str) -> Component:
    offers = plugins[plugin].offers
    for kind in KINDS:
        if name in offers[kind]:
            return offers[kind][name]
    known = [known for kind in KINDS for known in offers[kind]]
    raise PluginError(f"{plugin} offers nothing named {name!r}{nearest(name, known)}\n  Try: sslrun list {plugin}")


def described(plugins: Plugins, plugin: str, component: Component) -> dict[str, Any]:
    """Everything known of a component: for a method, the options of all its parts as a run would have them."""
    import inspect
    target = component.load()
    try:
        where = f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        where = str(component.target)
    record = _fields(component) | {"code": where, "doc": inspect.getdoc(target) or ""}
    if isinstance(component, Recipe):
        record["options"] = _options_of_run(plugins, plugin, component)
    else:
        from ..build import options
        record["options"] = {name: "required" if o.required else o.default for name, o in options(target).items()}
    return record


def _options_of_run(plugins: Plugins, plugin: str, recipe: Recipe) -> dict[str, Any]:
    from .. import optimizers
    from ..build import options
    from ..config import components, resolve
    from ..schedules import SCHEDULES
    from ..train.options import TrainerOptions
    config = resolve(plugins, plugin, recipe.name)
    targets = {part: found.load() for part, found in components(plugins, config).items()}
    targets |= {"optimizer": optimizers.find(config.optimizer), "schedule": SCHEDULES[config.schedule],
                "trainer": TrainerOptions}
    reserved = {"optimizer": ("params",), "method": ("encoder", "augmentation", "objective")}
    found = {key: item for key, item in config.flat().items() if "." not in key}
    for part, target in targets.items():
        for name, option in options(target, reserved.get(part, ())).items():
            default = "(from the data)" if option.required else option.default
            found[f"{part}.{name}"] = config.of(part).get(name, default)
    return found


def _sheet(name: str, record: dict[str, Any]) -> str:
    lines = [f"{name}: {record['summary']}"]
    lines += ["experimental: details could not be checked against a paper or its code"] if record["experimental"] else []
    lines += [f"paper: {record['paper']}"] if record["paper"] else []
    lines += [f"code: {record['code']}", "", record["doc"], "", "options, with the values of a run that gives none:"]
    return "\n".join([*lines, *(f"  {key}={item}" for key, item in record["options"].items())])
