"""Dose-response kinetics of cytokine and drug signalling: SBML models in, dose-response curves and shifts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinetics.accuracy import Convergence, convergence, curve_convergence
    from kinetics.curves import CurveDescription, EC50Status
    from kinetics.dosing import DoseMatrix, DoseProtocol, DoseResponseCurve, dose_matrix, dose_response
    from kinetics.engine import Solver
    from kinetics.errors import KineticsError
    from kinetics.experiment import Condition, Experiment, Period, added
    from kinetics.model import Model
    from kinetics.observable import Readout, measure
    from kinetics.shift import Shift, compare
    from kinetics.simulation import simulate, simulate_many
    from kinetics.sliders import Explorer, explore
    from kinetics.timecourse import TimeCourse
    from kinetics.units import Quantity, doses

# Public names and where they live.  They are imported when first used, so that commands which simulate nothing
# (and ``import kinetics`` itself) do not wait for the engine.
_HOMES = {
    "Condition": "kinetics.experiment",
    "Convergence": "kinetics.accuracy",
    "CurveDescription": "kinetics.curves",
    "DoseMatrix": "kinetics.dosing",
    "DoseProtocol": "kinetics.dosing",
    "DoseResponseCurve": "kinetics.dosing",
    "EC50Status": "kinetics.curves",
    "Experiment": "kinetics.experiment",
    "Explorer": "kinetics.sliders",
    "KineticsError": "kinetics.errors",
    "Model": "kinetics.model",
    "Period": "kinetics.experiment",
    "Quantity": "kinetics.units",
    "Readout": "kinetics.observable",
    "Shift": "kinetics.shift",
    "Solver": "kinetics.engine",
    "TimeCourse": "kinetics.timecourse",
    "added": "kinetics.experiment",
    "compare": "kinetics.shift",
    "convergence": "kinetics.accuracy",
    "curve_convergence": "kinetics.accuracy",
    "dose_matrix": "kinetics.dosing",
    "dose_response": "kinetics.dosing",
    "doses": "kinetics.units",
    "explore": "kinetics.sliders",
    "measure": "kinetics.observable",
    "simulate": "kinetics.simulation",
    "simulate_many": "kinetics.simulation",
}

__all__ = [
    "Condition",
    "Convergence",
    "CurveDescription",
    "DoseMatrix",
    "DoseProtocol",
    "DoseResponseCurve",
    "EC50Status",
    "Experiment",
    "Explorer",
    "KineticsError",
    "Model",
    "Period",
    "Quantity",
    "Readout",
    "Shift",
    "Solver",
    "TimeCourse",
    "added",
    "compare",
    "convergence",
    "curve_convergence",
    "dose_matrix",
    "dose_response",
    "doses",
    "explore",
    "measure",
    "simulate",
    "simulate_many",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinetics' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # next time without this detour
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
