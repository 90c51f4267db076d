"""Two processes that share each batch train as one that has all of it; and every item is seen once an epoch."""
import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from ssl_core import ConfigError, batches, distributed, pretrain, sharding
from ssl_core.batches import Batches
from ssl_core.distributed import Launched, launched

WINDOW = """
    from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl

    @hookimpl
    def ssl_encoders():
        yield Component(name="net", target="ssl_pair_parts:Net")
        yield Component(name="cells", target="ssl_pair_parts:Cells")

    @hookimpl
    def ssl_augmentations():
        yield Augmentation(name="fixed", target="ssl_pair_parts:Fixed")
        yield Augmentation(name="right-half", target="ssl_pair_parts:RightHalf", makes="mask")

    @hookimpl
    def ssl_datasets():
        yield Dataset(name="rows", target="ssl_pair_parts:rows", synthetic=True)

    @hookimpl
    def ssl_methods():
        quick = {"epochs": 3, "optimizer.lr": 1e-2}
        yield Recipe(name="joint", target="ssl_core:JointEmbedding", data="rows", encoder="net", augmentation="fixed",
                     objective="nt-xent", options=quick | {"method.projector": (16, 8), "method.norm": "none"})
        yield Recipe(name="masked", target="ssl_core:MaskedPrediction", data="rows", encoder="cells",
                     augmentation="right-half", objective="smooth-l1", options=quick)
    """
PARTS = '''
    """Views and masks without chance, and no statistics of a batch: what two processes do is what one does."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from ssl_core import Data, Representation
    from ssl_toy_parts import Cells

    class Net(nn.Module):
        def __init__(self, columns: int, width: int = 16):
            super().__init__()
            self.width, self.body = width, nn.Sequential(nn.Linear(columns, width), nn.GELU(), nn.Linear(width, width))

        def forward(self, table):
            return Representation(self.body(table))

    class Fixed:
        def __call__(self, table):
            return table, 0.8 * table + 0.3 * table.flip(1)

    class RightHalf:
        def __call__(self, layout):
            return layout.position[:, 0] > 0.5

    class Slices:
        """No DataLoader, so that batches are cut."""
        def __init__(self, x, size):
            self.x, self.size = x, size

        def __len__(self):
            return len(self.x) // self.size

        def __iter__(self):
            for rows in torch.randperm(len(self.x)).split(self.size):
                yield self.x[rows]

    def rows(count: int = 96, batch_size: int = 16, loader: bool = True):
        g = torch.Generator().manual_seed(0)
        x = torch.randn(count, 8, generator=g)
        train = DataLoader(x, batch_size, shuffle=True) if loader else Slices(x, batch_size)
        return Data(train=train, size=count, items=DataLoader(x, batch_size), facts={"columns": 8}, fingerprint="rows")
'''
OPTIONS = {"baselines": False, "probe": "", "trainer.accelerator": "cpu", "trainer.log_every": 1,
           "trainer.checkpoint_steps": 1, "trainer.tensorboard": False, "trainer.monitor_every": 0}
WORDS = ["--plugin", "pair", *(f"{key}={item}".lower() for key, item in OPTIONS.items())]


