"""The parts of a report: markup that escapes, PNG files that decode, charts that keep their peaks, masks over pictures."""
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from ssl_core import Drawing
from ssl_core.report import charts, looks, maps
from ssl_core.report.gather import metrics, neighbours, spectrum
from ssl_core.report.html import Html, joined, number, tag
from ssl_core.report.page import coloured, plain

NASTY = ['<script>alert(1)</script>', '" onmouseover="alert(1)', "a & b", "</title><img src=x>", "'single'", "<!--"]


class Tags(HTMLParser):
    """Names of the tags, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.found.append(name)
        self.attributes.append(dict(attributes))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("word", NASTY)
def test_text_and_attributes_are_escaped_wherever_they_stand(word):
    made = Tags(tag("p", word, [word, tag("b", word)], title=word, data_t=word))
    assert made.found == ["p", "b"] and made.attributes[0] == {"title": word, "data-t": word}
    assert made.text == word * 3


def test_only_what_is_html_stays_as_it_is():
    assert joined(["<b>", Html("<b>"), None, 3]) == "&lt;b&gt;<b>3"
    assert isinstance(joined([]), Html)


@pytest.mark.parametrize("value, shown", [(1234567, "1,234,567"), (0.123456, "0.1235"), (1e-9, "1e-09"), (True, "True"),
                                          (None, ""), ("a", "a"), (12345.678, "12,346"), (3, "3")])
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def decoded(data):
    """A PNG, read by its own standard: signature, chunks with their checks, lines with filter 0."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, parts = 8, {}
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place: place + 8])
        body = data[place + 8: place + 8 + size]
        assert struct.unpack(">I", data[place + 8 + size: place + 12 + size])[0] == zlib.crc32(kind + body)
        parts[kind] = body
        place += 12 + size
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert depth == 8 and rest == [0, 0, 0] and b"IEND" in parts
    channels = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape((height, width) if channels == 1 else (height, width, 3))


