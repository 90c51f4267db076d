"""Methods that tell the views of one image from those of others."""
from .settings import ADAMW, LARS, MODERATE, SGD, TWO, joint


def recipes():
    yield from in_the_batch()
    yield from with_queues()
    yield from apart()
    yield from partners()
    yield from with_classes()


def in_the_batch():
    yield joint(
        "simclr", "nt-xent", "arXiv:2002.05709", "tell the other view of an image from all other images",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 256), "objective.temperature": 0.2},
        {"objective.temperature": 0.2})
    yield joint(
        "supcon", "supcon", "arXiv:2004.11362", "simclr with all images of the class as positives; needs labels",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 256), "objective.temperature": 0.2},
        {"objective.temperature": 0.2})
    for name, about in (("mv-infonce", "all pairs of four views in one fraction"),
                        ("mv-dhel", "four views, aligned; negatives from the same view only")):
        yield joint(
            name, name, "arXiv:2507.06979", about,
            SGD | {"epochs": 100, "optimizer.lr": 0.3, "optimizer.weight_decay": 1e-6, "schedule.warmup": 0.1,
                   "augmentation.views": 4, "method.projector": (2048, 128), "objective.temperature": 0.1},
            {"augmentation.views": 4, "objective.temperature": 0.5}, {"augmentation.views": 4, "objective.temperature": 0.2})
    yield joint(
        "groco", "groco", "arXiv:2301.02009", "sort the other views above the most similar images",
        SGD | {"epochs": 100, "optimizer.lr": 0.75, "optimizer.weight_decay": 1e-6, "schedule.warmup": 0.01,
               "method.projector": (2048, 2048, 2048)},
        {"optimizer.lr": 0.3, "method.projector": (2048, 2048, 256)}, {}, augmentation="byol")


def with_queues():
    queued = {"method.projector": (2048, 128), "method.momentum": 0.999, "objective.temperature": 0.2,
              "objective.queue": 65536, "optimizer.lr": 0.03}
    near = {"optimizer.lr": 0.3, "method.projector": (2048, 256), "method.momentum": 0.99, "objective.queue": 32768}
    few = {"method.momentum": 0.97, "objective.queue": 512}
    yield joint("moco-v2", "moco", "arXiv:2003.04297", "tell a slow copy's other view from a queue of past ones",
                SGD | MODERATE | queued, near, few)
    yield joint("mochi", "mochi", "arXiv:2010.01028", "moco with hard negatives mixed from the queue",
                SGD | MODERATE | queued | {"objective.hardest": 1024, "objective.mixed": 1024, "objective.with_query": 128},
                near, few | {"objective.hardest": 128, "objective.mixed": 128, "objective.with_query": 32})
    yield joint("interclr", "interclr", "arXiv:2008.11702", "moco, and past images of the same cluster as positives",
                SGD | MODERATE | queued, near, few | {"objective.clusters": 16, "objective.negatives": 64}, experimental=True)
    yield joint(
        "moco-v3", "infonce", "arXiv:2104.02057", "predict a slow copy's other view among those of the batch",
        LARS | {"optimizer.lr": 0.45, "method.projector": (4096, 256), "method.predictor": (4096,), "method.last_norm": True,
                "method.momentum": 0.99, "objective.temperature": 1.0, "objective.symmetric": False},
        TWO | {"optimizer.lr": 0.3, "objective.temperature": 0.2},
        {"method.predictor": (256,), "method.momentum": 0.97, "objective.temperature": 0.2}, augmentation="byol")
    yield joint(
        "nnclr", "nnclr", "arXiv:2104.14548", "the positive is the past image nearest to the other view",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 2048, 256), "method.predictor": (4096,),
                "method.last_norm": True, "objective.temperature": 0.1, "objective.queue": 98304},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-5, "objective.temperature": 0.2, "objective.queue": 65536},
        {"method.predictor": (256,), "objective.queue": 512, "objective.temperature": 0.2})


