"""What a user can get wrong, as exceptions. Each message says what, where, why and what to try.

The command line turns every `SSLError` into one message and exit code 2; anything else is a failure of ours.
"""
from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SSLError(Exception):
    """The user can mend this; the message says how."""


class PluginError(SSLError):
    """A plugin or one of its components cannot be used."""


class ConfigError(SSLError):
    """An option or a name is unknown, missing or of the wrong type."""


class MissingFacts(ConfigError):
    """A component asks for what the data do not say."""


class DataError(SSLError):
    """A data set cannot be read, or holds what cannot be learned from."""


class ContractError(SSLError):
    """A component does not do what its contract says."""


class RunError(SSLError):
    """A run directory, or the training in it, cannot go on."""


class Diverged(RunError):
    """The loss is no number any more."""


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or a full stop when nothing is near. Ends a sentence."""
    close = get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
