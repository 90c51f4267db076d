"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl

from .settings import ACM, BGRL, COLLECTIONS, GCA, GRACE, GRAPHMAE, SCGC, STEADY

#: Cases of `sslrun check graph` that fail, and why.
expected_failures = {
    "method scgc-star: gradients": "its decoder is trained in the warm-up only",
    "method mvgrl: gradients": "the towers are graph convolutions that other methods mask",
}


@hookimpl
def ssl_encoders():
    yield Component(name="gcn", target="ssl_graph.encoders:GCN", paper="arXiv:1609.02907", summary="graph convolutions")
    yield Component(name="sage", target="ssl_graph.encoders:SAGE", paper="arXiv:1706.02216", summary="mean of neighbours")
    yield Component(name="gat", target="ssl_graph.encoders:GAT", paper="arXiv:1710.10903", summary="attention over neighbours")
    yield Component(name="gin", target="ssl_graph.encoders:GIN", paper="arXiv:1810.00826",
                    summary="sum of neighbours; items are graphs by default")
    yield Component(name="multiplex", target="ssl_graph.encoders:Multiplex", summary="one gcn per relation, averaged")
    yield Component(name="diffusion-gcn", target="ssl_graph.methods.mvgrl:DiffusionGCN", paper="arXiv:2006.05582",
                    summary="one gcn on the graph, one on its diffusion, summed")
    yield Component(name="context-gcn", target="ssl_graph.hetero:ContextGCN", paper="arXiv:2212.13847", experimental=True,
                    summary="target nodes beside what they are linked to, along meta-paths")
    yield Component(name="points", target="ssl_graph.points:Points", paper="arXiv:1706.08566",
                    summary="filters of distances between points in space; items are molecules by default")
    yield Component(name="mlp", target="ssl_graph.methods.scgc:MLP", summary="a perceptron on each node, without edges")


@hookimpl
def ssl_augmentations():
    yield Augmentation(name="drop", target="ssl_graph.augmentations:Drop", paper="arXiv:2006.04131",
                       summary="drop edges and blank feature columns")
    yield Augmentation(name="adaptive", target="ssl_graph.augmentations:Adaptive", paper="arXiv:2010.14945",
                       summary="drop unimportant edges and columns more often")
    yield Augmentation(name="drop-nodes", target="ssl_graph.augmentations:DropNodes", paper="arXiv:2010.13902",
                       summary="isolate and blank some nodes")
    yield Augmentation(name="subgraph", target="ssl_graph.augmentations:Subgraph", paper="arXiv:2010.13902",
                       summary="keep the neighbourhood of some nodes")
    yield Augmentation(name="diffusion", target="ssl_graph.augmentations:Diffusion", paper="arXiv:2006.05582",
                       summary="the graph and its personalised PageRank")
    yield Augmentation(name="relations", target="ssl_graph.augmentations:Relations",
                       summary="one view per relation of a multiplex graph")
    yield Augmentation(name="shuffle", target="ssl_graph.methods.dgi:Shuffle", paper="arXiv:1809.10341",
                       summary="the graph, and the same with its features in random order")
    yield Augmentation(name="hide-nodes", target="ssl_graph.methods.graphmae:HideNodes", paper="arXiv:2205.10803",
                       summary="hide the features of some nodes")
    yield Augmentation(name="fragment-and-pocket", target="ssl_graph.methods.molecules:FragmentAndPocket",
                       paper="arXiv:2310.07229", summary="what lies around a fragment of a molecule, and the fragment")
    yield Augmentation(name="jitter", target="ssl_graph.points:Jitter", summary="move points a little, blank some")
    yield Augmentation(name="mask-once", target="ssl_graph.hetero:MaskOnce", paper="arXiv:2212.13847",
                       summary="a heterogeneous graph, and one with the same things always left out")
    yield Augmentation(name="edit-ladder", target="ssl_graph.methods.dsla:EditLadder", paper="arXiv:2202.02989",
                       summary="the graph, and copies of it that were edited more and more")
    yield Augmentation(name="same", target="ssl_graph.methods.pretext:Same", summary="the graph as it is, one view")


@hookimpl
def ssl_objectives():
    yield Component(name="bce", target="ssl_graph.objectives:BCE", summary="binary cross-entropy of scores")
    yield Component(name="cca", target="ssl_graph.objectives:CCA", paper="arXiv:2106.12484",
                    summary="aligned rows alike, columns uncorrelated")
    yield Component(name="transport", target="ssl_graph.methods.molecules:Transport", paper="arXiv:2409.07462",
                    summary="soft labels for all pairs of items by optimal transport", experimental=True)
    yield Component(name="scaled-cosine", target="ssl_graph.objectives:ScaledCosine", paper="arXiv:2205.10803",
                    summary="a power of one minus the cosine")


