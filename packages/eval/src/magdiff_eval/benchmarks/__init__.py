"""Benchmarks: each turns its data into items, and a run's rows into its table."""
