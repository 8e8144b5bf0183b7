"""libRoadRunner behind a narrow door.  The only module that imports it.

The engine is mutable and quick to forget, so nothing of it leaves this room: an `Engine` is reset, set, run and
read.  Every oddity handled here was measured (libRoadRunner 2.10 and 2.11) and has a test:

- ``resetToOrigin`` leaves delayed events of an earlier run pending, and so do all other resets: a model with events
  gets a new instance for each simulation (0.4 ms, the compiled code is shared while one instance lives).
- A scalar absolute tolerance is silently scaled by each state's initial value, in 2.10 in another order than
  the states; a vector is taken as it is.
- A model parameter called ``simulate`` replaces the method of that name for the whole process, unless dynamic
  properties are off.
- ``simulate(times=[5, 10])`` takes 5 for the start, ``times=[]`` means 0..5; negative volumes and NaN pass silently.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# SUNDIALS writes its own complaints to standard error, also for failures that are caught and reported by us.
os.environ.setdefault("SUNLOGGER_ERROR_FILENAME", os.devnull)
os.environ.setdefault("SUNLOGGER_WARNING_FILENAME", os.devnull)

import roadrunner

from kinetics.errors import IntegrationFailed, InvalidModel, UnsupportedModel
from kinetics.guard import run_guarded

FloatArray = npt.NDArray[np.float64]

roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)

SMALL = 1e-3  # amounts below this are small for an absolute tolerance of 1e-12
VERSION: str = roadrunner.__version__


@dataclass(frozen=True)
class Solver:
    """How to integrate: CVODE with these tolerances.

    ``rtol`` is relative; ``atol`` is in the unit of each state (amount of substance for species), and is scaled
    down where a compartment holds less than 1 of that unit.  At the defaults the error against a 1e-12 reference
    stays near 4e-7 relative on published problems.
    """

    rtol: float = 1e-8
    atol: float = 1e-12
    max_steps: int = 100_000  # between two output times
    stiff: bool = True

    def __post_init__(self) -> None:
        from kinetics.errors import InputError

        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not (isinstance(value, numbers.Real) and math.isfinite(value) and 0.0 < value < 1.0):
                raise InputError(f"solver {name} must be a number between 0 and 1, got {value!r}")
        if not isinstance(self.max_steps, int) or self.max_steps < 1:
            raise InputError(f"solver max_steps must be a whole number of at least 1, got {self.max_steps!r}")

    def tighter(self, times: float = 100.0) -> Solver:
        """The same solver with both tolerances divided by ``times`` (not below what doubles can do)."""
        return Solver(max(self.rtol / times, 2e-14), max(self.atol / times, 1e-22), self.max_steps, self.stiff)


@dataclass(frozen=True)
class Snapshot:
    """The state of a model without events between two periods; restoring it is exact to the last bit."""

    species: FloatArray  # (n_species,), amounts
    boundary: FloatArray  # (n_boundary,), amounts
    parameters: FloatArray  # (n_free_parameters,)
    compartments: FloatArray  # (n_free_compartments,)


class Engine:
    """One compiled model.  Hold its ``lock`` while using it."""

    def __init__(
        self,
        sbml: str,
        name: str,
        *,
        events: bool,
        ruled: frozenset[str] = frozenset(),
        moving: tuple[str, ...] = (),
        rated: tuple[str, ...] = (),
        ruled_rates: Mapping[str, str] | None = None,
    ) -> None:
        """``ruled`` names what assignment rules determine, which can be neither set nor restored.

        ``moving`` names all that has a rate, ``rated`` what has it from a rate rule; ``ruled_rates`` says where to
        read the rate of a species under a rate rule, which the engine itself does not tell.
        """
        self._rated, self._moving, self._ruled_rates = rated, frozenset(moving), dict(ruled_rates or {})
        self.sbml, self.name, self._events = sbml, name, events
        self.lock = threading.RLock()  # two threads inside one instance crash the process
        self._keeper = self._build()  # keeps the compiled code alive while instances with events come and go
        self._runner = self._keeper
        self._model = self._runner.model  # each access makes a new proxy
        self._solver: Solver | None = None
        model = self._model
        self._parameters = [i for i, k in enumerate(model.getGlobalParameterIds()) if k not in ruled]
        self._compartments = [i for i, k in enumerate(model.getCompartmentIds()) if k not in ruled]
        self._species = [i for i, k in enumerate(model.getFloatingSpeciesIds()) if k not in ruled]
        self._boundary = [k for k in model.getBoundarySpeciesIds() if k not in ruled]  # no setter by index here
        homes = np.array([model.getCompartmentIndexForFloatingSpecies(i) for i in range(model.getNumFloatingSpecies())])
        self._by_home = np.argsort(homes, kind="stable") if len(homes) else np.array([], int)
        self._homes = np.unique(homes[self._by_home], return_index=True)[1] if len(homes) else np.array([], int)
        self._only_species_move = model.getNumRateRules() == 0
        self._restored: Snapshot | None = None  # the state whose parameters and volumes are set now
        self._floating: list[str] = list(model.getFloatingSpeciesIds())
        self._floor: tuple[float, ...] | None = None
        self._selections: list[str] = []

    def _build(self) -> Any:
        # Off only while we build: users of tellurium in the same process rely on their dynamic properties.
        key = roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES
        before = roadrunner.Config.getValue(key)
        roadrunner.Config.setValue(key, True)
        try:
            return roadrunner.RoadRunner(self.sbml)
        except RuntimeError as error:
            text = str(error).split(", at ")[0].strip()
            kind = UnsupportedModel if "support" in text.lower() else InvalidModel
            raise kind(f"model {self.name!r} cannot be built: {text}") from None
        finally:
            roadrunner.Config.setValue(key, before)

    def reset(self, solver: Solver) -> None:
        """Back to the model as it was loaded: nothing of an earlier run is left."""
        self._restored = None
        if self._events:
            self._runner = self._build()
            self._model = self._runner.model
            self._solver = self._floor = None
        else:
            self._runner.resetToOrigin()
        if solver != self._solver:
            integrator = self._runner.getIntegrator()
            integrator.setValue("relative_tolerance", solver.rtol)
            integrator.setValue("stiff", solver.stiff)
            integrator.setValue("maximum_num_steps", solver.max_steps)
            self._solver = solver
            self._floor = None

    def rescale(self, horizon: float) -> float:
        """Fit the absolute tolerance to what is there now; returns the tolerance of the smallest compartment.

        A model in mol and litres keeps 1e-21 mol in a cell: an absolute 1e-12 would be no tolerance at all.  So where
        the largest amount of a compartment, now or at the present rates within ``horizon``, is below 1e-3, its
        tolerance is kept at 1e-9 to 1e-10 of that amount.  Nothing is ever loosened.
        """
        assert self._solver is not None
        atol = self._solver.atol
        amounts = self._model.getFloatingSpeciesAmounts()
        scales: list[float] = []
        if len(amounts):
            largest = np.maximum.reduceat(np.abs(amounts[self._by_home]), self._homes)
            if largest.min() < SMALL:
                rates = [abs(self.rate(name)) * horizon for name in self._floating]
                largest = np.maximum(largest, np.maximum.reduceat(np.array(rates)[self._by_home], self._homes))
                scales = [_scale(value) for value in largest.tolist()]
        small = [_scale(max(abs(self.get(name)), abs(self.rate(name)) * horizon)) for name in self._rated]
        scales += [scale for scale in small if scale < 1.0]
        floor = tuple(scales)
        if not any(scale < 1.0 for scale in floor):
            floor = ()
        if floor != self._floor:
            self._floor = floor
            integrator = self._runner.getIntegrator()
            states = len(integrator.getAbsoluteToleranceVector())
            vector = np.full(states, atol * min(floor, default=1.0))
            if (
                floor and not self._rated and states == len(amounts)
            ):  # with rate rules the order of states differs between versions
                ends = [*self._homes[1:].tolist(), len(amounts)]
                for start, end, scale in zip(self._homes.tolist(), ends, floor, strict=True):
                    vector[self._by_home[start:end]] = atol * scale
            integrator.setValue("absolute_tolerance", vector.tolist() if states else atol)
        return atol * min(floor, default=1.0)

    def set(self, values: Mapping[str, float]) -> None:
        """Set by selection: ``[S]`` a concentration, ``S`` an amount, else parameters and compartments."""
        for selection, value in values.items():
            if selection[0] != "[":
                self._restored = None
            try:
                self._runner.setValue(selection, value)
            except RuntimeError as error:
                text = str(error).split(", at ")[0]
                raise InvalidModel(f"model {self.name!r}: cannot set {selection!r} to {value}: {text}") from None

    def get(self, selection: str) -> float:
        return float(self._runner.getValue(selection))

    def rate(self, name: str) -> float:
        """d(amount)/dt of a species, d(value)/dt of anything else; 0 for what does not move by itself."""
        if name not in self._moving:
            return 0.0
        by_rule = self._ruled_rates.get(name)
        return self.get(by_rule if by_rule is not None else f"{name}'")

    def set_time(self, time: float) -> None:
        self._model.setTime(time)

    def run(self, times: Sequence[float], selections: Sequence[str]) -> FloatArray:
        """Integrate from ``times[0]`` through all times; shape ``(n_times, n_selections)``.

        Raises:
            IntegrationFailed: the integrator gave up, with its own words.
        """
        wanted = list(selections) or ["time"]
        if wanted != self._selections or self._events:
            self._runner.timeCourseSelections = wanted
            self._selections = wanted
        try:
            # The copy matters: the engine hands out its own buffer, which the next run overwrites.
            return np.array(self._runner.simulate(times=list(times)), dtype=float)
        except RuntimeError as error:
            raise IntegrationFailed(str(error).split("; In virtual")[0].split(", at ")[0].strip()) from None

    def snapshot(self) -> Snapshot:
        model = self._model
        return Snapshot(
            np.array(model.getFloatingSpeciesAmounts(self._species) if self._species else [], float),
            np.array([self._runner.getValue(k) for k in self._boundary], float),
            np.array(model.getGlobalParameterValues(self._parameters) if self._parameters else [], float),
            np.array(model.getCompartmentVolumes(self._compartments) if self._compartments else [], float),
        )

    def restore(self, state: Snapshot) -> None:
        """Go back to a state.  What only `set` can change is set again only where that may have happened."""
        model = self._model
        if self._restored is not state:
            if self._compartments:
                model.setCompartmentVolumes(self._compartments, state.compartments)
            if self._parameters:
                model.setGlobalParameterValues(self._parameters, state.parameters)
            self._restored = state if self._only_species_move else None
        for name, amount in zip(self._boundary, state.boundary, strict=True):
            self._runner.setValue(name, float(amount))
        if self._species:
            model.setFloatingSpeciesAmounts(self._species, state.species)


def _scale(largest: float) -> float:
    """By how much an absolute tolerance for amounts near 1 has to shrink, as a power of ten."""
    if not 0.0 < largest < SMALL:
        return 1.0
    return float(10.0 ** max(math.floor(math.log10(largest)) + 3, -30))


def probe(sbml: str, name: str, *, timeout: float = 120.0) -> None:
    """Build and start a foreign model in a child process, so that a crash of the engine costs nothing.

    Raises:
        InvalidModel: the child crashed or hung.  A refusal in clear words is left to `Engine` to repeat.
    """

    def failed(how: str) -> InvalidModel:
        return InvalidModel(
            f"model {name!r}: the simulation engine {how} when the model is built; it passed all checks of SBML, "
            "so please report it"
        )

    run_guarded(_build_once, sbml, timeout=timeout, failed=failed)


def _build_once(sbml: str) -> None:
    with contextlib.suppress(RuntimeError):
        runner = roadrunner.RoadRunner(sbml)
        runner.resetToOrigin()
        runner.getSelectedValues()
