"""Settings that recipes share."""
from ssl_core import Recipe

# A recipe's options are those of the paper for photos of about 224 pixels; rates are for the batch size that stands there.
# What follows are settings for small images: for CIFAR those of solo-learn or of the paper, for gray ones smaller, untuned.
PHOTOS = {"encoder": "resnet18", "epochs": 200, "schedule.warmup": 0.05}
PLAIN = {"augmentation": "simclr", "augmentation.blur": 0.0}
GRAY = {"encoder": "conv", "augmentation": "mild", "epochs": 40, "data.batch_size": 256, "optimizer": "adamw",
        "optimizer.lr": 3e-3, "optimizer.weight_decay": 1e-4, "schedule.warmup": 0.1, "method.projector": (256, 128)}
LARS = {"optimizer": "lars", "epochs": 100, "data.batch_size": 256, "schedule.warmup": 0.1, "optimizer.weight_decay": 1e-6}
SGD = {"optimizer": "sgd", "epochs": 200, "data.batch_size": 256, "schedule.warmup": 0.0, "optimizer.momentum": 0.9,
       "optimizer.weight_decay": 1e-4}
ADAMW = {"optimizer": "adamw", "epochs": 100, "data.batch_size": 256, "schedule.warmup": 0.1}
MODERATE = {"augmentation.strengths": (0.4, 0.4, 0.4, 0.1), "augmentation.scale": (0.2, 1.0)}  # MoCo v2's
CROPS = {"augmentation": "multi-crop", "augmentation.blur": (0.0, 0.0, 0.0)}
TWO = {"augmentation": "byol", "augmentation.blur": (0.0, 0.0)}  # solo-learn's for CIFAR: no small crops, no blur


def joint(name: str, objective: str, paper: str, summary: str, options: dict, cifar: dict, gray: dict, *,
          encoder: str = "resnet50", augmentation: str = "simclr", experimental: bool = False,
          target: str = "ssl_core:JointEmbedding") -> Recipe:
    """A method that embeds views. An option that is None is left out."""
    photos, gray = ({key: item for key, item in some.items() if item is not None}
                    for some in (PHOTOS | ({} if "augmentation" in cifar else PLAIN) | cifar, GRAY | gray))
    return Recipe(name=name, target=target, paper=paper, summary=summary, data="digits", encoder=encoder,
                  augmentation=augmentation, objective=objective, options=options, experimental=experimental,
                  per_data=small(photos, gray))


def small(photos: dict, gray: dict) -> dict:
    """The settings for each of the small data sets."""
    return {**dict.fromkeys(("cifar10", "cifar100"), photos), **dict.fromkeys(("digits", "mnist", "fashion-mnist"), gray)}
