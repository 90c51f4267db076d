"""The shop window: what this plugin offers. Imports no torch."""
from collections.abc import Mapping

from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl

expected_failures = {"method medical-dino: learns": "its centre starts at zero, and targets are harder once it holds what "
                                                    "all rows share"}


@hookimpl
def ssl_encoders():
    yield Component(name="vit3d", target="ssl_medical.vit:ViT", paper="arXiv:2010.11929",
                    summary="vision transformer that skips hidden blocks of voxels, for masked methods")
    yield Component(name="resnet3d", target="ssl_medical.encoders:ResNet3D", paper="arXiv:1512.03385",
                    summary="MONAI's ResNet with group norm, small by default")
    yield Component(name="unet3d", target="ssl_medical.encoders:UNetEncoder", paper="arXiv:1505.04597",
                    summary="the way down of MONAI's BasicUNet")
    yield Component(name="swin", target="ssl_medical.encoders:SwinEncoder", paper="arXiv:2201.01266",
                    summary="the encoder of MONAI's Swin UNETR, small by default")
    yield Component(name="sparse-cnn", target="ssl_medical.sparse:SparseCNN", paper="arXiv:2301.03580",
                    summary="convolutions that see some blocks only, for spark3d")
    yield Component(name="slices", target="ssl_medical.slices:Slices", paper="arXiv:2212.01893",
                    summary="a two-dimensional ResNet for each slice, and attention among them")
    yield Component(name="attention-mil", target="ssl_medical.bags:AttentionMIL", paper="arXiv:1802.04712",
                    summary="gated attention over the instances of a bag")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="views3d", target="ssl_medical.augmentations:Views",
                       summary="flip, turn, scale, bend, brightness, blur, noise, blank boxes")
    yield Augmentation(name="same-place", target="ssl_medical.augmentations:Pairs", paper="arXiv:2302.05615",
                       summary="two views: the same place of two bodies")
    yield Augmentation(name="hide-blocks", target="ssl_medical.augmentations:HideBlocks", paper="arXiv:2111.09886",
                       summary="blank blocks of voxels, and keep what was there")
    yield Augmentation(name="genesis", target="ssl_medical.corruptions:Genesis", paper="arXiv:1908.06912",
                       summary="shuffle, bend brightness, paint; and keep what was there")
    yield Augmentation(name="turn-and-cut", target="ssl_medical.corruptions:TurnAndCut", paper="arXiv:2111.14791",
                       summary="two views, turned by quarters and cut")
    yield Augmentation(name="regions", target="ssl_medical.methods.volume_contrast:Regions", paper="arXiv:2402.17300",
                       summary="random crops, and the regions they lie in")
    yield Augmentation(name="granular", target="ssl_medical.methods.adam_v2:Granular", paper="arXiv:2404.15672",
                       summary="an anchor, cubes about its centre, and its octants")
    yield Augmentation(name="jitter", target="ssl_medical.bags:Jitter",
                       summary="for bags: noisy features, some of them left out")


@hookimpl
def ssl_objectives():
    yield Component(name="overlap", target="ssl_medical.objectives:Overlap", paper="arXiv:2402.17300",
                    summary="guess which share of a crop lies in each region")
    yield Component(name="graph-matching", target="ssl_medical.objectives:GraphMatching", paper="arXiv:2306.11925",
                    summary="match the items of two views as graphs; a relaxation of the paper's", experimental=True)
    yield Component(name="margin", target="ssl_medical.methods.dynamic_subspace:Margin", paper="arXiv:1706.07567",
                    summary="classes near and apart by a margin, others drawn by their distance; needs labels")


@hookimpl
def ssl_datasets():
    yield Dataset(name="synthetic", target="ssl_medical.data:synthetic", synthetic=True,
                  summary="synthetic: MONAI's random spheres, with and without lesions, 32 x 32 x 32")
    yield Dataset(name="synthetic-bags", target="ssl_medical.bags:synthetic_bags", synthetic=True,
                  summary="synthetic: bags of 64 instances, a few of which are shifted in half of them")
    yield Dataset(name="synthetic-slides", target="ssl_medical.bags:synthetic_slides", synthetic=True,
                  summary="synthetic: bags of made-up patches of four kinds, and 60 numbers that go with their shares")
    yield Dataset(name="file", target="ssl_medical.data:read", reads=True,
                  summary="your own: NIfTI, NRRD, MetaImage, DICOM in a folder, BIDS tree or .csv; .npz; arrays; bags")


