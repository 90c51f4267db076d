"""Options that every data set of nodes has, besides its own: how it is cut in batches, and what is asked of the nodes."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints

from ssl_core import Data

from .minibatches import minibatches
from .questions import asking

OF_BATCHES, OF_QUESTIONS = ("sampler", "batch_size", "fanouts"), ("hidden_links", "regions")


def with_node_options(load: Callable[..., Data]) -> Callable[..., Data]:
    """The same data set with the options of `minibatches` and of `asking`."""
    @wraps(load)
    def loaded(*args: Any, **given: Any) -> Data:
        cut, ask = ({name: given.pop(name) for name in names if name in given} for names in (OF_BATCHES, OF_QUESTIONS))
        return minibatches(asking(load(*args, **given), **ask, seed=given.get("seed", 0)), **cut)
    more = [signature(of).parameters[name].replace(kind=Parameter.KEYWORD_ONLY)
            for of, names in ((minibatches, OF_BATCHES), (asking, OF_QUESTIONS)) for name in names]
    taken = signature(load)
    loaded.__signature__ = taken.replace(parameters=[*taken.parameters.values(), *more])  # type: ignore[attr-defined]
    kinds = get_type_hints(minibatches) | get_type_hints(asking)
    loaded.__annotations__ = get_type_hints(load) | {option.name: kinds[option.name] for option in more}
    return loaded
