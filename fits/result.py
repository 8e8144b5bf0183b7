"""What a fit found: every start, the best point, and what to think of it in words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fits.evaluation import FloatArray
from fits.local import ExitReason, open_gradient
from fits.provenance import Provenance
from fits.store import encode, read_store
from kinetics.errors import SimulationError

if TYPE_CHECKING:
    import pandas as pd

VALUE_TOLERANCE = 0.1  # of a negative log-likelihood: far below the 1.92 of a 95 % interval
PLACE_TOLERANCE = 0.01  # of the range between the bounds


class FitFailed(SimulationError):
    """No start found a point at which the objective can be evaluated; the message says why."""


@dataclass(frozen=True, eq=False)
class StartRecord:
    """How one start ended."""

    index: int
    start: FloatArray  # (n,), search scale; where the local search began; NaN where it did not
    x: FloatArray  # (n,), where it ended; NaN where it failed
    value: float  # inf where it failed
    gradient: FloatArray  # (n,), at ``x``; NaN where it failed
    reason: ExitReason
    message: str = ""  # what happened, where the reason alone does not tell
    evaluations: int = 0  # of the objective, with or without derivatives, screening included
    iterations: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # failed evaluations, by what the simulation said
    exact: bool = True  # whether derivatives were exact
    details: Mapping[str, float] = field(default_factory=dict)  # of the last point: scales solved for and the like
    circumstances: Mapping[str, Any] = field(default_factory=dict)  # seconds, pid, host, memory: differ between runs

    @classmethod
    def failed(cls, index: int, n_parameters: int, reason: ExitReason, message: str, **more: Any) -> StartRecord:
        nowhere = np.full(n_parameters, np.nan)
        return cls(index, more.pop("start", nowhere), nowhere, np.inf, nowhere, reason, message, **more)

    def to_document(self) -> dict[str, Any]:
        """Everything that equal runs have in common, as JSON types; floats keep every bit."""
        document = {
            "start": self.start, "x": self.x, "value": self.value, "gradient": self.gradient,
            "reason": self.reason.value, "message": self.message,
            "evaluations": self.evaluations, "iterations": self.iterations,
            "failures": dict(self.failures), "exact": self.exact, "details": dict(self.details),
        }  # fmt: skip
        encoded: dict[str, Any] = encode(document)
        return encoded

    @classmethod
    def from_document(cls, index: int, document: Mapping[str, Any], circumstances: Mapping[str, Any]) -> StartRecord:
        arrays = {name: np.array([float(v) for v in document[name]]) for name in ("start", "x", "gradient")}
        return cls(
            index=index,
            value=float(document["value"]),
            reason=ExitReason(document["reason"]),
            message=document["message"],
            evaluations=int(document["evaluations"]),
            iterations=int(document["iterations"]),
            failures=dict(document["failures"]),
            exact=bool(document["exact"]),
            details={name: float(value) for name, value in document["details"].items()},
            circumstances=dict(circumstances),
            **arrays,
        )


@dataclass(frozen=True, eq=False)
class FitResult:
    """All starts of a fit, best first; everything is on the search scale of the problem."""

    names: tuple[str, ...]
    lower: FloatArray  # (n,)
    upper: FloatArray  # (n,)
    starts: tuple[StartRecord, ...]  # by objective, then by number
    settings: Mapping[str, Any]  # seed, starting points, limits, tolerances
    fingerprint: Mapping[str, str]  # of the problem
    provenance: Provenance

    @property
    def succeeded(self) -> bool:
        return bool(self.starts) and not self.starts[0].reason.failed

    @property
    def best(self) -> StartRecord:
        """The best start.

        Raises:
            FitFailed: there is none.
        """
        if not self.succeeded:
            raise FitFailed(" ".join(self.sentences()))
        return self.starts[0]

    @property
    def parameters(self) -> dict[str, float]:
        """The best values by name, on the search scale."""
        return dict(zip(self.names, self.best.x.tolist(), strict=True))

    @property
    def value(self) -> float:
        return self.best.value

    @property
    def values(self) -> FloatArray:
        """The objective of every start, ascending, shape ``(n_starts,)``; inf where a start failed: the waterfall."""
        return np.array([start.value for start in self.starts])

    @property
    def gradient_norm(self) -> float:
        """The largest slope at the best point in a direction the bounds leave open."""
        return self._open_slope(self.best)

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @property
    def seconds(self) -> float:
        """Computing time of all starts together."""
        return sum(float(start.circumstances.get("seconds", 0.0)) for start in self.starts)

    def agreeing(self, tolerance: float = VALUE_TOLERANCE) -> tuple[StartRecord, ...]:
        """The starts whose objective is within ``tolerance`` of the best, itself included."""
        return tuple(start for start in self.starts if start.value <= self.best.value + tolerance)

    def at_bounds(self) -> dict[str, str]:
        """Parameters of the best point that lie on a bound: ``{"k_on": "lower"}``."""
        x, near = self.best.x, 1e-6 * self._range()
        sides = {name: "lower" for name, at in zip(self.names, x - self.lower <= near, strict=True) if at}
        sides.update({name: "upper" for name, at in zip(self.names, self.upper - x <= near, strict=True) if at})
        return {name: sides[name] for name in self.names if name in sides}

    def distance(self, start: StartRecord) -> FloatArray:
        """How far a start ended from the best point, as fractions of the range of each parameter, shape ``(n,)``."""
        return np.asarray(np.abs(start.x - self.best.x) / self._range(), dtype=float)

    def sentences(self) -> tuple[str, ...]:
        """What to think of this fit."""
        return (*(self._about_best() if self.succeeded else self._about_nothing()), *self._about_failures())

    def to_frame(self) -> pd.DataFrame:
        """A row per start, best first; parameters in columns of their own, on the search scale."""
        import pandas as pd  # workers import this module and have no use for it

        rows = []
        for start in self.starts:
            row: dict[str, Any] = {
                "start": start.index, "objective": start.value, "reason": start.reason.value,
                "converged": start.reason.converged, "gradient_norm": self._open_slope(start),
                "evaluations": start.evaluations, "failed_evaluations": sum(start.failures.values()),
                "iterations": start.iterations, "seconds": start.circumstances.get("seconds", np.nan),
            }  # fmt: skip
            rows.append({**row, **dict(zip(self.names, start.x.tolist(), strict=True))})
        return pd.DataFrame(rows)

    def to_json(self) -> str:
        """Everything, with the sentences; non-finite numbers are strings."""
        document = {
            "names": self.names, "lower": self.lower, "upper": self.upper,
            "sentences": self.sentences(), "settings": self.settings, "fingerprint": self.fingerprint,
            "starts": [
                {"index": s.index, **s.to_document(), "seconds": s.circumstances.get("seconds", np.nan)}
                for s in self.starts
            ],
            "provenance": self.provenance.to_dict(),
        }  # fmt: skip
        return json.dumps(encode(document), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _range(self) -> FloatArray:
        """The range of each parameter: between its bounds, or the size of its value where it has none, ``(n,)``."""
        span = self.upper - self.lower
        return np.where(np.isfinite(span), span, np.maximum(np.abs(self.best.x), 1.0))

    def _open_slope(self, start: StartRecord) -> float:
        return float(np.max(np.abs(open_gradient(start.x, start.gradient, self.lower, self.upper)), initial=0.0))

    def _about_best(self) -> Iterable[str]:
        best, near = self.best, self.agreeing()
        total = len(self.starts)
        yield (
            f"The best objective is {best.value:.6g} (start {best.index}); {len(near)} of {total} "
            f"{_starts(total)} {'ends' if len(near) == 1 else 'end'} within {VALUE_TOLERANCE:g} of it."
        )
        if len(near) == 1:
            yield "No second start confirms it: run more starts before you trust it."
        else:
            spread = np.max([self.distance(start) for start in near], axis=0)  # (n,)
            apart = [self.names[i] for i in np.argsort(-spread) if spread[i] > PLACE_TOLERANCE]
            if apart:
                shown = ", ".join(
                    f"{name} ({spread[self.names.index(name)]:.0%} of its range)" for name in apart[:5]
                ) + (f" and {len(apart) - 5} more" if len(apart) > 5 else "")
                yield (
                    f"They agree in the objective but not in the parameters, so the data do not settle {shown}, "
                    "or several minima are equally good."
                )
            else:
                yield f"They also agree in every parameter, within {PLACE_TOLERANCE:.0%} of its range."
        bounds = self.at_bounds()
        if bounds:
            # What a tenth of the range beyond the bound would gain, by the slope there; negative: it would lose.
            slopes = dict(zip(self.names, 0.1 * best.gradient * self._range(), strict=True))
            gains = {name: slopes[name] if side == "lower" else -slopes[name] for name, side in bounds.items()}
            pulled = {name: side for name, side in bounds.items() if gains[name] >= VALUE_TOLERANCE}
            if pulled:
                yield (
                    f"{_at_bounds(pulled)}; the objective falls on beyond, so either the bound is knowledge or it "
                    "should be wider."
                )
            inward = {name: side for name, side in bounds.items() if gains[name] <= -VALUE_TOLERANCE}
            if inward:
                yield f"{_at_bounds(inward)}, though the objective falls inwards: the search has not ended there."
            flat = {name: side for name, side in bounds.items() if name not in pulled and name not in inward}
            if flat:
                yield (
                    f"{_at_bounds(flat)}, where the objective is nearly flat: the data hardly say where "
                    f"{'it' if len(flat) == 1 else 'they'} should lie, and a wider bound would change little."
                )
        if not best.reason.converged:
            yield f"The best start {best.reason.sentence}: raise the limit, the optimum may be lower."
        yield f"The largest open slope at the best point is {self.gradient_norm:.2g}."
        if not best.exact:
            yield "Derivatives are finite differences, so slopes are approximate."
        others = Counter(s.reason for s in self.starts if not s.reason.converged and not s.reason.failed)
        for reason, count in others.items():
            yield f"{count} of {total} {_starts(total)} {reason.sentence}."

    def _about_nothing(self) -> Iterable[str]:
        if not self.starts:
            yield "No start has finished yet; run the fit again, it goes on where it stopped."
            return
        yield f"All {len(self.starts)} starts failed; there is no optimum to report."

    def _about_failures(self) -> Iterable[str]:
        total = len(self.starts)
        groups: dict[tuple[ExitReason, str], list[StartRecord]] = {}
        for start in self.starts:
            if start.reason.failed:
                groups.setdefault((start.reason, without_numbers(start.message)), []).append(start)
        for (reason, _), starts in sorted(groups.items(), key=lambda item: -len(item[1])):
            numbers = ", ".join(str(s.index) for s in starts[:8]) + (", ..." if len(starts) > 8 else "")
            example = f": {starts[0].message}" if starts[0].message else ""
            yield f"{len(starts)} of {total} {_starts(total)} failed, {reason.sentence} (start {numbers}){example}."
        failed: Counter[str] = Counter()
        example_of: dict[str, str] = {}
        for start in self.starts:
            for message, count in start.failures.items():
                failed[without_numbers(message)] += count
                example_of.setdefault(without_numbers(message), message)
        if failed:
            evaluations = sum(start.evaluations for start in self.starts)
            kind, count = failed.most_common(1)[0]
            yield (
                f"{sum(failed.values())} of {evaluations} evaluations failed, most often ({count} times) like this: "
                f"{example_of[kind]}."
            )


def _at_bounds(bounds: Mapping[str, str]) -> str:
    listed = ", ".join(f"{name} ({side})" for name, side in bounds.items())
    return f"{len(bounds)} {'parameter lies' if len(bounds) == 1 else 'parameters lie'} at a bound: {listed}"


def _starts(count: int) -> str:
    return "start" if count == 1 else "starts"


def without_numbers(message: str) -> str:
    """A message with its numbers blotted out: what failures of one kind have in common."""
    return re.sub(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", "#", message)


def assemble(
    about: Mapping[str, Any],
    records: Iterable[StartRecord],
    settings: Mapping[str, Any],
    fingerprint: Mapping[str, str],
    provenance: Provenance,
) -> FitResult:
    """Put starts in order; ``about`` has names, lower and upper as a store keeps them."""
    return FitResult(
        tuple(about["names"]),
        np.array([float(v) for v in about["lower"]]),
        np.array([float(v) for v in about["upper"]]),
        tuple(sorted(records, key=lambda start: (start.value, start.index))),
        dict(settings),
        dict(fingerprint),
        provenance,
    )


def read_fit(path: str | Path) -> FitResult:
    """The result a store holds so far; works while a fit is filling it.

    Raises:
        InputError: there is no such store, or it holds no starts.
        StoreDamaged: it is not what was written.
    """
    with read_store(path, "start") as (meta, settings, pieces):
        records = [StartRecord.from_document(*item) for item in pieces.items()]
        about = meta["about"]
        return assemble(about, records, settings, meta["fingerprint"], Provenance.from_dict(about["provenance"]))
