"""Options of a component are the parameters of its constructor: typed, with defaults, given by name."""
from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigError, MissingFacts, SSLError, listed, nearest

MISSING = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """One parameter of a component."""

    default: Any
    type: Any = Any

    @property
    def required(self) -> bool:
        return self.default is MISSING


def options(target: Callable[..., Any], reserved: Iterable[str] = ()) -> dict[str, Option]:
    """What `target` takes, by name; `reserved` names are filled by the core and are no options.

    (`nn.Module` without an `__init__` of its own shows `*args, **kwargs`: variadics are no options.)
    """
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        hints = {}
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return {name: Option(p.default, hints.get(name, Any)) for name, p in inspect.signature(target).parameters.items()
            if p.kind not in variadic and name not in reserved}


def build(part: str, target: Callable[..., Any], *, given: Mapping[str, Any] | None = None,
          chosen: Mapping[str, Any] | None = None, facts: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Call `target` with what it asks for by name.

    Args:
        part: what it is to the user: "encoder", "data", ...
        given: parts that the core fills in and that nobody can choose.
        chosen: options of the user or the recipe.
        facts: what the data say about themselves; fill parameters of the same name, unless chosen.

    Returns:
        What was built, and its options in full: chosen, from facts, and defaults.
    """
    given, chosen, facts = given or {}, chosen or {}, facts or {}
    taken, who = options(target, given), f"{part} {getattr(target, '__name__', target)}"
    for name in chosen:
        if name not in taken:
            raise ConfigError(f"{who} has no option {name!r}{nearest(name, taken)}\n  It takes: {listed(taken)}")
    used = {name: convert(f"{part}.{name}", item, taken[name].type)
            for name, item in {**facts, **chosen}.items() if name in taken}
    missing = [name for name, option in taken.items() if option.required and name not in used]
    if missing:
        raise MissingFacts(f"{who} needs {listed(missing)}; the data offer {listed(facts)}\n  Try: {part}.{missing[0]}=...")
    wanted = options(target)
    try:
        built = target(**used, **{name: item for name, item in given.items() if name in wanted})
    except SSLError:
        raise
    except Exception as error:
        what = str(error) if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{who} could not be built: {what}\n  Its options: {listed(f'{k}={v!r}' for k, v in used.items())}"
                          ) from error
    return built, {name: used.get(name, option.default) for name, option in taken.items()}


def convert(key: str, given: Any, wanted: Any) -> Any:
    """`given` as the annotated type, where that is plain; a clear error where it cannot be."""
    if wanted is Any or wanted is MISSING:
        return given
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return _first(key, given, wanted, inner)
    if origin is Literal:
        for choice in inner:
            if str(choice) == str(given):  # "32" is read as a number
                return choice
        raise ConfigError(f"{key} should be one of {listed(map(repr, inner))}, got {given!r}")
    if origin in (tuple, list, Sequence) or wanted in (tuple, list):
        return _sequence(key, given, origin or wanted, inner)
    if wanted is float and type(given) is int:
        return float(given)
    if wanted in (str, Path) and type(given) is int:  # the name of a column or a folder may be 7
        given = str(given)
    if wanted is Path and isinstance(given, str):
        try:
            return Path(given).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{key} is {given!r}: {error}") from error
    if wanted in (int, float, bool, str, type(None)) and type(given) is not wanted:
        raise ConfigError(f"{key} should be {getattr(wanted, '__name__', wanted)}, got {given!r}")
    return given


def _first(key: str, given: Any, wanted: Any, alternatives: tuple[Any, ...]) -> Any:
    for alternative in sorted(alternatives, key=lambda a: type(given) is not a):
        try:
            return convert(key, given, alternative)
        except ConfigError:
            continue
    raise ConfigError(f"{key} should be {wanted}, got {given!r}")


def _sequence(key: str, given: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(given, (list, tuple)):
        raise ConfigError(f"{key} should be a list, such as {key}=[a,b]; got {given!r}")
    types_ = inner[:1] * len(given) if len(inner) < 2 or inner[1] is ... else inner
    if types_ and len(types_) != len(given):
        raise ConfigError(f"{key} should have {len(types_)} items, got {given!r}")
    items = [convert(key, item, t) for item, t in zip(given, types_, strict=True)] if types_ else list(given)
    return tuple(items) if kind is tuple else items
