"""Encoders keep their contract: width, order, independent rows, hidden columns that stay hidden."""
import pytest
import torch

from ssl_core import ConfigError
from ssl_core.build import build
from ssl_tabular.blocks import Body
from ssl_tabular.encoders import MLP, ResNet, Transformer, Windows
from ssl_tabular.row_attention import Saint
from ssl_tabular.rows import Rows, join
from ssl_tabular.tokenizer import FeatureTokenizer, FirstLayer, Unified

CARDS = (4, 6)
SMALL = {"width": 16, "depth": 2}
ENCODERS = {
    "transformer": lambda **more: Transformer(3, CARDS, width=16, depth=2, heads=2, hidden=32, **more),
    "periodic": lambda: Transformer(3, CARDS, width=16, depth=2, heads=2, hidden=32, numbers="periodic", kinds=True,
                                    norm="pre"),
    "unified": lambda: Transformer(3, CARDS, width=16, depth=2, heads=2, hidden=32, codes="unified", table=50),
    "reg": lambda: Transformer(3, CARDS, width=16, depth=2, heads=2, hidden=32, reg=2, readout="reg"),
    "flatten": lambda: Transformer(3, CARDS, width=16, depth=2, heads=2, hidden=32, readout="flatten"),
    "mlp": lambda: MLP(3, CARDS, **SMALL, norm=True), "resnet": lambda: ResNet(3, CARDS, 16, 32, 2),
    "saint": lambda: Saint(3, CARDS, 16, 2, 2, row_width=16, reference=8), "windows": lambda: Windows(3, CARDS, 16, 16),
}


def some(items=20, numeric=3, cards=CARDS):
    missing = torch.rand(items, numeric) < 0.2
    codes = [torch.randint(c, (items,)) for c in cards]
    return Rows(torch.randn(items, numeric).masked_fill(missing, 0), missing,
                torch.stack(codes, dim=1) if codes else torch.zeros(items, 0, dtype=torch.long))


@pytest.mark.parametrize("name", ENCODERS)
def test_contract(name):
    torch.manual_seed(0)
    encoder, rows = ENCODERS[name](), some()
    encoder.train()
    encoder(rows)  # statistics, remembered rows
    encoder.eval()
    out = encoder(rows)
    assert out.pooled.shape == (20, encoder.width) and out.pooled.isfinite().all()
    assert out.tokens is None or out.tokens.shape[0] % 20 == 0 and out.tokens.shape[1] == encoder.width
    order = torch.randperm(20)
    parts = [encoder(rows.take(order[:3])).pooled, encoder(rows.take(order[3:4])).pooled, encoder(rows.take(order[4:])).pooled]
    assert torch.allclose(torch.cat(parts), out.pooled[order], atol=1e-5), "a row depends on the others of its batch"


@pytest.mark.parametrize("name", ENCODERS)
def test_every_column_matters(name):
    torch.manual_seed(0)
    encoder, rows = ENCODERS[name]().eval(), some()
    plain = encoder(rows).pooled
    for i in range(3):
        other = rows.numeric.clone()
        other[:, i] += 1
        changed = encoder(rows._replace(numeric=other, missing=torch.zeros_like(rows.missing))).pooled
        assert (changed - plain).abs().max() > 1e-4
    for i, many in enumerate(CARDS):
        codes = rows.categorical.clone()
        codes[:, i] = (codes[:, i] + 2) % many
        assert (encoder(rows._replace(categorical=codes)).pooled - plain).abs().max() > 1e-4


@pytest.mark.parametrize("readout", ["mean", "reg"])
def test_hidden_columns_do_not_enter(readout):
    torch.manual_seed(0)
    encoder, rows = ENCODERS["transformer"](readout=readout).eval(), some(6)
    keep = torch.rand(6, 5) < 0.5
    keep[:, 0] = True  # ragged: items show different numbers of columns
    other = some(6)
    changed = rows.where(keep, other)
    a, b = encoder(rows, keep=keep.flatten()), encoder(changed, keep=keep.flatten())
    assert torch.equal(a.pooled, b.pooled) and torch.equal(a.tokens, b.tokens) and len(a.tokens) == int(keep.sum())
    alone = [encoder(rows.take(slice(i, i + 1)), keep=keep[i]) for i in range(6)]
    assert torch.allclose(torch.cat([part.tokens for part in alone]), a.tokens, atol=1e-5)
    assert torch.allclose(torch.cat([part.pooled for part in alone]), a.pooled, atol=1e-5)
    whole = encoder(rows, keep=torch.ones(30, dtype=torch.bool))
    assert torch.allclose(whole.tokens, encoder(rows).tokens, atol=1e-5)


