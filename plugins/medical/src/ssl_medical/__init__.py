"""Self-supervised learning on 3D medical volumes, for ssl-core. A batch is a `Volumes`."""
