"""A third-party plugin, as the tests see one: small tables, one row per item, one cell per token."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl


@hookimpl
def ssl_encoders():
    yield Component(name="net", target="ssl_toy_parts:Net", summary="a perceptron")
    yield Component(name="cells", target="ssl_toy_parts:Cells", summary="a transformer whose tokens are cells")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="noise", target="ssl_toy_parts:Noise", summary="add noise, twice or more")


@hookimpl
def ssl_datasets():
    yield Dataset(name="blobs", target="ssl_toy_parts:blobs", summary="four clusters", synthetic=True)
    yield Dataset(name="array", target="ssl_toy_parts:array", summary="a tensor in memory or a .pt file", reads=True)


@hookimpl
def ssl_methods():
    shared = {"epochs": 3, "optimizer.lr": 1e-2}
    parts = {"data": "blobs", "encoder": "net", "augmentation": "noise"}
    yield Recipe(name="contrast", summary="two noisy views of a row, contrasted",
                 target="ssl_core:JointEmbedding", **parts, objective="nt-xent", options=shared)
    yield Recipe(name="barlow", summary="three noisy views, decorrelated",
                 target="ssl_core:JointEmbedding", **parts, objective="barlow-twins",
                 options=shared | {"augmentation.views": 3})
    yield Recipe(name="byol", summary="a prediction of a slow teacher",
                 target="ssl_core:JointEmbedding", **parts, objective="cosine",
                 options=shared | {"method.predictor": (32,), "method.momentum": 0.9})
    masked = {"data": "blobs", "encoder": "cells", "augmentation": "random-mask"}
    yield Recipe(name="jepa", summary="hidden cells, predicted in the teacher's space",
                 target="ssl_core:MaskedPrediction", **masked, objective="smooth-l1", options=shared)
    yield Recipe(name="mae", summary="hidden cells, predicted as they are",
                 target="ssl_core:MaskedPrediction", **masked, objective="mse",
                 options=shared | {"method.target": "input", "method.predictor": "mlp", "method.normalize": False})
