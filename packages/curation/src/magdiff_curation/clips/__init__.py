"""The clip itself, shared by all three packages: NumPy, PyAV, Pillow and nothing heavier."""
