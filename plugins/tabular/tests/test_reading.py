"""Tables are read right, or refused with the file, the line and the column."""
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import feather, parquet

from ssl_core import DataError
from ssl_tabular import data as datasets
from ssl_tabular.data import read
from ssl_tabular.schema import describe

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "tabular"


def people(rows=60, seed=0):
    g = np.random.default_rng(seed)
    return pd.DataFrame({
        "age": g.integers(18, 90, rows), "city": g.choice(["Rome", "Oslo", "Bonn"], rows), "member": g.random(rows) < 0.5,
        "since": pd.Timestamp("2020-01-31") + pd.to_timedelta(g.integers(0, 900, rows), unit="D"),
        "income": g.normal(30_000, 9_000, rows).round(2), "kind": g.choice(["a", "b", "c"], rows)})


def kinds(data):
    return {record["name"]: record["kind"] for record in data.schema["columns"]}


EXPECTED = {"age": "numeric", "city": "categorical", "member": "boolean", "since": "date", "income": "numeric"}
WRITERS = {
    "t.csv": lambda frame, path: frame.to_csv(path, index=False),
    "t.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "semicolon.txt": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "t.csv.gz": lambda frame, path: gzip.open(path, "wt").write(frame.to_csv(index=False)),
    "t.parquet": lambda frame, path: parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), path),
    "t.feather": lambda frame, path: feather.write_feather(frame, path),
    "t.arrow": lambda frame, path: feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), path,
                                                         compression="uncompressed"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_formats_agree(name, tmp_path):
    frame = people()
    WRITERS[name](frame, tmp_path / name)
    ours, theirs = read(tmp_path / name, target="kind"), read(frame, target="kind")
    assert kinds(ours) == kinds(theirs) == EXPECTED
    assert ours.classes == ["a", "b", "c"] and torch.equal(ours.labels, theirs.labels)
    for a, b in zip(ours.items, theirs.items, strict=True):
        assert torch.allclose(a.numeric, b.numeric) and torch.equal(a.categorical, b.categorical)


def test_polars_is_read_through_arrow():
    class Like:  # what polars offers; it need not be installed
        def to_arrow(self):
            return pa.Table.from_pandas(people(), preserve_index=False)
    assert kinds(read(Like(), target="kind")) == EXPECTED


def test_a_real_polars_frame_is_read():
    polars = pytest.importorskip("polars", reason="polars is optional")
    frame = people()
    data = read(polars.from_dict({name: frame[name].tolist() for name in frame}), target="kind")
    assert kinds(data) == EXPECTED and torch.equal(data.labels, read(frame, target="kind").labels)


def test_statistics_come_from_training_rows_only():
    frame = people(200)
    first = read(frame, target="kind")
    held = first.folds["test"].numpy()
    changed = frame.copy()
    changed["income"] = changed["income"].astype(float)
    changed.loc[held, "income"] = 1e9
    changed.loc[held, "city"] = "Atlantis"
    second = read(changed, target="kind")
    assert second.schema["columns"] == first.schema["columns"]
    rows = second.items[0].take(second.folds["test"])
    assert (rows.categorical[:, 0] == 1).all(), "a city that no training row has gets the code for unseen"
    assert rows.numeric[:, 2].max() < 3, "a value beyond the training rows is held at their edge"


@pytest.mark.parametrize("scale, centre, low, high", [
    ("standard", 0, -9, 9), ("minmax", 0.5, 0, 1), ("quantile", 0, -2.6, 2.6)])
def test_scales(scale, centre, low, high):
    data = read(people(400), target="kind", scale=scale, learn="train")
    train = torch.cat([batch.numeric for batch in data.items])[data.folds["train"]]
    assert train.min() >= low - 1e-5 and train.max() <= high + 1e-5
    assert abs(train[:, 0].mean() - centre) < 0.1
    if scale == "standard":
        assert torch.allclose(train[:, 2].std(correction=0), torch.tensor(1.0), atol=1e-4)


