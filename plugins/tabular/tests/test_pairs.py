"""Rows with images: reading, views, the encoder that skips gaps, and TIP's three terms against plain versions."""
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError
from ssl_core.objectives.infonce import InfoNCE
from ssl_tabular.data import read
from ssl_tabular.fusion import ImageTable
from ssl_tabular.methods.tip import TIP, mistaken
from ssl_tabular.pairs import Pairs, PairViews, digits
from ssl_tabular.rows import MISSING, Rows


def some(items=9, seed=0, dtype=torch.float32):
    """Three numbers and two categories, with gaps, and images of 8 x 8."""
    g = torch.Generator().manual_seed(seed)
    missing = torch.rand(items, 3, generator=g) < 0.3
    rows = Rows(torch.randn(items, 3, generator=g, dtype=dtype).masked_fill(missing, 0.0), missing,
                torch.stack([torch.randint(c, (items,), generator=g) for c in (4, 6)], dim=1))
    return Pairs(rows, torch.rand(items, 1, 8, 8, generator=g))


def made(**options):
    torch.manual_seed(0)
    encoder = ImageTable(3, (4, 6), 1, (8, 8), width=16, heads=2, depth=2)
    return TIP(encoder, PairViews(), InfoNCE(0.1), 3, (4, 6), projection=8, **options)


def test_a_missing_cell_is_seen_by_no_other():
    encoder, batch = made().encoder.double().eval(), some(dtype=torch.float64)
    found = encoder.table(batch.rows)
    for i in range(batch.size):
        there = torch.cat([torch.tensor([True]), ~batch.rows.missing[i], batch.rows.categorical[i] != MISSING])
        x = torch.cat([encoder.first[None], encoder.tokenizer(batch.rows.take(slice(i, i + 1)))], dim=1)[:, there]
        for block in encoder.blocks:
            x = block(x)
        assert torch.allclose(found[i, there], encoder.leave(x)[0], atol=1e-12), "as if the row had fewer columns"


def test_mistaken_partners_are_drawn_by_their_likeness_and_never_the_own_one():
    alike = torch.tensor([[9.0, 2.0, 0.0], [0.0, 9.0, 0.0], [1.0, 0.0, 9.0]])
    torch.manual_seed(0)
    drawn = torch.stack([mistaken(alike) for _ in range(3000)])
    assert (drawn != torch.arange(3)).all()
    weight = alike.softmax(dim=1)[0] + 1e-4
    share = (drawn[:, 0] == 1).double().mean()
    assert abs(share - weight[1] / (weight[1] + weight[2])) < 0.03


def test_rebuilding_is_the_mean_over_hidden_cells_of_each_kind():
    method, batch = made(), some(40)
    torch.manual_seed(1)
    rows = batch.rows.hidden(torch.rand(40, 5) < 0.5)
    holed = Pairs(rows, batch.images)
    tokens = method.encoder.fuse(method.encoder.table(rows), method.encoder.picture(batch.images))[:, 1:].double()
    number, category = deepcopy(method.number).double(), deepcopy(method.category).double()
    squared, entropy = [], []
    for i in range(40):
        for j in range(3):
            if rows.missing[i, j] and not batch.rows.missing[i, j]:
                squared.append((number(tokens[i, j])[0] - batch.rows.numeric[i, j]) ** 2)
        for j, start in enumerate((0, 4)):
            if rows.categorical[i, j] == MISSING != batch.rows.categorical[i, j]:
                logits = category(tokens[i, 3 + j])
                entropy.append(-logits.log_softmax(0)[start + batch.rows.categorical[i, j]])
    plain = (torch.stack(squared).mean() + torch.stack(entropy).mean()) / 2
    ours = method.rebuilt(batch.rows, holed)
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)
    weights = [*method.encoder.fused.parameters()]
    for a, b in zip(torch.autograd.grad(ours, weights, retain_graph=True), torch.autograd.grad(plain, weights)):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_batch_without_a_hidden_cell_of_a_kind_costs_nothing_instead_of_nan():
    method, batch = made(), some()
    assert method.rebuilt(batch.rows, batch) == 0
    only = batch.rows.hidden(torch.tensor([True, True, True, False, False]).expand(9, -1))
    assert method.rebuilt(batch.rows, Pairs(only, batch.images)).isfinite()


def test_matching_tells_pairs_from_both_kinds_of_mistakes():
    method, batch = made(), some()
    image, table = method.encoder.picture(batch.images), method.encoder.table(batch.rows)
    a, b = method.of_image(image.mean(dim=1)), method.of_table(table[:, 0])
    torch.manual_seed(5)
    ours = method.matching(image, table, a, b)
    torch.manual_seed(5)
    alike = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.1
    row, other = mistaken(alike), mistaken(alike.T)
    plain = []
    for i in range(9):
        for rows, pictures, right in ((i, i, 1), (i, int(other[i]), 0), (int(row[i]), i, 0)):
            joint = method.encoder.fuse(table[rows:rows + 1], image[pictures:pictures + 1])[:, 0]
            plain.append(F.cross_entropy(method.belong(joint), torch.tensor([right])))
    assert ours.item() == pytest.approx(torch.stack(plain).mean().item(), rel=1e-4)


