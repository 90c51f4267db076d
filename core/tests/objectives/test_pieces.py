"""A batch that is embedded in pieces is compared as a whole: same loss, same gradients, less memory."""
import weakref
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssl_core import ConfigError, JointEmbedding, Progress, Representation, builtin
from ssl_core.batches import size
from ssl_core.methods.pieces import pooled

OFFERED = {component.name: component for component in builtin.ssl_objectives()}
N, COLUMNS, WIDTH = 14, 5, 6
OPTIONS = {
    "moco": {"queue": 32}, "nnclr": {"queue": 32}, "mochi": {"queue": 32, "hardest": 8, "mixed": 4, "with_query": 4},
    "interclr": {"queue": 32, "clusters": 4, "negatives": 8}, "halp": {"queue": 32, "prototypes": 4, "recent": 16},
    "swav": {"prototypes": 8}, "dino": {"prototypes": 8}, "depict": {"clusters": 3}, "lejepa": {"slices": 16},
    "visreg": {"slices": 16}, "unicon": {"transformations": 2}, "sla": {"classes": 3, "transformations": 2},
    "hydra": {"classes": 3},
}
VIEWS = {"unicon": 4, "mv-dhel": 3, "mv-infonce": 3, "mmcr": 3}
LABELS = {**dict.fromkeys(("supcon", "sla", "hydra"), torch.arange(N) % 3), "supremix": torch.arange(N) / N}


class Table(NamedTuple):
    cells: torch.Tensor
    names: None = None


class Net(nn.Module):
    width = WIDTH

    def __init__(self, dropout=0.0, norm=False, depth=1):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(COLUMNS, WIDTH), *(nn.Linear(WIDTH, WIDTH) for _ in range(depth))])
        self.dropout, self.norm, self.seen = nn.Dropout(dropout), nn.BatchNorm1d(WIDTH) if norm else nn.Identity(), []

    def forward(self, table):
        self.seen.append(len(table.cells))
        rows = table.cells
        for layer in self.layers:
            rows = self.dropout(layer(rows).tanh())
        return Representation(self.norm(rows))


def views(count):
    return lambda table: tuple(Table(table.cells * (1 + i) + 0.1 * i) for i in range(count))


def method(name, chunk, net=(), **options):
    torch.manual_seed(0)
    built = JointEmbedding(Net(*net), views(VIEWS.get(name, 2)), OFFERED[name].load()(**OPTIONS.get(name, {})),
                           projector=(8, 4), chunk=chunk, **options).double()
    built.progress = built.objective.progress = Progress(9, 10)
    built.target = lambda table: LABELS[name]
    return built


def step(built, seed=3):
    """The loss and all gradients of one step, and of the next, which sees what the first left in queues."""
    torch.manual_seed(1)
    batch, found = Table(torch.randn(N, COLUMNS, dtype=torch.float64)), []
    for turn in range(2):
        torch.manual_seed(seed + turn)
        loss = built.step(batch)["loss"]
        loss.backward()
        built.after_step()
        found.append(loss.detach())
    return [torch.stack(found), *(p.grad for p in built.parameters() if p.grad is not None)]


def same(ours, theirs, tolerance=1e-10):
    assert len(ours) == len(theirs) > 3
    for x, y in zip(ours, theirs):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("chunk", [3, 13])
@pytest.mark.parametrize("name", OFFERED)
def test_loss_and_gradients_are_those_of_the_whole_batch(name, chunk):
    same(step(method(name, chunk)), step(method(name, 0)))


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"predictor": (8,)}, {"stop_gradient": True, "predictor": (8,)},
                                     {"mixer": "pcgrad"}], ids=str)
def test_whatever_the_branches_are(options):
    same(step(method("infonce", 4, **options)), step(method("infonce", 0, **options)))


def test_the_second_pass_draws_what_the_first_drew():
    """Dropout: against the same pieces with all activations kept."""
    kept, again = method("nt-xent", 4, (0.5,)), method("nt-xent", 4, (0.5,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_core.methods.pieces.checkpoint", lambda call, *given, **_: call(*given))
        plain = step(kept)
    same(step(again), plain, 1e-14)


def test_a_batch_norm_sees_a_piece_and_moves_once_for_each():
    kept, again = method("nt-xent", 5, (0.0, True)), method("nt-xent", 5, (0.0, True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_core.methods.pieces.checkpoint", lambda call, *given, **_: call(*given))
        plain = step(kept)
    same(step(again), plain, 1e-14)
    for name, buffer in kept.encoder.named_buffers():
        assert torch.equal(again.encoder.get_buffer(name), buffer), name
    assert again.encoder.norm.num_batches_tracked == 2 * 2 * 3  # steps, views, pieces


def test_pieces_are_as_equal_as_can_be():
    built = method("nt-xent", 6)
    built.step(Table(torch.randn(N, COLUMNS, dtype=torch.float64)))
    assert built.encoder.seen == [4, 5, 5] * 2  # not 6, 6 and 2, which a batch norm might not like


@pytest.mark.parametrize("batch", [object(), {"nodes": torch.zeros(5, 2), "edges": torch.zeros(2, 9)}], ids=["object", "graph"])
def test_a_batch_that_hangs_together_is_refused_in_words(batch):
    with pytest.raises(ConfigError, match="cannot be embedded in pieces.*\n.*method.chunk=0"):
        pooled(Net(), batch, 2)
    assert size(batch) in (0, 5)


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="chunk should be 0 or more, got -1"):
        method("nt-xent", -1)


class Counted(TorchDispatchMode):
    """Bytes that are held at once by tensors made inside."""

    def __init__(self):
        super().__init__()
        self.known, self.now, self.most = weakref.WeakSet(), 0, 0

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        made = call(*args, **(kwargs or {}))
        for storage in [leaf.untyped_storage() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]:
            if storage not in self.known:
                self.known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self.gone, storage.nbytes())
        self.most = max(self.most, self.now)
        return made

    def gone(self, count):
        self.now -= count


def test_memory_is_that_of_a_piece():
    def most(chunk):
        built = JointEmbedding(Net(depth=20), views(2), OFFERED["barlow-twins"].load()(), projector=(4,), chunk=chunk)
        with Counted() as counted:
            built.step(Table(torch.randn(1024, COLUMNS)))["loss"].backward()
        return counted.most

    assert most(128) < most(0) / 4
