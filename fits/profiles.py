"""Profile likelihood: the lowest objective for every value of one parameter or derived quantity, and its interval.

The interval holds the values at which the re-optimised objective is less than ``chi2(1, level) / 2`` above the
optimum (1.92 for 95 %; Venzon and Moolgavkar 1988, doi:10.2307/2347496).  An end is open where a bound is met or the
walk ends before that, and the result says which.  The walk goes outwards from the optimum in steps that adapt to the
rise of the objective, each point warm-started from the last two; where it meets a better optimum it starts anew there.
It sees the first crossing on each side: a second valley beyond a ridge higher than the threshold is not looked for.

An optimum at its bound has half an interval; the level is then conservative (the interval covers at least as often).
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fits.constrained import FreeLine, HeldPoint, Line, ParameterLine, Quantity, QuantityLine, Recorder, with_slope
from fits.evaluation import FloatArray, Objective
from fits.identifiability import Verdict
from fits.information import (
    Point,
    curvature_of,
    evaluate_optimum,
    point_of,
    ranges_of,
    scales_of,
    spread,
    threshold_of,
)
from fits.parameters import Scale
from fits.provenance import collect
from fits.store import Pieces, Store, digest
from fits.walk import Base, Better, End, Side, Walk, Walker
from fits.workers import ship
from kinetics.errors import InputError, SimulationError, UnknownName
from kinetics.progress import track

if TYPE_CHECKING:
    import pandas as pd

METHOD = "profile 1"  # part of the settings: a changed method must not continue another's points
RESTARTS = 3  # at better optima met on the way


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of one parameter or quantity; parameters are on the search scale, quantities plain."""

    name: str
    parameters: tuple[str, ...]  # columns of ``paths``
    level: float
    threshold: float  # of the objective above its minimum
    values: FloatArray  # (n_points,), ascending
    objective: FloatArray  # (n_points,)
    paths: FloatArray  # (n_points, n), all parameters, re-optimised
    optimum: float
    x: FloatArray  # (n,), parameters at the optimum
    minimum: float  # of the objective
    lower: float | None  # ends of the interval; None where open
    upper: float | None
    lower_end: End
    upper_end: End
    scale: Scale = Scale.LIN  # to turn parameter values back into plain ones
    at_bound: str = ""  # "lower" or "upper" where the optimum itself lies on a bound
    gained: float = 0.0  # how much lower than the optimum that was given the minimum is
    unconverged: int = 0  # points where the search for the others hit its limit or failing simulations
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def interval(self) -> tuple[float | None, float | None]:
        return self.lower, self.upper

    @property
    def verdict(self) -> Verdict:
        return Verdict.of(self.lower, self.upper)

    @property
    def delta(self) -> FloatArray:
        """The objective above its minimum, shape ``(n_points,)``."""
        return np.asarray(self.objective - self.minimum)

    @property
    def inside(self) -> FloatArray:
        """Parameter vectors within the threshold, shape ``(k, n)``; what `fits.bands.envelope` takes."""
        return np.asarray(self.paths[self.delta <= self.threshold * (1.0 + 1e-6)])

    def plain(self, value: float | None) -> float | None:
        return None if value is None else self.scale.plain(value)

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_frame(self) -> pd.DataFrame:
        """A row per point: the value, the objective above its minimum, and all parameters on the search scale."""
        import pandas as pd

        columns = {f"search:{name}": self.paths[:, i] for i, name in enumerate(self.parameters)}
        return pd.DataFrame({"name": self.name, "value": self.values, "delta": self.delta, **columns})

    def _sentences(self) -> Iterable[str]:
        best, low, high = (self.plain(v) for v in (self.optimum, self.lower, self.upper))
        ends = f"{'open' if low is None else format(low, '.4g')} to {'open' if high is None else format(high, '.4g')}"
        yield f"{self.name} = {best:.4g}, {100.0 * self.level:.4g} % profile interval {ends}: {self.verdict.sentence}."
        for side, end in (("Downwards", self.lower_end), ("Upwards", self.upper_end)):
            if end is not End.CROSSED:
                yield f"{side}, {end.sentence}."
        if self.at_bound:
            yield f"The best {self.name} sits at its {self.at_bound} bound, so the level is conservative."
        if self.gained > 0.0:
            yield (
                f"An optimum lower by {self.gained:.3g} than the given one was found on the way, and the profile is "
                "about that one: repeat the fit from there, everything else derived from the old one is out of date."
            )
        if self.unconverged:
            yield f"At {self.unconverged} of {len(self.values)} points the search for the others was cut short."
        yield from self.notes


