"""The contracts, as code. The cheap half runs on the first batch of every training; all of them in a plugin's tests."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from .batches import unnoticed
from .contracts import Layout, Representation
from .errors import ContractError, SSLError
from .methods import Method


def need(ok: object, who: str, what: str) -> None:
    """Raise a ContractError that names the component unless `ok`."""
    if not ok:
        raise ContractError(f"{who} broke its contract: {what}")


def attempt(who: str, call: Callable[..., Any], *args: Any, hint: str = "", **kwargs: Any) -> Any:
    """Call a component; if it raises, say which it was, what it was given, and the hint."""
    try:
        return call(*args, **kwargs)
    except SSLError:
        raise
    except Exception as error:
        given = f" on a batch of type {', '.join(type(a).__name__ for a in args)}" if args else ""
        raise ContractError(f"{who} failed{given}: {type(error).__name__}: {error}{hint}") from error


def shape(x: Any) -> str:
    """The shape of a tensor, else the name of its type."""
    return str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__


def representation(who: str, width: int, out: Any) -> None:
    """An encoder returned what it should."""
    need(isinstance(out, Representation), who, f"expected a Representation, got {type(out).__name__}")
    for name in ("pooled", "tokens"):
        rows = getattr(out, name)
        if rows is not None:
            need(isinstance(rows, Tensor) and rows.ndim == 2 and rows.shape[1] == width, who,
                 f"{name} should be (rows, {width}), is {shape(rows)}")
            need(rows.isfinite().all(), who, f"{name} holds nan or inf")


def first_batch(method: Method, batch: Any, precision: Callable[[], Any] = nullcontext) -> None:
    """Check encoder, augmentation and loss on one batch, on a copy: neither numbers nor statistics are changed.

    Args:
        precision: the context in which the run computes forward: autocast, or nothing.

    Raises:
        ContractError: names the component and what it did.
    """
    need(batch is not None, "the data", "there is no training batch")
    with unnoticed():
        method = deepcopy(method)
        encoder, who = method.encoder, f"encoder {type(method.encoder).__name__}"
        need(isinstance(getattr(encoder, "width", None), int), who, "it has no integer `width`")
        with precision():
            with torch.no_grad():
                out = attempt(who, encoder, batch)
            representation(who, encoder.width, out)
            views, who = augmentation(method, batch, len(out.pooled)), f"method {type(method).__name__}"
            losses = attempt(who, method.step, batch, hint=views and f"\n  {views}; `sslrun show` says what its recipe has")
        need(isinstance(losses, dict) and isinstance(losses.get("loss"), Tensor), who,
             f"step should return {{'loss': ...}}, got {losses!r:.60}")
        for name, value in losses.items():
            need(value.ndim == 0, who, f"{name!r} should be one number, is {shape(value)}")
            need(value.isfinite(), who, f"{name!r} is {value.item()} on the first batch")
        attempt(f"the gradient of {who}", losses["loss"].backward)
        reached = [p.grad for p in encoder.parameters() if p.grad is not None]
        need(reached, who, "no gradient reaches the encoder")
        need(all(grad.isfinite().all() for grad in reached), who, "the gradient of the encoder holds nan or inf")


def augmentation(method: Method, batch: Any, items: int) -> str:
    """The views hold as many items as the batch, or the mask hides a part of it. Says how many views there are, if any."""
    who = f"augmentation {type(method.augmentation).__name__}"
    if method.shown == "mask":
        mask(who, method.augmentation, method.encoder.layout(batch))
        return ""
    views = attempt(who, method.augmentation, batch)
    need(isinstance(views, tuple) and views, who, f"expected a tuple of views, got {type(views).__name__}")
    for view in views:
        with torch.no_grad():
            found = len(attempt(f"encoder {type(method.encoder).__name__}", method.encoder, view).pooled)
        need(found == items, who, f"{items} items became {found}")
    return f"{who} makes {len(views)} view{'s' * (len(views) != 1)}"


def mask(who: str, make: Callable[[Layout], Tensor], layout: Layout) -> None:
    """A mask hides something, and leaves something of every item."""
    hidden = attempt(who, make, layout)
    need(isinstance(hidden, Tensor) and hidden.dtype is torch.bool and hidden.shape == layout.owner.shape, who,
         f"expected a mask {tuple(layout.owner.shape)} of bool, got {shape(hidden)}")
    owners = layout.owner.unique()  # those that own tokens: graphs, say, where the items are nodes
    need(torch.isin(owners, layout.owner[~hidden]).all(), who, "it leaves an item without a visible token")
    need(hidden.any(), who, "it hides nothing")


def cases(plugin: str, *, data: str = "", expected_failures: Mapping[str, str] | None = None) -> list[Any]:
    """Every check of one plugin, for its own tests: see `ssl_core.conformance`.

        @pytest.mark.parametrize("case", checks.cases("demo"), ids=str)
        def test_contract(case):
            case()
    """
    from . import conformance
    return conformance.cases(plugin, data=data, expected_failures=expected_failures)