@hookimpl
def ssl_datasets():
    yield Dataset(name="digits", target="ssl_graph.data:digits", summary="nearest-neighbour graph of 1,797 real images")
    yield Dataset(name="digit-words", target="ssl_graph.hetero:digit_words",
                  summary="600 real images linked to visual words of their halves")
    yield Dataset(name="chains", target="ssl_graph.points:chains", synthetic=True,
                  summary="400 made-up chain molecules in space, 4 classes")
    yield Dataset(name="file", target="ssl_graph.data:read", reads=True,
                  summary="your own: .pt, .npz, .npy, edge list with features, TU Dortmund, PyG, .sdf or .xyz")
    for name, about in PUBLIC.items():
        yield Dataset(name=name, target=f"ssl_graph.data:{name.removeprefix('amazon-').replace('-', '_')}", summary=about)


PUBLIC = {
    "cora": "2,708 papers, 7 topics", "citeseer": "3,327 papers, 6 topics", "pubmed": "19,717 papers, 3 topics",
    "amazon-photo": "7,650 products, 8 kinds", "amazon-computers": "13,752 products, 10 kinds",
    "coauthor-cs": "18,333 authors, 15 fields", "coauthor-physics": "34,493 authors, 5 fields",
    "wikics": "11,701 articles, 10 branches", "actor": "7,600 actors, 5 roles", "chameleon": "890 pages, 5 classes",
    "acm": "4,019 papers, 3 areas, two relations", "mutag": "188 molecules, 2 classes",
    "proteins": "1,113 proteins, 2 classes", "enzymes": "600 proteins, 6 classes",
}


@hookimpl
def ssl_probes():
    yield Component(name="svm", target="ssl_graph.probes:svm", summary="10-fold RBF-SVM, for collections of graphs")
    yield Component(name="similar", target="ssl_graph.probes:similar", summary="share of equal labels among the 5 nearest")


@hookimpl
def ssl_methods():
    yield from communities()
    yield from views()
    yield from summaries()
    yield from tasks()
    yield from molecules()
    yield from meta_paths()


def communities():
    yield Recipe(
        name="gcool", target="ssl_graph.gcool:GCooL", paper="arXiv:2110.14863",
        summary="contrast nodes with nodes and with the communities found on the way",
        data="digits", encoder="gcn", augmentation="adaptive", objective="infonce",
        options={"epochs": 100, "optimizer": "adam", "optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-5,
                 "schedule": "constant", "objective.temperature": 0.4, "encoder.width": 256},
        per_data={  # chosen on validation nodes
            "cora": {"epochs": 200, "encoder.width": 512, "encoder.activation": "relu", "augmentation.edges": (0.2, 0.4),
                     "augmentation.features": (0.3, 0.4)},
            "citeseer": {"epochs": 200, "encoder.width": 512, "objective.temperature": 0.9, "augmentation.edges": (0.2, 0.0),
                         "augmentation.features": (0.3, 0.2)},
            "acm": {"encoder": "multiplex", "augmentation": "relations", "encoder.width": 128, "augmentation.edges": 0.2,
                    "augmentation.features": 0.2}})
    plain = {"data": "digits", "augmentation": "same", "objective": "mse"}
    clusters = STEADY | {"epochs": 300, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0, "encoder.width": 10,
                         "encoder.hidden": (500, 500, 2000)}
    yield Recipe(
        name="scgc", target="ssl_graph.methods.scgc:SCGC", paper="arXiv:2204.12656",
        summary="clusters of nodes that attract along the graph", **plain, encoder="mlp",
        options=clusters | {"method.order": 1, "method.contrast": 1.0, "method.clustering": 0.1, "method.sharpness": 0.25},
        per_data=SCGC)
    yield Recipe(
        name="scgc-star", target="ssl_graph.methods.scgc:SCGC", paper="arXiv:2204.12656",
        summary="as scgc, over several powers of the graph, without a decoder", **plain, encoder="mlp",
        options=clusters | {"method.order": 1, "method.cumulative": True, "method.reconstruct": False},
        per_data=SCGC | {"acm": SCGC["acm"] | {"method.order": 1, "method.contrast": 1.0}})