def test_missing_stays_missing(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,x,?\n,y,2\n3,,5\n4,x,6\n5, NA,7\n")
    rows = read(tmp_path / "t.csv").items[0]
    assert rows.missing.tolist() == [[False, True], [True, False], [False, False], [False, False], [False, False]]
    assert (rows.numeric[rows.missing] == 0).all()
    assert rows.categorical[:, 0].eq(0).tolist() == [False, False, True, False, True]


def test_schema_reads_other_rows_by_name():
    frame = people(100)
    data = read(frame, target="kind")
    other = people(20, seed=1)
    straight = read(other, schema=data.schema)
    shuffled = read(other[["since", "income", "member", "city", "age"]].assign(extra=1), schema=data.schema)
    assert all(torch.equal(a, b) for a, b in zip(straight.items[0], shuffled.items[0], strict=True))
    assert shuffled.labels is None
    assert ("column extra", "not among the columns that the encoder was trained on") in shuffled.skipped
    with pytest.raises(DataError, match="lacks 2 of the columns .*'city', 'income'"):
        read(other.drop(columns=["city", "income"]), schema=data.schema)
    assert read(other[:1], schema=data.schema).items[0].size == 1


def test_overrides_and_rare_categories():
    frame = pd.DataFrame({"code": [1, 2, 3, 4] * 10, "word": [f"w{i % 13}" for i in range(40)], "x": np.arange(40.0)})
    data = read(frame, categorical=("code",), max_categories=5)
    assert kinds(data) == {"code": "categorical", "word": "categorical", "x": "numeric"}
    assert data.facts["cardinalities"] == [6, 7]  # two special codes each
    assert (data.items[0].categorical[:, 1] == 1).sum() == 40 - sum(sorted([4] + [3] * 12)[-5:])
    assert "word" in describe(dict(data.schema)) and "x " in describe(dict(data.schema))


BAD = {
    "ragged": ("a,b\n1,2\n3,4,5\n6,7\n", {}, r"t\.csv, line 3: 3 cells, the first line has 2"),
    "short": ("a,b,c\n1,2,3\n3,4\n6,7,8\n", {}, r"t\.csv, line 3: 2 cells, the first line has 3"),
    "delimiter": ("a;b\n1;2\n3;4\n", {"delimiter": ","}, "also holds a semicolon.\n  Try: data.delimiter=';'"),
    "twice": ("a,b,a\n1,2,3\n4,5,6\n", {}, "'a' is column 1 and 3"),
    "infinite": ("a,b\n1,2\n3,inf\n", {}, r"line 3, column 'b': inf"),
    "mixed": ("a,b\n1,2\n3,oops\n4,5\n6,7\n", {}, r"line 3, column 'b': 'oops' is no number"),
    "no target": ("a,b\n1,2\n3,4\n", {"target": "bb"}, "no column 'bb' for data.target; did you mean 'b'"),
    "empty target": ("a,b\n1,\n3,\n4,\n", {"target": "b"}, "the target is wholly missing"),
    "one class": ("a,b\n1,x\n3,x\n4,x\n", {"target": "b"}, "in every row"),
    "one row": ("a,b\n1,2\n", {}, "holds 1 row; two or more are needed"),
    "no row": ("a,b\n", {}, "holds 0 rows"),
    "empty": ("", {}, "is empty"),
    "constant": ("a,b\n1,\n1,\n1,\n", {}, "no column to learn from: a is constant.*; b is wholly missing"),
    "no header": ("1.5,2\n2.5,4\n3,4\n", {}, "holds numbers, not names of columns.\n  Try: data.header=false"),
    "drop": ("a,b\n1,2\n3,4\n", {"drop": ("c",)}, "no column 'c' to drop"),
    "kind": ("a,b\n1,2\n3,4\n", {"numeric": ("ab",)}, "no column 'ab'"),
    "no number": ("a,b\nx,2\ny,4\n", {"numeric": ("a",)}, r"line 2, column 'a': 'x' is no number"),
    "no date": ("a,b\nx,2\ny,4\n", {"dates": ("a",)}, "column 'a' holds what is no date"),
}


def test_the_row_is_named_in_files_without_lines_too(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": [1.0, np.inf, 3]})
    parquet.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, row 2, column 'b': inf"):
        read(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the table in memory, row 2, column 'b': inf"):
        read(frame)


def test_a_new_table_with_labels_keeps_its_validation_and_test_rows_out_of_training():
    frame = pd.DataFrame({"a": np.arange(50.0), "y": ["u", "v"] * 25})
    known = read(frame, target="y")
    further = read(frame, schema=known.schema, seed=3)
    assert torch.equal(further.train.positions, further.folds["train"]) and len(further.folds["train"]) == 32
    assert read(frame, schema=known.schema, learn="all").size == 50
    assert read(frame.drop(columns="y"), schema=known.schema).size == 50, "without labels there is nothing to hold out"
    assert read(frame[:2], schema=known.schema).size == 2


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name, tmp_path):
    content, options, message = BAD[name]
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "t.csv", **options)


def test_other_bytes_than_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\n1,Rome\n2,Köln\n3,Köln\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.csv, line 3, column 2: the byte 0xf6 is not utf-8.\n  Try: data.encoding=latin-1"):
        read(tmp_path / "t.csv")
    data = read(tmp_path / "t.csv", encoding="latin-1")
    assert data.schema["columns"][1]["categories"] == ["Köln", "Rome"]


def test_left_out_columns_are_listed(tmp_path):
    ids = [f"id-{i}" for i in range(80)]
    frame = pd.DataFrame({"x": np.arange(80.0), "same": 1, "none": None, "id": ids})
    data = read(frame)
    assert dict(data.skipped) == {"column same": "constant in the training rows (1)", "column none": "wholly missing",
                                  "column id": "every text is different, as in an identifier (data.categorical=[id] keeps it)"}
    assert kinds(read(frame, categorical=("id",)))["id"] == "categorical"


def test_rows_without_a_label_train_but_are_not_scored():
    frame = people(90)
    frame.loc[:9, "kind"] = None
    data = read(frame, target="kind", learn="all")
    assert data.size == 90 and (data.labels == -1).sum() == 10 and ("10 rows", "no known label: not scored") in data.skipped


def test_infinities_may_be_missing_and_mixed_objects_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,-inf\n5,6\n")
    assert read(tmp_path / "t.csv", infinite="missing").items[0].missing[:, 1].tolist() == [False, True, False]
    mixed = pd.DataFrame({"a": [1, "x", None, "y", "z"], "b": [1.0, 2, 3, 4, 5]})
    assert kinds(read(mixed)) == {"a": "categorical", "b": "numeric"}


@pytest.mark.parametrize("place", ["memory", "file"])
def test_ten_thousand_columns(place, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 10_000)).astype(np.float32)
    if place == "file":
        np.savetxt(tmp_path / "wide.csv", x, "%.4f", ",", header=",".join(f"c{i}" for i in range(10_000)), comments="")
    data = read(x if place == "memory" else tmp_path / "wide.csv", scale="standard")
    assert not data.skipped and data.facts["numeric"] == 10_000 and next(iter(data.train)).numeric.shape == (40, 10_000)


