"""Methods that predict what is hidden of an image."""
from ssl_core import Recipe

from .settings import small

BASE = {"encoder.width": 768, "encoder.depth": 12, "encoder.heads": 12, "data.batch_size": 256, "schedule.warmup": 0.1}
PHOTOS = {"encoder.width": 192, "encoder.depth": 6, "encoder.heads": 3, "epochs": 200, "optimizer.lr": 1e-3}
GRAY = {"encoder.width": 128, "encoder.depth": 3, "encoder.heads": 4, "epochs": 40, "optimizer.lr": 2e-3}
SMALL_SWIN = {"encoder.patch": 2, "encoder.width": 384, "encoder.depths": (2, 4, 2), "encoder.window": 4,
              "encoder.drop_path": 0.0, "epochs": 200, "optimizer.lr": 1e-3}
GRAY_SWIN = {"encoder.patch": 1, "encoder.width": 128, "encoder.depths": (2, 2), "encoder.window": 4, "encoder.drop_path": 0.0,
             "epochs": 40, "optimizer.lr": 2e-3}
# A patch of digits is four pixels, many of them blank: normalised one by one, little is left to predict. Faster training than
# this takes from the mean of the tokens what a linear probe reads (chosen on the validation fold).
PLAIN_TARGETS = {"method.normalize": False, "optimizer.lr": 5e-4}
SLOWER = {"optimizer.lr": 5e-4, "method.momentum": 0.99}  # at twice this rate the targets of digits collapse
FEW = {"augmentation.scale": (0.6, 1.0), "augmentation.flip": 0.0}  # of crops of digits: whole enough, and never mirrored


def masked(name: str, target: str, paper: str, summary: str, options: dict, photos: dict, gray: dict, *,
           augmentation: str = "random-mask", objective: str = "mse", experimental: bool = False) -> Recipe:
    """A method on the transformer that skips hidden patches."""
    return Recipe(name=name, target=target, paper=paper, summary=summary, data="digits", encoder="vit",
                  augmentation=augmentation, objective=objective, options=BASE | options, experimental=experimental,
                  per_data=small(PHOTOS | photos, GRAY | gray))


def recipes():
    yield from of_pixels()
    yield from of_tokens()
    yield from blanked()


def of_pixels():
    yield masked(
        "mae", "ssl_core:MaskedPrediction", "arXiv:2111.06377", "paint what is hidden of an image",
        {"epochs": 400, "optimizer.lr": 1.5e-4, "optimizer.weight_decay": 0.05, "augmentation.ratio": 0.75,
         "method.target": "input", "method.hidden": 512, "method.waves": 6},
        {"method.hidden": 128}, PLAIN_TARGETS | {"method.hidden": 64, "method.waves": 0})
    yield masked(
        "cropmae", "ssl_vision.methods.cropmae:CropMAE", "arXiv:2403.17823", "paint a crop with the help of the crop around it",
        {"encoder.width": 384, "encoder.heads": 6, "epochs": 400, "optimizer.lr": 1e-4, "optimizer.weight_decay": 0.05,
         "schedule.warmup": 0.05},
        {"method.hidden": 128},
        {"method.hidden": 64, "method.depth": 2, "method.normalize": False, "method.ratio": 0.9, "augmentation.flip": 0.0,
         "augmentation.outer": (0.6, 1.0), "augmentation.inner": (0.4, 0.8)}, augmentation="nested-crops")
    yield masked(
        "mixedae", "ssl_vision.methods.mixedae:MixedAE", "arXiv:2303.17152",
        "unmix images, a quarter of the patches of each; patches find those of their own image",
        {"epochs": 800, "optimizer.lr": 1.5e-4, "optimizer.weight_decay": 0.05},
        {"method.hidden": 128}, {"method.hidden": 64, "method.normalize": False, "data.batch_size": 128} | FEW,
        augmentation="crops", experimental=True)
    yield masked(
        "semaim", "ssl_vision.methods.semaim:SemAIM", "arXiv:2312.10457",
        "predict patch after patch, from the most telling place outwards",
        {"epochs": 400, "optimizer.lr": 2e-4, "optimizer.weight_decay": 0.05, "trainer.clip": 3.0},
        {}, {"method.normalize": False, "method.blur": 0.0} | FEW, augmentation="crops")
    yield masked(
        "fsfm", "ssl_vision.methods.fsfm:FSFM", "arXiv:2412.12032",
        "hide a region whole, by maps (method.regions=FILE) or else by clusters of patches",
        {"epochs": 400, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.05, "trainer.clip": 1.0},
        {"method.hidden": 128}, {"method.hidden": 64, "method.momentum": 0.98}, augmentation="as-is")


