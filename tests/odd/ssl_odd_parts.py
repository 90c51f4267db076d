"""The components of the odd plugin."""
import dataclasses

import torch
from ssl_toy_parts import Net, blobs
from torch import nn

from ssl_core import Method, Progress, Representation


class Bare(Net):
    def forward(self, table):
        return self.body(table)


class Wider(Net):
    def forward(self, table):
        return Representation(self.body(table).repeat(1, 2))


class Deep(Net):
    def forward(self, table):
        return Representation(self.body(table)[None])


class Still(Net):
    def forward(self, table):
        with torch.no_grad():
            return Representation(self.body(table))


class Fails(Net):
    def forward(self, table):
        return Representation(self.body(table @ table))


class Infinite(Net):
    def forward(self, table):
        return Representation(self.body(table) / 0)


class Needy(Net):
    def __init__(self, vocabulary: int, columns: int):
        super().__init__(columns)


class Loses:
    def __call__(self, table):
        return table, table[1:]


class Listed:
    def __call__(self, table):
        return [table, table]


class Raises:
    def __call__(self, table):
        raise KeyError("image")


class HidesAll:
    def __call__(self, layout):
        return torch.ones(len(layout.owner), dtype=torch.bool)


class HidesNothing:
    def __call__(self, layout):
        return torch.zeros(len(layout.owner), dtype=torch.bool)


class WrongMask:
    def __call__(self, layout):
        return torch.ones(3)


class NaNLater(nn.Module):
    progress = Progress()

    def forward(self, a, b):
        return (a - b).square().mean() * (float("nan") if self.progress.step >= 5 else 1.0)


class NaNNow(nn.Module):
    def forward(self, a, b):
        return (a - b).mean() / 0


class SilentMethod(Method):
    def step(self, batch):
        return None


class PerRowMethod(Method):
    def step(self, batch):
        return {"loss": self.encoder(batch).pooled.mean(dim=1)}


class RaisesMethod(Method):
    def step(self, batch):
        return batch["image"]


def labels_():
    return dataclasses.replace(blobs(), labels=torch.zeros(7, dtype=torch.long))


def folds_():
    return dataclasses.replace(blobs(), folds={"train": torch.arange(9), "test": torch.arange(9)})


def place_():
    return dataclasses.replace(blobs(), folds=blobs().folds | {"test": torch.tensor([999])})


def unlabelled_():
    return dataclasses.replace(blobs(), labels=torch.full((240,), -1))


def classes_():
    return dataclasses.replace(blobs(), labels=torch.zeros(240, dtype=torch.long))


def facts_():
    return dataclasses.replace(blobs(), facts={"rows": 240})


def nothing_():
    return dataclasses.replace(blobs(), train=[], skipped=[("a.pt", "not a tensor")])


def endless_():
    return dataclasses.replace(blobs(), train=iter([torch.zeros(4, 8)]))


def other_():
    return {"train": []}


def unread_():
    raise OSError("the disk is gone")
