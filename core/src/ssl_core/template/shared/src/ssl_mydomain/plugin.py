"""The shop window: what this plugin offers. Targets are strings, so that listing them imports nothing."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl


@hookimpl
def ssl_encoders():
    yield Component(name="net", target="ssl_mydomain.encoders:Net", summary="a small network to start from")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="views", target="ssl_mydomain.augmentations:Views", summary="two noisy views of each item")


@hookimpl
def ssl_objectives():
    yield Component(name="hypersphere", target="ssl_mydomain.objectives:Hypersphere", paper="arXiv:2005.10242",
                    summary="pull views of an item together, spread items over the sphere")


@hookimpl
def ssl_datasets():
    yield Dataset(name="sample", target="ssl_mydomain.data:sample", summary="three groups, made up", synthetic=True)
    yield Dataset(name="file", target="ssl_mydomain.data:read", summary="your own data: an .npz file or arrays", reads=True)


@hookimpl
def ssl_methods():
    parts = {"data": "sample", "encoder": "net", "augmentation": "views"}
    yield Recipe(name="contrast", target="ssl_core:JointEmbedding", **parts, objective="hypersphere",
                 summary="two views of each item, compared on the sphere", paper="arXiv:2005.10242",
                 options={"epochs": 30, "optimizer.lr": 1e-3, "method.projector": (64, 32)})
    yield Recipe(name="barlow", target="ssl_core:JointEmbedding", **parts, objective="barlow-twins",
                 summary="Barlow Twins, with the objective of the core", paper="arXiv:2103.03230",
                 options={"epochs": 30, "optimizer.lr": 1e-3, "method.projector": (64, 64)})
