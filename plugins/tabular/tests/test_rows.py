"""Batches, views and per-cell losses against plain versions."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core.batches import move
from ssl_tabular.augmentations import Corrupt
from ssl_tabular.rows import RowBatches, Rows, cell_entropy, cell_errors, features, join, offsets, one_hot


def some(items=50, numeric=3, cards=(4, 6), seed=0):
    g = torch.Generator().manual_seed(seed)
    missing = torch.rand(items, numeric, generator=g) < 0.2
    numbers = torch.randn(items, numeric, generator=g).masked_fill(missing, 0.0)
    return Rows(numbers, missing, torch.stack([torch.randint(c, (items,), generator=g) for c in cards], dim=1))


def test_core_can_move_a_batch():
    rows = some()
    moved = move(rows, "cpu")
    assert isinstance(moved, Rows) and moved.size == 50 and torch.equal(moved.categorical, rows.categorical)


@pytest.mark.parametrize("n, size", [(10, 3), (7, 7), (129, 128), (5, 100)])
def test_batches_cover_the_table_once_and_are_even(n, size):
    rows = some(n)
    torch.manual_seed(0)
    batches = RowBatches(rows, torch.arange(n), size)
    parts = list(batches)
    sizes = [part.size for part in parts]
    assert len(batches) == len(parts) and max(sizes) <= size and max(sizes) - min(sizes) <= 1
    assert join(parts).numeric[:, 0].sort().values.equal(rows.numeric[:, 0].sort().values)
    torch.manual_seed(0)
    assert torch.equal(next(iter(batches)).numeric, parts[0].numeric)


def test_cell_entropy_is_cross_entropy_of_each_column():
    cards = (4, 2, 6)
    codes = torch.stack([torch.randint(c, (9,)) for c in cards], dim=1)
    logits = (torch.randn(9, 12, dtype=torch.float64) * 30).requires_grad_()
    ours = cell_entropy(logits, codes, cards)
    plain = torch.stack([F.cross_entropy(part, codes[:, i], reduction="none")
                         for i, part in enumerate(logits.split(cards, dim=1))], dim=1)
    assert torch.allclose(ours, plain, atol=1e-12)
    weight = torch.randn(9, 3, dtype=torch.float64)
    a, b = (torch.autograd.grad((loss * weight).sum(), logits, retain_graph=True)[0] for loss in (ours, plain))
    assert torch.allclose(a, b, atol=1e-12)


def test_missing_numbers_cost_nothing():
    rows = some()
    squared, entropy = cell_errors(torch.randn(50, 13), rows, (4, 6))
    assert (squared[rows.missing] == 0).all() and squared[~rows.missing].min() > 0 and entropy.shape == (50, 2)


def test_features_are_numbers_and_one_hot():
    rows, cards = some(), (4, 6)
    x = features(rows, cards)
    assert x.shape == (50, 13) and torch.equal(x[:, :3], rows.numeric) and (x[:, 3:].sum(dim=1) == 2).all()
    assert torch.equal(one_hot(rows.categorical, cards)[:, 4:].argmax(dim=1), rows.categorical[:, 1])
    assert offsets(cards).tolist() == [0, 4] and offsets([]).dtype == torch.long


@pytest.mark.parametrize("draw", ["marginal", "shuffle", "row"])
@pytest.mark.parametrize("exact", [True, False])
def test_corrupted_cells_come_from_the_same_column(draw, exact):
    torch.manual_seed(0)
    items = 200
    numbers = torch.arange(items * 3.0).view(3, items).T.contiguous()  # a value tells row and column
    rows = Rows(numbers, torch.zeros(items, 3, dtype=torch.bool), torch.arange(items)[:, None].expand(-1, 2).contiguous())
    clean, view = Corrupt(share=0.4, exact=exact, draw=draw)(rows)
    assert clean is rows and torch.equal(rows.numeric, numbers)
    assert ((view.numeric // items).long() == torch.arange(3)).all()
    changed = view.differs(rows).float()
    assert abs(changed.mean() - 0.4) < 0.05
    if exact:
        assert (changed.sum(dim=1) <= 2).all() and (changed.sum(dim=1) == 2).double().mean() > 0.9
    if draw == "row":  # all replaced cells of a row have one source
        source = torch.cat([view.numeric % items, view.categorical.float()], dim=1)
        own = torch.arange(items)[:, None]
        assert all(len(set(s[s != i].tolist())) <= 1 for s, i in zip(source, own, strict=True))


def test_missing_marks_travel_with_their_numbers():
    torch.manual_seed(0)
    rows = some(300)
    view = Corrupt(share=1.0)(rows)[1]
    assert (view.numeric[view.missing] == 0).all() and abs(view.missing.float().mean() - rows.missing.float().mean()) < 0.03


def test_views_without_the_clean_row():
    a, b, c = Corrupt(share=0.5, clean=False, views=3)(some())
    assert not torch.equal(a.numeric, b.numeric) and not torch.equal(b.numeric, c.numeric)


@pytest.mark.parametrize("options, message", [({"share": 0.0}, "share"), ({"share": 1.5}, "share"), ({"views": 1}, "views")])
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Corrupt(**options)
