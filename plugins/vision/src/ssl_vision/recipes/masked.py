"""Methods that predict what is hidden of an image."""
from ssl_core import Recipe

from .settings import small


def recipes():
    base = {"encoder.width": 768, "encoder.depth": 12, "encoder.heads": 12, "data.batch_size": 256, "schedule.warmup": 0.1}
    photos = {"encoder.width": 192, "encoder.depth": 6, "encoder.heads": 3, "epochs": 200, "optimizer.lr": 1e-3}
    gray = {"encoder.width": 128, "encoder.depth": 3, "encoder.heads": 4, "epochs": 40, "optimizer.lr": 2e-3,
            "method.hidden": 64}
    yield Recipe(
        name="mae", target="ssl_core:MaskedPrediction", paper="arXiv:2111.06377", summary="paint what is hidden of an image",
        data="digits", encoder="vit", augmentation="random-mask", objective="mse",
        options=base | {"epochs": 400, "optimizer.lr": 1.5e-4, "optimizer.weight_decay": 0.05, "augmentation.ratio": 0.75,
                        "method.target": "input", "method.hidden": 512},
        per_data=small(photos | {"method.hidden": 128}, gray))
    yield Recipe(
        name="i-jepa", target="ssl_core:MaskedPrediction", paper="arXiv:2301.08243",
        summary="predict what a slow copy makes of a hidden block; one block per image, not four",
        data="digits", encoder="vit", augmentation="box-mask", objective="smooth-l1",
        options=base | {"epochs": 300, "optimizer.lr": 1.25e-4, "optimizer.weight_decay": 0.04, "augmentation.ratio": 0.5,
                        "method.hidden": 384, "method.momentum": 0.996, "method.keep": "teacher"},
        per_data=small(photos | {"method.hidden": 96}, gray | {"method.momentum": 0.98}))
