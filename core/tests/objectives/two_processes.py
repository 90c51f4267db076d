"""Run by test_distributed.py, alone and as one of two processes: losses and gradients of a part of the same batch."""
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ssl_core import Progress, builtin

N, D = 12, 5  # rows in all, width
LABELS = torch.tensor([0, 1, 2, 0, -1, 1, 2, 2, 0, 1, -1, 0])
AGES = torch.tensor([1, 2, 2, 4, 1, 9, 2, 4, 4, float("nan"), 1, 9], dtype=torch.float64)
T = {"temperature": 0.3}
CASES = {  # objective, options, views, labels
    "infonce": ("infonce", T, 2, None), "one-way": ("infonce", T | {"symmetric": False}, 2, None),
    "nt-xent": ("nt-xent", T, 2, None), "dcl": ("dcl", T, 2, None), "dclw": ("dcl", T | {"sigma": 0.5}, 2, None),
    "supcon": ("supcon", T, 2, LABELS), "supremix": ("supremix", T | {"mixtures": 0}, 2, AGES),
    "mv-infonce": ("mv-infonce", T, 3, None), "mv-infonce-formula": ("mv-infonce", T | {"same_view": False}, 3, None),
    "mv-dhel": ("mv-dhel", T, 3, None), "unicon": ("unicon", T | {"transformations": 2}, 4, None), "cmim": ("cmim", T, 2, None),
    "moco": ("moco", T | {"queue": 64}, 2, None), "nnclr": ("nnclr", T | {"queue": 64}, 2, None),
    "groco": ("groco", {"negatives": 4}, 3, None), "directpred": ("directpred", {}, 2, None),
    "cosine": ("cosine", {}, 2, None), "smooth-l1": ("smooth-l1", {}, 2, None), "mse": ("mse", {}, 2, None),
    "barlow-twins": ("barlow-twins", {}, 2, None), "vicreg": ("vicreg", {}, 2, None),
    "mmcr": ("mmcr", {"within": 0.1}, 3, None),
    "lejepa": ("lejepa", {"slices": 8}, 3, None), "lejepa-pooled": ("lejepa", {"slices": 8, "pool": "all"}, 3, None),
    "swav": ("swav", {"prototypes": 7}, 3, None),
    "swav-queue": ("swav", {"prototypes": 7, "queue": 48, "queue_from": 0.0}, 2, None),
    "dino": ("dino", {"prototypes": 7}, 3, None), "depict": ("depict", {"clusters": 4}, 2, None),
    "sla": ("sla", {"classes": 3, "transformations": 2, "distil": 0.5}, 2, LABELS),
    "hydra": ("hydra", T | {"classes": 3, "pairs": 3}, 2, LABELS),
}
OFFERED = {component.name: component for component in builtin.ssl_objectives()}


def results(rank, world):
    """{case: losses of two steps and gradients of everything trained}, of this process's part of the batch."""
    mine, found = slice(rank * N // world, (rank + 1) * N // world), {}
    for case, (name, options, count, labels) in CASES.items():
        torch.manual_seed(0)
        x, weight = torch.randn(count, N, D, dtype=torch.float64), torch.randn(D, D, dtype=torch.float64, requires_grad=True)
        objective = OFFERED[name].load()(**options)
        if hasattr(objective, "allocate"):
            objective.allocate(D)
        objective = objective.double()
        objective.progress = Progress(5, 10)
        more = {} if labels is None else {"labels": labels[mine]}
        losses = []
        for step in range(2):  # the second sees what the first left in queues and centres
            loss = objective(*(view[mine] @ weight + step for view in x), **more)
            loss.backward()
            losses.append(loss.detach())
            if hasattr(objective, "after_step"):
                objective.after_step()
        trained = [weight, *(p for p in objective.parameters() if p.requires_grad)]
        found[case] = [torch.stack(losses), *(p.grad for p in trained)]
    return found


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    torch.save(results(rank, 2), folder / f"{rank}.pt")
    dist.destroy_process_group()
