"""Folders of tables: similarities against plain versions, tables cut in two, and columns that find each other."""
from collections import Counter
from math import log2

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, Run, pretrain, resume
from ssl_core.testing import killed_at
from ssl_tabular.data import read
from ssl_tabular.lake import Column, joins, split_in_two, synthetic_lake
from ssl_tabular.methods.omnimatch import DropNeighbours, Relations, Triplet
from ssl_tabular.similarity import RELATIONS, features, neighbours, similarities

COLUMNS = [["red apple", "green apple", "red pear"], ["red apple", "blue plum"], ["7", "8", "9", "9"], ["red", "green", "9"]]


def test_similarities_are_those_of_sets_and_distributions():
    found = dict(zip(RELATIONS, similarities(COLUMNS)))
    for i, a in enumerate(COLUMNS):
        for j, b in enumerate(COLUMNS):
            one, two = set(a), set(b)
            assert found["values"][i, j] == pytest.approx(len(one & two) / len(one | two))
            assert found["contained"][i, j] == pytest.approx(len(one & two) / len(one)) == found["contains"][j, i]
            p, q = (Counter(" ".join(column).split()) for column in (a, b))
            m = {word: (p[word] / p.total() + q[word] / q.total()) / 2 for word in p | q}
            apart = sum(n / c.total() * log2(n / c.total() / m[word]) / 2 for c in (p, q) for word, n in c.items())
            assert found["distribution"][i, j] == pytest.approx(1 - apart)
    assert (np.diagonal(found["frequent tokens"]) > 0.999).all() and found["rare tokens"][0, 1] == 0.25
    assert found["rare tokens"][1, 3] == 0 < found["distribution"][1, 3]


def test_neighbours_are_the_most_similar_of_other_tables():
    index, weight = neighbours(COLUMNS, ["a", "b", "c", "a"], 2)
    assert index.shape == weight.shape == (6, 4, 2)
    values = RELATIONS.index("values")
    assert index[values, 0, 0] == 1 and weight[values, 0, 0] == pytest.approx(0.25)
    assert not ((index[values, 0] == 3) & (weight[values, 0] > 0)).any(), "a column of the same table is no neighbour"


def test_features_do_not_depend_on_the_order_of_rows():
    values = ["Anna 7", "bob", "3.5", "3.5", "-2"]
    assert np.allclose(features(values), features(values[::-1])) and np.isfinite(features([""])).all()
    assert features(values).shape == (47,)


def test_halves_of_a_table_share_columns_and_rows():
    columns = [Column("t", name, [f"{name}{i}" for i in range(30)]) for name in "abcde"]
    draw, counts = np.random.default_rng(0), Counter()
    for _ in range(50):
        found, pairs = split_in_two(columns, draw)
        assert len(found) == 5 + len(pairs) and 1 <= len(pairs) <= 3
        for left, right in pairs:
            assert found[left].name == found[right].name and found[left].table != found[right].table
            shared = set(found[left].values) & set(found[right].values)
            assert 0 < len(shared) < 20, "ten rows are in both, and a few of them are written differently"
            counts[found[left].name] += 1
    assert len(counts) == 5


def test_a_relational_layer_adds_up_weighted_neighbours():
    torch.manual_seed(0)
    lake = synthetic_lake(tables=5, rows=20, copies=1).items[0]
    encoder = Relations(47, 6, width=8, depth=1).double()
    lake = lake._replace(features=lake.features.double(), weight=lake.weight.double())
    rows = []
    for n in range(len(lake.features)):
        row = encoder.own[0](lake.features[n])
        for r in range(6):
            for j, w in zip(lake.near[r, n], lake.weight[r, n]):
                row = row + w * lake.features[j] @ encoder.others[0][r] / 3
        rows.append(F.normalize(row, dim=0))
    torch.testing.assert_close(encoder(lake).pooled, torch.stack(rows))


def test_triplets_have_random_negatives_and_never_the_positive():
    torch.manual_seed(0)
    a, b = torch.eye(5), torch.eye(5)
    assert Triplet(0.5)(a, b) == 0, "all others are farther by the root of 2"
    assert Triplet(1.0)(torch.zeros(5, 3), torch.zeros(5, 3)) == pytest.approx(1.0, abs=1e-4)
    b = torch.arange(5.0)[:, None]
    drawn = {round(Triplet(9.0)(torch.zeros(5, 1), b).item(), 4) for _ in range(30)}
    assert len(drawn) > 3
    with pytest.raises(DataError, match="needs 2 or more"):
        Triplet()(a[:1], a[:1])


def test_edges_are_left_out_of_the_view_only():
    lake = synthetic_lake(tables=5, rows=20, copies=1).items[0]
    torch.manual_seed(0)
    before = lake.weight.clone()
    (view,) = DropNeighbours(0.5)(lake)
    assert torch.equal(lake.weight, before) and view.features is lake.features
    kept = (view.weight > 0)[before > 0].double().mean()
    assert abs(kept - 0.5) < 0.1


SMALL = {"epochs": 3, "data.tables": 8, "data.rows": 20, "data.copies": 2, "encoder.width": 16, "baselines": False,
         "quiet": True, "probe": "knn", "trainer": {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}}


def test_resumed_equals_uninterrupted(tmp_path):
    straight = pretrain("tabular", "omnimatch", out=tmp_path / "straight", **SMALL)
    with killed_at(3):
        pretrain("tabular", "omnimatch", out=tmp_path / "cut", **SMALL)
    resumed = resume(tmp_path / "cut", quiet=True)
    ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_columns_of_one_kind_find_each_other(tmp_path):
    run = pretrain("tabular", "omnimatch", out=tmp_path / "run", **SMALL | {
        "epochs": 12, "data.tables": 16, "data.rows": 40, "data.copies": 4, "encoder.width": 32, "optimizer.lr": 3e-3,
        "probe": "matching"})
    assert run.result["scores"]["pair_f1"] > 0.6
    data = run.data()
    kinds = dict(zip(data.names, data.labels.tolist()))
    best = joins(run.embed(), data, 20)
    assert sum(kinds[a] == kinds[b] for a, b, _ in best) >= 15 and all(a.split(":")[0] != b.split(":")[0] for a, b, _ in best)


def test_a_folder_of_tables_is_read_and_embedded(tmp_path):
    draw, folder = np.random.default_rng(0), tmp_path / "tables"
    folder.mkdir()
    for i in range(3):
        pd.DataFrame({"id": draw.permutation(50)[:30], "city": draw.choice(["Rome", "Oslo", "Lima"], 30),
                      "gone": [None] * 30}).to_csv(folder / f"{i}.csv", index=False)
    (folder / "broken.csv").write_text("a,b\n1,2,3\n")
    found = read(folder)
    assert found.names == [f"{i}.csv: {name}" for i in range(3) for name in ("id", "city")] and found.labels is None
    assert ("0.csv: gone", "wholly missing") in found.skipped and found.skipped[0][0] != "broken.csv"
    assert any(name == "broken.csv" and "line 2" in why for name, why in found.skipped)
    run = pretrain("tabular", "omnimatch", folder, out=tmp_path / "run", **{
        key: item for key, item in SMALL.items() if not key.startswith("data.")})
    rows = Run.load(run.path).embed(folder)
    assert rows.shape == (6, 16)
    (folder / "1.csv").unlink(), (folder / "2.csv").unlink()
    with pytest.raises(DataError, match="two tables or more"):
        read(folder)
