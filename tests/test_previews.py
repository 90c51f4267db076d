"""What each plugin shows of its items in a report: it keeps the contract of `Data.preview`, and shows what is there."""
import numpy as np
import pytest
import torch

from ssl_core import Drawing


def vision():
    from ssl_vision.data import digits
    return digits()


def graph():
    from ssl_graph.data import digits
    return digits()


def speech():
    from ssl_speech.data import vowels
    return vowels(items=12)


def tabular():
    from ssl_tabular.data import breast_cancer
    return breast_cancer()


KINDS = {"vision": np.ndarray, "graph": Drawing, "speech": np.ndarray, "tabular": dict}


@pytest.mark.parametrize("plugin, kind", KINDS.items())
def test_one_plain_thing_for_each_item_in_order(plugin, kind):
    pytest.importorskip(f"ssl_{plugin}", reason=f"the {plugin} plugin is not installed")
    data = globals()[plugin]()
    batch = next(iter(data.items))
    found = data.preview(batch, [3, 0, 5])
    assert len(found) == 3 and all(isinstance(thing, kind) for thing in found)
    again = [data.preview(batch, [row])[0] for row in (3, 0, 5)]
    for a, b in zip(found, again, strict=True):
        if kind is np.ndarray:
            assert a.dtype == np.uint8 and a.ndim in (2, 3) and np.array_equal(a, b)
        else:
            assert a == b


def test_pictures_are_those_of_the_pixels_in_any_number_of_channels():
    images = pytest.importorskip("ssl_vision.images", reason="the vision plugin is not installed")
    from ssl_vision.data import preview
    pixels = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    assert np.array_equal(preview(images.Images(pixels), [2])[0], pixels[2].permute(1, 2, 0).numpy())
    assert np.array_equal(preview(images.Images(pixels[:, :1]), [2])[0], pixels[2, 0].numpy())
    assert preview(images.Images(torch.rand(4, 5, 6, 5) * 3 - 1), [0])[0].shape == (6, 5)  # a view may leave 0 to 1


def test_a_neighbourhood_holds_the_node_its_neighbours_and_true_edges():
    pytest.importorskip("ssl_graph", reason="the graph plugin is not installed")
    from ssl_graph.graphs import checked
    from ssl_graph.preview import preview
    path = checked(torch.randn(6, 2), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), where="a path")  # node 5 is alone
    middle, end, alone = preview(path, [2, 0, 5])
    assert len(middle.points) == 5 and sorted(map(sorted, middle.edges)) != [] and len(middle.edges) == 4
    assert sum(0 in edge for edge in middle.edges) == 2 and sum(0 in edge for edge in end.edges) == 1
    assert len(end.points) == 3 and len(alone.points) == 1 and alone.edges == []
    assert np.isfinite(middle.points).all()
    lengths = [np.linalg.norm(np.subtract(middle.points[a], middle.points[b])) for a, b in middle.edges]
    assert max(lengths) < 1.5 * min(lengths)  # edges of a path are about as long as each other


def test_graphs_of_a_batch_are_drawn_apart():
    pytest.importorskip("ssl_graph", reason="the graph plugin is not installed")
    from torch_geometric.data import Batch

    from ssl_graph.graphs import checked
    from ssl_graph.preview import preview
    parts = [checked(torch.randn(n, 2), torch.tensor([list(range(n - 1)), list(range(1, n))]), where="a path") for n in (3, 5)]
    first, second = preview(Batch.from_data_list(parts), [0, 1])
    assert (len(first.points), len(first.edges), len(second.points), len(second.edges)) == (3, 2, 5, 4)


def test_rows_come_back_as_they_were_read():
    pytest.importorskip("ssl_tabular", reason="the tabular plugin is not installed")
    import pandas as pd

    from ssl_tabular.data import read
    frame = pd.DataFrame({
        "age": [20.0, 31.5, None, 44.0, 58.0, 63.0] * 4, "town": ["Bonn", "Köln", "Bonn", None, "<b>", "Köln"] * 4,
        "since": ["2020-01-05", "2021-06-30", "2022-02-01", "2020-01-05", None, "2023-12-31"] * 4})
    for scale in ("standard", "minmax", "quantile"):
        data = read(frame, scale=scale, learn="all")
        shown = data.preview(next(iter(data.items)), range(6))
        assert [row["town"] for row in shown] == ["Bonn", "Köln", "Bonn", "", "<b>", "Köln"]
        assert [row["age"] for row in shown][2] == "" and list(shown[0]) == ["age", "town", "since"]
        ages = [float(row["age"]) for i, row in enumerate(shown) if i != 2]
        np.testing.assert_allclose(ages, [20, 31.5, 44, 58, 63], rtol=0.02 if scale == "quantile" else 1e-3)
        if scale != "quantile":  # of many equal dates a quantile scale keeps their middle only
            assert [row["since"] for row in shown][4] == "" and shown[1]["since"] in ("2021-06-30", "2021-06-29")


def test_a_spectrogram_shows_where_the_sound_is():
    pytest.importorskip("ssl_speech", reason="the speech plugin is not installed")
    from ssl_speech.data import Spectrograms
    from ssl_speech.waves import Waves
    rate, seconds = 8000, torch.arange(8000) / 8000
    low, high = (torch.sin(2 * torch.pi * f * seconds) for f in (200.0, 3000.0))
    found = Spectrograms(rate)(Waves(torch.stack([low, high]), torch.tensor([8000, 4000])), [0, 1])
    assert found[0].shape[0] == 64 and found[1].shape[1] < found[0].shape[1]  # padding is not shown
    loudest = [int(picture.mean(axis=1).argmax()) for picture in found]
    assert loudest[0] > 40 > 24 > loudest[1]  # low frequencies lie below


def test_a_volume_shows_its_middle_axial_slice_front_above():
    volumes = pytest.importorskip("ssl_medical.volumes", reason="the medical plugin is not installed")
    from ssl_medical.data import slices_of
    voxels = torch.zeros(2, 1, 4, 6, 8)
    voxels[1, 0, 0, 5, 4] = 1.0  # left, in front, in the middle
    found = slices_of(volumes.Volumes(voxels), [1])[0]
    assert found.shape == (6, 4) and found[0, 0] == 255 and found.sum() == 255
