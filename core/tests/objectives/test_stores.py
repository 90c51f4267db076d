"""The ring queue holds the last rows, whatever their number; prototypes compare directions only."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core.stores import Bank, Prototypes, Queue, spherical_kmeans


def rows(start, count):
    return torch.arange(start, start + count, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("batches", [[3, 3, 3, 3], [7, 7, 7], [1] * 23, [10, 4], [25], [9, 10, 11]])
def test_queue_holds_the_last_rows_whatever_the_batch(batches):
    queue, seen = Queue(10, 1), 0
    for count in batches:
        queue.push(rows(seen, count))
        seen += count
    assert sorted(queue.rows.flatten().tolist()) == list(range(seen - 10, seen))
    assert queue.latest(4).flatten().tolist() == list(range(seen - 4, seen))


def test_rows_of_a_step_enter_after_it():
    queue = Queue(4, 1)
    before = queue.rows.clone()
    queue.hold(rows(5, 2))
    queue.hold(rows(7, 1))
    assert torch.equal(queue.rows, before)
    queue.advance()
    assert queue.rows.flatten().tolist()[:3] == [5, 6, 7]
    queue.advance()
    assert queue.latest(3).flatten().tolist() == [5, 6, 7]


def test_evaluation_leaves_the_queue_alone():
    queue = Queue(4, 1).eval()
    before = queue.rows.clone()
    queue.hold(rows(5, 2))
    queue.advance()
    assert torch.equal(queue.rows, before)


def test_queue_is_part_of_the_state():
    queue, other = Queue(5, 2), Queue(5, 2)
    queue.push(torch.ones(3, 2))
    other.load_state_dict(queue.state_dict())
    for q in (queue, other):
        q.push(2 * torch.ones(3, 2))
    assert torch.equal(queue.rows, other.rows)


def test_prototypes_are_directions():
    torch.manual_seed(0)
    store, x = Prototypes(6, 4), torch.randn(3, 4)
    cosines = store(x)
    with torch.no_grad():
        store.directions *= 7
    torch.testing.assert_close(store(3 * x), cosines)
    assert cosines.abs().max() <= 1 + 1e-6


def test_frozen_prototypes_get_zeros_and_their_rows_a_gradient():
    store, x = Prototypes(6, 4), torch.randn(3, 4, requires_grad=True)
    store(x, frozen=True).square().sum().backward()
    assert store.directions.grad.abs().max() == 0 and x.grad.abs().max() > 0


@pytest.mark.parametrize("make", [lambda: Queue(0, 3), lambda: Prototypes(1, 3), lambda: Bank(0, 3)])
def test_sizes_that_make_no_sense(make):
    with pytest.raises(ValueError, match="or more"):
        make()


def test_spherical_kmeans_finds_directions():
    torch.manual_seed(0)
    true = torch.eye(4)[:3]
    x = F.normalize(true.repeat_interleave(20, 0) + 0.05 * torch.randn(60, 4), dim=1)
    found = spherical_kmeans(x, 3)
    assert ((found @ true.T).max(0).values > 0.99).all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_a_bank_holds_the_last_row_of_every_item():
    bank, unit = Bank(6, 3), torch.eye(3)
    before = bank.rows.clone()
    bank.hold(torch.tensor([4, 1]), unit[:2])
    assert torch.equal(bank.rows, before)  # no row is compared with itself as a past one
    bank.advance()
    assert torch.equal(bank.rows[[4, 1]], unit[:2]) and torch.equal(bank.rows[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    bank.hold(torch.tensor([4]), unit[2:])
    bank.advance()
    assert torch.equal(bank.rows[4], unit[2]) and torch.equal(bank.rows[1], unit[1])
    bank.eval().hold(torch.tensor([0]), unit[:1])
    bank.advance()
    assert torch.equal(bank.rows[0], before[0])
