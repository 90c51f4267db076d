"""Self-supervised learning on mydomain data, for ssl-core."""
