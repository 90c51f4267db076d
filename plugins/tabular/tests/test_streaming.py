"""Parquet that stays on disk: the same rows as in memory, a few row groups at a time, and an order that can be resumed."""
import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from ssl_core import DataError, pretrain
from ssl_core.batches import Batches
from ssl_core.pretraining import resume
from ssl_core.testing import killed_at
from ssl_tabular import readers
from ssl_tabular.data import read
from ssl_tabular.rows import join


def frame(rows=500, seed=0):
    g = np.random.default_rng(seed)
    return pd.DataFrame({"number": np.arange(rows) + 0.5, "x": g.normal(size=rows), "city": g.choice(["Rome", "Oslo"], rows),
                         "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(g.integers(0, 99, rows), unit="D"),
                         "kind": g.choice(["a", "b"], rows)})


def write(path, table, group=37):
    parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=group)
    return path


def test_streamed_rows_are_those_in_memory(tmp_path):
    path = write(tmp_path / "t.parquet", frame())
    held, streamed = (read(path, target="kind", stream=stream, scale="standard") for stream in (False, True))
    assert streamed.facts == held.facts and torch.equal(streamed.labels, held.labels) and streamed.classes == ["a", "b"]
    assert all(torch.equal(streamed.folds[name], held.folds[name]) for name in held.folds)
    for a, b in zip(join(list(streamed.items)), join(list(held.items)), strict=True):
        assert torch.allclose(a, b, atol=1e-5) if a.is_floating_point() else torch.equal(a, b)
    assert torch.equal(streamed.raw(join(list(streamed.items)))[:, 1:], held.raw(join(list(held.items)))[:, 1:])


def test_every_training_row_once_in_an_order_of_its_own(tmp_path):
    data = read(write(tmp_path / "t.parquet", frame()), target="kind", stream=True, batch_size=32, mix=3, scale="minmax")
    torch.manual_seed(0)
    epochs = [list(data.train) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [len(data.train)] * 2 and data.size == 320
    assert {batch.size for batch in epochs[0]} == {32}
    wanted = join(list(data.items)).take(data.folds["train"]).numeric[:, 0].sort().values
    first, second = (join(epoch).numeric[:, 0] for epoch in epochs)
    assert torch.equal(first.sort().values, wanted) and torch.equal(second.sort().values, wanted)
    assert not torch.equal(first, second)
    spread = torch.stack([batch.numeric[:, 0].std() for batch in epochs[0]]).mean()
    assert spread > 0.1, "a batch mixes row groups, it is no run of neighbours"


def test_statistics_are_those_of_training_rows(tmp_path):
    table = frame()
    folds = read(write(tmp_path / "t.parquet", table), target="kind", stream=True).folds
    table.loc[folds["test"].numpy(), ["x", "city"]] = [1e9, "Atlantis"]
    data = read(write(tmp_path / "t.parquet", table), target="kind", stream=True, scale="standard")
    x, city = (record for record in data.schema["columns"] if record["name"] in ("x", "city"))
    assert x["knots"][1] < 10 and sorted(city["categories"]) == ["Oslo", "Rome"]


def test_few_row_groups_are_read_at_a_time(tmp_path, monkeypatch):
    data = read(write(tmp_path / "t.parquet", frame()), target="kind", stream=True, batch_size=16, mix=2)
    read_groups, tidy = [], readers.tidy
    monkeypatch.setattr(readers, "tidy", lambda table, *rest: read_groups.append(table.num_rows) or tidy(table, *rest))
    next(iter(data.train))
    assert len(read_groups) == 2 and sum(read_groups) <= 74


def test_put_back_where_it_was_without_reading_all_again(tmp_path, monkeypatch):
    data = read(write(tmp_path / "t.parquet", frame()), target="kind", stream=True, batch_size=16, mix=2)
    straight, cut = (Batches(data.train, seed=3) for _ in range(2))
    whole = list(straight)
    seen = iter(cut)
    for _ in range(13):
        next(seen)
    states = cut.states
    resumed = Batches(read(tmp_path / "t.parquet", target="kind", stream=True, batch_size=16, mix=2).train, seed=3)
    resumed.states, resumed.skip = states, 13
    groups, tidy = [], readers.tidy
    monkeypatch.setattr(readers, "tidy", lambda table, *rest: groups.append(1) or tidy(table, *rest))
    rest = list(resumed)
    assert all(torch.equal(a.numeric, b.numeric) for a, b in zip(rest, whole[13:], strict=True))
    assert len(groups) < 14, "the row groups before were not read again"


def test_a_killed_run_goes_on(tmp_path):
    path = write(tmp_path / "t.parquet", frame(300))

    def go(out):
        return pretrain("tabular", "scarf", path, out=out, epochs=2, quiet=True, probe="linear", baselines=False,
                        **{"data.stream": True, "data.target": "kind", "data.batch_size": 32, "data.mix": 2, "encoder.width": 8,
                           "trainer.checkpoint_steps": 1, "trainer.log_every": 1, "trainer.tensorboard": False})

    def losses(run):
        with (run.path / "metrics.csv").open() as file:
            return [(row["step"], row["loss"]) for row in csv.DictReader(file)]

    straight = go(tmp_path / "straight")
    with killed_at(5):
        go(tmp_path / "cut")
    resumed = resume(tmp_path / "cut", quiet=True)
    assert len(losses(straight)) == 12 and losses(resumed) == losses(straight)
    assert resumed.result["scores"] == straight.result["scores"]
    assert torch.allclose(straight.embed(path), straight.embed(frame(300)), atol=1e-5)


def test_a_folder_of_files_is_one_table(tmp_path):
    whole = frame()
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts" / "1.parquet", whole[:200])
    write(tmp_path / "parts" / "2.parquet", whole[200:])
    both = read(tmp_path / "parts", target="kind", stream=True)
    one = read(write(tmp_path / "one.parquet", whole), target="kind", stream=True)
    assert torch.equal(both.labels, one.labels)
    assert all(torch.equal(a, b) for a, b in zip(join(list(both.items)), join(list(one.items)), strict=True))
    write(tmp_path / "parts" / "3.parquet", whole[["x"]])
    with pytest.raises(DataError, match=r"3\.parquet has the columns x; 1\.parquet has number, x"):
        read(tmp_path / "parts", stream=True)


@pytest.mark.parametrize("change, options, message", [
    (lambda t: t.assign(x=t["x"].where(t.index != 77, np.inf)), {"learn": "all"}, r"t\.parquet.* row \d+, column 'x': inf"),
    (lambda t: t, {"target": "kin"}, "no column 'kin' for data.target; did you mean 'kind'"),
    (lambda t: t, {"drop": ("y",)}, "no column 'y' to drop"), (lambda t: t, {"mix": 0}, "data.mix of 1"),
    (lambda t: t[:1], {}, "holds 1 rows"),
])
def test_what_is_wrong_is_named(change, options, message, tmp_path):
    with pytest.raises(DataError, match=message):
        list(read(write(tmp_path / "t.parquet", change(frame())), stream=True, **options).items)


def test_other_files_are_refused(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="data.stream=true reads Parquet"):
        read(tmp_path / "t.csv", stream=True)