@pytest.fixture
def pair(distribution, monkeypatch):
    """The plugin of this file, for this process and for others."""
    site = distribution("ssl-pair", plugin="pair", window=WINDOW, parts=PARTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if sys.platform == "linux":
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


def ended_well(*processes):
    for process in processes:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err[-3000:]
    return out, err


def run(*words, **environment):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", *words], **pipes, text=True, env=os.environ | environment)


TWO = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")


def curve(path):
    with (Path(path) / "metrics.csv").open() as file:
        return torch.tensor([[float(row[name]) for name in ("step", "epoch", "lr", "loss")] for row in csv.DictReader(file)],
                            dtype=torch.float64)


def alike(one, two):
    assert len(curve(one)) == 18 and torch.allclose(curve(one), curve(two), rtol=1e-4, atol=1e-6)


def test_a_joint_embedding_on_two_devices_is_that_on_one(pair):
    """Started by the run itself: `trainer.devices=2`. Files and scores come from the first process."""
    pretrain("pair", "joint", out="one", quiet=True, **OPTIONS)
    out, _ = ended_well(run("ssl_core", *WORDS, "--method", "joint", "trainer.devices=2", "--out", "two", "--json"))
    alike("one", "two")
    assert out.count('"verdict"') == 1 and Path("two/encoder.safetensors").exists() and not Path("runs").exists()


def test_a_masked_method_under_torchrun_that_dies_and_goes_on(pair, tmp_path):
    """Batches that are cut instead of drawn, a teacher, both processes dead after step 5, and a resume of both."""
    pretrain("pair", "masked", out="one", quiet=True, data="rows", **{"data.loader": False}, **OPTIONS)
    (tmp_path / "dies.py").write_text(
        "from ssl_core import pretrain\nfrom ssl_core.testing import killed_at\n"
        f"with killed_at(5):\n    pretrain('pair', 'masked', out='two', quiet=True, **{OPTIONS | {'data.loader': False}})\n")
    ended_well(run(*TWO, str(tmp_path / "dies.py")))
    assert len(curve("two")) == 5
    ended_well(run(*TWO, "-m", "ssl_core", "--resume", "two"))
    alike("one", "two")
    state = torch.load("two/checkpoints/last.ckpt", weights_only=True)["ssl_core"]
    assert len(state["random"]) == 2  # of each process


def test_under_slurm(pair):
    """The variables that srun sets, and nothing else."""
    pretrain("pair", "joint", out="one", quiet=True, **OPTIONS)
    slurm = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "ssl",
             "SLURM_JOB_ID": "4711", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    words = ("ssl_core", *WORDS, "--method", "joint", "--out", "two")
    ended_well(*[run(*words, **slurm, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)])
    alike("one", "two")


@pytest.mark.parametrize("environment, found", [
    ({}, None),
    ({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, Launched(5, 4, 2)),
    ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "3"}, Launched(3, 4, 2)),
    ({"SLURM_NTASKS": "8", "SLURM_JOB_NAME": "interactive"}, None),
    ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, Launched(1, 2, 1)),
])
def test_who_started_a_process_is_known(environment, found):
    assert launched(environment) == found


@pytest.fixture
def as_rank(monkeypatch):
    """Pretend to be one of several processes."""
    def become(rank, world):
        for module in (sharding, distributed, batches):
            monkeypatch.setattr(module, "world", lambda: world, raising=False)
            monkeypatch.setattr(module, "rank", lambda: rank, raising=False)
    return become


class Cut:
    """Batches that are no DataLoader's."""

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 3

    def __iter__(self):
        for rows in torch.randperm(12).split(4):
            yield self.kind(rows)


LOADERS = {
    "positions": lambda: DataLoader(torch.arange(12), 4, shuffle=True),
    "workers": lambda: DataLoader(torch.arange(12), 4, shuffle=True, num_workers=1),
    "tensors": lambda: Cut(lambda rows: rows),
    "mappings": lambda: Cut(lambda rows: {"x": rows, "y": None}),
    "list": lambda: list(torch.arange(12).split(4)),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("skip", [0, 2])
def test_every_item_is_seen_once_an_epoch_in_the_batches_of_one_process(kind, world, skip, as_rank):
    whole, parts = [], []
    for rank, size in [(0, 1), *((rank, world) for rank in range(world))]:
        as_rank(rank, size)
        found = Batches(LOADERS[kind](), seed=3)
        found.epoch, found.skip = 2, skip
        assert len(found) == 3
        (whole if size == 1 and not whole else parts).append([b["x"] if isinstance(b, dict) else b for b in found])
    joined = [torch.cat(batch) for batch in zip(*parts, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(joined, whole[0], strict=True)) and len(joined) == 3 - skip
    if not skip:
        assert torch.cat(joined).sort().values.tolist() == list(range(12))


def test_what_does_not_divide_is_left_out_and_a_batch_of_too_few_goes_to_all(as_rank):
    as_rank(1, 2)
    found = [b.tolist() for b in Batches(DataLoader(torch.arange(8), 7), seed=0)]
    assert found == [[3, 4, 5], [7]]


def test_a_batch_that_hangs_together_is_refused(as_rank):
    as_rank(0, 2)
    with pytest.raises(ConfigError, match="cannot be divided among 2 processes.*\n.*trainer.devices=1"):
        next(iter(Batches([object()], seed=0)))


@pytest.mark.skipif(importlib.util.find_spec("ssl_graph") is None, reason="the plugin graph is not installed")
def test_collections_of_graphs_are_divided_and_a_single_graph_is_not(as_rank):
    from torch_geometric.data import Data as Graph
    from torch_geometric.loader import DataLoader as Loader
    graphs = [Graph(x=torch.full((2, 1), float(i)), edge_index=torch.tensor([[0], [1]])) for i in range(8)]
    seen = []
    for rank in range(2):
        as_rank(rank, 2)
        seen += [batch.x[::2, 0] for batch in Batches(Loader(graphs, 4, shuffle=True), seed=0)]
    assert torch.cat(seen).sort().values.tolist() == list(range(8))
    with pytest.raises(ConfigError, match="cannot be divided"):
        next(iter(Batches([graphs[0]], seed=0)))