def test_quantity_is_standardised_by_training_rows():
    data = read(people(100), target="income")
    labels = data.labels[data.folds["train"]]
    assert data.labels.is_floating_point() and abs(labels.mean()) < 1e-5 and abs(labels.std(correction=0) - 1) < 1e-5
    assert data.schema["target"]["std"] > 1000


def test_folds_are_disjoint_and_whole():
    data = read(people(101), target="kind")
    parts = [data.folds[name] for name in ("train", "validation", "test")]
    assert torch.cat(parts).sort().values.tolist() == list(range(101)) and [len(p) for p in parts] == [65, 16, 20]
    assert data.size == 65 and read(people(101), target="kind", learn="all").size == 101
    seen = torch.cat([batch.numeric for batch in data.train])
    assert len(seen) == 65


@pytest.mark.parametrize("name, rows, facts, folds", [
    ("adult", 48_842, {"numeric": 6, "cardinalities": [10, 18, 9, 16, 8, 7, 4, 43], "classes": 2}, (26_049, 6_512, 16_281)),
    ("california", 20_640, {"numeric": 8, "cardinalities": []}, (13_210, 3_302, 4_128)),
    ("letter", 20_000, {"numeric": 16, "cardinalities": [], "classes": 26}, (12_800, 3_200, 4_000)),
])
def test_named_data(name, rows, facts, folds):
    if not SHARED.is_dir():
        pytest.skip("the shared data sets are not there")
    data = getattr(datasets, name)(root=SHARED)
    assert len(data.labels) == rows and data.facts == facts
    assert tuple(len(data.folds[f]) for f in ("train", "validation", "test")) == folds


def test_named_data_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="no adult.data under .*\n  Try: data.root=FOLDER"):
        datasets.adult(root=tmp_path)
    with pytest.raises(DataError, match="data.download=true fetches it from OpenML"):
        datasets.jannis(root=tmp_path)
