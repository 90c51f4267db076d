"""What a plugin offers, described without importing it.

A plugin's hooks yield these records. A record names its target as "package.module:Name", so listing every method of
every plugin imports none of them.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any, Literal

from .errors import PluginError

#: Fields of records by how they are annotated, and what they may hold.
PLAIN: dict[str, Any] = {"str": str, "bool": bool, "Mapping[str, Any]": Mapping, "Mapping[str, Mapping[str, Any]]": Mapping}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A named component and where to find it. Its options are the parameters of its constructor.

    Args:
        name: what users type: lower-case letters, digits, dots and dashes.
        target: "package.module:Name", imported on first use; or the callable itself, handy in tests.
        summary: one line for `sslrun list`.
        paper: where it was published: "arXiv:2110.14863" or "doi:...".
        experimental: True when details could not be checked against a paper or its code.
    """

    name: str
    target: str | Callable[..., Any]
    summary: str = ""
    paper: str = ""
    experimental: bool = False

    def __post_init__(self) -> None:
        for part in fields(self):
            held, kind = getattr(self, part.name), PLAIN.get(str(part.type))
            if kind is not None and not isinstance(held, kind):
                raise TypeError(f"{part.name} of {type(self).__name__}(name={self.name!r:.40}) should be a {part.type}, "
                                f"is {held!r:.40}")
        if not isinstance(self.target, str) and not callable(self.target):
            raise TypeError(f"target of {type(self).__name__}(name={self.name!r:.40}) should be 'package.module:Name', is "
                            f"{self.target!r:.40}")

    def load(self) -> Callable[..., Any]:
        """The class or function behind `target`."""
        if callable(self.target):
            return self.target
        module, _, attribute = self.target.partition(":")
        if not module or not attribute:
            raise PluginError(f"{self.name!r} points at {self.target!r}; expected 'package.module:Name'")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise PluginError(f"{self.name!r} ({self.target}) needs the module {error.name!r}, which is not installed.\n"
                              f"  Try: pip install {(error.name or module).partition('.')[0]}") from error
        except AttributeError as error:
            raise PluginError(f"{self.name!r} points at {self.target}, but {error}") from error
        except Exception as error:
            raise PluginError(f"{self.name!r} ({self.target}) cannot be imported: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Augmentation(Component):
    """Makes views of a batch, or a mask over its tokens."""

    makes: Literal["views", "mask"] = "views"


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """A data set: `target(**options) -> Data`.

    Args:
        reads: True for the one component that reads the user's own data; its first parameter, `source`, is the path
            or the object given as `data=`.
        synthetic: True when the data are made up; every output says so.
        licence: of the data, where their source states one.
    """

    reads: bool = False
    synthetic: bool = False
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe(Component):
    """A method: its class, the components it is made of, by name, and the options of its paper.

    A bare component name is looked up in the method's own plugin, then in the core; "vision/resnet18" reaches anywhere.

    Args:
        options: by dotted key, as on the command line: {"epochs": 200, "encoder.width": 256}.
        per_data: further options for one data set: {"cora": {"objective.temperature": 0.4}}.
    """

    data: str
    encoder: str
    augmentation: str
    objective: str
    options: Mapping[str, Any] = field(default_factory=dict)
    per_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
