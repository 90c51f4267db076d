"""Methods that agree about clusters, prototypes or made-up classes."""
from .settings import ADAMW, CROPS, LARS, SGD, TWO, joint


def recipes():
    yield joint(
        "swav", "swav", "arXiv:2006.09882", "predict the balanced cluster code of another view",
        LARS | {"optimizer.lr": 0.6, "epochs": 200, "schedule.warmup": 0.0, "method.projector": (2048, 128),
                "augmentation.large_scale": (0.14, 1.0), "augmentation.small_scale": (0.05, 0.14),
                "objective.prototypes": 3000, "objective.queue": 3840},
        {"objective.prototypes": 300, "objective.queue": 0, "objective.epsilon": 0.03},
        {"method.projector": (256, 64), "objective.prototypes": 64, "objective.queue": 0}, augmentation="multi-crop")
    yield joint(
        "dino", "dino", "arXiv:2104.14294", "match a slow copy's distribution over prototypes",
        ADAMW | {"optimizer.lr": 5e-4, "optimizer.weight_decay": 0.04, "trainer.clip": 3.0, "encoder.drop_path": 0.1,
                 "augmentation.small": 8, "method.projector": (2048, 2048, 256), "method.norm": "none",
                 "method.momentum": 0.996, "method.teacher_views": 2, "objective.prototypes": 65536,
                 "objective.final_temperature": 0.07},
        TWO | {"optimizer.lr": 1e-3, "method.norm": "batch", "method.momentum": 0.99, "objective.prototypes": 4096,
               "objective.momentum": 0.99, "objective.final_temperature": 0.04},
        {"method.norm": "batch", "method.momentum": 0.97, "objective.momentum": 0.97, "objective.prototypes": 256,
         "objective.final_temperature": 0.04}, encoder="vit-small", augmentation="multi-crop")
    yield joint(
        "bss-swav", "swav", "arXiv:2303.06088", "swav in which all images of a view have the style of one of them",
        LARS | {"optimizer.lr": 0.6, "epochs": 200, "schedule.warmup": 0.0, "method.projector": (2048, 128),
                "objective.prototypes": 3000, "objective.queue": 3840},
        {"augmentation": "batch-style", "objective.prototypes": 300, "objective.queue": 0},
        {"augmentation": "batch-style", "augmentation.flip": 0.0, "augmentation.scale": (0.5, 1.0),
         "method.projector": (256, 64), "objective.prototypes": 64, "objective.queue": 0}, augmentation="batch-style")
    yield joint(
        "obow", "soft-cross-entropy", "arXiv:2012.11552", "predict from a crop the visual words of the whole image",
        SGD | {"optimizer.lr": 0.03, "schedule.warmup": 0.05, "augmentation.large_scale": (0.08, 0.6), "augmentation.small": 5,
               "augmentation.small_scale": (0.05, 0.3)},
        CROPS | {"augmentation.small": 4, "augmentation.large_scale": (0.2, 1.0), "method.words": 4096},
        {"method.projector": None, "method.words": 2048, "method.momentum": 0.99, "optimizer.lr": 1e-3},
        augmentation="multi-crop", target="ssl_vision.methods.obow:OBoW")
    yield from of_parts()
    yield joint(
        "depict", "depict", "arXiv:1704.06327", "clusters with balanced targets, without the paper's reconstruction",
        ADAMW | {"optimizer.lr": 1e-4, "method.projector": ()}, {}, {"method.projector": ()}, experimental=True)
    yield joint(
        "sla", "sla", "arXiv:1910.05872", "classify class and rotation jointly; needs labels",
        SGD | {"optimizer.lr": 0.1, "optimizer.weight_decay": 5e-4, "method.projector": ()},
        {"augmentation": "rotations"}, {"augmentation": "rotations", "method.projector": ()},
        augmentation="rotations")


def of_parts():
    """Clusters of neighbourhoods and of places, beside those of images."""
    dino = {"objective.temperature": 0.1, "objective.teacher_temperature": 0.04, "objective.final_temperature": 0.07}
    yield joint(
        "mugs", "dino", "arXiv:2203.14415", "dino, and moco on images and on their neighbourhoods",
        ADAMW | dino | {"optimizer.lr": 8e-4, "optimizer.weight_decay": 0.04, "trainer.clip": 3.0, "encoder.drop_path": 0.1,
                        "augmentation.small": 10, "augmentation.large_scale": (0.25, 1.0),
                        "augmentation.small_scale": (0.05, 0.25), "objective.prototypes": 65536},
        CROPS | {"augmentation.small": 4, "augmentation.large_scale": (0.4, 1.0), "augmentation.small_scale": (0.08, 0.4),
                 "optimizer.lr": 1e-3, "method.norm": "batch", "method.queue": 8192, "method.memory": 8192,
                 "method.momentum": 0.99, "objective.prototypes": 4096, "objective.momentum": 0.99,
                 "objective.final_temperature": 0.04},
        {"method.norm": "batch", "method.predictor": (256,), "method.queue": 512, "method.memory": 512,
         "method.momentum": 0.97, "objective.prototypes": 256, "objective.momentum": 0.97,
         "objective.final_temperature": 0.04},
        encoder="vit-small", augmentation="multi-crop", target="ssl_vision.methods.mugs:Mugs")
    places = {"augmentation": "traced", "objective.momentum": 0.97, "method.momentum": 0.97}
    yield joint(
        "slotcon", "dino", "arXiv:2205.15288", "group the places of an image, and tell the groups apart",
        LARS | {"epochs": 200, "optimizer.lr": 1.0, "optimizer.weight_decay": 1e-5, "augmentation.scale": (0.08, 1.0),
                "objective.prototypes": 256, "objective.teacher_temperature": 0.07, "objective.final_temperature": 0.07,
                "objective.momentum": 0.99},
        places | {"augmentation.scale": (0.2, 1.0), "method.projector": (2048, 256), "method.grid": 4,
                  "objective.prototypes": 64, "objective.momentum": 0.99, "method.momentum": 0.99},
        places | {"optimizer.lr": 1e-3, "augmentation.flip": 0.0, "augmentation.scale": (0.5, 1.0),
                  "augmentation.strengths": (0.2, 0.4, 0.0, 0.0), "method.projector": (256, 64),
                  "method.predictor": (256,), "method.grid": 3, "objective.prototypes": 32},
        augmentation="traced", target="ssl_vision.methods.slotcon:SlotCon")
