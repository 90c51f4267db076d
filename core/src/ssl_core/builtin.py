"""The core is a plugin like any other: components that know nothing of a domain."""
from .components import Augmentation, Component
from .hookspecs import hookimpl


@hookimpl
def ssl_objectives():  # type: ignore[no-untyped-def]
    yield Component(name="infonce", target="ssl_core.objectives.infonce:InfoNCE", paper="arXiv:1807.03748",
                    summary="tell the aligned row from the rows of the other view")
    yield Component(name="nt-xent", target="ssl_core.objectives.infonce:NTXent", paper="arXiv:2002.05709",
                    summary="tell the aligned row from all other rows of both views")
    yield Component(name="barlow-twins", target="ssl_core.objectives.barlow_twins:BarlowTwins", paper="arXiv:2103.03230",
                    summary="make the cross-correlation of two views the identity")
    yield Component(name="vicreg", target="ssl_core.objectives.vicreg:VICReg", paper="arXiv:2105.04906",
                    summary="variance, invariance, covariance")
    yield Component(name="cosine", target="ssl_core.objectives.regression:Cosine", paper="arXiv:2006.07733",
                    summary="point the same way as the target")
    yield Component(name="smooth-l1", target="ssl_core.objectives.regression:SmoothL1", paper="arXiv:2301.08243",
                    summary="predict the target, linear in large errors")
    yield Component(name="mse", target="ssl_core.objectives.regression:MSE", paper="arXiv:2111.06377",
                    summary="predict the target, mean squared error")


@hookimpl
def ssl_augmentations():  # type: ignore[no-untyped-def]
    yield Augmentation(name="random-mask", makes="mask", target="ssl_core.masks:RandomMask",
                       summary="hide a share of the tokens of every item at random")
    yield Augmentation(name="box-mask", makes="mask", target="ssl_core.masks:BoxMask",
                       summary="hide a box of every item: a span, a block, a cuboid")


@hookimpl
def ssl_probes():  # type: ignore[no-untyped-def]
    yield Component(name="linear", target="ssl_core.probes.linear:linear",
                    summary="logistic or ridge regression on frozen features")
    yield Component(name="knn", target="ssl_core.probes.knn:knn", summary="vote of the nearest training items by cosine")
    yield Component(name="clustering", target="ssl_core.probes.clustering:clustering",
                    summary="k-means against the classes: nmi, ari, acc")
