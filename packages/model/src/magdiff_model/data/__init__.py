"""From shards to batches: the order of clips, their framing, and what of them conditions the model."""