@pytest.mark.parametrize("shape", [(5, 7), (8, 3, 3), (1, 1)])
def test_a_png_holds_the_picture(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert (decoded(looks.png(picture)) == picture).all()
    assert (decoded(looks.png(picture[::-1])) == picture[::-1]).all()  # not contiguous


@pytest.mark.parametrize("shape, side, wanted", [((64, 300), 160, (64, 160)), ((10, 10), 20, (10, 10)),
                                                 ((7, 5, 3), 4, (4, 4, 3))])
def test_pictures_shrink_by_means(shape, side, wanted):
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    small = looks.shrunk(picture, side)
    assert small.shape == wanted
    first = picture[: shape[0] // wanted[0], : shape[1] // wanted[1]]  # what falls into the first cell
    np.testing.assert_allclose(small[0, 0], first.mean(axis=(0, 1)), atol=2)
    assert (looks.shrunk(np.full(shape, 77, np.uint8), side) == 77).all()


def test_a_sheet_holds_every_picture_in_its_cell():
    pictures = [np.full((4, 4), i * 10, np.uint8) for i in range(5)]
    made = looks.sheet(pictures, 8, 3)
    assert made.shape == (16, 24) and [int(made[8 * (i // 3) + 7, 8 * (i % 3) + 7]) for i in range(5)] == [0, 10, 20, 30, 40]
    mixed = looks.sheet([np.zeros((4, 4), np.uint8), np.full((4, 4, 3), 9, np.uint8)], 4, 2)
    assert mixed.shape == (4, 8, 3) and (mixed[:, 4:] == 9).all()


def test_a_mask_hides_its_cells_and_no_others():
    places = np.array([[y, x] for y in (0.25, 0.75) for x in (0.125, 0.375, 0.625, 0.875)])
    hidden = np.array([True, False, False, False, False, False, True, False])
    shown = looks.Hidden(places, hidden).over(np.full((8, 16), 255, np.uint8))
    assert (shown[:4, :4] == 128).all() and (shown[4:, 8:12] == 128).all() and (shown == 128).sum() == 32
    time = looks.Hidden(np.array([[0.25], [0.75]]), np.array([False, True])).over(np.full((4, 10), 255, np.uint8))
    assert (time[:, 5:] == 128).all() and (time[:, :5] == 255).all()
    volume = np.array([[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.2, 0.5, 0.8)])
    low = np.all(np.isclose(volume, [0.25, 0.25, 0.5]), axis=1)  # left, back, in the middle: left and below in the picture
    middle = looks.Hidden(volume, low).over(np.full((4, 4), 255, np.uint8))
    assert (middle[2:, :2] == 128).all() and (middle == 128).sum() == 4
    assert looks.Hidden(places, hidden).columns(8) == (0, 6) and looks.Hidden(places, hidden).columns(7) == ()


def test_rows_stand_side_by_side_and_changes_are_marked():
    found = looks.strip([("item", {"age": 3, "<b>": "x"}, None), ("view 1", {"age": 4, "<b>": "x"}, None)], changes=True)
    made = Tags(found)
    assert "b" not in made.found and made.text == "itemview 1age34<b>xx"
    assert [a.get("class") for a, name in zip(made.attributes, made.found) if name == "td"] == [None, "changed", None, None]
    many = looks.strip([("item", {f"c{i}": i for i in range(30)}, None)])
    assert f"{30 - looks.COLUMNS} more columns" in many


def test_a_drawing_has_its_points_and_edges():
    made = Tags(looks.drawing(Drawing([[0, 0], [1, 0], [0, 2]], [[0, 1], [0, 2]]), NASTY[0]))
    assert made.found.count("circle") == 3 and made.found.count("line") == 2 and "script" not in made.found
    assert Tags(looks.drawing(Drawing([[5, 5]], []))).found.count("circle") == 1


def test_lines_keep_their_peaks_when_thinned():
    y = np.zeros(5000)
    y[1234], y[4321] = 9.0, -7.0
    thin = charts.thinned(charts.Line("a", 0, range(5000), y.tolist()))
    assert len(thin.x) <= charts.MOST + 2 and max(thin.y) == 9.0 and min(thin.y) == -7.0
    assert list(thin.x) == sorted(thin.x) and thin.x[0] == 0 and thin.x[-1] == 4999


@pytest.mark.parametrize("x, y, log", [([1], [2.0], False), ([1, 2], [0.0, 1e-9], False), ([1, 2, 3], [1e-8, 1, 100], True),
                                       ([0, 1e6], [-5.0, 5.0], False)])
def test_charts_of_any_range_lie_within_their_frame(x, y, log):
    made = Tags(charts.lines([charts.Line("a", 0, x, y)], "step", "loss", log))
    for name, attributes in zip(made.found, made.attributes):
        if name == "polyline":
            for pair in attributes["points"].split():
                across, down = map(float, pair.split(","))
                assert charts.LEFT <= across <= charts.WIDTH and 0 <= down <= charts.HEIGHT


@pytest.mark.parametrize("low, high", [(0, 1), (-3, 12), (1e-7, 3e-7), (0, 123456)])
def test_ticks_are_round_and_inside(low, high):
    found = charts.ticks(low, high, 5)
    assert 2 <= len(found) <= 12 and all(low - 1e-12 <= t <= high + 1e-12 for t in found)


def test_metrics_are_read_without_blanks_and_what_is_no_number(tmp_path):
    path = tmp_path / "metrics.csv"
    assert metrics(path) == {}
    path.write_text("step,loss,rankme\n1,2.5,\n2,nan,7\n3,1.5,oops\n")
    assert metrics(path) == {"loss": ([1.0, 3.0], [2.5, 1.5]), "rankme": ([2.0], [7.0])}


def test_the_spectrum_is_that_of_the_covariance():
    x = torch.randn(200, 6, dtype=torch.float64) @ torch.diag(torch.arange(1.0, 7.0).double())
    wanted = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(spectrum(x), wanted, rtol=1e-9)


def test_neighbours_are_the_nearest_by_cosine_and_never_the_item_itself():
    x = torch.randn(40, 5)
    unit = x / x.norm(dim=1, keepdim=True)
    for item, near in neighbours(x).items():
        order = [i for i in (unit @ unit[item]).argsort(descending=True).tolist() if i != item][:5]
        assert [n.item for n in near] == order
        assert near[0].similarity == pytest.approx(float(unit[item] @ unit[order[0]]), abs=1e-5)
    assert neighbours(torch.randn(1, 3)) == {0: []}


def test_the_first_map_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA
    x = torch.randn(50, 7)
    found, wanted = maps.maps(x, full=False)[0]["PCA"], PCA(2).fit_transform(x.numpy())
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-4)


def test_maps_of_nothing_say_so():
    assert maps.maps(torch.ones(20, 4), full=True) == ({}, ["All items lie on one point, so there is no map to draw."])
    assert maps.maps(torch.randn(2, 4), full=True)[0] == {}
    assert maps.maps(torch.randn(10, 1), full=False)[0]["PCA"].shape == (10, 2)


def test_without_umap_a_line_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    found, remarks = maps.maps(torch.randn(30, 8), full=True)
    assert found.keys() == {"PCA", "t-SNE"} and found["t-SNE"].shape == (30, 2) and "umap-learn" in remarks[0]


def test_colours_follow_labels_and_items_without_one_are_gray():
    colours, shown, words = coloured(torch.tensor([0, 2, -1]), ["cat", "dog", "<b>"])
    assert colours == ["var(--c0)", "var(--c1)", "var(--soft)"] and words == ["cat", "<b>", "no label"]
    assert [name for name, _ in shown] == ["cat", "<b>"]
    colours, shown, _ = coloured(torch.tensor([0.0, 1.0, float("nan")]), None)
    assert colours[2] == "var(--soft)" and colours[0] != colours[1] and len(shown) == 3
    assert len(set(coloured(torch.arange(30), None)[0])) == 30


def test_options_are_said_on_one_line():
    assert plain({"a": [1, None], "b": ""}) == "a 1, None, b ''" and plain((0.2, 0.4)) == "0.2, 0.4"
