"""Self-supervised learning on graphs, for ssl-core. A batch is a PyTorch Geometric `Data`."""
