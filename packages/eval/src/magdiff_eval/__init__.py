"""Metrics, benchmarks, tables and report pages."""