def of_tokens():
    yield masked(
        "i-jepa", "ssl_core:MaskedPrediction", "arXiv:2301.08243",
        "predict what a slow copy makes of four hidden blocks, all at once",
        {"epochs": 300, "optimizer.lr": 1.25e-4, "optimizer.weight_decay": 0.04, "augmentation.ratio": 0.175,
         "augmentation.boxes": 4, "method.hidden": 384, "method.waves": 6, "method.momentum": 0.996, "method.keep": "teacher"},
        {"method.hidden": 96}, SLOWER | {"method.hidden": 64, "method.waves": 0}, augmentation="box-mask",
        objective="smooth-l1")
    yield masked(
        "dmt-jepa", "ssl_vision.methods.dmt_jepa:DMTJEPA", "arXiv:2405.17995",
        "i-jepa whose targets are gathered from the neighbours that resemble them",
        {"epochs": 600, "optimizer.lr": 1.25e-4, "optimizer.weight_decay": 0.04, "augmentation.ratio": 0.175,
         "augmentation.boxes": 4, "method.hidden": 384, "method.heads": 12},
        {"method.hidden": 96, "method.heads": 4}, SLOWER | {"method.hidden": 64, "method.heads": 4},
        augmentation="box-mask", objective="smooth-l1")
    yield masked(
        "hybrid-distill", "ssl_vision.methods.hybrid_distill:HybridDistill", "arXiv:2306.15876",
        "one teacher's relations, another's features; both are untrained unless runs are named",
        {"epochs": 300, "optimizer.lr": 3e-4, "optimizer.weight_decay": 0.05}, {}, FEW, augmentation="crops",
        objective="smooth-l1", experimental=True)


def blanked():
    yield masked(
        "simmim", "ssl_vision.methods.simmim:SimMIM", "arXiv:2111.09886", "one linear layer paints what was blanked",
        {"epochs": 800, "optimizer.lr": 1e-4, "optimizer.weight_decay": 0.05, "augmentation.ratio": 0.6, "trainer.clip": 5.0,
         "objective.beta": 0.0},
        {}, {}, objective="smooth-l1")
    yield Recipe(
        name="satvision", target="ssl_vision.methods.simmim:SimMIM", paper="arXiv:2411.17000",
        summary="simmim with SwinV2, for satellite images of many bands", data="digits", encoder="swin",
        augmentation="random-mask", objective="smooth-l1",
        options={"encoder.width": 4096, "encoder.depths": (2, 2, 42, 2), "encoder.window": 8, "encoder.drop_path": 0.1,
                 "epochs": 50, "data.batch_size": 256, "optimizer.lr": 3e-4, "optimizer.weight_decay": 0.05,
                 "schedule.warmup": 0.02, "augmentation.ratio": 0.6, "trainer.clip": 5.0, "objective.beta": 0.0},
        per_data=small(SMALL_SWIN, GRAY_SWIN))
    yield Recipe(
        name="solider", target="ssl_vision.methods.solider:Solider", paper="arXiv:2303.17602",
        summary="views agree, tokens name the part they show; one number says how much of each", data="digits",
        encoder="swin", augmentation="multi-crop", objective="dino",
        options={"encoder.controlled": True, "encoder.drop_path": 0.1, "augmentation.small": 0, "epochs": 100,
                 "data.batch_size": 256, "optimizer.lr": 5e-4, "optimizer.weight_decay": 0.04, "schedule.warmup": 0.1,
                 "trainer.clip": 3.0, "objective.prototypes": 65536},
        per_data=small(SMALL_SWIN | {"augmentation.blur": (0.0, 0.0, 0.0), "objective.prototypes": 4096,
                                     "method.momentum": 0.99, "objective.momentum": 0.99},
                       GRAY_SWIN | {"augmentation": "mild", "method.momentum": 0.97,
                                    "method.projector": (256, 64), "objective.prototypes": 256, "objective.momentum": 0.97}))
