"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl

#: Cases of `sslrun check vision` that fail, and why.
expected_failures = {f"method {name}: learns": "its queue starts with random rows, and the rows that replace them are harder"
                     for name in ("moco-v2", "mochi", "interclr")}


@hookimpl
def ssl_encoders():
    yield Component(name="conv", target="ssl_vision.encoders:Conv", summary="six convolutions, for small images")
    yield Component(name="resnet18", target="ssl_vision.encoders:resnet18", paper="arXiv:1512.03385",
                    summary="timm's, with a small stem for images of up to 64 pixels")
    yield Component(name="resnet50", target="ssl_vision.encoders:resnet50", paper="arXiv:1512.03385",
                    summary="timm's, with a small stem for images of up to 64 pixels")
    yield Component(name="vit-tiny", target="ssl_vision.encoders:vit_tiny", paper="arXiv:2012.12877",
                    summary="timm's vision transformer, width 192")
    yield Component(name="vit-small", target="ssl_vision.encoders:vit_small", paper="arXiv:2012.12877",
                    summary="timm's vision transformer, width 384")
    yield Component(name="timm", target="ssl_vision.encoders:Timm", summary="any model of timm, by encoder.model=NAME")
    yield Component(name="vit", target="ssl_vision.vit:ViT", paper="arXiv:2010.11929",
                    summary="vision transformer that skips hidden patches, for masked methods")
    yield Component(name="scatter", target="ssl_vision.scattering:ScatterNet", paper="arXiv:2108.13939",
                    summary="fixed wavelet scattering and a small network on top")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="simclr", target="ssl_vision.augmentations:SimCLR", paper="arXiv:2002.05709",
                       summary="crop, flip, jitter, gray, blur; views drawn alike")
    yield Augmentation(name="byol", target="ssl_vision.augmentations:BYOL", paper="arXiv:2006.07733",
                       summary="the same and solarise; two views drawn differently")
    yield Augmentation(name="multi-crop", target="ssl_vision.augmentations:MultiCrop", paper="arXiv:2006.09882",
                       summary="a few large views and many small ones")
    yield Augmentation(name="mild", target="ssl_vision.augmentations:Mild",
                       summary="turn, scale, shift and noise, for small gray images")
    yield Augmentation(name="batch-style", target="ssl_vision.augmentations:BatchStyle", paper="arXiv:2303.06088",
                       summary="all images of a view in the style of one of them")
    yield Augmentation(name="rotations", target="ssl_vision.augmentations:Rotations", paper="arXiv:1803.07728",
                       summary="four views, turned by quarters; the view is the class")
    yield Augmentation(name="jigsaw", target="ssl_vision.augmentations:Jigsaw", paper="arXiv:1603.09246",
                       summary="tiles in several orders; the view is the class")


@hookimpl
def ssl_datasets():
    yield Dataset(name="digits", target="ssl_vision.data:digits", summary="1,797 real handwritten digits, 8 x 8")
    yield Dataset(name="file", target="ssl_vision.data:read", reads=True,
                  summary="your own: a folder or .zip of images, .npy, .npz, or an array")
    yield Dataset(name="cifar10", target="ssl_vision.data:cifar10", summary="60,000 photos, 32 x 32, 10 classes")
    yield Dataset(name="cifar100", target="ssl_vision.data:cifar100", summary="60,000 photos, 32 x 32, 100 classes")
    yield Dataset(name="mnist", target="ssl_vision.data:mnist", summary="70,000 handwritten digits, 28 x 28")
    yield Dataset(name="fashion-mnist", target="ssl_vision.data:fashion_mnist", summary="70,000 garments, 28 x 28")
    yield Dataset(name="stl10", target="ssl_vision.data:stl10", summary="113,000 photos, 96 x 96, 10 classes, most unlabelled")
    yield Dataset(name="huggingface", target="ssl_vision.data:huggingface",
                  summary="images on the Hugging Face hub, by data.name=NAME")


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


def joint(name: str, objective: str, paper: str, summary: str, options: dict, cifar: dict, gray: dict, *,
          encoder: str = "resnet50", augmentation: str = "simclr", experimental: bool = False) -> Recipe:
    """A method that embeds views."""
    return Recipe(name=name, target="ssl_core:JointEmbedding", paper=paper, summary=summary, data="digits", encoder=encoder,
                  augmentation=augmentation, objective=objective, options=options, experimental=experimental,
                  per_data=small(PHOTOS | ({} if "augmentation" in cifar else PLAIN) | cifar, GRAY | gray))


def small(photos: dict, gray: dict) -> dict:
    """The settings for each of the small data sets."""
    return {**dict.fromkeys(("cifar10", "cifar100"), photos), **dict.fromkeys(("digits", "mnist", "fashion-mnist"), gray)}


@hookimpl
def ssl_methods():
    yield from contrastive()
    yield from with_queues()
    yield from predictive()
    yield from decorrelating()
    yield from clustering()
    yield from masked()


def contrastive():
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


def predictive():
    yield joint(
        "byol", "cosine", "arXiv:2006.07733", "predict what a slow copy of the network makes of the other view",
        LARS | {"optimizer.lr": 0.45, "method.projector": (4096, 256), "method.predictor": (4096,), "method.momentum": 0.99},
        {"optimizer.lr": 1.0, "optimizer.weight_decay": 1e-5, "augmentation": "byol", "augmentation.blur": (0.0, 0.0)},
        {"method.predictor": (256,), "method.momentum": 0.97}, augmentation="byol")
    yield joint(
        "simsiam", "cosine", "arXiv:2011.10566", "predict the other view, which is held still; no copy, no negatives",
        SGD | MODERATE | {"optimizer.lr": 0.05, "method.projector": (2048, 2048, 2048), "method.predictor": (512,),
                          "method.last_norm": True, "method.stop_gradient": True},
        {"optimizer.lr": 0.03, "optimizer.weight_decay": 5e-4, "method.projector": (2048, 2048)},
        {"method.predictor": (64,)})
    yield joint(
        "directpred", "directpred", "arXiv:2102.06810", "byol with a linear predictor that is computed, not trained",
        SGD | {"epochs": 100, "optimizer.lr": 0.03, "optimizer.weight_decay": 4e-4, "data.batch_size": 128,
               "method.projector": (512, 128), "method.momentum": 0.996},
        {"augmentation": "byol", "augmentation.blur": (0.0, 0.0)}, {"method.momentum": 0.97}, augmentation="byol")


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
        CROPS | {"optimizer.lr": 2e-3, "optimizer.weight_decay": 5e-4, "method.projector": (2048, 2048, 64)},
        {"augmentation.views": 4, "method.projector": (256, 32), "objective.slices": 256},
        encoder="vit-small", augmentation="multi-crop")
    yield joint(
        "visreg", "visreg", "arXiv:2606.02572", "views agree; centre, scale and shape of a normal sample",
        ADAMW | crops | {"optimizer.lr": 5e-4, "optimizer.weight_decay": 0.05, "objective.weight": 0.6,
                         "objective.slices": 4096},
        CROPS | {"optimizer.lr": 2e-3, "optimizer.weight_decay": 5e-4, "objective.slices": 1024},
        {"augmentation.views": 4, "method.projector": (256, 32), "objective.slices": 256},
        encoder="vit-small", augmentation="multi-crop")


def clustering():
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


def masked():
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
