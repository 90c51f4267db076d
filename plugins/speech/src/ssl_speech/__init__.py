"""Self-supervised learning on recordings of speech, for ssl-core. A batch is a `Waves`."""
