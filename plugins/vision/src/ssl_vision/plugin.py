"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, hookimpl

from .recipes import clustering, contrastive, masked, predictive

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
    yield Component(name="swin", target="ssl_vision.swin:Swin", paper="arXiv:2111.09883",
                    summary="SwinV2 whose patches can be blanked, for masked methods; any number of bands")
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
    yield Augmentation(name="traced", target="ssl_vision.views:Traced",
                       summary="crop, flip, turn and colour; each view says how it was drawn")
    yield Augmentation(name="drift", target="ssl_vision.frames:Drift", paper="arXiv:2209.10901",
                       summary="three frames of a made-up film that closes in on a still image, and two views")
    yield Augmentation(name="generated", target="ssl_vision.generated:Generated", paper="arXiv:2403.12003",
                       summary="a view of the image, and one of what your generator made of it")
    yield Augmentation(name="crops", target="ssl_vision.crops:Crops", paper="arXiv:2111.06377",
                       summary="crop and flip, and nothing else")
    yield Augmentation(name="graded", target="ssl_vision.graded:Graded", paper="arXiv:2308.10155", experimental=True,
                       summary="views from weak to strong, each of every quarter turn")
    yield Augmentation(name="nested-crops", target="ssl_vision.crops:NestedCrops", paper="arXiv:2403.17823",
                       summary="a crop, and a crop of that")
    yield Augmentation(name="as-is", target="ssl_vision.crops:AsIs", summary="one view, the image as it is")


@hookimpl
def ssl_objectives():
    yield Component(name="nt-xent-exclusive", target="ssl_vision.methods.g_simclr:ExclusiveNTXent", paper="arXiv:2009.12007",
                    summary="nt-xent without negatives of the same label")
    yield Component(name="soft-cross-entropy", target="ssl_vision.objectives:SoftCrossEntropy", paper="arXiv:2012.11552",
                    summary="cross entropy of logits with distributions")
    yield Component(name="binary-cross-entropy", target="ssl_vision.objectives:BinaryCrossEntropy",
                    summary="cross entropy of logits with marks from 0 to 1")
    yield Component(name="weighted-nt-xent", target="ssl_vision.methods.genview:WeightedNTXent", paper="arXiv:2403.12003",
                    summary="nt-xent in which items may have weights")
    yield Component(name="triplet", target="ssl_vision.methods.transitive:Triplet", paper="arXiv:1708.02901",
                    summary="the aligned row nearer than other rows, by a margin")


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


@hookimpl
def ssl_methods():
    for family in (contrastive, predictive, clustering, masked):
        yield from family.recipes()
