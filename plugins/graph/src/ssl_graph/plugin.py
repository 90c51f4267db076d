"""The shop window: what this plugin offers. Imports no torch."""
from ssl_core import Augmentation, Component, Dataset, Recipe, hookimpl


@hookimpl
def ssl_encoders():
    yield Component(name="gcn", target="ssl_graph.encoders:GCN", paper="arXiv:1609.02907", summary="graph convolutions")
    yield Component(name="sage", target="ssl_graph.encoders:SAGE", paper="arXiv:1706.02216", summary="mean of neighbours")
    yield Component(name="gat", target="ssl_graph.encoders:GAT", paper="arXiv:1710.10903", summary="attention over neighbours")
    yield Component(name="gin", target="ssl_graph.encoders:GIN", paper="arXiv:1810.00826",
                    summary="sum of neighbours; items are graphs by default")
    yield Component(name="multiplex", target="ssl_graph.encoders:Multiplex", summary="one gcn per relation, averaged")


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


@hookimpl
def ssl_datasets():
    yield Dataset(name="digits", target="ssl_graph.data:digits", summary="nearest-neighbour graph of 1,797 real images")
    yield Dataset(name="file", target="ssl_graph.data:read", reads=True,
                  summary="your own: .pt, .npz, edge list with features, or a PyG Data")
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
def ssl_methods():
    yield Recipe(
        name="gcool", target="ssl_graph.gcool:GCooL", paper="arXiv:2110.14863",
        summary="contrast nodes with nodes and with the communities found on the way",
        data="digits", encoder="gcn", augmentation="adaptive", objective="infonce",
        options={"epochs": 100, "optimizer": "adam", "optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-5,
                 "schedule": "constant", "objective.temperature": 0.4, "encoder.width": 256})
