"""The four official benchmark folders, read before any model is loaded: what is to be made, and all that is wrong."""
