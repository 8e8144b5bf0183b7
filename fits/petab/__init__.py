"""PEtab in and out: `read_petab` takes versions 1 and 2, `write_petab` writes either.

Both versions are interpreted directly, each by its own rules, into the same `fits.problem.Problem`.
"""

from __future__ import annotations

from fits.petab.reading import read_petab
from fits.petab.write import write_petab

__all__ = ["read_petab", "write_petab"]
