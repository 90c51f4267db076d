"""Finding plugins, loading them one by one, and saying well what went wrong.

A plugin is an entry point of the group `ssl_core.v1`; its name is what users type after `--plugin`, its value is the
module that holds the hooks. A plugin that fails is fatal only to the run that asks for it.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from . import hookspecs
from .components import Component
from .errors import PluginError, listed, nearest
from .hookspecs import KINDS

API = 1  # the generation of the plugin interface; inside one, changes only add
GROUP = f"{hookspecs.PROJECT}.v{API}"
ALLOW = "SSL_CORE_PLUGINS"
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def allow_list() -> set[str] | None:
    """The plugins that may be imported, by `SSL_CORE_PLUGINS=graph,vision`; the core always may. None: all that are there."""
    given = os.environ.get(ALLOW)
    return None if given is None else {"core", *(name.strip() for name in given.split(",") if name.strip())}


def origin(ep: EntryPoint) -> str:
    """Who ships an entry point: "ssl-graph 0.1.0"."""
    return f"{ep.dist.name} {ep.dist.version}" if ep.dist else ep.value


@dataclass
class Plugin:
    """An installed plugin. `offers` is filled by loading it; `error` says why that failed."""

    name: str
    origin: str
    offers: dict[str, dict[str, Component]] = field(default_factory=dict)
    error: PluginError | None = None


class Plugins:
    """The plugins installed here. Nothing is imported until it is asked for."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self._installed: dict[str, list[EntryPoint]] = {}
        self._other_generation: dict[str, EntryPoint] = {}
        self._loaded: dict[str, Plugin] = {}
        self.refused: dict[str, str] = {}  # installed, but not allowed: name -> origin; never imported
        allowed, installed = allow_list(), entry_points()
        for group in installed.groups:
            if group.startswith(f"{hookspecs.PROJECT}.v"):
                for ep in installed.select(group=group):
                    if allowed is None or ep.name in allowed:
                        self._claim(ep)
                    else:
                        self.refused[ep.name] = origin(ep)

    def _claim(self, ep: EntryPoint) -> None:
        if ep.group != GROUP:  # known from its metadata; never imported
            self._other_generation[ep.name] = ep
            return
        claims = self._installed.setdefault(ep.name, [])
        if all(origin(ep) != origin(other) or ep.value != other.value for other in claims):  # one dist, seen twice
            claims.append(ep)

    def __iter__(self) -> Iterator[Plugin]:
        """Every installed plugin, the core first; one that cannot be loaded carries its error."""
        for name in sorted({*self._installed, *self._other_generation}, key=lambda n: (n != "core", n)):
            try:
                yield self[name]
            except PluginError as error:
                claims = self._installed.get(name) or [self._other_generation[name]]
                yield Plugin(name, ", ".join(map(origin, claims)), error=error)

    def __getitem__(self, name: str) -> Plugin:
        if name not in self._loaded:
            self._loaded[name] = self._load(self._entry_point(name))
        return self._loaded[name]

    def _entry_point(self, name: str) -> EntryPoint:
        match self._installed.get(name, []):
            case [ep]:
                return ep
            case []:
                raise self._unknown(name)
            case several:
                raise PluginError(f"{len(several)} packages claim the plugin name {name!r}: "
                                  f"{', '.join(map(origin, several))}.\n  Uninstall all but one.")

    def _unknown(self, name: str) -> PluginError:
        if name in self.refused:
            return PluginError(f"plugin {name} ({self.refused[name]}) is installed but not allowed: {ALLOW} names "
                               f"{listed(sorted(allow_list() or ()))}\n  Try: adding {name} to {ALLOW}, or unsetting it")
        if other := self._other_generation.get(name):
            generation = other.group.rpartition(".v")[2]
            newer = generation.isdigit() and int(generation) > API
            upgrade = "ssl-core" if newer else other.dist.name if other.dist else name
            return PluginError(f"{origin(other)} was written for plugin API {generation}, this ssl-core speaks API {API}."
                               f"\n  Try: pip install --upgrade {upgrade}")
        hint = nearest(name, self._installed)
        return PluginError(f"no plugin named {name!r} is installed (installed: {listed(sorted(self._installed))}){hint}"
                           + (f"\n  Try: pip install ssl-{name}" if hint == "." else ""))

    def _load(self, ep: EntryPoint) -> Plugin:
        """Import one shop window. Its failure is its own: nothing of it stays registered."""
        plugin = Plugin(ep.name, origin(ep))
        try:
            self.manager.register(ep.load(), ep.name)
            self._refuse_unknown_hooks(ep.name)
            for kind in KINDS:
                plugin.offers[kind] = self._offer(ep.name, kind)
        except (Exception, SystemExit) as error:
            if self.manager.has_plugin(ep.name):
                self.manager.unregister(name=ep.name)
            raise PluginError(f"{plugin.origin} could not be loaded: {type(error).__name__}: {error}\n"
                              f"  Try: sslrun doctor {ep.name}") from error
        return plugin

    def _refuse_unknown_hooks(self, name: str) -> None:
        known = [f"ssl_{kind}" for kind in KINDS] + ["ssl_callbacks"]
        for caller in self.manager.get_hookcallers(self.manager.get_plugin(name)) or []:
            if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls()):
                hint = nearest(caller.name, known)
                newer = " Is it of a newer ssl-core? (mark it optionalhook=True to run on both)" if hint == "." else ""
                raise LookupError(f"there is no hook {caller.name}{hint}{newer}")

    def _answers(self, hook: str, name: str, **arguments: Any) -> Iterator[Any]:
        """What one plugin yields from one hook. Its own loop, so that we know who answered and who failed."""
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            if impl.plugin_name == name:
                yield from impl.function(*(arguments[wanted] for wanted in impl.argnames)) or ()

    def _offer(self, name: str, kind: str) -> dict[str, Component]:
        """The records that one hook of one plugin yields, by name, each of them looked at."""
        hook, record, offered = f"ssl_{kind}", KINDS[kind], dict[str, Component]()
        for component in self._answers(hook, name):
            if not isinstance(component, record):
                raise TypeError(f"{hook} should yield {record.__name__} records, not {component!r:.80}")
            if not NAME.fullmatch(component.name):
                raise ValueError(f"{hook}: {component.name!r} is not a name (a-z, 0-9, dot and dash)")
            if component.name in offered:
                raise ValueError(f"{hook}: {component.name!r} is offered twice, as "
                                 f"{offered[component.name].target} and as {component.target}")
            offered[component.name] = component
        return offered

    def find(self, kind: str, reference: str, home: str) -> Component:
        """The component called "name" in the plugin `home` or the core, or "plugin/name" anywhere.

        Raises:
            PluginError: no such plugin or component; the message lists what there is and names the nearest.
        """
        owner, slash, name = reference.rpartition("/")
        shelves = [owner] if slash else list(dict.fromkeys([home, "core"]))
        offered: dict[str, Component] = {}
        for shelf in shelves:
            offered = self[shelf].offers[kind] | offered
        if name not in offered:
            raise PluginError(f"no {kind[:-1]} named {name!r} in {' or '.join(shelves)}{nearest(name, offered)}\n"
                              f"  Offered: {listed(sorted(offered))}")
        return offered[name]

    def callbacks(self, config: Any) -> list[Any]:
        """The Lightning callbacks that every plugin which loads adds to a run; a failure names the plugin."""
        found: list[Any] = []
        for plugin in self:
            try:
                found += [] if plugin.error else self._answers("ssl_callbacks", plugin.name, config=config)
            except Exception as error:
                raise PluginError(f"the callbacks of {plugin.origin} failed: {type(error).__name__}: {error}\n"
                                  f"  Try: sslrun doctor {plugin.name}, or uninstall it") from error
        return found
