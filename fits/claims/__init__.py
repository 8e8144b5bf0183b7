"""The claims of the publications: a ledger (data), a check for each claim that a bundled model can answer, verdicts.

>>> from fits.claims.ledger import find_claim
>>> find_claim("B03").thresholds["smallest_shift"]
5.0
"""
