"""Metrics and benchmarks: not built yet; curation comes first."""
