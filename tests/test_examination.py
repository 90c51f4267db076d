"""The data doctor finds the faults that were planted, in every domain, and says little about data that are well."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_core import Data, Finding
from ssl_core.examination import examine

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def table(rows=200, width=8, classes=4, seed=0):
    """Well-behaved features and labels in three folds."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(rows, width, generator=g), torch.arange(rows) % classes
    place = torch.randperm(rows, generator=g)
    return x, y, {"train": place[: rows * 6 // 10], "validation": place[rows * 6 // 10: rows * 8 // 10],
                  "test": place[rows * 8 // 10:]}


def data(x, y=None, folds=None, **more):
    batches = list(x.split(32))
    return Data(train=batches, size=len(x), items=batches, labels=y, folds=folds or {}, raw=lambda batch: batch, **more)


def seen(found):
    return {(finding.what, finding.bad) for finding in found}


def leak_duplicates(x, y, folds):
    x[folds["test"][:8]] = x[folds["train"][:8]]


def leak_near(x, y, folds):
    x[folds["test"][:8]] = x[folds["train"][:8]] + 1e-3


def overlap(x, y, folds):
    folds["test"] = torch.cat([folds["test"], folds["train"][:2]])


def copies(x, y, folds):
    x[folds["train"][1]] = x[folds["train"][0]]
    y[folds["train"][1]] = y[folds["train"][0]]


def contradiction(x, y, folds):
    copies(x, y, folds)
    y[folds["train"][1]] = (y[folds["train"][0]] + 1) % 4


def constant(x, y, folds):
    x[:, 3] = 7.0


def all_constant(x, y, folds):
    x[:] = 1.0


def blank(x, y, folds):
    x[:50] = torch.arange(50)[:, None].float()


def broken(x, y, folds):
    x[17, 2] = float("nan")


def leaking(x, y, folds):
    x[:, 5] = y * 10.0 + torch.rand(len(y))


def rare(x, y, folds):
    y[:] = (torch.arange(len(y)) == folds["train"][0]) | (torch.arange(len(y)) == folds["test"][0])


def one_class(x, y, folds):
    y[:] = 2


def unseen(x, y, folds):
    y[folds["train"]] = y[folds["train"]] % 3
    y[folds["test"][0]] = 3


def unlabelled(x, y, folds):
    y[:5] = -1


def empty_fold(x, y, folds):
    folds["validation"] = folds["validation"][:0]


def alike(x, y, folds):
    x[:] = x[: len(x) // 10].repeat(10, 1)


PLANTED = {leak_duplicates: {("leakage", True), ("duplicates", False)},
           leak_near: {("leakage", False), ("near-duplicates", False)},
           overlap: {("leakage", True)}, copies: {("duplicates", False)}, contradiction: {("contradictions", False)},
           constant: {("constant columns", False)}, all_constant: {("constant columns", True)}, blank: {("blank items", True)},
           broken: {("NaN or infinite", True)}, leaking: {("leaking column", True)}, rare: {("imbalance", False)},
           one_class: {("one class", True)}, unseen: {("classes never seen", True)}, unlabelled: {("unlabelled", False)},
           empty_fold: {("empty fold", True)}, alike: {("items that are alike", False)}}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant):
    x, y, folds = table()
    plant(x, y, folds)
    assert PLANTED[plant] <= seen(examine(data(x, y, folds)))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_where_nothing_is(seed):
    assert examine(data(*table(seed=seed))) == []


def test_it_says_where():
    x, y, folds = table()
    copies(x, y, folds)
    x[:, 3] = 7.0
    found = {finding.what: finding for finding in examine(data(
        x, y, folds, names=[f"item{i}" for i in range(len(x))], columns=[*"abcdefgh"],
        skipped=[("z.png", "it is no image")] * 2))}
    first, second = sorted(folds["train"][:2].tolist())
    assert found["duplicates"].where == f"item{second}" and f"item{first}" in found["duplicates"].why
    assert found["constant columns"].where == "d"
    assert found["left out"].where == "z.png, z.png" and found["left out"].why == "it is no image"


def test_findings_of_the_domain_come_along_and_the_worst_first():
    x, y, folds = table()
    mine = [Finding("hum", "a.wav", "50 Hz"), Finding("silence", "b.wav", "nothing", bad=True)]
    assert examine(data(x, y, folds, findings=lambda: mine)) == mine[::-1]


def test_quantities_and_missing_parts():
    x, y, folds = table()
    assert [f.what for f in examine(Data(train=list(x.split(32)), size=len(x)))] == ["no raw features"]
    assert examine(data(x)) == []
    quantity = x[:, 0] + x[:, 1]
    assert examine(data(x, quantity, folds)) == []
    x[:, 4] = quantity * 3
    assert seen(examine(data(x, quantity, folds))) == {("leaking column", True)}


def test_comparing_a_sample_sees_what_is_common(monkeypatch):
    """Of many items some are compared with each other, all are compared for being the same."""
    from ssl_core import examination
    monkeypatch.setattr(examination, "SAMPLE", 50)
    x, y, folds = table(2000)
    x[7] = x[1999]
    look = examination.look(data(x, y, folds))
    assert len(look.rows) == 50 and torch.equal(look.rows, x[look.which]) and len(look.digests) == 2000
    assert "duplicates" in {finding.what for finding in examine(data(x, y, folds))}


def doctor(sslrun, *words):
    code, out, err = sslrun("doctor", *words, "--json")
    assert out, err
    found = json.loads(out.splitlines()[-1])
    return code, found, {finding["what"] for finding in found["findings"]}


def graph(folder):
    edges = [(i, (i + 1) % 40) for i in range(30)]
    (folder / "edges.csv").write_text("".join(f"{a},{b}\n" for a, b in edges))
    g = np.random.default_rng(0)
    rows = "\n".join(",".join(map(str, [*g.normal(size=5).round(3), i % 2])) for i in range(80))
    (folder / "features.csv").write_text("a,b,c,d,e,y\n" + rows)
    return "graph", folder, {"isolated nodes"}, 2, ["data.target=y"]


def recordings(folder):
    soundfile = pytest.importorskip("soundfile")
    g = np.random.default_rng(0)
    for i in range(20):
        noise = (g.normal(size=4000) * 0.1).clip(-1, 1)
        noise = np.clip(noise * 8, -1, 1) if i == 3 else noise * 0.001 if i == 5 else noise
        noise = noise + 0.2 if i == 7 else noise * 0 if i == 9 else noise
        soundfile.write(folder / f"{i}.wav", noise, 8000)
    (folder / "bad.wav").write_bytes(b"no audio")
    return "speech", folder, {"clipping", "silence", "offset", "left out"}, 0, []


def pictures(folder):
    from PIL import Image
    g = np.random.default_rng(0)
    for i in range(24):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        image = g.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(image // 64 + 100 if i in (4, 9) else image).save(folder / "ab"[i % 2] / f"{i:02d}.png")
    (folder / "a" / "copy.png").write_bytes((folder / "a" / "00.png").read_bytes())
    (folder / "b" / "broken.png").write_bytes(b"no image")
    return "vision", folder, {"empty images", "duplicates", "leakage", "left out"}, 2, []


def rows(folder):
    g = np.random.default_rng(0)
    lines = ["age,city,income,gaps,secret,label"]
    for _ in range(300):
        label = ["no", "yes", "maybe"][g.integers(3)]
        gap = "" if g.random() < 0.7 else round(g.normal(), 3)
        lines.append(f"{g.normal():.4f},{g.choice(['a', 'b', 'c'])},{g.normal():.4f},{gap},{label.upper()[::-1]},{label}")
    (folder / "rows.csv").write_text("\n".join(lines))
    return "tabular", folder / "rows.csv", {"leaking column", "gaps"}, 2, ["data.target=label"]


def volumes(folder):
    nib = pytest.importorskip("nibabel")
    g = np.random.default_rng(0)
    for i in range(12):
        voxels = g.normal(size=(16, 16, 16)).astype(np.float32)
        if i == 5:
            voxels[:, :, 4:] = 0
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{i:02d}.nii.gz")
    return "medical", folder, {"empty slices"}, 0, []


@pytest.mark.parametrize("plant", [graph, recordings, pictures, rows, volumes], ids=lambda plant: plant.__name__)
def test_the_doctor_finds_what_was_planted_in_files(plant, tmp_path, sslrun):
    folder = tmp_path / "data"
    folder.mkdir()
    plugin, path, planted, code, options = plant(folder)
    pytest.importorskip(f"ssl_{plugin}")
    found_code, found, kinds = doctor(sslrun, "--plugin", plugin, "--data", path, *options)
    assert planted <= kinds, found["findings"]
    assert found_code == (2 if found["bad"] else 0) == code, found["findings"]
    assert found["epoch"]["seconds"] > 0 and found["epoch"]["batch_mb"] > 0
    said = sslrun("doctor", "--plugin", plugin, "--data", path, *options)[1]
    assert all(kind in said for kind in planted)
    assert said.splitlines()[-1].startswith("badly wrong: " if code else "nothing is badly wrong")


def test_the_leaking_column_is_named(tmp_path, sslrun):
    pytest.importorskip("ssl_tabular")
    _, path, _, _, options = rows(tmp_path)
    _, found, _ = doctor(sslrun, "--plugin", "tabular", "--data", path, *options)
    assert [f["where"] for f in found["findings"] if f["bad"]] == ["secret"]


REAL = {  # what is known of sets that people use
    "Cora": ("graph", "cora", [f"data.root={SHARED}/graph/planetoid"], "graph/planetoid", {"duplicates"}, 0),
    "Adult": ("tabular", "adult", [f"data.root={SHARED}/tabular"], "tabular/adult", {"duplicates", "contradictions"}, 0),
    "yes and no": ("speech", f"{SHARED}/speech/waves_yesno", [], "speech/waves_yesno", set(), 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets(name, sslrun):
    plugin, path, options, place, known, code = REAL[name]
    pytest.importorskip(f"ssl_{plugin}")
    if not (SHARED / place).exists():
        pytest.skip(f"no {place} in {SHARED}")
    found_code, found, kinds = doctor(sslrun, "--plugin", plugin, "--data", path, *options)
    assert known <= kinds and found_code == code, found["findings"]


def test_what_the_doctor_cannot_look_at(sslrun, fails):
    assert "whose data are these?" in fails("doctor", "--data", "blobs")
    assert "options of the data only" in fails("doctor", "--plugin", "toy", "--data", "blobs", "epochs=3")
    assert "no file or folder" in fails("doctor", "--plugin", "toy", "--data", "no/such/thing")
    code, out, _ = sslrun("doctor", "toy", "--data", "blobs", "data.rows=80")
    assert code == 0 and "toy: blobs, 80 items" in out


def test_hostile_names_reach_the_terminal_as_text(tmp_path, sslrun):
    pytest.importorskip("ssl_tabular")
    lines = ["a\x1b]0;x\x07,b,y"] + [f"{i % 7},{i % 5},{i % 2}" for i in range(80)]
    lines[1:] = ["5," + line.partition(",")[2] for line in lines[1:]]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    _, out, _ = sslrun("doctor", "--plugin", "tabular", "--data", tmp_path / "t.csv", "data.target=y")
    assert "\x1b" not in out and "\x07" not in out