@hookimpl
def ssl_probes():
    yield Component(name="auc", target="ssl_medical.probes:auc",
                    summary="area under the ROC curve of the linear and the k-NN probe")


# A recipe's options are those of the paper where they do not depend on the size of cubes and network. Encoders are small by
# default, for cubes of 32 to 64 voxels; `sslrun show` names the paper's sizes.
ADAMW = {"epochs": 100, "optimizer": "adamw", "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.01, "schedule.warmup": 0.1,
         "trainer.clip": 1.0}
#: On the synthetic set, which is there to see that something runs: seconds an epoch on one core.
FEW, PAIRS = {"data.batch_size": 8}, {"data.batch_size": 16, "encoder.width": 64}
SWIN = {"data.batch_size": 4, "encoder.width": 48, "method.width": 8}


def recipe(name: str, target: str, paper: str, summary: str, encoder: str, augmentation: str, objective: str, *,
           data: str = "synthetic", experimental: bool = False, small: Mapping[str, object] = {}, **options: object) -> Recipe:
    """A method on the synthetic set by default; options as keywords with `__` for the dot, `small` those of that set."""
    given = {key.replace("__", "."): item for key, item in options.items()}
    return Recipe(name=name, target=target, paper=paper, summary=summary, data=data, encoder=encoder,
                  augmentation=augmentation, objective=objective, options=ADAMW | given, experimental=experimental,
                  per_data={data: {"epochs": 20} | dict(small)})


@hookimpl
def ssl_methods():
    yield from restoring()
    yield from comparing()
    yield from of_bags()


def restoring():
    yield recipe("mae3d", "ssl_core:MaskedPrediction", "arXiv:2111.06377", "rebuild hidden blocks from the visible ones",
                 "vit3d", "random-mask", "mse", augmentation__ratio=0.75, method__target="input", method__normalize=False,
                 method__hidden=64, optimizer__weight_decay=0.05, small=FEW | {"encoder.depth": 2})
    yield recipe("simmim3d", "ssl_medical.methods.restoration:Restoration", "arXiv:2111.09886",
                 "rebuild blanked blocks by one linear layer", "vit3d", "hide-blocks", "smooth-l1", objective__beta=0.0,
                 augmentation__ratio=0.6, method__decoder="linear", method__where="hidden", method__token=True,
                 optimizer__weight_decay=0.05, small=FEW | {"encoder.depth": 2})
    yield recipe("models-genesis", "ssl_medical.methods.restoration:Restoration", "arXiv:1908.06912",
                 "restore shuffled, bent and painted volumes", "unet3d", "genesis", "mse",
                 small={"data.batch_size": 4, "encoder.width": 64, "method.width": 8})
    yield recipe("spark3d", "ssl_medical.methods.spark:Spark", "arXiv:2301.03580",
                 "rebuild hidden blocks with a sparse convolutional encoder", "sparse-cnn", "random-mask", "mse",
                 augmentation__ratio=0.6, optimizer__weight_decay=0.04, trainer__clip=5.0,
                 small={"data.batch_size": 4, "encoder.width": 32, "method.width": 8})
    yield recipe("gynbtnet", "ssl_medical.methods.spark:Spark", "arXiv:2506.01073",
                 "spark3d as a CNN's autoencoder, for fine-tuning in stages (ssl_medical.staging)", "sparse-cnn", "random-mask",
                 "mse", augmentation__ratio=0.75, method__normalize=False, optimizer="sgd", optimizer__lr=1e-2,
                 optimizer__momentum=0.99, optimizer__nesterov=True, optimizer__weight_decay=3e-5, trainer__clip=12.0,
                 experimental=True, small={"data.batch_size": 4, "encoder.width": 32, "method.width": 8})
    yield recipe("swin-unetr-ssl", "ssl_medical.methods.swin_unetr:SwinUNETR", "arXiv:2111.14791",
                 "undo cuts, name the turn, find the other view", "swin", "turn-and-cut", "nt-xent",
                 objective__temperature=0.5, optimizer__lr=4e-4, optimizer__weight_decay=0.1, small=SWIN)


