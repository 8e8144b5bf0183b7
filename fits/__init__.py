"""Calibration of models to reported curves, shifts and claims, and the front door: ``kinetics reproduce``.

Importing this package imports nothing else; each module is imported by its own name.
"""
