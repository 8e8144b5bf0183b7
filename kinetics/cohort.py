"""Virtual donors and samples: a model under values drawn from distributions, and a protocol on each of them.

Sample ``k`` depends on the seed and ``k`` alone: a cohort of 20 begins like one of 10, and any process can draw its
share.  Each distribution has random numbers of its own, so adding one leaves what the others give.

>>> from kinetics.distributions import LogNormal
>>> donors = Cohort({"IL7R_number": LogNormal(19163.0, 0.3), "gc_number": LogNormal(13391.0, 0.3)}, n=3, seed=1)
>>> list(donors.frame().columns)
['sample', 'IL7R_number', 'gc_number']
>>> bool((donors.frame() == Cohort(donors.distributions, n=9, seed=1).frame(0, 3)).all(axis=None))
True

How the EC50 of IL-7 varies between donors whose receptor numbers do (docs/how-to/cohorts.md)::

    protocol = DoseProtocol("IL7", doses("1 pg/ml", "100 ng/ml"), Readout.at("pSTAT5_total", "30 min"))
    curves = donors.run(Model.load("il7_stat5_imatinib"), protocol)
    curves.summary()["ec50"].describe()
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from kinetics.curves import describe_points
from kinetics.distributions import Categorical, Distribution
from kinetics.dosing import DoseProtocol, check_dose_unit
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError, UnknownName
from kinetics.experiment import Experiment
from kinetics.expression import FloatArray
from kinetics.lanes import measure_lanes
from kinetics.model import Model
from kinetics.observable import Readout, measure
from kinetics.schedule import check_overrides

Method = Literal["batch", "engine"]
CHUNK = 250  # samples that travel together; results do not depend on how many processes share the chunks
WINDOW = 16  # chunks on their way at a time, so that neither tasks nor results pile up
AGREEMENT = 1e-3  # of the largest response of a sample: more between batch and engine is an error


@dataclass(frozen=True)
class Cohort:
    """``n`` virtual samples.

    Args:
        distributions: by name of the quantity (a parameter, compartment or initial value of the model, in its unit);
            a `Categorical` or `Correlated` names its quantities itself and goes by any name.
        n: how many samples.
        seed: a whole number, not negative.

    Raises:
        InputError: no samples, no seed, or two distributions for one quantity.
    """

    distributions: Mapping[str, Distribution]
    n: int
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise InputError(f"a cohort needs a whole number of samples, at least 1, got {self.n!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"the seed of a cohort must be a whole number from 0 on, got {self.seed!r}")
        if not self.distributions:
            raise InputError("a cohort needs at least one distribution: without any all samples are the same")
        taken: dict[str, str] = {}
        for name, distribution in self.distributions.items():
            if not isinstance(distribution, Distribution):
                raise InputError(f"{name!r} needs a distribution, such as LogNormal(1.0, 0.3), got {distribution!r}")
            for target in distribution.sets(name):
                if target in taken:
                    raise InputError(f"{target!r} is drawn twice, by {taken[target]!r} and by {name!r}")
                taken[target] = name
        object.__setattr__(self, "distributions", MappingProxyType(dict(self.distributions)))

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled, workers need it
        return (Cohort, (dict(self.distributions), self.n, self.seed))

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is drawn, by its name in the model."""
        return tuple(target for name, item in self.distributions.items() for target in item.sets(name))

    # ---- drawing -------------------------------------------------------------------------------------------

    def _span(self, start: int, stop: int | None) -> range:
        stop = self.n if stop is None else stop
        if not 0 <= start < stop <= self.n:
            raise InputError(f"samples must lie in 0 to {self.n}, got {start} to {stop}")
        return range(start, stop)

    def frame(self, start: int = 0, stop: int | None = None) -> pd.DataFrame:
        """A row per sample: its number, the class of each `Categorical`, and the values drawn, in the model's units."""
        columns: dict[str, Any] = {"sample": np.array(self._span(start, stop))}
        for name, distribution in self.distributions.items():
            draws = [self._uniforms(name, k) for k in self._span(start, stop)]
            if isinstance(distribution, Categorical):
                columns[name] = [distribution.chosen(draw) for draw in draws]
            values = [distribution.values(name, draw) for draw in draws]
            for target in distribution.sets(name):
                columns[target] = np.array([value[target] for value in values])
        return pd.DataFrame(columns)

    def values(self, start: int = 0, stop: int | None = None) -> dict[str, FloatArray]:
        """The values drawn, by quantity, shape ``(stop - start,)`` each."""
        frame = self.frame(start, stop)
        return {name: frame[name].to_numpy(dtype=float) for name in self.quantities}

    def _uniforms(self, name: str, sample: int) -> list[float]:
        # Of the seed, the name and the number alone; a checksum, because hash() differs between processes.
        own = np.random.default_rng([self.seed, zlib.crc32(name.encode()), sample])
        return [float(number) for number in own.random(self.distributions[name].uniforms)]

    # ---- simulating ----------------------------------------------------------------------------------------

    def run(
        self,
        model: Model,
        protocol: DoseProtocol,
        *,
        method: Method = "batch",
        solver: Solver | None = None,
        rtol: float = 1e-4,
        executor: Executor | None = None,
        chunk: int = CHUNK,
        check: int = 2,
    ) -> CohortCurves:
        """A dose-response curve per sample.

        Args:
            method: ``"batch"`` integrates many samples at a time in numpy; ``"engine"`` one after the other, as
                `dose_response` does.  The engine is the reference and does what a batch refuses.
            solver: of the engine.
            rtol: of the batch, error per step.
            executor: any ``concurrent.futures.Executor`` of processes.  Results do not depend on it.
            chunk: samples that travel together.
            check: how many samples of a batch the engine does again.

        Returns:
            Curves; a sample that cannot be simulated is NaN and listed in ``failed``.

        Raises:
            UnknownName, InputError, UnitError: the model has no such quantity, or it cannot be set or have such values.
            UnsupportedModel: the model needs ``method="engine"``.
            SimulationError: batch and engine disagree on a checked sample.
        """
        if protocol.target in self.quantities:
            raise InputError(f"{protocol.target!r} is drawn for every sample and dosed by the protocol: choose one")
        unit = check_dose_unit(model, protocol.target, protocol.doses)
        experiments, readout = protocol.experiments(), protocol.readout
        parts = self.stream(
            model, experiments, readout, method=method, solver=solver, rtol=rtol, executor=executor, chunk=chunk
        )
        responses = np.concatenate(list(parts))
        difference = np.nan
        if method == "batch" and check:
            difference = self.agreement(model, experiments, readout, responses, check, solver=solver)
            if not difference <= AGREEMENT:
                raise SimulationError(
                    f"batch and engine differ by {difference:.2g} of a sample's largest response, allowed is "
                    f"{AGREEMENT:g}: lower rtol (now {rtol:g}), or use method='engine'"
                )
        own = readout.own_unit
        return CohortCurves(
            self,
            np.array([dose.value for dose in protocol.doses]),
            responses,
            unit,
            model.unit_of(readout.formula) if own is None else own,
            protocol.target,
            readout.formula,
            model.name,
            method,
            difference,
        )

    def stream(
        self,
        model: Model,
        experiments: Sequence[Experiment],
        readout: Readout,
        *,
        method: Method = "batch",
        solver: Solver | None = None,
        rtol: float = 1e-4,
        executor: Executor | None = None,
        chunk: int = CHUNK,
    ) -> Iterator[FloatArray]:
        """Any read-out of any experiments, chunk by chunk in order: arrays ``(samples, n_experiments)``.

        Nothing but the chunk at hand is kept, so that a cohort of any size can be reduced as it goes.  Arguments and
        errors are those of `run`.
        """
        if method not in ("batch", "engine"):
            raise UnknownName("method", str(method), ("batch", "engine"))
        if chunk < 1:
            raise InputError(f"a chunk needs at least 1 sample, got {chunk}")
        self._check(model)
        given = (model, self, tuple(experiments), readout, method, solver, rtol)
        spans = [(start, min(start + chunk, self.n)) for start in range(0, self.n, chunk)]
        return in_order(_simulated, [(*given, *span) for span in spans], executor)

    def agreement(
        self,
        model: Model,
        experiments: Sequence[Experiment],
        readout: Readout,
        responses: FloatArray,
        samples: int = 2,
        *,
        solver: Solver | None = None,
    ) -> float:
        """The largest difference to the engine on some samples, as a part of the sample's largest response.

        Args:
            responses: of the whole cohort, ``(n, n_experiments)``; samples that are NaN here are passed over.
            samples: how many, evenly spread over the cohort.
        """
        good = np.flatnonzero(np.all(np.isfinite(responses), axis=1))
        chosen = good[np.unique(np.linspace(0, len(good) - 1, min(samples, len(good))).astype(int))]
        worst = 0.0
        for k in chosen.tolist():
            (row,) = _simulated(model, self, tuple(experiments), readout, "engine", solver, 0.0, k, k + 1)
            if np.any(np.isnan(row)):
                return np.nan  # the engine gave up where the batch did not: no agreement
            worst = max(worst, float(np.max(np.abs(row - responses[k]))) / max(float(np.max(np.abs(row))), 1e-300))
        return worst

    def _check(self, model: Model) -> None:
        for name in self.quantities:
            entity = model.entity(name)
            if not entity.settable:
                raise InputError(f"{name!r} of model {model.name!r} cannot be set: {entity.why_fixed}")


