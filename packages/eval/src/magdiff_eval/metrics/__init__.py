"""Metrics: pure functions from features, pixels or readings to numbers."""
