"""Epochs can be replayed and entered in the middle, and loaders leave the generators of the training alone."""
import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ssl_core.batches import Batches, cut, move, random_state, restore_random, seed_all, size, unnoticed

Pair = namedtuple("Pair", "a b")


class Drawn:
    """A loader that is no DataLoader and draws from all three generators while it is iterated."""

    def __len__(self):
        return 5

    def __iter__(self):
        for _ in range(5):
            yield torch.rand(2) + torch.tensor([np.random.rand(), random.random()])


def loader():
    return DataLoader(torch.arange(12), 2, shuffle=True)


def workers():
    return DataLoader(torch.arange(12), 2, shuffle=True, num_workers=1)


def memory():
    return [torch.tensor([i]) for i in range(5)]


KINDS = [loader, Drawn, memory, workers]


def epoch(batches, number, skip=0):
    batches.epoch, batches.skip = number, skip
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_a_function_of_seed_and_number(kind):
    seed_all(1)
    first = Batches(kind(), seed=3)
    epochs = [epoch(first, n) for n in range(3)]
    seed_all(2)
    torch.rand(7)
    again = Batches(kind(), seed=3)
    assert [epoch(again, n) for n in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    if kind is not memory:
        assert epochs[0] != epochs[1] and epoch(Batches(kind(), seed=4), 0) != epochs[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip", [0, 1, 4, 5])
def test_an_epoch_can_be_entered_in_the_middle(kind, skip):
    batches = Batches(kind(), seed=3)
    assert epoch(batches, 1, skip) == epoch(batches, 1)[skip:]


class Stream:
    """A loader that keeps its own place, as one over a long stream does."""

    def __init__(self):
        self.place, self.order, self.read = 0, None, 0

    def __len__(self):
        return 6

    def __iter__(self):
        self.order = torch.randperm(6) if self.order is None else self.order
        while self.place < 6:
            self.read, self.place = self.read + 1, self.place + 1
            yield self.order[self.place - 1] + torch.rand(2)
        self.place, self.order = 0, None

    def state_dict(self):
        return {"place": self.place, "order": self.order}

    def load_state_dict(self, state):
        self.place, self.order = state["place"], state["order"]


@pytest.mark.parametrize("seen", [1, 3, 6])
def test_a_loader_that_keeps_its_place_is_put_back_and_reads_nothing_twice(seen, tmp_path):
    whole, wanted = Batches(Stream(), seed=3), []
    whole.epoch = 1
    for number, batch in enumerate(whole, start=1):
        wanted.append(batch.tolist())
        if number == seen:
            torch.save(whole.states[seen], tmp_path / "state.pt")
    again = Batches(Stream(), seed=3)
    again.states = {seen: torch.load(tmp_path / "state.pt", weights_only=True)}
    assert epoch(again, 1, skip=seen) == wanted[seen:] and again.batches.read == 6 - seen
    assert len(whole.states) <= 4  # the last few are enough
    assert epoch(again, 2) == epoch(whole, 2)


def test_a_batch_is_read_again_with_the_positions_of_its_items():
    batches = Batches(loader(), seed=3)
    batches.epoch = 4
    for index, batch in enumerate(batches):
        found, ids = batches.again(4, index)
        assert found.tolist() == batch.tolist() == ids
    held = Batches([{"ids": torch.tensor([7, 8])}], seed=0)
    assert held.again(0, 0)[1] == [7, 8] and Batches(memory(), seed=0).again(0, 2)[1] is None


@pytest.mark.parametrize("batch, items", [
    (torch.ones(3, 2), 3), ({"a": torch.ones(4)}, 4), ((None, torch.ones(5)), 5), (object(), 0), (torch.tensor(1), 0)])
def test_the_size_of_a_batch(batch, items):
    assert size(batch) == items


@pytest.mark.parametrize("batch", [
    torch.arange(6), {"x": torch.arange(6), "y": None}, Pair(torch.arange(6), [torch.arange(6)])])
def test_a_batch_is_cut_with_all_its_parts(batch):
    part = cut(batch, 6, 2, start=3)
    assert type(part) is type(batch)
    first = part if isinstance(part, torch.Tensor) else next(iter(part.values())) if isinstance(part, dict) else part[0]
    assert first.tolist() == [3, 4]
    assert cut((batch, "name"), 6, 2) is None and cut((batch, torch.ones(5)), 6, 2) is None


def numbers():
    return torch.rand(1).item(), np.random.rand(), random.random()


@pytest.mark.parametrize("kind", KINDS)
def test_the_generators_outside_are_untouched(kind):
    seed_all(5)
    expected = [numbers() for _ in range(5)]
    seed_all(5)
    found = [numbers() for _, batch in zip(range(5), Batches(kind(), seed=0))]
    assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_training_draws_between_batches_changes_no_batch(kind):
    plain = epoch(Batches(kind(), seed=0), 0)
    disturbed = []
    for batch in Batches(kind(), seed=0):
        disturbed.append(batch.tolist())
        numbers()
    assert disturbed == plain


def test_an_epoch_that_is_left_early_leaves_the_generators_alone():
    seed_all(5)
    expected = numbers()
    seed_all(5)
    next(iter(Batches(Drawn(), seed=0)))
    assert numbers() == expected


def test_state_survives_a_checkpoint(tmp_path):
    seed_all(5)
    random.gauss(0, 1)  # leaves half a pair behind
    np.random.randn()
    torch.save(random_state(), tmp_path / "state.pt")
    expected = *numbers(), random.gauss(0, 1), np.random.randn()
    seed_all(9)
    restore_random(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (*numbers(), random.gauss(0, 1), np.random.randn()) == expected


def test_unnoticed_holds_after_an_error_too():
    seed_all(5)
    expected = numbers()
    seed_all(5)
    with pytest.raises(KeyError), unnoticed():
        numbers()
        raise KeyError
    assert numbers() == expected


@pytest.mark.parametrize("batch", [
    torch.ones(2), {"x": torch.ones(2), "n": 3}, (torch.ones(1), "name"), [torch.ones(1)],
    Pair(torch.ones(1), [torch.ones(2)]), None])
def test_move_keeps_the_structure(batch):
    moved = move(batch, "meta")

    def same(a, b):
        assert type(a) is type(b)
        if isinstance(a, torch.Tensor):
            assert b.is_meta and a.shape == b.shape
        elif isinstance(a, dict):
            assert a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
        elif isinstance(a, (tuple, list)):
            assert len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        else:
            assert a == b
        return True

    same(batch, moved)
