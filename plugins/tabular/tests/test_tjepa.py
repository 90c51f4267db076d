"""T-JEPA: masks, the regularisation token, the slow encoder, the predictor, and what it learns."""
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_core import Progress
from ssl_core.objectives.regression import MSE
from ssl_tabular.augmentations import ColumnSubsets
from ssl_tabular.encoders import MLP, Transformer
from ssl_tabular.methods.tjepa import TJEPA, Predictor, blocks, rows_at, spread
from ssl_tabular.rows import Rows


def table(items=64, numeric=5, cards=(4, 3), seed=0):
    g = torch.Generator().manual_seed(seed)
    codes = [torch.randint(c, (items,), generator=g) for c in cards]
    return Rows(torch.randn(items, numeric, generator=g), torch.zeros(items, numeric, dtype=torch.bool),
                torch.stack(codes, dim=1) if codes else torch.zeros(items, 0, dtype=torch.long))


def method(numeric=5, cards=(4, 3), subsets=None, encoder=None, **options):
    torch.manual_seed(0)
    encoder = encoder or Transformer(numeric, cards, width=16, depth=2, heads=2, hidden=32, readout="flatten")
    return TJEPA(encoder, subsets or ColumnSubsets((0.2, 0.4), (0.2, 0.4)), MSE(),
                 **{"width": 16, "depth": 2, "heads": 2, "hidden": 32, **options})


@pytest.mark.parametrize("columns", [2, 3, 7, 54])
@pytest.mark.parametrize("number", [1, 4])
def test_context_and_targets_are_disjoint(columns, number):
    torch.manual_seed(columns)
    draw = ColumnSubsets((0.14, 0.6), (0.16, 0.62), number)
    for _ in range(50):
        context, targets = draw.draw(16, columns, "cpu")
        assert context.shape[1] >= 1 and targets.shape[2] >= 1 and context.shape[1] + targets.shape[2] <= columns
        both = torch.cat([context.expand(number, -1, -1), targets], dim=2).sort(dim=2).values
        assert (both.diff(dim=2) > 0).all(), "a column stands twice"
        assert both.min() >= 0 and both.max() < columns


def test_counts_follow_the_shares():
    torch.manual_seed(0)
    counts = [ColumnSubsets((0.13628, 0.36819), (0.15563, 0.62223)).counts(54) for _ in range(3000)]
    seen, wanted = (torch.tensor(c) for c in zip(*counts))
    assert (seen.min(), seen.max()) == (7, 20) and wanted.min() == 8 and wanted.max() == 34
    assert (seen + wanted <= 54).all() and abs(seen.double().mean() - 13.5) < 0.3


def test_targets_of_a_row_are_independent():
    """The published code shuffles one buffer in place, so that its four targets are one."""
    torch.manual_seed(0)
    _, targets = ColumnSubsets(targets=4).draw(200, 30, "cpu")
    pairs = [(i, j) for i in range(4) for j in range(i)]
    assert len({part.data_ptr() for part in targets.unbind()}) == 4
    assert all((targets[i].sort(dim=1).values != targets[j].sort(dim=1).values).any(dim=1).double().mean() > 0.95
               for i, j in pairs)


def test_every_column_is_a_target_as_often_and_reg_never():
    torch.manual_seed(0)
    made, batch, draws = method(), table(1000), torch.zeros(8)
    total = 0.0
    for _ in range(10):  # 10 batches of 1,000 rows: 10^4 draws of four targets
        context, targets = made.places(batch)
        assert (context == 0).any(dim=1).all() and (targets > 0).all()
        draws += torch.bincount(targets.flatten(), minlength=8)
        total += targets.shape[2] / 7 * targets.shape[0] * targets.shape[1]
    share = draws[1:] / total
    spread = (1 / total) ** 0.5  # of the share of a column, at most
    assert draws[0] == 0 and (share - 1).abs().max() < 3 * spread


def test_the_published_places_are_off_by_one():
    torch.manual_seed(0)
    made, batch = method(reg_token_policy="paper_code"), table(500)
    found = [torch.cat([p.flatten() for p in made.places(batch)]) for _ in range(5)]
    drawn = torch.cat(found).unique()
    assert drawn.tolist() == list(range(7)), "REG (0) is drawn like a column, the last column (7) never"
    corrected = torch.cat([torch.cat([p.flatten() for p in method().places(batch)]) for _ in range(5)]).unique()
    assert corrected.tolist() == list(range(8))


