"""Walking along a profile: outwards from the optimum in steps that follow the rise of the objective, and back in to
where exactly it crosses the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from fits.constrained import HeldPoint, Line, Recorder
from fits.evaluation import FloatArray
from kinetics.errors import InputError

MARGIN = 1.1  # walk on a little beyond the threshold, so that a drawing shows the crossing
STEPS_TO_END = 5.0  # as many as a parabola would take from the optimum to the threshold


class End(Enum):
    """Why a profile ends on one side."""

    CROSSED = "crossed"
    BOUND = "bound"
    STUCK = "stuck"
    LIMIT = "limit"
    FAILED = "failed"

    @property
    def sentence(self) -> str:
        return {
            End.CROSSED: "the objective rises past the threshold",
            End.BOUND: "the bound is reached before the objective rises past the threshold",
            End.STUCK: "the bounds of the parameters let it go no further, and the objective is below the threshold",
            End.LIMIT: "the objective stays below the threshold as far as was looked",
            End.FAILED: "the objective cannot be evaluated or optimised further out",
        }[self]


@dataclass(frozen=True)
class Walk:
    """How far and how finely a profile is walked."""

    max_points: int = 60  # on each side
    max_evaluations: int = 300  # with derivatives, per point
    rtol: float = 1e-5  # of the threshold: how well the ends are refined

    def __post_init__(self) -> None:
        if self.max_points < 3 or self.max_evaluations < 1 or not 0.0 < self.rtol < 0.5:
            raise InputError(
                f"a walk needs max_points >= 3, max_evaluations >= 1 and 0 < rtol < 0.5, got {self.max_points}, "
                f"{self.max_evaluations}, {self.rtol}"
            )


class Better(Exception):
    """A point below the optimum was met."""

    def __init__(self, point: HeldPoint) -> None:
        super().__init__()
        self.point = point


@dataclass(frozen=True, eq=False)
class Side:
    """One half of a profile, from the optimum outwards."""

    points: list[HeldPoint]
    edge: float | None
    end: End
    note: str = ""


@dataclass(frozen=True, eq=False)
class Base:
    """The optimum and what the first steps need to know about its surroundings."""

    line: Line
    at: float
    x: FloatArray  # (n,)
    value: float
    tangent: FloatArray  # (n,), dx by d(at) along the profile
    sigma: float  # of the quantity, as the curvature has it
    low: float
    high: float
    slack: float  # a point must be lower by this much to count as better

    def root(self, point: HeldPoint) -> float:
        """sqrt(2 delta): straight lines for parabolas."""
        return math.sqrt(2.0 * max(point.value - self.value, 0.0))


@dataclass(frozen=True, eq=False)
class Walker:
    """Walks both sides of one profile."""

    base: Base
    recorder: Recorder
    threshold: float
    settings: Walk

    def side(self, sign: float) -> Side:
        """Walk outwards until the objective is past the threshold, or for as long as it can be."""
        threshold = self.threshold
        goal = math.sqrt(2.0 * threshold)
        limit = self.base.low if sign < 0 else self.base.high
        span = self.base.high - self.base.low if math.isfinite(self.base.high - self.base.low) else math.inf
        start = HeldPoint(self.base.at, self.base.at, self.base.x, self.base.value)
        points = [start]
        step = min(self.base.sigma * goal / STEPS_TO_END, span / 10.0)
        end, note, failures, still = End.LIMIT, "", 0, 0
        while len(points) <= self.settings.max_points:
            last = points[-1]
            room = sign * (limit - last.target)
            if room <= 1e-9 * (span if math.isfinite(span) else self.base.sigma):
                end = End.BOUND
                break
            target = limit if step >= 0.999 * room else last.target + sign * step
            point = self.recorder.solve(self.base.line, target, self._starts(points, target))
            if not math.isfinite(point.value):
                failures, step = failures + 1, step / 4.0
                if failures > 6:
                    end, note = End.FAILED, f"At {target:.4g}: {point.failure}."
                    break
                continue
            if point.value < self.base.value - self.base.slack:
                raise Better(point)
            rise = self.base.root(point) - self.base.root(last)
            moved = sign * (point.at - last.at)
            points.append(point)
            if point.value - self.base.value >= MARGIN * threshold:
                end = End.CROSSED
                break
            # A quantity that no longer follows its target, at no cost, has come to the end of what it can be.
            still = still + 1 if moved <= 1e-4 * abs(target - last.target) and abs(rise) < 1e-3 else 0
            if still >= 4:
                end, note = End.STUCK, ""
                if point.failure:
                    end, note = End.FAILED, f"Beyond {point.at:.4g}: {point.failure}."
                break
            aimed = goal / STEPS_TO_END / max(abs(rise), 1e-12)
            step = min(abs(target - last.target) * min(max(aimed, 0.4), 2.0), span / 10.0)
        beyond = next((k for k, p in enumerate(points) if p.value - self.base.value >= threshold), None)
        if beyond is None:
            return Side(points, None, end, note)
        edge, extra, crossing_note = self._refine(points[beyond - 1], points[beyond])
        ordered = sorted([*points, *extra], key=lambda p: sign * p.at)
        return Side(ordered, edge, End.CROSSED, crossing_note)

    def _starts(self, points: Sequence[HeldPoint], target: float) -> list[FloatArray]:
        last = points[-1]
        if len(points) == 1 or points[-2].target == last.target:
            ahead = last.x + self.base.tangent * (target - last.target)
        else:
            ahead = last.x + (last.x - points[-2].x) * (target - last.target) / (last.target - points[-2].target)
        return [ahead, last.x]

    def _refine(self, inner: HeldPoint, outer: HeldPoint) -> tuple[float, list[HeldPoint], str]:
        """Where between two points the objective crosses the threshold: regula falsi on sqrt(2 delta)."""
        threshold = self.threshold
        goal = math.sqrt(2.0 * threshold)
        if outer.value - self.base.value <= threshold * (1.0 + self.settings.rtol):
            return outer.at, [], ""
        extra: list[HeldPoint] = []
        weights, kept = [1.0, 1.0], 0
        width = abs(outer.target - inner.target)
        for _ in range(25):
            low, high = (self.base.root(inner) - goal) * weights[0], (self.base.root(outer) - goal) * weights[1]
            share = -low / (high - low)
            share = min(max(share, 0.01), 0.99)
            target = inner.target + share * (outer.target - inner.target)
            point = self.recorder.solve(self.base.line, target, [inner.x + share * (outer.x - inner.x), inner.x])
            if not math.isfinite(point.value):
                return outer.at, extra, f"Near {target:.4g} the objective cannot be evaluated; the end is beyond it."
            if point.value < self.base.value - self.base.slack:
                raise Better(point)
            extra.append(point)
            if abs(point.value - self.base.value - threshold) <= self.settings.rtol * threshold:
                return point.at, extra, ""
            # Illinois: the end that stays twice in a row counts half, so that both ends close in.
            if point.value - self.base.value < threshold:
                inner, weights, kept = point, [1.0, 0.5 * weights[1] if kept == 1 else 1.0], 1
            else:
                outer, weights, kept = point, [0.5 * weights[0] if kept == 2 else 1.0, 1.0], 2
            if abs(outer.target - inner.target) <= 1e-7 * width:
                break
        jump = outer.value - inner.value
        if jump > 0.05 * threshold:
            return (
                outer.at,
                extra,
                (
                    f"The profile jumps by {jump:.3g} near {outer.at:.4g}, where the other parameters change over to "
                    "another optimum; the end is put behind the jump."
                ),
            )
        return outer.at, extra, ""