def profile(
    objective: Objective,
    optimum: Point,
    name: str,
    *,
    level: float = 0.95,
    walk: Walk | None = None,
    scales: Mapping[str, Scale | str] | None = None,
    store: Store | str | Path | None = None,
) -> Profile:
    """The profile of one parameter.

    Args:
        objective: what was minimised.
        optimum: where it is lowest: a vector, values by name, or the result of a fit; on the search scale.
        name: of the parameter.
        level: of the interval.
        walk: how far and how finely to look.
        scales: by name, for words in plain values; an objective made from a problem knows them itself.
        store: keeps every finished point; a repeated call goes on where an interrupted one was.

    Raises:
        InputError, UnknownName: name, level or optimum do not fit the objective.
        SimulationError: the objective cannot be evaluated at the optimum.
        StoreError: the store cannot be used.
    """
    return profiles(objective, optimum, [name], level=level, walk=walk, scales=scales, store=store)[name]


def profiles(
    objective: Objective,
    optimum: Point,
    names: Iterable[str] | None = None,
    *,
    level: float = 0.95,
    walk: Walk | None = None,
    scales: Mapping[str, Scale | str] | None = None,
    store: Store | str | Path | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> dict[str, Profile]:
    """The profiles of several parameters, by default of all; see `profile`.

    With an executor each profile is one task, and its points are stored when all of it is finished.  ``progress`` is
    whether to draw a bar once it takes long, by default where somebody looks.
    """
    x = point_of(objective, optimum)
    chosen = list(objective.names if names is None else names)
    for name in chosen:
        if name not in objective.names:
            raise UnknownName("free parameter", name, objective.names, "the profile")
    scale = dict(zip(objective.names, scales_of(objective, scales), strict=True))
    jobs = {name: _Job(name, x, level, walk or Walk(), scale[name]) for name in chosen}
    threshold_of(level)
    with ExitStack() as stack:
        opened = open_store(objective, store, stack)
        pieces = {name: _pieces(opened, job) for name, job in jobs.items()}
        done: dict[str, Profile] = {}
        bar = stack.enter_context(track("profiling", len(jobs), progress=progress, unit="profiles"))
        if executor is None:
            for name, job in jobs.items():
                done[name] = job.run(objective, _recorder(pieces[name]))
                bar.advance(said=name)
            return done
        payload = ship(objective)
        key = hashlib.sha256(payload).hexdigest()
        futures: dict[Future[tuple[Profile, dict[int, dict[str, Any]]]], str] = {
            executor.submit(_run_shipped, key, payload, job, _stored(pieces[name])): name for name, job in jobs.items()
        }
        try:
            for future in as_completed(futures):
                name = futures[future]
                done[name], solved = future.result()
                kept = pieces[name]
                if kept is not None:
                    for number, document in solved.items():
                        kept.put(number, document)
                bar.advance(said=name)
        finally:
            for future in futures:
                future.cancel()
        return {name: done[name] for name in chosen}


def profile_quantity(
    objective: Objective,
    optimum: Point,
    quantity: Quantity,
    *,
    name: str,
    level: float = 0.95,
    limits: tuple[float, float] = (-math.inf, math.inf),
    walk: Walk | None = None,
    store: Store | str | Path | None = None,
) -> Profile:
    """The profile of a quantity derived from the parameters: an EC50 shift, a ratio, a predicted value.

    Args:
        objective, optimum, level, walk, store: as for `profile`.
        quantity: its value, or its value and gradient ``(n,)``, at a search vector ``(n,)``; a failed simulation is
            raised as `SimulationError`.  Without a gradient central differences are taken.
        name: of the quantity; profiles of different quantities in one store need different names.
        limits: beyond which no one wants to know; a quantity is best given on the scale on which it is symmetric,
            the log of an EC50 ratio rather than the ratio.
    """
    x = point_of(objective, optimum)
    threshold_of(level)
    job = _Job(name, x, level, walk or Walk(), Scale.LIN, quantity, (float(limits[0]), float(limits[1])))
    with ExitStack() as stack:
        pieces = _pieces(open_store(objective, store, stack), job)
        return job.run(objective, _recorder(pieces))


def open_store(objective: Objective, store: Store | str | Path | None, stack: ExitStack) -> Store | None:
    """The store of a fit, opened for as long as the stack lives if it is not open yet."""
    if store is None or isinstance(store, Store):
        return store
    about = {
        "names": list(objective.names), "lower": objective.lower, "upper": objective.upper,
        "provenance": collect().to_dict(),
    }  # fmt: skip
    return stack.enter_context(Store(store, objective.fingerprint, about))


_loaded: dict[str, Objective] = {}  # the last objective this process was sent


def loaded(key: str, payload: bytes) -> Objective:
    """An objective that came as bytes, loaded once per process."""
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = pickle.loads(payload)
    return _loaded[key]


def _run_shipped(
    key: str, payload: bytes, job: _Job, stored: Mapping[int, Mapping[str, Any]]
) -> tuple[Profile, dict[int, dict[str, Any]]]:
    recorder = Recorder(stored)
    return job.run(loaded(key, payload), recorder), recorder.solved


def _pieces(store: Store | None, job: _Job) -> Pieces | None:
    """The settings are part of the kind, so a profile about a better optimum lies beside the older one."""
    if store is None:
        return None
    settings = job.settings()
    return store.open_kind(f"profile {job.name} {digest(settings)[:12]}", settings)


def _stored(pieces: Pieces | None) -> dict[int, dict[str, Any]]:
    return {} if pieces is None else {number: document for number, document, _ in pieces.items()}


def _recorder(pieces: Pieces | None) -> Recorder:
    return Recorder(_stored(pieces), None if pieces is None else pieces.put)


@dataclass(frozen=True, eq=False)
class _Job:
    """One profile to be computed."""

    name: str
    x: FloatArray
    level: float
    walk: Walk
    scale: Scale
    quantity: Quantity | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)

    def settings(self) -> dict[str, Any]:
        return {
            "method": METHOD, "name": self.name, "x": self.x, "level": self.level, **asdict(self.walk),
            "quantity": self.quantity is not None, "limits": list(self.limits),
        }  # fmt: skip

    def run(self, objective: Objective, recorder: Recorder) -> Profile:
        scale = ranges_of(objective, self.x)
        free = FreeLine(objective, scale, self.walk.max_evaluations)
        first = recorder.solve(free, 0.0, [self.x])
        if not math.isfinite(first.value):
            raise SimulationError(f"the objective cannot be evaluated at the optimum: {first.failure}")
        given = objective.evaluate(self.x).value
        best, sides, base = first, None, None
        for restart in range(RESTARTS + 1):
            base = self._base(objective, best, scale, last=restart == RESTARTS)
            try:
                walker = Walker(base, recorder, threshold_of(self.level), self.walk)
                sides = [walker.side(sign) for sign in (-1.0, 1.0)]
                break
            except Better as found:
                best = recorder.solve(free, float(restart + 1), [found.point.x])
        assert sides is not None and base is not None
        gained = given - base.value
        return self._profile(objective, base, sides, gained if gained > _slack(given) else 0.0)

    def _base(self, objective: Objective, best: HeldPoint, scale: FloatArray, last: bool) -> Base:
        here = evaluate_optimum(objective, best.x)
        covariance = spread(objective, best.x, curvature_of(objective, best.x, here)[0])
        lower, upper = np.asarray(objective.lower, float), np.asarray(objective.upper, float)
        # After the last restart better points are taken as they come: no walk without an end.
        slack = math.inf if last else _slack(best.value)
        effort = self.walk.max_evaluations
        if self.quantity is None:
            i = list(objective.names).index(self.name)
            sigma = math.sqrt(covariance[i, i])
            line: Line = ParameterLine(objective, i, scale, effort)
            return Base(
                line, float(best.x[i]), best.x, best.value, covariance[:, i] / covariance[i, i], sigma,
                float(lower[i]), float(upper[i]), slack,
            )  # fmt: skip
        at, slope = with_slope(self.quantity, best.x, lower, upper)
        if not (math.isfinite(at) and np.all(np.isfinite(slope))):
            raise SimulationError(f"quantity {self.name!r} is not finite at the optimum")
        variance = float(slope @ covariance @ slope)
        if variance <= 0.0:
            raise InputError(f"quantity {self.name!r} does not depend on any parameter at the optimum")
        # Much stiffer than the profile itself, so that points end up near their targets.
        line = QuantityLine(objective, self.quantity, 10.0 / variance, scale, effort)
        tangent = covariance @ slope / variance
        return Base(line, at, best.x, best.value, tangent, math.sqrt(variance), *self.limits, slack)

    def _leaning(self, objective: Objective, base: Base, side: Side, word: str) -> str:
        """Whether an end is found only because another parameter has come to its bound."""
        if side.edge is None:
            return ""
        edge = side.edge
        nearest = min(side.points, key=lambda p: abs(p.at - edge))
        x = nearest.x
        if nearest.failure:
            return (
                f"The {word} end lies where simulations begin to fail ({nearest.failure}): without that it would lie "
                "further out."
            )
        lower, upper = np.asarray(objective.lower, float), np.asarray(objective.upper, float)
        others = [
            name
            for name, here, then, low, high in zip(objective.names, x, base.x, lower, upper, strict=True)
            if name != self.name and (here <= low < then or then < high <= here)
        ]
        if not others:
            return ""
        return f"The {word} end depends on the bounds of {', '.join(others)}: without them it would lie further out."

    def _profile(self, objective: Objective, base: Base, sides: Sequence[Side], gained: float) -> Profile:
        points = [*reversed(sides[0].points[1:]), *sides[1].points]
        order = np.argsort([p.at for p in points], kind="stable")
        points = [points[int(i)] for i in order]
        near = 1e-6 * (base.high - base.low) if math.isfinite(base.high - base.low) else 0.0
        at_bound = ""
        if self.quantity is None:
            at_bound = "lower" if base.at - base.low <= near else "upper" if base.high - base.at <= near else ""
        values = np.array([p.value for p in points])
        lowest = points[int(np.argmin(values))]
        notes = tuple(side.note for side in sides if side.note)
        notes += tuple(self._leaning(objective, base, side, word) for side, word in zip(sides, _ENDS, strict=True))
        notes = tuple(note for note in notes if note)
        if lowest.value < base.value - _slack(base.value):
            notes = (*notes, f"Better optima kept turning up (the last at {lowest.at:.4g}): the fit is not finished.")
        return Profile(
            name=self.name,
            parameters=tuple(objective.names),
            level=self.level,
            threshold=threshold_of(self.level),
            values=np.array([p.at for p in points]),
            objective=values,
            paths=np.array([p.x for p in points]),
            optimum=base.at,
            x=base.x,
            minimum=base.value,
            lower=sides[0].edge,
            upper=sides[1].edge,
            lower_end=sides[0].end,
            upper_end=sides[1].end,
            scale=self.scale,
            at_bound=at_bound,
            gained=gained,
            unconverged=sum(not p.converged for p in points),
            notes=notes,
        )


_ENDS = ("lower", "upper")


def _slack(value: float) -> float:
    """How much lower a point must be to be better rather than better converged."""
    return max(1e-3, 1e-6 * abs(value))
