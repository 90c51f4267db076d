"""Methods that tell the views of one image from those of others."""
from .settings import LARS, MODERATE, SGD, joint


def recipes():
    yield from in_the_batch()
    yield from with_queues()


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
        {"optimizer.lr": 0.3, "augmentation": "byol", "augmentation.blur": (0.0, 0.0), "objective.temperature": 0.2},
        {"method.predictor": (256,), "method.momentum": 0.97, "objective.temperature": 0.2}, augmentation="byol")
    yield joint(
        "nnclr", "nnclr", "arXiv:2104.14548", "the positive is the past image nearest to the other view",
        LARS | {"optimizer.lr": 0.3, "method.projector": (2048, 2048, 256), "method.predictor": (4096,),
                "method.last_norm": True, "objective.temperature": 0.1, "objective.queue": 98304},
        {"optimizer.lr": 0.4, "optimizer.weight_decay": 1e-5, "objective.temperature": 0.2, "objective.queue": 65536},
        {"method.predictor": (256,), "objective.queue": 512, "objective.temperature": 0.2})
