"""Every exception this project raises on purpose.

::

    KineticsError
    ├── InputError (ValueError)         what was asked for cannot be meant
    │   ├── UnknownName                 no such species, parameter, model, readout (with the nearest name)
    │   ├── UnitError                   a unit is missing, unknown or of the wrong dimension
    │   └── FormulaError                a formula cannot be parsed or names an undefined symbol
    ├── ModelError                      the model file is at fault
    │   ├── ModelNotFound               no such file or bundled model
    │   ├── InvalidModel                not SBML, or SBML that has no meaning
    │   ├── UnsupportedModel            valid SBML with a construct that cannot be simulated here
    │   └── MissingValue                a value that the requested result depends on is not given
    └── SimulationError                 the model and the request are fine, the computation is not
        ├── IntegrationFailed           the integrator gave up
        └── NoSteadyState               pre-equilibration did not settle

A message names the thing, what was expected and what was got.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KineticsError(Exception):
    """Base of all errors raised by this project on purpose."""


class InputError(KineticsError, ValueError):
    """What was asked for cannot be meant: a negative dose, unsorted times, an empty protocol."""


class UnknownName(InputError):
    """A name that the model or the catalogue lacks; the message suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        if not near:  # also catch a mere difference of case
            near = [candidate for candidate in self.known if candidate.lower() == name.lower()]
        place = f" in {where}" if where else ""
        if near:
            hint = "did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
        elif self.known:
            shown = ", ".join(sorted(self.known)[:12]) + (", ..." if len(self.known) > 12 else "")
            hint = f"expected one of: {shown}"
        else:
            hint = "there are none"
        super().__init__(f"no {kind} named {name!r}{place}; {hint}")


class UnitError(InputError):
    """A unit is missing, unknown, or of the wrong dimension."""


class FormulaError(InputError):
    """A formula cannot be parsed, is too large, or names an undefined symbol."""


class ModelError(KineticsError):
    """The model file is at fault."""


class ModelNotFound(ModelError, FileNotFoundError):
    """No such file, or no such bundled model."""

    def __str__(self) -> str:  # FileNotFoundError would print the arguments as an errno pair
        return str(self.args[0]) if self.args else ""


class InvalidModel(ModelError):
    """Not SBML, or SBML that has no meaning."""


class UnsupportedModel(ModelError):
    """Valid SBML that uses a construct which cannot be simulated here; the message names it."""


class MissingValue(ModelError):
    """A value that the requested result depends on is not given in the model."""


class SimulationError(KineticsError):
    """The model and the request are fine, the computation is not."""


class IntegrationFailed(SimulationError):
    """The integrator gave up; the message says model, experiment, time and what to try."""


class NoSteadyState(SimulationError):
    """Pre-equilibration did not settle within the allowed time."""
