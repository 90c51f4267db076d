"""Self-supervised learning on tables, for ssl-core. A batch is a `Rows`: numbers, what is missing, and category codes."""
