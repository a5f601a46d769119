"""Scoring of videos that are on disk: reading, features, rows, comparison."""
