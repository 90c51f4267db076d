"""The items that monitors look at."""
import torch

from ssl_core import Data, Representation
from ssl_core.batches import Batches
from ssl_core.train.panel import ITEMS, SPAN, panel


class Still:
    """Stands in for a method whose encoder gives what it is given."""

    def kept(self, batch):
        return Representation(batch, None)


def held(items, test, size):
    rows = torch.arange(items, dtype=torch.float)[:, None].expand(-1, 2)
    return Data(train=list(rows.split(size)), size=items, items=list(rows.split(size)), raw=lambda batch: batch,
                labels=torch.arange(items) % 2, folds={"test": torch.arange(test), "train": torch.arange(test, items)})


def test_a_test_fold_that_comes_first_is_passed_over():
    data = held(items=12 * SPAN, test=10 * SPAN, size=8)  # more batches of test items than are looked among
    found = panel(Still(), data, Batches(data.train, 0), torch.device("cpu"))
    shown = torch.cat(found.batches)[found.rows][:, 0]
    assert len(shown) and shown.min() >= 10 * SPAN
    assert torch.equal(found.train.labels, shown[found.train.features].long() % 2)


def test_no_more_than_are_needed_and_none_of_the_test_fold():
    data = held(items=20 * ITEMS, test=100, size=64)
    found = panel(Still(), data, Batches(data.train, 0), torch.device("cpu"))
    shown = torch.cat(found.batches)[found.rows][:, 0]
    assert ITEMS - 100 <= len(shown) <= ITEMS + 64 and shown.min() >= 100
    assert shown.max() - shown.min() > ITEMS  # spread over more than the first


class ByNumber:
    """Items in order that can also be asked for by number."""

    def __init__(self, rows, size):
        self.rows, self.size, self.count = rows, size, len(rows)

    def __iter__(self):
        return iter(self.rows.split(self.size))

    def items_at(self, places):
        return self.rows[places]


def test_items_that_can_be_asked_for_come_from_all_over_the_data():
    count, test = 40 * ITEMS, 10 * ITEMS  # sorted by class, as folders of images are
    rows = torch.arange(count, dtype=torch.float)[:, None].expand(-1, 2)
    labels = torch.arange(count) * 10 // count
    folds = {"test": torch.arange(test), "validation": torch.arange(test, count, 7),
             "train": torch.tensor([row for row in range(test, count) if (row - test) % 7])}
    data = Data(train=list(rows.split(64)), size=count, items=ByNumber(rows, 64), raw=lambda batch: batch, labels=labels,
                folds=folds)
    found = panel(Still(), data, Batches(data.train, 0), torch.device("cpu"))
    shown = torch.cat(found.batches)[found.rows][:, 0].long()
    assert len(shown) == ITEMS and shown.min() >= test
    assert torch.equal(found.validation.labels, labels[shown[found.validation.features]])
    assert set(found.train.labels.tolist()) == set(labels[test:].tolist())
