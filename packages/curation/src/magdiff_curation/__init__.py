"""Curation: videos with captions become shards of clips with a labelled, masked subject."""
