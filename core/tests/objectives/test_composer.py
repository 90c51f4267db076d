"""What the composer gives to an objective: pairs or all views, targets, labels, the width of rows, and time."""
import pytest
import torch
from torch import nn

from ssl_core import ConfigError, DataError, JointEmbedding, MaskedPrediction, Progress, Representation
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.moco import MoCo
from ssl_core.objectives.supcon import SupCon

COLUMNS, WIDTH = 6, 8


class Net(nn.Module):
    width = WIDTH

    def __init__(self):
        super().__init__()
        self.body, self.calls = nn.Linear(COLUMNS, WIDTH), 0

    def forward(self, table):
        self.calls += 1
        return Representation(self.body(table))


class Pairwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.given = []

    def forward(self, a, b):
        self.given.append((a, b))
        return (a * b).mean()


class AllAtOnce(Pairwise):
    def forward(self, *views, targets=()):
        self.given.append((views, targets))
        return sum(view.mean() for view in views)


class Plain(Pairwise):
    def forward(self, *views):
        self.given.append(views)
        return sum(view.mean() for view in views)


def views(count):
    return lambda batch: tuple(batch + i for i in range(count))


def method(objective, count=3, **options):
    return JointEmbedding(Net(), views(count), objective, projector=(WIDTH, 4), **options)


BATCH = torch.randn(10, COLUMNS)


@pytest.mark.parametrize("count, pairs", [(2, 1), (3, 3), (4, 6)])
def test_pairs_without_a_teacher(count, pairs):
    objective = Pairwise()
    method(objective, count).step(BATCH)
    assert len(objective.given) == pairs


@pytest.mark.parametrize("objective, options", [(Pairwise, {}), (Pairwise, {"momentum": 0.9}),
                                                (lambda: DINO(prototypes=6), {"momentum": 0.9})])
def test_one_view_is_refused_in_words(objective, options):
    with pytest.raises(ConfigError, match="compares views with each other, and function makes 1"):
        method(objective(), 1, **options).step(BATCH)


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"predictor": (8,)}, {"stop_gradient": True}])
def test_every_prediction_meets_the_targets_of_the_other_views(options):
    objective = Pairwise()
    built = method(objective, 3, **options)
    loss = built.step(BATCH)["loss"]
    assert len(objective.given) == 6
    torch.testing.assert_close(loss, torch.stack([(a * b).mean() for a, b in objective.given]).mean())
    assert built.encoder.calls == 3  # one pass per view
    if built.teacher is not None:
        assert built.teacher.copy["encoder"].calls == 3
        assert not any(b.requires_grad for _, b in objective.given)


def test_teacher_sees_the_first_views_only():
    objective = AllAtOnce()
    built = method(objective, 5, momentum=0.9, teacher_views=2)
    built.step(BATCH)
    predictions, targets = objective.given[0]
    assert (len(predictions), len(targets)) == (5, 2) and built.teacher.copy["encoder"].calls == 2
    assert not any(row.requires_grad for row in targets)


def test_an_objective_of_all_views_gets_them_once():
    for objective, given in ((Plain(), 3), (AllAtOnce(), 2)):
        method(objective, 3).step(BATCH)
        assert len(objective.given) == 1 and len(objective.given[0]) == given


def test_an_objective_of_all_views_without_targets_still_meets_a_teacher():
    objective = Plain()
    method(objective, 2, momentum=0.9).step(BATCH)
    assert [len(rows) for rows in objective.given] == [2, 2]


def test_the_objective_is_told_the_width_of_its_rows():
    assert method(MoCo(queue=16)).objective.queue.rows.shape == (16, 4)
    whole = JointEmbedding(Net(), views(2), MoCo(queue=16), projector=())
    assert whole.objective.queue.rows.shape == (16, WIDTH)


def test_masked_prediction_tells_it_too():
    class Tokens(Net):
        axes, input_width = 1, 3

    for target, width in (("latent", WIDTH), ("input", 3)):
        built = MaskedPrediction(Tokens(), None, MoCo(queue=16), target=target, predictor="mlp")
        assert built.objective.queue.rows.shape == (16, width)


def test_labels_come_from_the_data():
    built = method(SupCon(), 2)
    built.target = lambda batch: torch.arange(len(batch)) % 2
    assert built.step(BATCH)["loss"].isfinite()


def test_missing_labels_are_said_plainly():
    with pytest.raises(DataError, match="SupCon learns from labels"):
        method(SupCon(), 2).step(BATCH)


def test_heads_of_the_objective_are_trained_and_its_memory_moves_after_the_step():
    built = method(DINO(prototypes=6, frozen=0.0), 2, momentum=0.9)
    built.objective.progress = built.progress = Progress(1, 10)
    built.step(BATCH)["loss"].backward()
    assert built.objective.prototypes.directions.grad.any() and built.encoder.body.weight.grad.any()
    assert not built.objective.middle.any()
    built.after_step()
    assert built.objective.middle.any()
    assert built.objective.prototypes.directions in set(built.parameters())


@pytest.mark.parametrize("mixer", ["mgda", "pcgrad", "realign"])
def test_losses_of_pairs_can_be_mixed(mixer):
    """Three views make three losses; the value and the heads' gradient stay those of the mean."""
    found = {}
    for how in ("sum", mixer):
        torch.manual_seed(0)
        built = method(Pairwise(), 3, mixer=how)
        loss = built.step(torch.randn(10, COLUMNS))["loss"]
        loss.backward()
        found[how] = loss.detach(), built.encoder.body.weight.grad, built.projector[-1].weight.grad
    torch.testing.assert_close(found["sum"][0], found[mixer][0])
    torch.testing.assert_close(found["sum"][2], found[mixer][2])


def test_there_is_nothing_to_mix_in_one_loss():
    with pytest.raises(ValueError, match="AllAtOnce takes all views at once"):
        method(AllAtOnce(), 3, mixer="mgda")


class Numbered(Pairwise):
    def forward(self, *views, ids=None):
        self.given.append(ids)
        return sum(view.mean() for view in views)


def test_numbers_of_the_items_come_from_the_data_where_they_have_them():
    objective = Numbered()
    built = method(objective, 2)
    built.step(BATCH)
    built.ids = lambda batch: torch.arange(len(batch)) + 5
    built.step(BATCH)
    assert objective.given[0] is None and objective.given[1].tolist() == list(range(5, 15))
