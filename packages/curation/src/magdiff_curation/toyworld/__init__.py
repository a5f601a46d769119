"""Toyworld: a synthetic world whose truth is known, so that the whole system can be run and scored offline.

A subject (a class and an appearance) performs an action before a background. The caption tells class, action
and background; the appearance (colours, a coarse pattern, proportions) is told by no caption, so a model can
only take it from the subject image. Oracles read all four back from pixels.
"""
