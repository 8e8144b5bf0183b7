"""Dose-response kinetics of cytokine and drug signalling: SBML models in, dose-response curves and shifts out."""

from kinetics.convergence import Convergence, convergence, curve_convergence
from kinetics.curves import CurveDescription, EC50Status
from kinetics.dosing import DoseMatrix, DoseProtocol, DoseResponseCurve, Shift, compare, dose_matrix, dose_response
from kinetics.engine import Solver
from kinetics.errors import KineticsError
from kinetics.experiment import Condition, Experiment, Period, added
from kinetics.model import Model
from kinetics.observable import Readout, measure
from kinetics.simulation import simulate, simulate_many
from kinetics.timecourse import TimeCourse
from kinetics.units import Quantity, doses

__all__ = [
    "Condition",
    "Convergence",
    "CurveDescription",
    "DoseMatrix",
    "DoseProtocol",
    "DoseResponseCurve",
    "EC50Status",
    "Experiment",
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
    "measure",
    "simulate",
    "simulate_many",
]
