"""The trainer: its settings, its main path, and what keeps a run from losing a step."""
