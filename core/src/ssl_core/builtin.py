"""The core is a plugin like any other: components that know nothing of a domain."""
from .components import Augmentation, Component
from .hookspecs import hookimpl


def _objective(name: str, target: str, paper: str, summary: str, experimental: bool = False) -> Component:
    return Component(name=name, target=f"ssl_core.objectives.{target}", paper=paper, summary=summary,
                     experimental=experimental)


@hookimpl
def ssl_objectives():  # type: ignore[no-untyped-def]
    yield _objective("infonce", "infonce:InfoNCE", "arXiv:1807.03748", "tell the aligned row from the rows of the other view")
    yield _objective("nt-xent", "infonce:NTXent", "arXiv:2002.05709", "tell the aligned row from all other rows of both views")
    yield _objective("dcl", "dcl:DCL", "arXiv:2110.06848", "nt-xent without the positive in the denominator")
    yield _objective("supcon", "supcon:SupCon", "arXiv:2004.11362", "items of one class are positives; needs labels")
    yield _objective("supremix", "supremix:SupReMix", "arXiv:2309.16633",
                     "contrast for ordered labels, with mixed negatives and positives", experimental=True)
    yield _objective("hydra", "hydra:Hydra", "arXiv:2410.18200",
                     "any two classes are positives in a subspace of their own; needs labels", experimental=True)
    yield _objective("mv-infonce", "multiview:MVInfoNCE", "arXiv:2507.06979", "all pairs of views of an item in one fraction")
    yield _objective("mv-dhel", "multiview:MVDHEL", "arXiv:2507.06979",
                     "align all views, negatives from the same view only")
    yield _objective("unicon", "unicon:UniCon", "arXiv:2308.10155",
                     "inliers together, transformed items apart, for anomaly detection", experimental=True)
    yield _objective("cmim", "cmim:CMIM", "arXiv:2502.19642",
                     "contrast with the average negative, whatever the batch", experimental=True)
    yield _objective("moco", "moco:MoCo", "arXiv:1911.05722", "tell the target from a queue of past targets")
    yield _objective("mochi", "moco:MoCHi", "arXiv:2010.01028", "moco with hard negatives mixed from the queue")
    yield _objective("interclr", "interclr:InterCLR", "arXiv:2008.11702",
                     "moco, and past rows of the same cluster as positives", experimental=True)
    yield _objective("halp", "halp:HaLP", "arXiv:2304.00387", "moco, and positives made up near the target",
                     experimental=True)
    yield _objective("nnclr", "nnclr:NNCLR", "arXiv:2104.14548", "the positive is the nearest past row of the other view")
    yield _objective("groco", "groco:GroCo", "arXiv:2301.02009", "sort positives above the hardest negatives")
    yield _objective("cosine", "regression:Cosine", "arXiv:2006.07733", "point the same way as the target")
    yield _objective("directpred", "directpred:DirectPred", "arXiv:2102.06810",
                     "point the same way as the target, with a predictor in closed form")
    yield _objective("smooth-l1", "regression:SmoothL1", "arXiv:2301.08243", "predict the target, linear in large errors")
    yield _objective("mse", "regression:MSE", "arXiv:2111.06377", "predict the target, mean squared error")
    yield _objective("barlow-twins", "barlow_twins:BarlowTwins", "arXiv:2103.03230",
                     "make the cross-correlation of two views the identity")
    yield _objective("vicreg", "vicreg:VICReg", "arXiv:2105.04906", "variance, invariance, covariance")
    yield _objective("mmcr", "mmcr:MMCR", "arXiv:2303.03307", "centroids of the views fill the space")
    yield _objective("lejepa", "lejepa:LeJEPA", "arXiv:2511.08544", "views agree, and random slices are normal (SIGReg)")
    yield _objective("visreg", "visreg:VISReg", "arXiv:2606.02572", "views agree; centre, scale and shape of a normal sample")
    yield _objective("swav", "swav:SwAV", "arXiv:2006.09882", "predict the balanced cluster code of another view")
    yield _objective("dino", "dino:DINO", "arXiv:2104.14294", "match the teacher's centred, sharpened prototypes")
    yield _objective("depict", "depict:DEPICT", "arXiv:1704.06327", "clusters with frequency-balanced targets",
                     experimental=True)
    yield _objective("sla", "sla:SLA", "arXiv:1910.05872", "classify class and transformation jointly; needs labels")


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
    yield Component(name="retrieval", target="ssl_core.probes.retrieval:retrieval",
                    summary="map and recall@k of the test items among themselves")
    yield Component(name="transfer", target="ssl_core.probes.transfer:transfer", paper="arXiv:2308.15074",
                    summary="logme, hscore and ped of the training items, without training")
