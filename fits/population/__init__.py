"""Calibration over samples: what they share is estimated, what differs between them is one random effect.

Importing this package imports nothing else; each module is imported by its own name.
"""