def _simulated(
    model: Model,
    cohort: Cohort,
    experiments: Sequence[Experiment],
    readout: Readout,
    method: Method,
    solver: Solver | None,
    rtol: float,
    start: int,
    stop: int,
) -> FloatArray:
    """Some samples of a cohort, ``(stop - start, n_experiments)``; at the top level, so that processes find it."""
    values = cohort.values(start, stop)
    for name, column in values.items():
        check_overrides(model, {name: float(column.min())})
    if method == "batch":
        return measure_lanes(model, experiments, readout, values, stop - start, rtol=rtol).T
    result = np.full((stop - start, len(experiments)), np.nan)
    for row in range(stop - start):
        own = {name: float(column[row]) for name, column in values.items()}
        try:
            result[row] = measure(model, experiments, readout, solver=solver, parameters=own)
        except SimulationError:
            continue  # a sample that cannot be simulated says nothing of the others
    return result


def in_order(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], executor: Executor | None
) -> Iterator[Any]:
    """Results in the order of the tasks, a bounded number of them under way at a time."""
    if executor is None:
        for task in tasks:
            yield function(*task)
        return
    waiting: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            if len(waiting) >= WINDOW:
                yield waiting.popleft().result()
            waiting.append(executor.submit(function, *task))
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True, eq=False)
class CohortCurves:
    """A dose-response curve per sample, with what they are."""

    cohort: Cohort
    doses: FloatArray  # (n_doses,), dose_unit, increasing
    responses: FloatArray  # (n, n_doses), response_unit; NaN where a sample could not be simulated
    dose_unit: str
    response_unit: str
    target: str
    readout: str
    model: str
    method: str  # "batch" or "engine"
    difference: float  # to the engine on the checked samples, of the largest response; NaN where not checked

    @property
    def failed(self) -> tuple[int, ...]:
        """Numbers of the samples that could not be simulated."""
        return tuple(np.flatnonzero(np.any(np.isnan(self.responses), axis=1)).tolist())

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per sample and dose, a unit beside every value."""
        samples, doses = np.indices(self.responses.shape)
        return pd.DataFrame(
            {
                "model": self.model,
                "sample": samples.ravel(),
                "target": self.target,
                "dose": self.doses[doses.ravel()],
                "dose_unit": self.dose_unit,
                "readout": self.readout,
                "response": self.responses.ravel(),
                "response_unit": self.response_unit,
            }
        )

    def summary(self, executor: Executor | None = None, chunk: int = CHUNK) -> pd.DataFrame:
        """A row per sample: what was drawn, and its curve in numbers, as `describe_points` finds them.

        ``ec50`` is NaN where the tested doses do not hold it and ``ec50_status`` says why; ``emax`` is the fitted span,
        negative for a falling curve; ``at_highest`` is the response at the highest dose, which extrapolates nothing.
        """
        parts = [(self.doses, self.responses[start : start + chunk]) for start in range(0, len(self.responses), chunk)]
        described = pd.concat(list(in_order(_described, parts, executor)), ignore_index=True)
        table = self.cohort.frame().join(described)
        return table.assign(dose_unit=self.dose_unit, response_unit=self.response_unit)


def _described(doses: FloatArray, responses: FloatArray) -> pd.DataFrame:
    rows: list[dict[str, float | str]] = []
    for row in responses:
        if np.any(np.isnan(row)):
            rows.append({"ec50_status": "not simulated"})
            continue
        found = describe_points(doses, row)
        rows.append(
            {
                "ec50": found.ec50,
                "ec50_status": found.status.name.lower(),
                "emax": found.span,
                "bottom": found.bottom,
                "top": found.top,
                "hill": found.hill,
                "at_highest": float(row[-1]),
            }
        )
    columns = ["ec50", "ec50_status", "emax", "bottom", "top", "hill", "at_highest"]
    return pd.DataFrame(rows, columns=columns)