def test_views_leave_the_batch_and_keep_gaps():
    torch.manual_seed(0)
    batch = some(2000)
    kept = [part.clone() for part in (*batch.rows, batch.images)]
    first, second = PairViews(corrupt=0.3, hide=0.5)(batch)
    assert all(map(torch.equal, kept, (*batch.rows, batch.images)))
    assert (second.rows.missing >= batch.rows.missing).all() and first.images.shape == batch.images.shape
    hidden = second.rows.differs(batch.rows)
    there = torch.cat([~batch.rows.missing, batch.rows.categorical != MISSING], dim=1)
    assert abs(hidden[there].double().mean() - 0.5) < 0.02 and not hidden[~there].any()
    assert not torch.equal(first.images, second.images) and 0 <= first.images.min() and first.images.max() <= 1
    same = PairViews(corrupt=0.0, zoom=1.0, flip=0.0, contrast=0.0)(batch)[0]
    assert torch.allclose(same.images, batch.images, atol=1e-5) and same.rows is batch.rows


def test_a_folder_of_a_table_and_images_is_read(tmp_path):
    frame = pd.DataFrame({"a": np.arange(20.0), "y": ["u", "v"] * 10})
    images = np.random.default_rng(0).integers(0, 255, (20, 6, 7, 3), dtype=np.uint8)
    frame.to_csv(tmp_path / "table.csv", index=False)
    np.savez(tmp_path / "pictures.npz", images=images)
    found = read(tmp_path, target="y", batch_size=8)
    assert found.facts["channels"] == 3 and found.facts["image_size"] == [6, 7]
    batch = found.items[0]
    assert batch.images.shape == (8, 3, 6, 7) and batch.images[2, 1, 3, 4] == images[2, 3, 4, 1]
    assert found.raw(batch).shape == (8, len(found.columns))
    assert found.preview(batch, [1])[0]["a"] == "1"
    held = read((frame, images), target="y", batch_size=8)
    assert torch.equal(held.items[1].images, found.items[1].images)
    pair = next(iter(held.train))
    for value, picture in zip(pair.rows.numeric[:, 0], pair.images):
        at = (torch.cat([b.rows.numeric[:, 0] for b in held.items]) == value).nonzero()[0, 0]
        assert torch.equal(picture, torch.cat([b.images for b in held.items])[at]), "rows and images travel together"


@pytest.mark.parametrize("images, message", [
    (np.zeros((19, 6, 6), np.uint8), "20 rows and 19 images"), (np.zeros((20, 3, 3)), "sides of 4 or more"),
    (np.full((20, 6, 6), 7.0), "bytes, or floats from 0 to 1"), (np.full((20, 6, 6), np.nan), "bytes, or floats"),
])
def test_images_that_do_not_fit_are_named(images, message):
    with pytest.raises(DataError, match=message):
        read((pd.DataFrame({"a": np.arange(20.0)}), images))


def test_two_tables_beside_images_are_refused(tmp_path):
    np.save(tmp_path / "i.npy", np.zeros((3, 5, 5)))
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("x\n1\n2\n3\n")
    with pytest.raises(DataError, match="2 tables and 1 files of images"):
        read(tmp_path)


def test_hidden_categories_are_found_from_image_and_row():
    data = digits(missing=0.1)
    torch.manual_seed(0)
    encoder = ImageTable(data.facts["numeric"], tuple(data.facts["cardinalities"]), 1, (8, 8), width=32, heads=2, depth=1)
    method = TIP(encoder, PairViews(flip=0.0, zoom=1.2, corrupt=0.1), InfoNCE(0.1), data.facts["numeric"],
                 tuple(data.facts["cardinalities"]))
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for _ in range(12):
        for batch in data.train:
            optimizer.zero_grad()
            method.step(batch)["loss"].backward()
            optimizer.step()
    method.eval()
    right = []
    with torch.no_grad():
        for batch in data.items:
            hidden = torch.zeros(batch.size, 8, dtype=torch.bool)
            hidden[:, 6:] = True
            tokens = encoder.fuse(encoder.table(batch.rows.hidden(hidden)), encoder.picture(batch.images))[:, 7:]
            guess = method.category(tokens).argmax(dim=2) - method.starts
            right.append((guess == batch.rows.categorical)[batch.rows.categorical != MISSING])
    assert torch.cat(right).double().mean() > 0.8