def views():
    nodes = {"data": "digits", "encoder": "gcn", "augmentation": "drop"}
    yield Recipe(
        name="grace", target="ssl_core:JointEmbedding", paper="arXiv:2006.04131",
        summary="contrast each node with all others in two views of the graph", **nodes, objective="nt-xent",
        options=STEADY | {"epochs": 200, "optimizer.lr": 5e-4, "encoder.width": 128, "encoder.hidden": 256,
                          "encoder.activation": "relu", "objective.temperature": 0.4, "method.norm": "none",
                          "method.projector": (128, 128)},
        per_data=GRACE)
    yield Recipe(
        name="gca", target="ssl_core:JointEmbedding", paper="arXiv:2010.14945",
        summary="as grace, but what matters more is dropped less", **nodes | {"augmentation": "adaptive"}, objective="nt-xent",
        options=STEADY | {"epochs": 200, "optimizer.lr": 5e-4, "encoder.width": 128, "encoder.hidden": 256,
                          "encoder.activation": "relu", "objective.temperature": 0.4, "method.norm": "none",
                          "method.projector": (128, 128), "augmentation.edges": (0.2, 0.4),
                          "augmentation.features": (0.3, 0.4)},
        per_data=GCA)
    yield Recipe(
        name="bgrl", target="ssl_core:JointEmbedding", paper="arXiv:2102.06514",
        summary="predict a slow copy's view of each node, without negatives", **nodes, objective="cosine",
        options={"epochs": 300, "optimizer.lr": 5e-4, "optimizer.weight_decay": 1e-5, "schedule.warmup": 0.1,
                 "encoder.width": 256, "encoder.hidden": 512, "encoder.norm": "batch", "method.projector": (),
                 "method.predictor": (512,), "method.norm": "none", "method.momentum": 0.99, "augmentation.edges": (0.2, 0.3),
                 "augmentation.features": (0.2, 0.1)},
        per_data=BGRL)
    yield Recipe(
        name="graph-barlow", target="ssl_core:JointEmbedding", paper="arXiv:2106.02466", experimental=True,
        summary="make the cross-correlation of two views the identity", **nodes, objective="barlow-twins",
        options={"epochs": 300, "optimizer.lr": 5e-4, "optimizer.weight_decay": 1e-5, "schedule.warmup": 0.1,
                 "encoder.width": 256, "method.projector": (), "objective.redundancy": 1 / 256,
                 "augmentation.edges": (0.3, 0.3), "augmentation.features": (0.3, 0.3)}, per_data=COLLECTIONS)
    yield Recipe(
        name="graph-vicreg", target="ssl_core:JointEmbedding", paper="arXiv:2105.04906", experimental=True,
        summary="variance, invariance and covariance over nodes", **nodes, objective="vicreg",
        options={"epochs": 200, "optimizer.lr": 5e-4, "optimizer.weight_decay": 1e-5, "encoder.width": 256,
                 "method.projector": (512, 512), "augmentation.edges": (0.3, 0.3), "augmentation.features": (0.3, 0.3)},
        per_data=COLLECTIONS)
    yield Recipe(
        name="graph-dino", target="ssl_core:JointEmbedding", paper="arXiv:2104.14294", experimental=True,
        summary="match a slow copy's distribution over prototypes, node by node", **nodes, objective="dino",
        options={"epochs": 300, "optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-5, "schedule.warmup": 0.1,
                 "encoder.width": 256, "encoder.norm": "batch", "method.projector": (256, 64), "method.last_norm": True,
                 "method.momentum": 0.99, "objective.prototypes": 256, "objective.momentum": 0.99,
                 "objective.teacher_temperature": 0.07, "objective.final_temperature": 0.07,
                 "augmentation.edges": (0.2, 0.3), "augmentation.features": (0.2, 0.3)}, per_data=COLLECTIONS)
    yield Recipe(
        name="cca-ssg", target="ssl_core:JointEmbedding", paper="arXiv:2106.12484", experimental=True,
        summary="two views alike, their columns uncorrelated", **nodes, objective="cca",
        options=STEADY | {"epochs": 50, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0, "encoder.width": 512,
                          "method.projector": (), "augmentation.edges": (0.4, 0.4), "augmentation.features": (0.1, 0.1)},
        per_data={"citeseer": {"epochs": 20, "encoder.depth": 1, "objective.decorrelation": 5e-4,
                               "augmentation.features": (0.0, 0.0)}})
    yield Recipe(
        name="graphcl", target="ssl_core:JointEmbedding", paper="arXiv:2010.13902",
        summary="contrast each graph with all others in two views", data="mutag", encoder="gin", augmentation="drop-nodes",
        objective="infonce",
        options=STEADY | {"epochs": 20, "optimizer.lr": 1e-2, "optimizer.weight_decay": 0.0, "encoder.width": 32,
                          "objective.temperature": 0.2, "method.projector": (96, 96), "method.norm": "none"})


def summaries():
    corrupted = {"data": "digits", "augmentation": "shuffle", "objective": "bce"}
    yield Recipe(
        name="dgi", target="ssl_graph.methods.dgi:DGI", paper="arXiv:1809.10341",
        summary="tell nodes from corrupted ones by a summary of the graph", **corrupted, encoder="gcn",
        options=STEADY | {"epochs": 300, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0, "encoder.width": 512,
                          "encoder.depth": 1})
    yield Recipe(
        name="mvgrl", target="ssl_graph.methods.mvgrl:MVGRL", paper="arXiv:2006.05582", experimental=True,
        summary="nodes against the summary of the graph's diffusion", **corrupted, encoder="diffusion-gcn",
        options=STEADY | {"epochs": 300, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0})


