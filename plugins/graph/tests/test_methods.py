"""Every method: its loss falls, it resumes bit for bit, it does not collapse, its graphs may be damaged or lonely."""
import csv

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch_geometric.data import Data as Graph

from ssl_core import pretrain, resume
from ssl_core.plugins import Plugins
from ssl_core.testing import killed_at

SMALL = {"encoder.width": 32, "optimizer.lr": 1e-2, "schedule": "constant"}
GCN = SMALL | {"encoder.hidden": 32}
#: Options that make a method small, and the step by which its loss should have fallen.
NODES = {
    "grace": GCN | {"method.projector": (32, 32)},
    "gca": GCN | {"method.projector": (32, 32)},
    "bgrl": GCN | {"method.predictor": (32,)},
    "graph-barlow": SMALL,
    "graph-vicreg": SMALL | {"method.projector": (32, 32)},
    "graph-dino": SMALL | {"method.projector": (32, 16), "objective.prototypes": 32},
    "cca-ssg": SMALL,
    "dgi": SMALL,
    "mvgrl": SMALL,
    "graphmae": SMALL | {"encoder.heads": 2},
    "scgc": {"encoder.hidden": (64,), "optimizer.lr": 1e-2, "method.warmup": 0.4},
    "scgc-star": {"encoder.hidden": (64,), "optimizer.lr": 1e-2, "method.warmup": 0.4, "method.order": 2},
    "selftask": SMALL,
    "paretognn": GCN | {"method.projector": (32,), "objective.temperature": 0.3},
}
#: Methods whose data are no plain graph, with options that make them small.
OWN = {
    "profsa": {"data.items": 60, "data.atoms": 12, "data.batch_size": 48, "encoder.width": 16, "method.projector": (16,)},
    "s-molsearch": {"data.items": 60, "data.atoms": 12, "data.batch_size": 48, "encoder.width": 16, "method.projector": (16,)},
    "meow": {"data.images": 200, "data.words": 8, "encoder.width": 16, "optimizer.lr": 1e-2},
    "adameow": {"data.images": 200, "data.words": 8, "encoder.width": 16, "optimizer.lr": 1e-2},
}
EPOCHS = 8


@pytest.fixture(scope="module")
def digits():
    """300 real images, each joined to those that look most alike; one of them alone, one without any feature."""
    images = load_digits()
    x = images.data[:300].astype(np.float32) / 16
    edges = torch.from_numpy(np.stack(kneighbors_graph(x, 5).nonzero())).long()
    x, edges = torch.from_numpy(x), edges[:, (edges != 7).all(dim=0)]
    x[9] = 0
    return Graph(x=x, edge_index=edges, y=torch.from_numpy(images.target[:300]))


def train(out, method, data, **more):
    given = NODES.get(method, {}) | {"epochs": EPOCHS, "baselines": False, "probe": ""} | more
    trainer = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}
    return pretrain("graph", method, data=data, out=out, quiet=True, trainer=trainer, **given)


def losses(run):
    with (run.path / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_the_table_holds_every_method_of_the_window():
    offered = set(Plugins()["graph"].offers["methods"])
    assert offered - set(NODES) == {"gcool", "graphcl", "d-sla", *OWN}  # tested in a file of its own, and below


@pytest.mark.parametrize("method", NODES)
def test_learns_and_resumes_bit_for_bit(method, digits, tmp_path):
    straight = train(tmp_path / "straight", method, digits)
    found = losses(straight)
    assert len(found) == EPOCHS and np.isfinite(found).all()
    start = 4 if method.startswith("scgc") else 0  # until then, the autoencoder alone
    assert min(found[-2:]) < found[start]
    assert straight.result["rankme"] > 2
    assert straight.result["verdict"] != "diverged"
    with killed_at(5):
        train(tmp_path / "cut", method, digits)
    resumed = resume(tmp_path / "cut", data=digits, quiet=True)
    assert losses(resumed) == found
    ours, theirs = resumed.encoder.state_dict(), straight.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("method", OWN)
def test_learns_from_its_own_data_and_resumes(method, tmp_path):
    given = OWN[method] | {"epochs": 5, "probe": "linear", "baselines": False, "quiet": True}
    trainer = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}
    straight = pretrain("graph", method, out=tmp_path / "straight", trainer=trainer, **given)
    found = losses(straight)
    assert np.isfinite(found).all() and found[-1] < found[0] and straight.result["rankme"] > 1.5
    with killed_at(3):
        pretrain("graph", method, out=tmp_path / "cut", trainer=trainer, **given)
    assert losses(resume(tmp_path / "cut", quiet=True)) == found


@pytest.mark.parametrize("method", ["gcool", *NODES])
def test_learns_from_parts_of_the_graph(method, digits, tmp_path):
    sampler = "neighbours" if method in ("grace", "graphmae", "dgi") else "clusters"
    run = train(tmp_path / "run", method, digits, epochs=2,
                **{"data.sampler": sampler, "data.batch_size": 120, "data.fanouts": (4, 4)})
    found = losses(run)
    assert len(found) == 6 and np.isfinite(found).all()  # three batches an epoch
    assert run.embed(digits).shape[0] == 300, "items are still all nodes of the graph"


@pytest.mark.parametrize("method", ["dgi", "cca-ssg"])
def test_twenty_steps_beat_raw_features_on_cora(method, shared, tmp_path):
    run = pretrain("graph", method, data="cora", out=tmp_path / "run", quiet=True, probe="knn", epochs=20,
                   trainer={"tensorboard": False},
                   **{"data.root": str(shared), "encoder.width": 64, "optimizer.lr": 3e-3})
    assert run.result["scores"]["knn"] > run.result["raw"]["knn"] + 0.05


@pytest.mark.parametrize("method", ["graphcl", "graphmae", "d-sla"])
def test_learns_from_collections_of_graphs(method, shared, tmp_path):
    given = {"data": "mutag", "data.root": str(shared), "epochs": 4, "probe": "linear", "baselines": False}
    given |= {"encoder.width": 32, "encoder.depth": 2} if method == "d-sla" else {}
    trainer = {"checkpoint_steps": 1, "log_every": 1, "tensorboard": False}
    straight = pretrain("graph", method, out=tmp_path / "straight", quiet=True, trainer=trainer, **given)
    found = losses(straight)
    assert np.isfinite(found).all() and np.mean(found[-2:]) < np.mean(found[:2])
    assert straight.result["rankme"] > 1.5
    with killed_at(3):
        pretrain("graph", method, out=tmp_path / "cut", quiet=True, trainer=trainer, **given)
    assert losses(resume(tmp_path / "cut", quiet=True)) == found


def test_batches_of_a_collection_mix_its_classes(shared):
    """GraphCL's training loader was not shuffled, and the files are ordered by class."""
    data = Plugins().find("datasets", "proteins", "graph").load()(root=shared, batch_size=64)
    torch.manual_seed(0)
    labels = {graph: int(label) for graph, label in enumerate(data.labels)}
    ordered = [labels[i] for i in range(64)]
    assert len(set(ordered)) == 1, "the file itself is ordered: what the loader has to undo"
    plain = [float(batch.num_nodes) for batch in data.items]
    drawn = [[float(batch.num_nodes) for batch in data.train] for _ in range(2)]
    assert drawn[0] != plain and drawn[0] != drawn[1]
