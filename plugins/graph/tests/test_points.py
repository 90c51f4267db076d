"""Molecules: what is read from coordinates, what is made up, and an encoder that sees distances only."""
import numpy as np
import pytest
import torch

from ssl_core import DataError, pretrain
from ssl_graph import data, points
from ssl_graph.points import ELEMENTS, Jitter, Molecule, Points, chains, joined, part

WATER = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.470\nh 0.000 -0.757 -0.470\n"
SDF = """ethanol
  made by hand

  3  2  0  0  0  0  0  0  0  0999 V2000
   -0.8883    0.1670   -0.0273 C   0  0  0  0  0  0
    0.4658   -0.5116   -0.0368 C   0  0  0  0  0  0
    1.4311    0.3229    0.5867 Xx  0  0  0  0  0  0
  1  2  1  0
  2  3  1  0
M  END
$$$$
"""


@pytest.fixture(scope="module")
def molecules():
    return chains(items=24, atoms=16, batch_size=8)


def turned(graph):
    """Rotated, moved and mirrored."""
    made = graph.clone()
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=graph.pos.dtype))
    made.pos = graph.pos @ q + 5
    return made


def test_the_encoder_sees_distances_only(molecules):
    batch, encoder = next(iter(molecules.items)), Points(len(ELEMENTS), 16, depth=2).double().eval()
    batch.x, batch.pos = batch.x.double(), batch.pos.double()
    rows = encoder(batch).pooled
    torch.testing.assert_close(encoder(turned(batch)).pooled, rows)
    bent = batch.clone()
    bent.pos = batch.pos * torch.tensor([1.0, 1.0, 0.5])
    assert (encoder(bent).pooled - rows).abs().max() > 1e-3
    unbonded = batch.clone()
    unbonded.edge_type = torch.zeros_like(batch.edge_type)
    assert (encoder(unbonded).pooled - rows).abs().max() > 1e-4
    together = batch.clone()
    together.pos.requires_grad_(True)
    together.pos.data[batch.edge_index[0, 0]] = together.pos.data[batch.edge_index[1, 0]]
    encoder(together).pooled.sum().backward()
    assert together.pos.grad.isfinite().all(), "two points in one place"


def test_items_do_not_see_each_other(molecules):
    batch, encoder = next(iter(molecules.items)), Points(len(ELEMENTS), 8, depth=2).eval()
    alone = torch.cat([encoder(graph).pooled for graph in batch.to_data_list()])
    torch.testing.assert_close(encoder(batch).pooled, alone)


def test_made_up_chains_are_chains(molecules):
    assert molecules.facts == {"in_features": len(ELEMENTS), "level": "graph", "classes": 4} and len(molecules.labels) == 24
    for graph in molecules.items.dataset[:6]:
        apart = (graph.pos[1:] - graph.pos[:-1]).norm(dim=1)
        torch.testing.assert_close(apart, torch.full_like(apart, 1.5))
        bonds = graph.edge_index[:, graph.edge_type == 1]
        assert ((bonds[0] - bonds[1]).abs() == 1).all() and bonds.shape[1] == 2 * (graph.num_nodes - 1)
        near = torch.cdist(graph.pos, graph.pos) < 4
        assert graph.num_edges == int(near.sum()) - graph.num_nodes
    again = chains(items=24, atoms=16, seed=5)
    assert torch.equal(again.labels, molecules.labels) and again.fingerprint == molecules.fingerprint
    assert not torch.equal(again.folds["test"], molecules.folds["test"])


@pytest.mark.parametrize("labelled, count", [(0.0, 0), (0.5, 10), (1.0, 19)])
def test_training_sees_labels_of_training_molecules_only(labelled, count):
    found = chains(items=24, atoms=16, labelled=labelled)
    known = torch.cat([found.target(batch) for batch in found.items])
    assert int((known >= 0).sum()) == count
    held = torch.cat([found.folds["validation"], found.folds["test"]])
    assert (known[held] == -1).all() and (known[known >= 0] == found.labels[known >= 0]).all()


def test_xyz_and_sdf_are_read(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER + "\n" + WATER)
    found = data.read(tmp_path / "a.xyz")
    water = found.items.dataset[0]
    assert found.size == 2 and [ELEMENTS[i] for i in water.x.argmax(dim=1)] == ["O", "H", "H"]
    bonds = water.edge_index[:, water.edge_type == 1]
    assert {tuple(sorted(pair)) for pair in bonds.T.tolist()} == {(0, 1), (0, 2)}, "told by distance"
    (tmp_path / "a.sdf").write_text(SDF + SDF)
    found = points.read(tmp_path / "a.sdf")
    ethanol = found.items.dataset[1]
    assert [ELEMENTS[i] for i in ethanol.x.argmax(dim=1)] == ["C", "C", "other"]
    assert int((ethanol.edge_type == 1).sum()) == 4 and ethanol.pos[1, 1] == pytest.approx(-0.5116)
    assert found.labels is None and found.target is None


