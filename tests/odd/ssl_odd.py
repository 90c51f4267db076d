"""A plugin whose every component breaks its contract in one way."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl


@hookimpl
def ssl_encoders():
    for name in ("Bare", "Wider", "Deep", "Still", "Fails", "Needy", "Infinite"):
        yield Component(name=name.lower(), target=f"ssl_odd_parts:{name}")


@hookimpl
def ssl_augmentations():
    for name in ("loses", "listed", "raises"):
        yield Augmentation(name=name, target=f"ssl_odd_parts:{name.title()}")
    for name in ("hides-all", "hides-nothing", "wrong-mask"):
        yield Augmentation(name=name, makes="mask", target="ssl_odd_parts:" + name.title().replace("-", ""))


@hookimpl
def ssl_objectives():
    yield Component(name="nan-later", target="ssl_odd_parts:NaNLater")
    yield Component(name="nan-now", target="ssl_odd_parts:NaNNow")


@hookimpl
def ssl_datasets():
    for name in ("labels", "folds", "place", "unlabelled", "classes", "facts", "nothing", "endless", "other", "unread"):
        yield Dataset(name=name, target=f"ssl_odd_parts:{name}_")


@hookimpl
def ssl_methods():
    parts = dict(data="toy/blobs", encoder="toy/net", augmentation="toy/noise", objective="nt-xent")
    for name in ("JointEmbedding", "Silent", "PerRow", "Raises"):
        target = "ssl_core:JointEmbedding" if name == "JointEmbedding" else f"ssl_odd_parts:{name}Method"
        yield Recipe(name=name.lower(), target=target, **parts, options={"epochs": 2, "probe": "knn"})
    yield Recipe(name="masked", target="ssl_core:MaskedPrediction", **parts | dict(
        encoder="toy/cells", augmentation="random-mask", objective="mse"), options={"epochs": 2})
