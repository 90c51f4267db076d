"""Methods that predict one view from another, or make views agree without negatives."""
from .settings import ADAMW, LARS, MODERATE, SGD, TWO, joint


def recipes():
    yield from predictive()
    yield from decorrelating()
    yield from equivariant()
    yield from made_up()


def predictive():
    yield joint(
        "byol", "cosine", "arXiv:2006.07733", "predict what a slow copy of the network makes of the other view",
        LARS | {"optimizer.lr": 0.45, "method.projector": (4096, 256), "method.predictor": (4096,), "method.momentum": 0.99},
        TWO | {"optimizer.lr": 1.0, "optimizer.weight_decay": 1e-5},
        {"method.predictor": (256,), "method.momentum": 0.97}, augmentation="byol")
    yield joint(
        "simsiam", "cosine", "arXiv:2011.10566", "predict the other view, which is held still; no copy, no negatives",
        SGD | MODERATE | {"optimizer.lr": 0.05, "method.projector": (2048, 2048, 2048), "method.predictor": (512,),
                          "method.predictor_rate": "constant", "method.last_norm": True, "method.stop_gradient": True},
        {"optimizer.lr": 0.03, "optimizer.weight_decay": 5e-4, "method.projector": (2048, 2048)},
        {"method.predictor": (64,)})
    yield joint(
        "directpred", "directpred", "arXiv:2102.06810", "byol with a linear predictor that is computed, not trained",
        SGD | {"epochs": 100, "optimizer.lr": 0.03, "optimizer.weight_decay": 4e-4, "data.batch_size": 128,
               "method.projector": (512, 128), "method.momentum": 0.996},
        TWO, {"method.momentum": 0.97}, augmentation="byol")


def decorrelating():
    colours = {"augmentation.strengths": (0.4, 0.4, 0.2, 0.1), "augmentation.solarise": 0.1}
    yield joint(
        "barlow-twins", "barlow-twins", "arXiv:2103.03230", "make the cross-correlation of two views the identity",
        LARS | {"optimizer.lr": 0.2, "optimizer.weight_decay": 1.5e-6, "method.projector": (8192, 8192, 8192),
                "objective.redundancy": 5e-3},
        colours | {"optimizer.lr": 0.3, "optimizer.weight_decay": 1e-4, "method.projector": (2048, 2048, 2048),
                   "objective.scale": 0.1},
        {"method.projector": (512, 512), "objective.redundancy": 1e-2}, augmentation="byol")
    yield joint(
        "vicreg", "vicreg", "arXiv:2105.04906", "variance, invariance and covariance of two views",
        LARS | colours | {"optimizer.lr": 0.3, "method.projector": (8192, 8192, 8192)},
        colours | {"optimizer.weight_decay": 1e-4, "method.projector": (2048, 2048, 2048), "augmentation.scale": (0.2, 1.0)},
        {"method.projector": (512, 512)})
    yield joint(
        "mmcr", "mmcr", "arXiv:2303.03307", "spread the centroids of four views as far as they go",
        LARS | {"optimizer.lr": 0.6, "method.projector": (8192, 8192, 512), "augmentation.views": 4},
        {"optimizer": "adamw", "optimizer.lr": 1e-3, "method.projector": (512, 128), "augmentation.views": 4},
        {"augmentation.views": 4})
    crops = {"augmentation.large_scale": (0.3, 1.0), "augmentation.small_scale": (0.05, 0.3), "objective.target_views": 2,
             "encoder.drop_path": 0.1, "method.projector": (2048, 2048, 128)}
    yield joint(
        "lejepa", "lejepa", "arXiv:2511.08544", "views agree, and random projections of them are normal",
        ADAMW | crops | {"optimizer.lr": 5e-4, "optimizer.weight_decay": 0.05, "objective.weight": 0.05},
        TWO | {"optimizer.lr": 2e-3, "optimizer.weight_decay": 5e-4, "method.projector": (2048, 2048, 64)},
        {"augmentation.views": 4, "method.projector": (256, 32), "objective.slices": 256},
        encoder="vit-small", augmentation="multi-crop")
    yield joint(
        "visreg", "visreg", "arXiv:2606.02572", "views agree; centre, scale and shape of a normal sample",
        ADAMW | crops | {"optimizer.lr": 5e-4, "optimizer.weight_decay": 0.05, "objective.weight": 0.6,
                         "objective.slices": 4096},
        TWO | {"optimizer.lr": 2e-3, "optimizer.weight_decay": 5e-4, "objective.slices": 1024},
        {"augmentation.views": 4, "method.projector": (256, 32), "objective.slices": 256},
        encoder="vit-small", augmentation="multi-crop")


def equivariant():
    """Methods that know how a view was drawn."""
    traced = {"augmentation": "traced"}
    digits = traced | {"augmentation.flip": 0.0, "augmentation.angle": 30.0, "augmentation.scale": (0.5, 1.0),
                       "augmentation.strengths": (0.2, 0.4, 0.0, 0.0)}
    yield joint(
        "sie", "vicreg", "arXiv:2302.10283", "half of the representation keeps still, half moves with the transformation",
        ADAMW | {"optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-6, "objective.invariance": 0.0, "objective.variance": 10.0,
                 "objective.covariance": 1.0, "method.projector": (1024, 1024, 1024)},
        traced | {"method.projector": (512, 512, 512)}, digits | {"method.projector": (256, 256)},
        encoder="resnet18", augmentation="traced", target="ssl_vision.methods.sie:SIE")
    yield joint(
        "seq-jepa", "cosine", "arXiv:2505.03176", "predict the next view from a sequence of views and actions",
        ADAMW | {"optimizer.lr": 4e-4, "optimizer.weight_decay": 1e-3, "augmentation.views": 4},
        traced | {"augmentation.views": 4, "method.momentum": 0.99},
        digits | {"augmentation.views": 4, "method.projector": None, "method.momentum": 0.97, "method.action": 32,
                  "method.hidden": 128, "optimizer.lr": 1e-3},
        encoder="resnet18", augmentation="traced", target="ssl_vision.methods.seq_jepa:SeqJEPA")


def made_up():
    """Methods that make their own question of still images."""
    strengths = {"augmentation.strengths": (0.4, 0.4, 0.2, 0.1)}
    yield joint(
        "tov-vicreg", "vicreg", "arXiv:2209.10901", "vicreg, and do three frames of a slow zoom come in order?",
        LARS | strengths | {"optimizer.lr": 0.6, "data.batch_size": 1024, "method.projector": (1024, 1024, 1024)},
        {"augmentation": "drift", "augmentation.blur": 0.0, "optimizer.lr": 0.3, "optimizer.weight_decay": 1e-4},
        {"augmentation": "drift", "augmentation.blur": 0.0, "augmentation.flip": 0.0, "augmentation.scale": (0.5, 1.0),
         "method.projector": (512, 512)},
        encoder="vit-tiny", augmentation="drift", target="ssl_vision.methods.tov_vicreg:TOVVICReg")
    yield joint(
        "freecos", "binary-cross-entropy", "arXiv:2307.07245", "find synthetic branching structures laid over real images",
        ADAMW | {"optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-4}, {"optimizer": "adamw", "optimizer.lr": 1e-3},
        {"method.projector": None}, encoder="resnet18", experimental=True, target="ssl_vision.methods.freecos:FreeCOS")