def apart():
    """What is told apart, and from what, is chosen with care."""
    styles = {"augmentation": "batch-style"}
    digits = styles | {"augmentation.flip": 0.0, "augmentation.scale": (0.5, 1.0)}
    yield joint(
        "bss", "infonce", "arXiv:2303.06088", "simclr in which all images of a view have the style of one of them",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        styles | {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 256),
                  "objective.temperature": 0.2},
        digits | {"objective.temperature": 0.2}, augmentation="batch-style")
    yield joint(
        "g-simclr", "nt-xent-exclusive", "arXiv:2009.12007", "simclr without negatives from the same pseudo-class",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 256), "objective.temperature": 0.2},
        {"objective.temperature": 0.2, "method.cells": 8}, target="ssl_vision.methods.g_simclr:GSimCLR")
    yield joint(
        "scatsimclr", "nt-xent", "arXiv:2108.13939", "simclr on a scattering transform, and which turn and puzzle it was",
        LARS | {"optimizer.lr": 0.3, "encoder.orientations": 16, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"encoder": "scatter", "encoder.orientations": 8, "optimizer": "adamw", "optimizer.lr": 1e-3,
         "method.projector": (2048, 256), "objective.temperature": 0.2},
        {"encoder": "scatter", "encoder.orientations": 4, "objective.temperature": 0.2}, encoder="scatter", experimental=True,
        target="ssl_vision.methods.scatsimclr:ScatSimCLR")


def with_classes():
    """Positives and negatives are more than views: classes, turned images, or what an image is decoded from."""
    yield joint(
        "unicon-ha", "unicon", "arXiv:2308.10155", "images together, their turned copies apart, at every stage of the network",
        LARS | {"epochs": 500, "optimizer.lr": 0.1, "method.projector": (512, 128), "objective.temperature": 0.5},
        {"augmentation": "graded", "augmentation.blur": 0.0},
        {"augmentation": "graded", "augmentation.levels": 3, "augmentation.scale": (0.5, 1.0), "augmentation.flip": 0.0,
         "augmentation.gray": 0.0, "augmentation.blur": 0.0, "method.projector": (128, 64)},
        encoder="resnet18", augmentation="graded", experimental=True, target="ssl_vision.methods.unicon_ha:UniConHA")
    yield joint(
        "hydra", "hydra", "arXiv:2410.18200", "images of any two classes together in a subspace of theirs; needs labels",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 256)}, {}, experimental=True)
    yield joint(
        "cmim", "cmim", "arXiv:2502.19642", "decode an image from a code that no other image could have",
        ADAMW | {"optimizer.lr": 3e-4, "augmentation.scale": (0.5, 1.0), "objective.temperature": 0.1},
        {"augmentation": "crops", "optimizer": "adamw", "optimizer.lr": 1e-3, "augmentation.scale": (0.5, 1.0)},
        {"augmentation": "crops", "augmentation.scale": (0.7, 1.0), "augmentation.flip": 0.0, "optimizer.lr": 1e-3,
         "method.projector": None}, augmentation="crops", experimental=True, target="ssl_vision.methods.cmim:CMIM")


def partners():
    """The other view is of another image."""
    yield joint(
        "genview", "weighted-nt-xent", "arXiv:2403.12003", "simclr with views from a generator, good pairs weighing more",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 128), "objective.temperature": 0.1},
        {"augmentation": "generated", "augmentation.blur": 0.0, "optimizer.lr": 0.4, "optimizer.weight_decay": 1e-4,
         "method.projector": (2048, 256), "objective.temperature": 0.2},
        {"augmentation": "generated", "augmentation.blur": 0.0, "augmentation.flip": 0.0, "augmentation.scale": (0.5, 1.0),
         "augmentation.strengths": (0.2, 0.4, 0.0, 0.0), "augmentation.gray": 0.0}, augmentation="generated",
        experimental=True, target="ssl_vision.methods.genview:GenView")
    yield joint(
        "transitive", "triplet", "arXiv:1708.02901", "pull together what a graph of matches joins, friends of friends too",
        SGD | {"epochs": 100, "optimizer.lr": 0.03, "method.projector": (2048, 128)}, {"optimizer.lr": 0.1}, {},
        experimental=True, target="ssl_vision.methods.transitive:Transitive")