def test_layout_is_of_columns():
    layout = ENCODERS["transformer"]().layout(some(4))
    assert layout.owner.tolist() == [i for i in range(4) for _ in range(5)]
    assert layout.position[:5, 0].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_missing_numbers_have_a_vector_of_their_own():
    torch.manual_seed(0)
    tokens = FeatureTokenizer(3, CARDS, 8)
    rows = some(50)
    wild = rows._replace(numeric=torch.where(rows.missing, 99.0, rows.numeric))
    assert torch.equal(tokens(rows), tokens(wild))
    expected = rows.numeric[..., None] * tokens.numbers.weight + tokens.bias[:3]
    assert torch.allclose(tokens(rows)[:, :3][~rows.missing], expected[~rows.missing])
    own = (tokens.missing + tokens.bias[:3]).expand(50, -1, -1)
    assert torch.allclose(tokens(rows)[:, :3][rows.missing], own[rows.missing])


def test_first_layer_is_linear_in_one_hot():
    torch.manual_seed(0)
    layer, rows = FirstLayer(3, CARDS, 8), some()
    with torch.no_grad():
        layer.categories.table.normal_()
    hot = torch.cat([torch.nn.functional.one_hot(rows.categorical[:, i], c) for i, c in enumerate(CARDS)], dim=1).float()
    plain = layer.numbers(torch.cat([rows.numeric, rows.missing.float()], dim=1)) + hot @ layer.categories.table + layer.bias
    assert torch.allclose(layer(rows), plain, atol=1e-5)


@pytest.mark.parametrize("numeric, cards", [(4, ()), (0, (3, 5))])
@pytest.mark.parametrize("make", [Transformer, MLP, ResNet, Saint, Windows])
def test_tables_of_one_kind_of_column(make, numeric, cards):
    encoder = make(numeric, cards).eval()
    assert encoder(some(5, numeric, cards)).pooled.shape == (5, encoder.width)


def test_saint_looks_at_other_rows_while_training_and_at_fixed_ones_after():
    torch.manual_seed(0)
    encoder, rows = Saint(3, CARDS, 16, 1, 2, 0.0, row_width=16, reference=8), some()
    alone, together = encoder(rows.take(slice(0, 10))).pooled, encoder(rows).pooled
    assert (alone[0] - together[0]).abs().max() > 1e-5
    encoder.eval()
    assert int(encoder.known) == 8 and torch.equal(encoder.numeric, rows.numeric[:8])
    a = encoder(rows).pooled
    encoder.numeric.add_(1.0)
    assert (encoder(rows).pooled - a).abs().max() > 1e-6, "the remembered rows are looked at"


def test_windows_cover_all_features_and_share_weights():
    encoder = Windows(3, CARDS, 16, windows=4, overlap=0.75)
    assert encoder.index.unique().tolist() == list(range(13)) and encoder.index.shape[0] == 4
    rows = some(7)
    out = encoder(rows)
    assert torch.allclose(out.tokens.view(7, 4, 16).mean(dim=1), out.pooled, atol=1e-6)


@pytest.mark.parametrize("make, chosen, message", [
    (Transformer, {"width": 10, "heads": 4}, "multiple of heads"), (Transformer, {"readout": "reg", "reg": 0}, "reg=1"),
    (Transformer, {"readout": "all"}, "should be one of"), (Saint, {"row_width": 9}, "multiples of heads"),
    (Windows, {"windows": 1}, "windows should be"),
])
def test_wrong_options(make, chosen, message):
    with pytest.raises(ConfigError, match=message):
        build("encoder", make, chosen=chosen, facts={"numeric": 3, "cardinalities": [4, 6]})


