"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl


@hookimpl
def ssl_encoders():
    yield Component(name="transformer", target="ssl_tabular.encoders:Transformer", paper="arXiv:2106.11959",
                    summary="attention over columns as tokens")
    yield Component(name="mlp", target="ssl_tabular.encoders:MLP", paper="arXiv:2106.15147",
                    summary="a perceptron over all columns")
    yield Component(name="resnet", target="ssl_tabular.encoders:ResNet", paper="arXiv:2106.11959",
                    summary="a residual perceptron over all columns")
    yield Component(name="saint", target="ssl_tabular.row_attention:Saint", paper="arXiv:2106.01342",
                    summary="attention over columns, then over rows")
    yield Component(name="windows", target="ssl_tabular.encoders:Windows", paper="arXiv:2110.04361",
                    summary="one perceptron for overlapping windows of the features")
    yield Component(name="image-table", target="ssl_tabular.fusion:ImageTable", paper="arXiv:2407.07582",
                    summary="attention over columns, which skips missing cells, and from there to an image")
    yield Component(name="relations", target="ssl_tabular.methods.omnimatch:Relations", paper="arXiv:1703.06103",
                    summary="a relational graph network over the columns of many tables")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="corrupt", target="ssl_tabular.augmentations:Corrupt", paper="arXiv:2106.15147",
                       summary="replace cells by those of other rows")
    yield Augmentation(name="column-subsets", makes="mask", target="ssl_tabular.augmentations:ColumnSubsets",
                       paper="arXiv:2410.05016", summary="columns to see, and disjoint ones to predict")


    yield Augmentation(name="variants", target="ssl_tabular.augmentations:Variants", paper="arXiv:2412.00324",
                       summary="copies of a row as another source might hold it: cells missing, or a little off",
                       experimental=True)
    yield Augmentation(name="correlated-features", target="ssl_tabular.augmentations:CorrelatedFeatures",
                       paper="arXiv:2007.12865", experimental=True,
                       summary="two views: without a feature and those that tell most about it, and without the rest")


    yield Augmentation(name="pair-views", target="ssl_tabular.pairs:PairViews", paper="arXiv:2407.07582",
                       summary="for rows with images: one view with cells of other rows, one without some cells")
    yield Augmentation(name="drop-neighbours", target="ssl_tabular.methods.omnimatch:DropNeighbours", paper="arXiv:1907.10903",
                       summary="for columns of many tables: some do not see those that are similar to them")


@hookimpl
def ssl_objectives():
    yield Component(name="triplet", target="ssl_tabular.methods.omnimatch:Triplet", paper="arXiv:1503.03832",
                    summary="nearer to the aligned row than to a random other one, by a margin")


@hookimpl
def ssl_datasets():
    yield Dataset(name="breast-cancer", target="ssl_tabular.data:breast_cancer",
                  summary="569 real tumours, 30 numbers, 2 classes")
    yield Dataset(name="digits-table", target="ssl_tabular.pairs:digits", synthetic=True,
                  summary="synthetic: a table with gaps, made from 1,797 real images of digits, beside these images")
    yield Dataset(name="synthetic-lake", target="ssl_tabular.lake:synthetic_lake", synthetic=True,
                  summary="synthetic: 30 made-up tables whose columns share eight kinds of values")
    yield Dataset(name="file", target="ssl_tabular.data:read", reads=True,
                  summary="your own: CSV, TSV, Parquet, Arrow, a DataFrame, an array; a folder of tables")
    for name, about in PUBLIC.items():
        yield Dataset(name=name, target=f"ssl_tabular.data:{name}", summary=about)


PUBLIC = {
    "adult": "48,842 people, 14 columns, 2 classes; official test rows",
    "california": "20,640 districts, 8 numbers, house value",
    "letter": "20,000 letters, 16 numbers, 26 classes", "hypothyroid": "3,772 patients, 29 columns, 4 classes",
    "jannis": "83,733 rows, 54 numbers, 4 classes (OpenML)", "helena": "65,196 rows, 27 numbers, 100 classes (OpenML)",
    "higgs": "98,050 collisions, 28 numbers, 2 classes (OpenML)", "aloi": "108,000 images, 128 numbers, 1,000 classes (OpenML)",
    "covertype": "581,012 patches of forest, 54 columns, 7 classes (OpenML)",
}