def comparing():
    yield recipe("alice", "ssl_medical.methods.alice:Alice", "arXiv:2302.05615",
                 "compare and restore the same place of two bodies", "swin", "same-place", "dino", data__paired=True,
                 objective__prototypes=512, objective__momentum=0.99, method__momentum=0.99, optimizer__lr=5e-4,
                 optimizer__weight_decay=0.04, trainer__clip=3.0, small=SWIN)
    yield recipe("volume-contrast", "ssl_medical.methods.volume_contrast:VolumeContrast", "arXiv:2402.17300",
                 "find the regions that a crop overlaps", "resnet3d", "regions", "overlap", experimental=True,
                 small=FEW | {"encoder.width": 64})
    yield recipe("adam-v2", "ssl_medical.methods.adam_v2:AdamV2", "arXiv:2404.15672", "wholes know their parts",
                 "resnet3d", "granular", "dino", method__momentum=0.99, objective__prototypes=256, objective__momentum=0.99,
                 data__batch_size=8, optimizer__lr=5e-4, optimizer__weight_decay=0.04, trainer__clip=3.0,
                 small={"data.batch_size": 4, "encoder.width": 64})
    yield recipe("lvm-med", "ssl_core:JointEmbedding", "arXiv:2306.11925", "match two views of a batch as graphs", "resnet3d",
                 "views3d", "graph-matching", data__batch_size=32, experimental=True, small=PAIRS)
    yield recipe("joint-image-volume", "ssl_medical.methods.joint_image_volume:JointImageVolume", "arXiv:2212.01893",
                 "cluster slices, guess hidden slices, cluster volumes", "slices", "views3d", "swav",
                 augmentation__flip=(0.5, 0.5, 0.0), augmentation__angle=(0.0, 0.0, 15.0), augmentation__scale=(0.95, 1.1),
                 augmentation__shift=0.02, objective__prototypes=64, data__batch_size=32, small=FEW)
    yield recipe("dynamic-subspace", "ssl_medical.methods.dynamic_subspace:DynamicSubspace", "arXiv:2206.09068",
                 "ever more learners with a slice of the embedding each; needs labels", "resnet3d", "views3d", "margin",
                 data__batch_size=32, experimental=True, small=PAIRS)
    yield recipe("medical-simclr", "ssl_core:JointEmbedding", "arXiv:2002.05709",
                 "tell the other view of a volume from all others", "resnet3d", "views3d", "nt-xent",
                 objective__temperature=0.2, data__batch_size=32, small=PAIRS)
    yield recipe("medical-vicreg", "ssl_core:JointEmbedding", "arXiv:2105.04906",
                 "variance, invariance and covariance of two views", "resnet3d", "views3d", "vicreg",
                 method__projector=(256, 256), data__batch_size=32, small=PAIRS)
    yield recipe("medical-dino", "ssl_core:JointEmbedding", "arXiv:2104.14294",
                 "match a slow copy's distribution over prototypes", "resnet3d", "views3d", "dino",
                 method__projector=(256, 64), method__momentum=0.99, objective__prototypes=256, objective__momentum=0.99,
                 data__batch_size=32, small=PAIRS)


def of_bags():
    yield recipe("sc-mil", "ssl_medical.methods.mil:SCMIL", "arXiv:2303.13405",
                 "bags: from supervised contrast to classification; needs labels", "attention-mil", "jitter", "supcon",
                 data="synthetic-bags", optimizer__weight_decay=1e-3, epochs=40, small={"epochs": 40})
    yield recipe("ins-mil", "ssl_medical.methods.ins_mil:INSMIL", "arXiv:2307.02249",
                 "bags: name single instances, from labels of bags; needs labels", "attention-mil", "jitter", "supcon",
                 data="synthetic-bags", objective__temperature=0.07, optimizer__weight_decay=1e-3, epochs=40,
                 small={"data.batch_size": 16, "epochs": 40})
    yield recipe("mirror", "ssl_medical.methods.mirror:MIRROR", "arXiv:2503.00374",
                 "slides and expression: align, keep what each has, share a style", "attention-mil", "jitter", "infonce",
                 data="synthetic-slides", augmentation__views=1, objective__temperature=0.07, optimizer__lr=2e-5,
                 small={"optimizer.lr": 1e-3, "method.prototypes": 64, "epochs": 40})
    yield recipe("songci", "ssl_medical.methods.songci:SongCi", "arXiv:2407.14904",
                 "slides and text: prototypes of patches, then contrast with embedded text", "attention-mil", "jitter", "swav",
                 data="synthetic-slides", objective__prototypes=1024, optimizer__lr=2e-5,
                 small={"optimizer.lr": 1e-3, "objective.prototypes": 16, "epochs": 40})
