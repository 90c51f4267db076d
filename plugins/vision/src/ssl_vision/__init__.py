"""Self-supervised learning on images, for ssl-core. A batch is an `Images`."""
