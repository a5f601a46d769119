"""Networks that read videos for the metrics, with the key names of their public weights."""
