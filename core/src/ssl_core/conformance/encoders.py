"""What is asked of an encoder."""
from __future__ import annotations

import pickle
from copy import deepcopy
from unittest import SkipTest

import torch

from .. import checks
from ..batches import cut
from ..checks import attempt, need
from ..contracts import Layout
from .subject import Subject, batch_of, close, pooled


def rows(subject: Subject, name: str) -> None:
    """A representation of its width, and tokens that its layout accounts for."""
    run = subject.using("encoder", name)
    encoder, batch, who = run.method.encoder.eval(), batch_of(run), f"encoder {name}"
    need(isinstance(getattr(encoder, "width", None), int), who, "it has no integer `width`")
    with torch.no_grad():
        out = attempt(who, encoder, batch)
    checks.representation(who, encoder.width, out)
    if out.tokens is None or not hasattr(encoder, "layout"):
        return
    layout = attempt(who, encoder.layout, batch)
    need(isinstance(layout, Layout), who, f"layout should be a Layout, is {type(layout).__name__}")
    need(len(layout.owner) == len(layout.position) == len(out.tokens), who,
         f"{len(out.tokens)} tokens, {len(layout.owner)} owners, {len(layout.position)} positions")
    need((layout.owner.diff() >= 0).all(), who, "owners should ascend: item after item")
    need(layout.position.min() >= 0 and layout.position.max() <= 1, who, "positions should lie in [0, 1]")


def batch(subject: Subject, name: str) -> None:
    """In eval mode a row does not depend on the other items: no statistics of the batch, no padding that counts."""
    run = subject.using("encoder", name)
    whole_batch, who = batch_of(run), f"encoder {name}"
    whole = pooled(run.method.encoder, whole_batch)
    few = cut(whole_batch, len(whole), max(1, len(whole) // 4))
    if few is None:
        raise SkipTest(f"a batch of type {type(whole_batch).__name__} cannot be cut: its items hang together")
    alone = attempt(who, pooled, run.method.encoder, few)
    close(who, "the first items alone, and in their batch", alone, whole[: len(alone)])


def state(subject: Subject, name: str) -> None:
    """Its state dict and its pickle give the same encoder again."""
    run = subject.using("encoder", name)
    encoder, batch_, who = run.method.encoder, batch_of(run), f"encoder {name}"
    other = deepcopy(encoder)
    with torch.no_grad():
        for value in other.parameters():
            value.zero_()
    other.load_state_dict(encoder.state_dict())
    want = pooled(encoder, batch_)
    close(who, "its state dict, loaded again", pooled(other, batch_), want, 1e-6)
    close(who, "its pickle, read again", pooled(pickle.loads(pickle.dumps(encoder)), batch_), want, 1e-6)


QUESTIONS = {"rows": rows, "batch": batch, "state": state}