@pytest.mark.parametrize("shared", [True, False])
def test_predictor_equals_one_target_at_a_time(shared):
    torch.manual_seed(0)
    predictor = Predictor(8, 12, 16, 2, 2, 32, 0.0, shared).double().eval()
    context, at = torch.randn(5, 4, 8, dtype=torch.float64), torch.rand(5, 12).argsort(dim=1)[:, :4]
    targets = torch.rand(3, 5, 12).argsort(dim=2)[..., :3]
    whole = predictor(context, at, targets)
    alone = torch.cat([predictor(context, at, target[None]) for target in targets])
    assert whole.shape == (3, 5, 3, 8) and torch.allclose(whole, alone, atol=1e-10)


def test_predictor_mask():
    expected = [[1, 1, 0, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0, 0]] * 2 + [[1, 1, 0, 0, 1, 1]] * 2
    assert torch.equal(blocks(2, 2, 2, torch.device("cpu")), torch.tensor(expected, dtype=torch.bool))


def plain_step(made, batch, context, targets):
    """The algorithm as it is written down: rows one by one, each target by itself, attention by hand."""
    def block(layer, x):
        width, heads = x.shape[1], layer.heads
        q, k, v = layer.qkv(x).split(width, dim=1)
        parts = [F.softmax(a @ b.T / (width // heads) ** 0.5, dim=1) @ c
                 for a, b, c in zip(*(m.split(width // heads, dim=1) for m in (q, k, v)))]
        x = layer.norms[0](x + layer.out(torch.cat(parts, dim=1)))
        return layer.norms[1](x + layer.feed(x))

    def body(net, x):
        for layer in net.blocks:
            x = block(layer, x)
        return net.leave(x)

    errors, guess = [], made.predictor
    for i in range(batch.size):
        row = batch.take(slice(i, i + 1))
        whole = body(made.teacher.copy.body, made.teacher.copy.tokens(row)[0]).detach()
        seen = body(made.encoder.body, made.encoder.tokens(row)[0][context[i]])
        for target in targets[:, i]:
            x = torch.cat([guess.enter(seen) + guess.place[context[i]], guess.query + guess.place[target]])
            out = guess.leave(body(guess.body, x))[len(context[i]):]
            errors.append((out - whole[target]).square().mean())
    return torch.stack(errors).mean()


def test_step_equals_the_plain_algorithm():
    made, batch = method(shared_context=False, clamp=0.0).double(), table(6)
    batch = batch._replace(numeric=batch.numeric.double())
    nn.init.normal_(made.encoder.tokenizer.bias)
    context, targets = made.places(batch)
    made.places = lambda _: (context, targets)
    ours, plain = made.step(batch)["loss"], plain_step(made, batch, context, targets)
    assert torch.allclose(ours, plain, atol=1e-10)
    weights = [p for p in [*made.encoder.parameters(), *made.predictor.parameters()]]
    grads = [torch.autograd.grad(loss, weights, allow_unused=True) for loss in (ours, plain)]
    for a, b in zip(*grads, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-10)


def test_the_slow_encoder_is_out_of_reach_of_the_gradient():
    made, batch = method(), table()
    before = deepcopy(made.teacher.state_dict())
    made.train()
    assert not any(module.training for module in made.teacher.modules()), "its targets have no dropout"
    made.step(batch)["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in made.teacher.parameters())
    assert all(torch.equal(p, before[name]) for name, p in made.teacher.state_dict().items())
    with torch.no_grad():
        for weight in made.encoder.parameters():
            weight.add_(1.0)
    made.progress = Progress(50, 100)
    made.after_step()
    for slow, name in zip(made.teacher.copy.parameters(), dict(made.teacher.copy.named_parameters()), strict=True):
        assert torch.allclose(slow - before[f"copy.{name}"], torch.tensor(0.004 * 0.5), atol=1e-6)
    made.progress = Progress(100, 100)
    frozen = deepcopy(made.teacher.state_dict())
    made.after_step()
    assert all(torch.equal(p, frozen[name]) for name, p in made.teacher.state_dict().items())


def test_spread_tells_a_collapse_from_a_life():
    """The root mean square of target tokens about the mean of their column, whichever rows they stand in."""
    torch.manual_seed(0)
    means, places = torch.randn(7, 16), torch.rand(2, 50, 7).argsort(dim=2)[..., :3]
    tokens = means[places]
    assert spread(tokens, places, 7) < 1e-6, "tokens that are the same in every row"
    noise = 0.5 * torch.randn(2, 50, 3, 16)
    assert abs(float(spread(tokens + noise, places, 7)) - 0.5) < 0.03


@pytest.mark.parametrize("targets", [1, 4])
def test_targets_are_the_tokens_of_the_whole_row(targets):
    """Few targets are all that the last block of the slow encoder makes; what it makes is the same."""
    made, batch = method(subsets=ColumnSubsets((0.2, 0.4), (0.3, 0.5), targets)).double(), table(9)
    batch = batch._replace(numeric=batch.numeric.double())
    _, places = made.places(batch)
    whole = made.teacher.copy.body(made.teacher.copy.tokens(batch))
    expected = torch.stack([rows_at(whole, target) for target in places])
    assert torch.allclose(made.wanted(batch, places), expected, atol=1e-12)


def test_gradients_are_clamped_by_entry():
    made = method(clamp=1e-5)
    made.step(table())["loss"].backward()
    top = max(p.grad.abs().max() for p in made.encoder.parameters() if p.grad is not None)
    assert top == pytest.approx(1e-5)


def test_hidden_columns_do_not_reach_the_context():
    made, batch = method(), table(3)
    context = torch.tensor([[0, 1, 4]] * 3)
    changed = batch._replace(numeric=batch.numeric.clone())
    changed.numeric[:, [1, 2, 4]] += 5.0  # places 2, 3, 5
    seen = [made.encoder.body(rows_at(made.encoder.tokens(rows), context)) for rows in (batch, changed)]
    assert torch.equal(*seen)


def test_order_of_columns_does_not_matter():
    """Loss over random weights and masks has the same distribution when columns are permuted with their metadata."""
    order = torch.tensor([3, 0, 4, 1, 2])
    batch = table(64)
    turned = Rows(batch.numeric[:, order], batch.missing[:, order], batch.categorical.flip(1))

    def losses(rows, cards):
        found = []
        for seed in range(40):
            torch.manual_seed(seed)
            net = Transformer(5, cards, width=16, depth=1, heads=2, hidden=16, readout="flatten")
            found.append(TJEPA(net, ColumnSubsets((0.2, 0.4), (0.2, 0.4)), MSE(), width=16, depth=1, heads=2, hidden=16)
                         .step(rows)["loss"].detach())
        return torch.stack(found)

    a, b = losses(batch, (4, 3)), losses(turned, (3, 4))
    error = ((a.var() + b.var()) / len(a)).sqrt()
    assert (a.mean() - b.mean()).abs() < 3 * error + 1e-4


def test_planted_dependence_is_found():
    """Column 3 is a function of column 1, and of nothing else: it is guessed better from 1 than from the others."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 4, generator=g)
    x[:, 3] = x[:, 1]
    rows = Rows(x, torch.zeros_like(x, dtype=torch.bool), torch.zeros(2048, 0, dtype=torch.long))
    torch.manual_seed(0)
    encoder = Transformer(4, (), width=16, depth=1, heads=2, hidden=32, readout="flatten")
    made = TJEPA(encoder, ColumnSubsets((0.25, 0.5), (0.25, 0.5), 2), MSE(), width=16, depth=2, heads=2, hidden=32)
    optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=5e-3)
    for step in range(250):
        made.progress = Progress(step, 250)
        loss = made.step(rows.take(torch.randint(2048, (128,), generator=g)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made.after_step()
    made.eval()

    def error(given):
        context, target = torch.tensor([[0, *(c + 1 for c in given)]] * 2048), torch.full((1, 2048, 1), 4)
        guess = made.predictor(encoder.body(rows_at(encoder.tokens(rows), context)), context, target)
        whole = made.teacher.copy.body(made.teacher.copy.tokens(rows))
        return float((guess[0, :, 0] - whole[:, 4]).square().mean())

    with torch.no_grad():
        assert error([1]) < 0.5 * min(error([0]), error([2]), error([0, 2]))


@pytest.mark.parametrize("build, message", [
    (lambda: method(encoder=MLP(5, (4, 3))), "encoder=transformer"),
    (lambda: method(subsets=lambda layout: layout), "augmentation=column-subsets"),
    (lambda: method(encoder=Transformer(5, (4, 3), reg=2), reg_token_policy="paper_code"), "encoder.reg=1"),
    (lambda: ColumnSubsets((0.5, 0.2)), "context should be two rising shares"),
    (lambda: ColumnSubsets((0.5, 0.6), (0.5, 0.6)), "no room"),
    (lambda: ColumnSubsets().counts(1), "two or more are needed"),
])
def test_wrong_parts_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
