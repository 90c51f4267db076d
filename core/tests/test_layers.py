"""CKA between layers: equal to the formula on features by hand, for encoders with and without a list of layers."""
import pytest
import torch
from torch import nn

from ssl_core import Representation
from ssl_core.finished.layers import alike, layers
from ssl_core.metrics import linear_cka


class Stack(nn.Module):
    width = 6

    def __init__(self, depth=3):
        super().__init__()
        self.blocks = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(6, 6), nn.ReLU(inplace=True))))

    def forward(self, batch):
        return Representation(self.blocks(batch))


class Packed(nn.Module):
    width = 6

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])

    def forward(self, batch):  # two tokens for each item, one after the other
        rows = batch.repeat_interleave(2, dim=0)
        for block in self.blocks:
            rows = block(rows)
        return Representation(rows[::2])


def test_layers_are_what_each_block_made_before_the_next_one_changed_it():
    torch.manual_seed(0)
    encoder, batches = Stack().eval(), [torch.randn(20, 6), torch.randn(12, 6)]
    found = layers(encoder, batches)
    assert list(found) == [f"blocks.{i}" for i in range(6)] and all(len(rows) == 32 for rows in found.values())
    first = encoder.blocks[0](torch.cat(batches))
    torch.testing.assert_close(found["blocks.0"], first)
    torch.testing.assert_close(found["blocks.1"], first.relu())
    table = alike(found, found)
    assert all(table[i][i] == pytest.approx(1) for i in range(6))
    assert table[0][3] == pytest.approx(linear_cka(found["blocks.0"], found["blocks.3"]), rel=1e-9)
    assert not encoder.blocks[0]._forward_hooks  # nothing of it stays


@pytest.mark.parametrize("widths", [(5, 7), (200, 90), (5, 90)])
def test_cka_equals_its_formula_for_fewer_and_for_more_columns_than_rows(widths):
    a, b = (torch.randn(40, width, dtype=torch.float64) for width in widths)
    x, y = a - a.mean(dim=0), b - b.mean(dim=0)
    wanted = (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert linear_cka(a, b) == pytest.approx(float(wanted), rel=1e-9)
    assert linear_cka(a, a) == pytest.approx(1) and linear_cka(a, torch.ones(40, widths[1])) == 0.0


def test_at_most_so_many_items_are_looked_at():
    assert len(layers(Stack(), [torch.randn(200, 6)] * 9)["blocks.0"]) == 256


@pytest.mark.parametrize("encoder", [Packed(), nn.Identity()])
def test_no_layers_where_there_is_no_row_for_each_item(encoder):
    if isinstance(encoder, nn.Identity):
        encoder.forward = lambda batch: Representation(batch)
    assert layers(encoder, [torch.randn(4, 6)]) == {}
