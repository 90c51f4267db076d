"""The conformance kit: everything that can be asked of a plugin without knowing its domain, as a list of named cases.

`sslrun check NAME` runs the list; a plugin's own tests run it as pytest parameters:

    @pytest.mark.parametrize("case", checks.cases("demo"), ids=str)
    def test_contract(case):
        case()

Listing the cases loads shop windows only; what a case needs is built when it is called.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from unittest import SkipTest

from ..batches import unnoticed
from ..errors import ConfigError, ContractError, SSLError, nearest
from . import augmentations, encoders, methods, objectives, records
from .subject import Subject


@dataclass(frozen=True)
class Case:
    """One question about one component. `str(case)` is its name.

    Call it: it raises a ContractError that says what is wrong, or SkipTest where the question cannot be asked.

    Args:
        name: such as "encoder net: batch".
        check: what is done.
        expected: why it is expected to fail; it is then an error if it passes.
    """

    name: str
    check: Callable[[], None]
    expected: str = ""

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        try:
            with unnoticed():
                self.check()
        except SkipTest:
            raise
        except Exception as error:
            if self.expected:
                return
            if isinstance(error, SSLError):
                raise
            raise ContractError(f"{self.name}: {type(error).__name__}: {error}") from error
        if self.expected:
            raise ContractError(f"{self.name} passes, and was expected to fail: {self.expected}")


#: What is asked of each component of a kind, in the order in which a person would ask.
QUESTIONS = {"encoders": encoders.QUESTIONS, "augmentations": augmentations.QUESTIONS,
             "objectives": objectives.QUESTIONS, "methods": methods.QUESTIONS}


def cases(plugin: str, *, data: str = "", expected_failures: Mapping[str, str] | None = None) -> list[Case]:
    """Every check of one plugin.

    Args:
        plugin: its name, as after `--plugin`.
        data: the data set to use in place of those that the methods name.
        expected_failures: name of a case -> why it fails; default: what the plugin's shop window says under this name.
            Strict: one that passes is an error, and so is an unknown name.

    Raises:
        PluginError: the plugin cannot be loaded.
        ConfigError: a name in `expected_failures` that is no case.
    """
    subject = Subject(plugin, data)
    expected = subject.expected_failures if expected_failures is None else expected_failures
    found = [Case("plugin: window", partial(records.window, subject))]
    for kind, offered in subject.offers.items():
        for name, record in offered.items():
            found.append(Case(f"{kind[:-1]} {name}: record", partial(records.record, kind, record)))
            found += [Case(f"{kind[:-1]} {name}: {question}", partial(check, subject, name))
                      for question, check in QUESTIONS.get(kind, {}).items()]
    names = [case.name for case in found]
    for name in expected:
        if name not in names:
            raise ConfigError(f"no case is named {name!r}{nearest(name, names)}\n  Try: sslrun check {plugin}")
    return [replace(case, expected=expected.get(case.name, "")) for case in found]
