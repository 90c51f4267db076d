"""Matching of rows, and the item tower's task: views, adversarial moves, and which features go together."""
import pytest
import torch
from sklearn.metrics import f1_score, mutual_info_score

from ssl_core import Fold
from ssl_core.objectives.infonce import InfoNCE
from ssl_tabular.augmentations import CorrelatedFeatures, Variants
from ssl_tabular.encoders import MLP
from ssl_tabular.methods.integration import Integration
from ssl_tabular.methods.items import ItemContrast, mutual_information, nearest
from ssl_tabular.probes import matching
from ssl_tabular.rows import Rows


def table(items=400, seed=0):
    """Numbers a, b = a, c; codes d = sign of c, e."""
    g = torch.Generator().manual_seed(seed)
    a, c = torch.randn(2, items, generator=g)
    codes = torch.stack([2 + (c > 0).long(), torch.randint(2, 6, (items,), generator=g)], dim=1)
    return Rows(torch.stack([a, a, c], dim=1), torch.zeros(items, 3, dtype=torch.bool), codes)


def test_variants_leave_a_cell_and_keep_the_row():
    torch.manual_seed(0)
    rows = table(2000)
    first, *copies = Variants(copies=3, drop=0.6, jitter=0.1)(rows)
    assert first is rows and len(copies) == 3
    for copy in copies:
        gone = torch.cat([copy.missing, copy.categorical == 0], dim=1)
        assert not gone.all(dim=1).any() and abs(gone.double().mean() - 0.6) < 0.03
        there = ~copy.missing
        assert (copy.numeric[copy.missing] == 0).all()
        assert abs((copy.numeric - rows.numeric)[there].std() - 0.1) < 0.01
    assert not torch.equal(copies[0].missing, copies[1].missing)


def test_adversarial_loss_is_that_of_the_paper():
    torch.manual_seed(0)
    made = Integration(MLP(3, (4, 6), 8, 2), Variants(1, drop=0.3), InfoNCE(0.5), projector=(6,), epsilon=0.1).double()
    rows = table(7)._replace(numeric=table(7).numeric.double())
    torch.manual_seed(1)
    found = made.step(rows)
    torch.manual_seed(1)
    a, b = (made.projector(made.encoder(view).pooled).detach().requires_grad_() for view in made.augmentation(rows))
    plain = made.objective(a, b)
    slopes = torch.autograd.grad(plain, (a, b))
    moved = [z + 0.1 * torch.stack([g / g.norm() for g in slope]) for z, slope in zip((a, b), slopes)]
    assert torch.allclose(found["contrast"], plain.to(found["contrast"].dtype), atol=1e-5)
    assert torch.allclose(found["loss"].double(), (plain + 0.5 * made.objective(*moved)), atol=1e-5)
    assert found["adversarial"] > found["contrast"], "the move makes it harder"


def test_mutual_information_is_that_of_counts():
    rows = table()
    found = mutual_information(rows, 5)
    edges = [column.sort().values[torch.arange(1, 5) * 400 // 5] for column in rows.numeric.T]
    codes = [torch.searchsorted(e, column.contiguous(), right=True) for e, column in zip(edges, rows.numeric.T)]
    codes += [column.clamp(max=5) for column in rows.categorical.T]
    for i in range(5):
        for j in range(5):
            assert float(found[i, j]) == pytest.approx(mutual_info_score(codes[i].tolist(), codes[j].tolist()), abs=1e-6)
    near = nearest(found)
    assert near[:, 0].tolist() == [0, 1, 2, 3, 4] and near[:4, 1].tolist() == [1, 0, 3, 2]


def test_views_share_no_feature_and_hide_what_goes_together():
    torch.manual_seed(0)
    rows = table()
    made = ItemContrast(MLP(3, (4, 6), 8, 2), CorrelatedFeatures(0.4), InfoNCE(0.1), 3, (6, 6))
    made.prepare(iter([rows.take(slice(0, 100)), rows.take(slice(100, None))]))
    first, second = made.augmentation.apart(rows, made.near)
    hidden = [torch.cat([view.missing, view.categorical == 0], dim=1) for view in (first, second)]
    assert torch.equal(hidden[0], ~hidden[1]) and hidden[0].sum(dim=1).unique().tolist() == [2]
    known = hidden[0][~hidden[0][:, 4]]  # e goes with nothing, whatever is hidden beside it
    assert torch.equal(known[:, 0], known[:, 1]), "b, a copy of a, is never shown where a is hidden"
    assert torch.equal(known[:, 2], known[:, 3]) and 0.6 < len(known) / 400 < 0.95
    assert hidden[0].any(dim=0).all(), "every feature is a seed now and then"


def test_pairs_are_scored_by_a_threshold_of_the_validation_fold():
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 8, generator=g)

    def fold(items):
        labels = torch.randint(20, (items,), generator=g)
        return Fold(centres[labels] + 0.4 * torch.randn(items, 8, generator=g), labels)

    train, validation, test = fold(50), fold(80), fold(90)
    found = matching(train, validation, test)["pair_f1"]

    def pairs(some):
        rows = some.features / some.features.norm(dim=1, keepdim=True)
        i, j = torch.triu_indices(len(rows), len(rows), 1)
        return (rows[i] * rows[j]).sum(dim=1), some.labels[i] == some.labels[j]

    close, same = pairs(validation)
    best = max(close.tolist(), key=lambda t: f1_score(same, close >= t - 1e-6))
    asked, wanted = pairs(test)
    assert found == pytest.approx(f1_score(wanted, asked >= best), abs=0.01) and found > 0.6
    assert matching(train, validation, Fold(test.features, test.labels.float())) == {}
