"""Whatever a hook of a plugin yields, the plugin is used or named as broken, and no other one is harmed."""
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st

from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl
from ssl_core.config import resolve
from ssl_core.errors import PluginError, SSLError
from ssl_core.hookspecs import KINDS
from ssl_core.plugins import Plugin, Plugins


class Made(NamedTuple):
    """A record that the hook makes when it is asked, as hooks do."""

    kind: type
    fields: dict


odd = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4) | st.just(())
       | st.just({}))
name = st.sampled_from(["net", "a", "a.b", "x/y", "", "-", "A", "encoder"]) | st.text(max_size=6) | odd
target = st.sampled_from(["os:mkdir", "os", ":", "a:b", "", "no.such:Thing", "ssl_toy_parts:Net", "ssl_toy_parts:No", "..:x",
                          "ssl_core:JointEmbedding"]) | odd | st.just(len)
fields = {"name": name, "target": target, "summary": odd, "paper": odd, "experimental": odd}
parts = {part: st.sampled_from(["net", "blobs", "noise", "nt-xent", "toy/net", "toy/blobs", "toy/noise"]) | odd
         for part in ("data", "encoder", "augmentation", "objective")}
some = st.dictionaries(st.sampled_from(["epochs", "encoder.width", "encoder", "x",
                                        ""]) | odd.filter(lambda o: not isinstance(o, dict)), odd,
                       max_size=2)
options = {"options": some | odd, "per_data": st.dictionaries(st.text(max_size=4), some, max_size=2) | odd}
usual = {"summary": "", "paper": "", "experimental": False}


def record(kind, **more):
    """A record with a few odd fields, or with nothing but odd ones."""
    every = fields | more
    return st.builds(Made, st.just(kind), st.fixed_dictionaries(every) | st.fixed_dictionaries(
        {key: every[key] for key in every if key not in usual}))


records = (record(Component) | record(Augmentation, makes=st.sampled_from(["views", "mask"]) | odd)
           | record(Dataset, reads=odd, synthetic=odd) | record(Recipe, **parts, **options) | record(Recipe, **parts))
answer = st.lists(records | odd, max_size=3) | odd | st.sampled_from([KeyError("x"), SystemExit(3), RecursionError(),
                                                                      OSError(5, "x")])


def hook(kind, content):
    def implementation():
        if isinstance(content, list):
            return [item.kind(**item.fields) if isinstance(item, Made) else item for item in content]
        if isinstance(content, BaseException):
            raise content
        return content
    implementation.__name__ = f"ssl_{kind}"
    return hookimpl(implementation)


class Window(EntryPoint):
    """An entry point that loads a module made here."""

    def load(self):
        return WINDOW[0]


WINDOW = [None]
INSTALLED = entry_points()  # looked up once, not for every case


@given(st.dictionaries(st.sampled_from([*KINDS]), answer, max_size=3))
def test_what_hooks_yield(answers):
    WINDOW[0] = SimpleNamespace(**{f"ssl_{kind}": hook(kind, content) for kind, content in answers.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_core.plugins.entry_points", lambda: INSTALLED)
        plugins = Plugins()
    plugins._installed["odd"] = [Window("odd", "odd_window", "ssl_core.v1")]
    assert plugins["toy"].offers["encoders"]
    try:
        found = plugins["odd"]
    except PluginError as error:
        assert "could not be loaded" in str(error)
        assert "toy" in {plugin.name for plugin in plugins if plugin.error is None}
        return
    assert isinstance(found, Plugin)
    for kind in KINDS:
        for offered, component in found.offers[kind].items():
            use(plugins, kind, offered, component)


def use(plugins, kind, offered, component):
    """Listing it, showing it, importing it, and resolving a run with it."""
    from ssl_core.cli.listing import _page
    assert _page(plugins["odd"], [*KINDS])
    try:
        component.load()
    except SSLError as error:
        assert str(error)
    if kind == "methods":
        try:
            resolve(plugins, "odd", offered)
        except SSLError as error:
            assert str(error)
