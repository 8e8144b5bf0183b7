"""The answer in words: which parameters are identifiable, one-sided or flat, and which sit at a bound or on a ridge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from fits.evaluation import Objective
from fits.information import Fisher, Point, fisher
from fits.parameters import Scale
from fits.sloppiness import Axis, Ridge, ridges

if TYPE_CHECKING:
    import pandas as pd

    from fits.profiles import Profile


class Verdict(Enum):
    """What the data say about one parameter or quantity."""

    IDENTIFIABLE = "identifiable"
    NO_LOWER = "no lower end"
    NO_UPPER = "no upper end"
    FLAT = "flat"

    @property
    def sentence(self) -> str:
        return {
            Verdict.IDENTIFIABLE: "the data bound it from both sides",
            Verdict.NO_LOWER: "the data bound it from above only",
            Verdict.NO_UPPER: "the data bound it from below only",
            Verdict.FLAT: "the data bound it from neither side",
        }[self]

    @classmethod
    def of(cls, lower: float | None, upper: float | None) -> Verdict:
        """From an interval in which ``None`` is an open end."""
        if lower is None:
            return cls.FLAT if upper is None else cls.NO_LOWER
        return cls.NO_UPPER if upper is None else cls.IDENTIFIABLE


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Which parameters the data settle, and what the others hide behind."""

    fisher: Fisher
    ridges: tuple[Ridge, ...]
    verdicts: Mapping[str, Verdict]
    profiled: frozenset[str] = field(default_factory=frozenset)  # judged by their profile, the others by curvature

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_frame(self) -> pd.DataFrame:
        """A row per parameter, on the search scale."""
        import pandas as pd

        bounds = self.fisher.at_bounds
        rows = []
        for name, x, error in zip(self.fisher.names, self.fisher.x, self.fisher.standard_errors, strict=True):
            rows.append({
                "parameter": name, "value": float(x), "standard_error": float(error),
                "verdict": self.verdicts[name].value, "judged_by": "profile" if name in self.profiled else "curvature",
                "at_bound": bounds.get(name, ""), "ridges": sum(name in ridge.names for ridge in self.ridges),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def _sentences(self) -> Iterable[str]:
        total = len(self.fisher.names)
        for verdict, words in (
            (Verdict.IDENTIFIABLE, "identifiable"),
            (Verdict.NO_LOWER, "bounded from above only"),
            (Verdict.NO_UPPER, "bounded from below only"),
            (Verdict.FLAT, "not identifiable (flat)"),
        ):
            names = [name for name in self.fisher.names if self.verdicts[name] is verdict]
            if names:
                yield f"{len(names)} of {total} {'parameter is' if total == 1 else 'parameters are'} {words}: " + (
                    f"{', '.join(names)}."
                )
        rough = [name for name in self.fisher.names if name not in self.profiled]
        if rough:
            yield f"Judged by curvature alone, which a profile may correct: {', '.join(rough)}."
        bounds = self.fisher.at_bounds
        if bounds:
            yield "At a bound: " + ", ".join(f"{name} ({side})" for name, side in bounds.items()) + "."
        yield from (ridge.sentence for ridge in self.ridges)


def identifiability(
    objective: Objective,
    optimum: Point,
    profiles: Mapping[str, Profile] | None = None,
    *,
    level: float = 0.95,
    scales: Mapping[str, Scale | str] | None = None,
) -> Identifiability:
    """What the data settle, by profiles where they are given and by curvature elsewhere.

    By curvature a parameter is identifiable if its interval lies between the bounds and is shorter than a decade
    (or its own value) on either side.
    """
    # The observed information: the expected one can miss curvature that settles a parameter.
    found = fisher(objective, optimum, scales=scales, differences=True)
    profiles = profiles or {}
    verdicts = {}
    for i, name in enumerate(found.names):
        if name in profiles:
            verdicts[name] = profiles[name].verdict
            continue
        low, high = found.interval(name, level)
        axis = Axis.of(found, i)
        # The quadratic is no guide further out: an end a decade away is as good as none.
        low = low if low is not None and found.x[i] - low <= abs(axis.unit) else None
        high = high if high is not None and high - found.x[i] <= abs(axis.unit) else None
        verdicts[name] = Verdict.of(low, high)
    known = frozenset(name for name in found.names if name in profiles)
    return Identifiability(found, ridges(objective, found, level=level), verdicts, known)