def test_npz_is_read_and_trained_on(tmp_path):
    rng, owner = np.random.default_rng(0), np.arange(40).repeat(6)
    np.savez(tmp_path / "mine.npz", kinds=rng.integers(3, size=240), places=rng.normal(size=(240, 3)), owner=owner,
             bonds=np.stack([np.arange(0, 240, 6), np.arange(1, 240, 6)]), y=np.arange(40) % 2)
    found = data.read(tmp_path / "mine.npz")
    assert found.size == 40 and all(int(graph.edge_type.sum()) == 2 for graph in found.items.dataset)
    run = pretrain("graph", "profsa", data=tmp_path / "mine.npz", out=tmp_path / "run", quiet=True, epochs=1, probe="linear",
                   baselines=False, **{"encoder.width": 8, "method.projector": (8,)})
    assert "linear" in run.result["scores"]


@pytest.mark.parametrize("name, content, words", [
    ("a.xyz", "two\n", ["line 1", "no .xyz"]), ("a.xyz", "3\nx\nC 0 0 0\n", ["3 atoms", "1 lines"]),
    ("a.xyz", "1\nx\nC 0 0\n", ["molecule 0", "coordinates"]), ("a.xyz", "", ["no molecule"]),
    ("a.xyz", "1\nx\nC 0 0 nan\n", ["molecule 0", "finite"]), ("a.xyz", WATER + "x\n", ["line 6"]),
    ("a.sdf", "rubbish\n", ["line 1", ".sdf"]), ("a.sdf", SDF.replace("V2000", "V3000"), ["V2000"]),
    ("a.sdf", SDF + SDF.replace("  2  3  1", "  2  9  1"), ["molecule 1", "bond", "there are 3"]),
    ("a.sdf", SDF.replace("  3  2  0", "  9  2  0"), ["as many atoms"]),
])
def test_bad_files_of_molecules(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        data.read(tmp_path / name)
    assert all(word in str(error.value) for word in [name, *words])


@pytest.mark.parametrize("change, words", [
    ({"owner": np.array([1, 1, 1])}, ["owner"]), ({"owner": np.array([0, 1, 0])}, ["owner"]), ({"kinds": None}, ["kinds"]),
    ({"kinds": np.array([0, 1, 99])}, ["kinds should be 0 to"]), ({"places": np.zeros((3, 2))}, ["coordinates"])])
def test_bad_arrays_of_molecules(tmp_path, change, words):
    held = {"kinds": np.zeros(3, dtype=int), "places": np.zeros((3, 3)), "owner": np.zeros(3, dtype=int)} | change
    np.savez(tmp_path / "a.npz", **{name: item for name, item in held.items() if item is not None})
    with pytest.raises(DataError) as error:
        data.read(tmp_path / "a.npz")
    assert all(word in str(error.value) for word in ["a.npz", *words])


def test_jitter_leaves_the_batch_and_its_items(molecules):
    batch = next(iter(molecules.items))
    before = batch.pos.clone()
    a, b = Jitter(0.1, 0.3)(batch)
    assert torch.equal(batch.pos, before) and not torch.equal(a.pos, b.pos)
    assert 0.05 < (a.pos - before).std() < 0.15 and 0.15 < (a.x == 0).all(dim=1).double().mean() < 0.45
    assert torch.equal(a.batch, batch.batch)


def test_a_part_has_its_own_edges(molecules):
    batch = next(iter(molecules.items))
    nodes = torch.rand(batch.num_nodes) < 0.5
    some = part(batch, nodes)
    assert some.num_nodes == int(nodes.sum()) and some.num_graphs == batch.num_graphs
    names = nodes.nonzero()[:, 0]
    wanted = {(i, j) for i, j in batch.edge_index.T.tolist() if nodes[i] and nodes[j]}
    assert {tuple(pair) for pair in names[some.edge_index].T.tolist()} == wanted


def test_options_are_checked():
    for make in (lambda: chains(items=3), lambda: Jitter(-1), lambda: Points(3, radius=0),
                 lambda: points.collection([], None, "x", radius=0, batch_size=1, labelled=0.5, seed=0)):
        with pytest.raises(ValueError, match="should be"):
            make()
    with pytest.raises(DataError, match="kinds should be"):
        joined(Molecule([-1], [[0.0, 0, 0]]), 4.0, "x")