@hookimpl
def ssl_probes():
    yield Component(name="mlp", target="ssl_tabular.probes:mlp", summary="a small perceptron, stopped by the validation fold")
    for name, about, paper in HEADS:
        yield Component(name=name, target=f"ssl_tabular.probes:{name.replace('-', '_')}", summary=about, paper=paper)
    yield Component(name="matching", target="ssl_tabular.probes:matching",
                    summary="do similar rows belong together: F1 of pairs, its threshold from the validation fold")
    yield Component(name="boosted", target="ssl_tabular.trees:boosted",
                    summary="gradient-boosted trees of scikit-learn, chosen by the validation fold")
    for name in ("xgboost", "lightgbm", "catboost"):
        yield Component(name=name, target=f"ssl_tabular.trees:{name}",
                        summary=f"gradient-boosted trees of {name}, if it is installed")


HEADS = (
    ("resnet", "a residual perceptron, stopped by the validation fold", "arXiv:2106.11959"),
    ("dcnv2", "a deep and cross network, stopped by the validation fold", "arXiv:2008.13535"),
    ("autoint", "attention between fields, stopped by the validation fold", "arXiv:1810.11921"),
    ("ft-transformer", "a transformer over fields, stopped by the validation fold", "arXiv:2106.11959"),
)


PROBES = "linear,knn,mlp"
#: T-JEPA in minutes on one core: chosen on the validation folds of adult and california.
SMALL = {"optimizer.lr": 3e-3, "augmentation.targets": 1, "encoder.numbers": "periodic", "encoder.norm": "pre",
         "encoder.positions": False, "encoder.width": 16, "encoder.heads": 2, "encoder.hidden": 32, "encoder.depth": 1,
         "method.width": 16, "method.hidden": 32, "method.depth": 1}


@hookimpl
def ssl_methods():
    yield from of_parts()
    yield from of_views()
    yield from of_other_tables()


def of_parts():
    """Predict a part of a row, or rebuild it, from the rest."""
    yield Recipe(
        name="tjepa", target="ssl_tabular.methods.tjepa:TJEPA", paper="arXiv:2410.05016",
        summary="predict the embedding of hidden columns from others",
        data="breast-cancer", encoder="transformer", augmentation="column-subsets", objective="mse",
        options={"epochs": 100, "optimizer": "adamw", "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0,
                 "schedule": "cosine", "schedule.warmup": 0.05, "encoder.readout": "flatten", "encoder.width": 32,
                 "probe": PROBES},
        per_data={"adult": SMALL | {"epochs": 6, "encoder.sigma": 1.0},
                  "california": SMALL | {"epochs": 80, "encoder.width": 32, "encoder.heads": 4, "encoder.hidden": 64,
                                         "encoder.depth": 2, "encoder.sigma": 0.1, "method.depth": 2, "method.hidden": 64,
                                         "optimizer.lr": 1e-3},
                  "letter": SMALL | {"epochs": 20, "encoder.depth": 2, "encoder.sigma": 0.2},
                  "hypothyroid": SMALL | {"epochs": 60, "encoder.sigma": 0.2}})
    yield Recipe(
        name="vime", target="ssl_tabular.methods.vime:VIME", paper="NeurIPS 2020",
        summary="which cells of a row were replaced, and by what",
        data="breast-cancer", encoder="mlp", augmentation="corrupt", objective="mse",
        options={"epochs": 100, "optimizer": "rmsprop", "optimizer.lr": 1e-3, "schedule": "constant", "augmentation.share": 0.3,
                 "augmentation.exact": False, "augmentation.draw": "shuffle", "encoder.depth": 2, "probe": PROBES})
    yield Recipe(
        name="dae", target="ssl_tabular.methods.reconstruction:Reconstruction", paper="doi:10.1145/1390156.1390294",
        summary="rebuild a row from a copy with swapped cells",
        data="breast-cancer", encoder="mlp", augmentation="corrupt", objective="mse",
        options={"epochs": 100, "optimizer.lr": 1e-3, "augmentation.share": 0.2, "augmentation.exact": False, "probe": PROBES})
    yield Recipe(
        name="binning", target="ssl_tabular.methods.reconstruction:Reconstruction", paper="arXiv:2405.07414",
        summary="rebuild the bins of a row's numbers",
        data="breast-cancer", encoder="mlp", augmentation="corrupt", objective="mse",
        options={"epochs": 100, "optimizer.lr": 1e-3, "augmentation.share": 0.2, "augmentation.exact": False,
                 "method.target": "bins", "probe": PROBES})


