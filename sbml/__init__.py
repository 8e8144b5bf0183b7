"""The bundled models as data: SBML, the Antimony they are made from, and a catalogue of both.

A package only so that an installed copy can be found; `kinetics.catalogue` reads it.
"""