def tasks():
    yield Recipe(
        name="graphmae", target="ssl_graph.methods.graphmae:GraphMAE", paper="arXiv:2205.10803",
        summary="rebuild the features of hidden nodes", data="digits", encoder="gat", augmentation="hide-nodes",
        objective="scaled-cosine",
        options={"epochs": 300, "optimizer": "adam", "optimizer.lr": 1e-3, "optimizer.weight_decay": 2e-4,
                 "schedule.warmup": 0.0, "encoder.width": 256, "encoder.activation": "prelu", "encoder.dropout": 0.2,
                 "encoder.attention_dropout": 0.1, "method.dropout": 0.2, "method.attention_dropout": 0.1,
                 "objective.power": 3.0, "augmentation.ratio": 0.5},
        per_data=GRAPHMAE)
    yield Recipe(
        name="d-sla", target="ssl_graph.methods.dsla:DSLA", paper="arXiv:2202.02989",
        summary="tell a graph from edited copies, as far away as they were edited", data="mutag", encoder="gin",
        augmentation="edit-ladder", objective="mse",
        options=STEADY | {"epochs": 100, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0, "encoder.width": 300,
                          "encoder.depth": 5, "encoder.readout": "mean", "data.batch_size": 64})
    plain = {"data": "digits", "augmentation": "same", "objective": "mse"}
    yield Recipe(
        name="selftask", target="ssl_graph.methods.selftask:SelfTask", paper="arXiv:2006.10141",
        summary="questions about the graph that answer themselves", **plain, encoder="gcn",
        options=STEADY | {"epochs": 200, "optimizer.lr": 1e-2,
                          "optimizer.weight_decay": 0.0,  # the paper's 5e-4 beside cross-entropy outweighs the questions alone
                          "encoder.width": 128, "encoder.activation": "relu", "encoder.dropout": 0.5})
    yield Recipe(
        name="paretognn", target="ssl_graph.methods.paretognn:ParetoGNN", paper="arXiv:2210.02016",
        summary="five tasks, their gradients combined so that none is made worse", data="digits", encoder="gcn",
        augmentation="same", objective="nt-xent",
        options={"epochs": 200, "schedule": "constant", "optimizer.lr": 5e-4, "optimizer.weight_decay": 1e-5,
                 "encoder.width": 256, "encoder.hidden": 512, "objective.temperature": 0.1},
        per_data={"pubmed": {"optimizer.lr": 1e-3}, "amazon-photo": {"optimizer.lr": 1e-4},
                  "coauthor-cs": {"optimizer.lr": 5e-5}, "coauthor-physics": {"optimizer.lr": 1e-4},
                  "actor": {"optimizer.lr": 1e-3}, "chameleon": {"optimizer.lr": 5e-5}})


def molecules():
    space = {"data": "chains", "encoder": "points", "experimental": True}
    yield Recipe(
        name="profsa", target="ssl_graph.methods.molecules:ProFSA", paper="arXiv:2310.07229",
        summary="fragments of a molecule know what surrounds them", **space, augmentation="fragment-and-pocket",
        objective="infonce", options={"epochs": 30, "optimizer.lr": 1e-3, "objective.temperature": 0.1})
    yield Recipe(
        name="s-molsearch", target="ssl_graph.methods.molecules:SMolSearch", paper="arXiv:2409.07462",
        summary="few labels, and soft ones for all pairs by optimal transport", **space, augmentation="jitter",
        objective="transport", options={"epochs": 30, "optimizer.lr": 1e-3})


def meta_paths():
    words = {"data": "digit-words", "encoder": "context-gcn", "augmentation": "mask-once", "objective": "mse",
             "experimental": True}
    yield Recipe(
        name="meow", target="ssl_graph.methods.meow:Meow", paper="arXiv:2212.13847",
        summary="coarse and fine looks at nodes, negatives weighed by clusters", **words,
        options=STEADY | {"epochs": 100, "optimizer.lr": 1e-3},
        per_data={"acm": ACM | {"optimizer.lr": 7e-4, "method.clusters": (100, 300)}})
    yield Recipe(
        name="adameow", target="ssl_graph.methods.meow:Meow", paper="arXiv:2212.13847",
        summary="as meow, the weights of negatives learned", **words,
        options=STEADY | {"epochs": 100, "optimizer.lr": 1e-3, "method.adaptive": True},
        per_data={"acm": ACM | {"epochs": 1200, "optimizer.lr": 5e-5, "method.temperature": 1.0}})