def test_join_puts_rows_after_each_other():
    a, b = some(3), some(4)
    assert join([a, b]).size == 7 and torch.equal(join([a, b]).categorical[3:], b.categorical)


def test_unified_embedding_looks_up_what_it_says():
    torch.manual_seed(0)
    made = Unified((3, 300, 70_000), 5, table=97, row=4).double()
    codes = torch.stack([torch.randint(c, (6,)) for c in (3, 300, 70_000)], dim=1)
    rows, out = made.rows(codes), made(codes)
    assert made.lookups.sum(dim=1).tolist() == [1, 3, 4] and rows.shape == (6, 3, 4) and 0 <= rows.min() and rows.max() < 97
    for b, c in ((0, 0), (3, 1), (5, 2)):
        expected = sum(made.table[rows[b, c, k]] @ made.weight[c, k] for k in range(int(made.lookups[c].sum())))
        assert torch.allclose(out[b, c], expected)


def test_unified_embedding_spreads_codes_over_the_table():
    made = Unified((10_000, 10_000), 4, table=64)
    rows = made.rows(torch.arange(10_000)[:, None].expand(-1, 2))
    for column in range(2):
        for lookup in range(4):
            share = torch.bincount(rows[:, column, lookup], minlength=64) / 10_000
            assert share.max() < 1.5 / 64 and share.min() > 0.5 / 64
    same = (rows[:, 0, 0] == rows[:, 1, 0]).double().mean(), (rows[:, 0, 0] == rows[:, 0, 1]).double().mean()
    assert max(same) < 0.05, "columns and look-ups have hashes of their own"


def test_unified_embedding_does_not_grow_with_the_categories():
    sizes = [sum(p.numel() for p in Transformer(0, (c, c), width=8, depth=1, heads=2, codes="unified", table=128).parameters())
             for c in (70_000, 7_000_000)]
    assert sizes[0] == sizes[1] < 10_000
    again = [Unified((9, 50), 8).rows(torch.tensor([[3, 40]])) for _ in range(2)]
    assert torch.equal(*again), "hashes do not depend on the generators"


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("masked", [False, True])
def test_picked_tokens_are_those_of_the_whole(norm, masked):
    """The last block does no work for tokens that nobody asked for; values and gradients are the same."""
    torch.manual_seed(0)
    body = Body(8, 2, 12, 2, 0.0, norm).double()
    x, mask = torch.randn(3, 6, 8, dtype=torch.float64), torch.rand(6, 6) < 0.6
    mask |= torch.eye(6, dtype=torch.bool)
    found = []
    for picked in (True, False):
        start = x.clone().requires_grad_()
        out = body(start, mask if masked else None, *([lambda t: t[:, 2:5]] if picked else []))
        (out if picked else out[:, 2:5]).square().sum().backward()
        found.append([out if picked else out[:, 2:5], start.grad, *(p.grad.clone() for p in body.parameters())])
        body.zero_grad()
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True))


def test_a_row_of_all_tokens_has_zeros_where_columns_are_hidden():
    torch.manual_seed(0)
    encoder = ENCODERS["flatten"]()
    rows = some(6)
    assert encoder(rows).tokens is None and encoder.width == 16 * 6
    keep = torch.rand(6, 5) < 0.5
    keep[:, 0] = True
    found = encoder(rows, keep=keep.flatten()).pooled.view(6, 6, 16)
    shown = torch.cat([keep.new_ones(6, 1), keep], dim=1)
    assert (found[~shown] == 0).all() and (found[shown] != 0).any(dim=1).all()
    alone = encoder.body(encoder.tokens(rows)[2:3, shown[2]])[0]
    assert torch.allclose(found[2][shown[2]], alone, atol=1e-5)
    assert torch.allclose(encoder(rows, keep=torch.ones(30, dtype=torch.bool)).pooled, encoder(rows).pooled, atol=1e-5)
    with pytest.raises(ValueError, match="encoder.readout=mean"):
        _ = encoder.axes
