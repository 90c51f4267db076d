"""Methods that agree about clusters, prototypes or made-up classes."""
from .settings import ADAMW, CROPS, LARS, SGD, joint


def recipes():
    yield joint(
        "swav", "swav", "arXiv:2006.09882", "predict the balanced cluster code of another view",
        LARS | {"optimizer.lr": 0.6, "epochs": 200, "schedule.warmup": 0.0, "method.projector": (2048, 128),
                "augmentation.large_scale": (0.14, 1.0), "augmentation.small_scale": (0.05, 0.14),
                "objective.prototypes": 3000, "objective.queue": 3840},
        CROPS | {"augmentation.large_scale": (0.3, 1.0), "augmentation.small_scale": (0.08, 0.3), "objective.prototypes": 300,
                 "objective.queue": 0},
        {"method.projector": (256, 64), "objective.prototypes": 64, "objective.queue": 0}, augmentation="multi-crop")
    yield joint(
        "dino", "dino", "arXiv:2104.14294", "match a slow copy's distribution over prototypes",
        ADAMW | {"optimizer.lr": 5e-4, "optimizer.weight_decay": 0.04, "trainer.clip": 3.0, "encoder.drop_path": 0.1,
                 "augmentation.small": 8, "method.projector": (2048, 2048, 256), "method.norm": "none",
                 "method.momentum": 0.996, "method.teacher_views": 2, "objective.prototypes": 65536,
                 "objective.final_temperature": 0.07},
        CROPS | {"augmentation.small": 6, "optimizer.lr": 1e-3, "method.norm": "batch", "method.momentum": 0.99,
                 "objective.prototypes": 4096, "objective.momentum": 0.99, "objective.final_temperature": 0.04},
        {"method.norm": "batch", "method.momentum": 0.97, "objective.momentum": 0.97, "objective.prototypes": 256,
         "objective.final_temperature": 0.04}, encoder="vit-small", augmentation="multi-crop")
    yield joint(
        "depict", "depict", "arXiv:1704.06327", "clusters with balanced targets, without the paper's reconstruction",
        ADAMW | {"optimizer.lr": 1e-4, "method.projector": ()}, {}, {"method.projector": ()}, experimental=True)
    yield joint(
        "sla", "sla", "arXiv:1910.05872", "classify class and rotation jointly; needs labels",
        SGD | {"optimizer.lr": 0.1, "optimizer.weight_decay": 5e-4, "method.projector": ()},
        {"augmentation": "rotations"}, {"augmentation": "rotations", "method.projector": ()},
        augmentation="rotations")