def of_views():
    """Make views of a row agree."""
    yield Recipe(
        name="scarf", target="ssl_core:JointEmbedding", paper="arXiv:2106.15147",
        summary="contrast a row with a copy of which most cells come from other rows",
        data="breast-cancer", encoder="mlp", augmentation="corrupt", objective="infonce",
        options={"epochs": 100, "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "constant", "objective.temperature": 1.0,
                 "objective.symmetric": False, "augmentation.share": 0.6, "method.projector": (256, 256), "method.norm": "none",
                 "probe": PROBES})
    yield Recipe(
        name="tabular-barlow", target="ssl_core:JointEmbedding", paper="arXiv:2103.03230",
        summary="two corrupted copies of a row, redundancy reduction",
        data="breast-cancer", encoder="mlp", augmentation="corrupt", objective="barlow-twins",
        options={"epochs": 100, "optimizer.lr": 1e-3, "augmentation.share": 0.4, "augmentation.clean": False,
                 "objective.redundancy": 5e-3, "method.projector": (256, 256), "probe": PROBES})
    yield Recipe(
        name="subtab", target="ssl_tabular.methods.subtab:SubTab", paper="arXiv:2110.04361",
        summary="rebuild the row from windows of its features, which agree",
        data="breast-cancer", encoder="windows", augmentation="corrupt", objective="nt-xent",
        options={"epochs": 100, "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "constant", "objective.temperature": 0.1,
                 "augmentation.share": 0.15, "augmentation.exact": False, "probe": PROBES})
    yield Recipe(
        name="saint", target="ssl_tabular.methods.saint:SAINT", paper="arXiv:2106.01342",
        summary="contrast with a mixed copy, and denoise it, with attention between rows",
        data="breast-cancer", encoder="saint", augmentation="corrupt", objective="infonce",
        options={"epochs": 50, "optimizer.lr": 1e-4, "schedule": "constant", "objective.temperature": 0.7,
                 "augmentation.share": 0.1, "augmentation.exact": False, "augmentation.draw": "row", "probe": PROBES})
    yield Recipe(
        name="tip", target="ssl_tabular.methods.tip:TIP", paper="arXiv:2407.07582",
        summary="rows with gaps and their images: align, match, rebuild hidden cells",
        data="digits-table", encoder="image-table", augmentation="pair-views", objective="infonce",
        options={"epochs": 500, "optimizer": "adam", "optimizer.lr": 3e-4, "optimizer.weight_decay": 1.5e-6,
                 "schedule": "cosine", "schedule.warmup": 0.02, "objective.temperature": 0.1, "probe": PROBES},
        per_data={"digits-table": {"epochs": 30, "optimizer.lr": 1e-3, "augmentation.flip": 0.0}})


def of_other_tables():
    """Match columns, rows or items that were not brought together before."""
    yield Recipe(
        name="omnimatch", target="ssl_tabular.methods.omnimatch:OmniMatch", paper="arXiv:2403.07653",
        summary="which columns of a folder of tables join, from tables cut in two",
        data="synthetic-lake", encoder="relations", augmentation="drop-neighbours", objective="triplet",
        options={"epochs": 30, "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "constant", "probe": "matching,knn"})
    yield Recipe(
        name="table-integration", target="ssl_tabular.methods.integration:Integration", paper="arXiv:2412.00324",
        summary="match rows of one meaning: contrast with variants of a row, against adversarial shifts",
        data="breast-cancer", encoder="mlp", augmentation="variants", objective="infonce", experimental=True,
        options={"epochs": 30, "optimizer.lr": 1e-3, "objective.temperature": 0.1, "probe": PROBES})
    yield Recipe(
        name="item-recsys", target="ssl_tabular.methods.items:ItemContrast", paper="arXiv:2007.12865",
        summary="a recommender's item tower: contrast two views of an item that share no feature",
        data="breast-cancer", encoder="mlp", augmentation="correlated-features", objective="infonce", experimental=True,
        options={"epochs": 100, "optimizer": "adagrad", "optimizer.lr": 1e-2, "schedule": "constant",
                 "objective.temperature": 0.1, "probe": PROBES})
