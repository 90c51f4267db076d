"""ParetoGNN: one encoder for all tasks, and gradients that oppose no task."""
import pytest
import torch

from ssl_core.objectives.infonce import NTXent
from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.methods.paretognn import TASKS, ParetoGNN
from ssl_graph.methods.pretext import Same


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(50, 6) + 0.1, torch.randint(50, (2, 150)), where="test")


def flat(grads):
    return torch.cat([torch.zeros(0)] + [g.flatten() for g in grads if g is not None])


def made(**options):
    torch.manual_seed(1)
    return ParetoGNN(GCN(6, 8), Same(), NTXent(0.3), projector=(8,), **options)


def gradients(graph, **options):
    """What the mixed loss and each task ask of the encoder."""
    found = {}
    for mixer in ("mgda", "sum"):
        method = made(mixer=mixer, **options)
        torch.manual_seed(2)
        for name, loss in method.step(graph).items():
            if mixer == "sum" or name == "loss":
                found[mixer if name == "loss" else name] = flat(torch.autograd.grad(
                    loss, [*method.encoder.parameters()], retain_graph=True, materialize_grads=True))
    return found


def test_all_tasks_share_one_encoder(graph):
    method = made()
    assert set(method.tasks) == set(TASKS)
    assert all(task.encoder is method.encoder for task in method.tasks.values())
    losses = method.step(graph)
    assert set(losses) == {"loss", *TASKS}
    torch.testing.assert_close(losses["loss"], sum(losses[name] for name in TASKS))


def test_the_mixture_serves_every_task_alike(graph):
    """Weights found on gradients of one length and put on losses of any size let the largest win."""
    found = gradients(graph)
    mixed, plain = found.pop("mgda"), found.pop("sum")
    served = torch.stack([torch.cosine_similarity(mixed, own, dim=0) for own in found.values()])
    assert served.min() > 0
    used = served < served.min() + 0.02  # of the shortest vector of a hull, all used corners are equally far
    assert used.sum() >= 2
    lengths = [own.norm() for own in found.values()]
    assert max(lengths) > 100 * min(lengths), "the case that matters"
    largest = max(found.values(), key=torch.norm)
    assert torch.cosine_similarity(plain, largest, dim=0) > 0.9 > torch.cosine_similarity(mixed, largest, dim=0)


def test_two_tasks_by_hand(graph):
    """Of two gradients made equally long, the shortest mixture is their bisector."""
    found = gradients(graph, tasks=("belong", "contrast"))
    a, b = found["belong"], found["contrast"]
    plain = (a / a.norm() + b / b.norm()) / 2 * (a.norm() + b.norm()) / 2
    torch.testing.assert_close(found["mgda"], plain, atol=1e-6, rtol=1e-4)


def heads_asked(graph, mixer, name):
    """What one of the losses asks of the weights outside the encoder."""
    method = made(mixer=mixer)
    heads = {key: weight for key, weight in method.named_parameters() if "encoder." not in key}
    torch.manual_seed(2)
    grads = torch.autograd.grad(method.step(graph)[name], [*heads.values()], materialize_grads=True)
    return dict(zip(heads, grads, strict=True))


def test_heads_learn_from_their_own_task_alone(graph):
    mixed, whole = heads_asked(graph, "mgda", "loss"), heads_asked(graph, "sum", "loss")
    assert len(mixed) == 9
    torch.testing.assert_close(mixed, whole)
    own = {key: grad for key, grad in heads_asked(graph, "sum", "belong").items() if key.startswith("tasks.belong")}
    assert own
    torch.testing.assert_close({key: mixed[key] for key in own}, own)


def test_each_task_is_differentiated_once(graph):
    """The official code runs every task twice; a second backward pass would be as dear."""
    passes, method = [], made()
    method.tasks["contrast"].projector.register_full_backward_hook(lambda *_: passes.append(1))
    method.step(graph)["loss"].backward()
    assert len(passes) == 2  # one for each of its two views
    assert all(weight.grad is not None for weight in method.parameters())


def test_options_are_checked():
    with pytest.raises(ValueError, match="did you mean 'link'"):
        made(tasks=("links",))
    with pytest.raises(ValueError, match="one or more"):
        made(tasks=())
