"""What was found about a combination: scores and surfaces with intervals, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fits.synergy.margins import Margins
from fits.synergy.replicates import Noise
from fits.synergy.wells import Combination

if TYPE_CHECKING:
    import pandas as pd
    import xarray

FloatArray = npt.NDArray[np.float64]

SIGNIFICANT = 0.05
WHAT = (
    "model", "drug1", "dose1", "unit1", "drug2", "dose2", "unit2", "expected", "excess", "low", "high", "p_corrected",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Score:
    """The excess over a reference: expected minus observed unaffected fraction, positive is synergy."""

    model: str
    first: FloatArray  # (n_first,), doses of the first drug, 0 included
    second: FloatArray  # (n_second,)
    expected: FloatArray  # (n_first, n_second), unaffected fraction
    excess: FloatArray  # (n_first - 1, n_second - 1), at doses above 0; NaN in holes
    low: FloatArray  # the same shape: interval of each cell by itself
    high: FloatArray
    p_cells: FloatArray  # against no interaction in this cell, corrected for looking at all of them
    mean: float  # of all combinations
    mean_low: float
    mean_high: float
    p_mean: float  # two-sided, against no interaction; NaN where there is no noise to compare with

    @property
    def verdict(self) -> str:
        """``synergy``, ``antagonism``, ``no interaction found`` or ``not tested``."""
        if math.isnan(self.p_mean):
            return "not tested"
        if self.p_mean >= SIGNIFICANT:
            return "no interaction found"
        return "synergy" if self.mean > 0.0 else "antagonism"

    @property
    def cells(self) -> list[tuple[float, float, float, float]]:
        """Pairs of doses whose excess is beyond noise: ``(dose1, dose2, excess, p)``, largest first."""
        found = [
            (float(self.first[i + 1]), float(self.second[j + 1]), float(self.excess[i, j]), float(self.p_cells[i, j]))
            for i, j in zip(*np.nonzero(self.p_cells < SIGNIFICANT), strict=True)
        ]
        return sorted(found, key=lambda cell: -abs(cell[2]))

    def sentence(self, level: float, units: tuple[str, str] = ("", "")) -> str:
        """The mean, its interval, the test and the cells that stand out, in words."""
        text = f"{self.model}: mean excess {self.mean:.3g}"
        if math.isnan(self.p_mean):
            return f"{text}, not tested."
        text += f" ({100 * level:.4g} % interval {self.mean_low:.3g} to {self.mean_high:.3g}), p = {self.p_mean:.2g}: "
        text += f"{self.verdict}"
        cells = self.cells
        if cells:
            one, two, excess, p = cells[0]
            where = f"{one:g} {units[0]}".strip() + " with " + f"{two:g} {units[1]}".strip()
            text += (
                f"; {len(cells)} of {int(np.sum(np.isfinite(self.excess)))} combinations stand out by themselves, most "
                f"{where} (excess {excess:.3g}, p = {p:.2g} corrected for all)"
            )
        else:
            text += "; no single combination stands out"
        return text + "."


@dataclass(frozen=True)
class Parameter:
    """A parameter of interaction with its interval and its value without interaction."""

    name: str
    value: float
    low: float
    high: float
    neutral: float


@dataclass(frozen=True, eq=False)
class SurfaceFit:
    """A fitted surface and its parameters of interaction."""

    model: str
    first: FloatArray  # (n_first,)
    second: FloatArray  # (n_second,)
    parameters: tuple[Parameter, ...]
    predicted: FloatArray  # (n_first, n_second), unaffected fraction
    low: FloatArray
    high: FloatArray
    excess: FloatArray  # the same drugs without interaction minus this; positive is synergy
    rms: float  # misfit, in parts of the untreated response
    p: float  # against no interaction (all parameters at once)
    equation: str

    @property
    def verdict(self) -> str:
        """As of a `Score`; the direction is that of the surface's mean excess."""
        if math.isnan(self.p):
            return "not tested"
        if self.p >= SIGNIFICANT:
            return "no interaction found"
        return "synergy" if float(np.mean(self.excess[1:, 1:])) > 0.0 else "antagonism"

    def sentence(self, level: float) -> str:
        """Parameters with intervals and the test, in words."""
        parts = []
        for item in self.parameters:
            if math.isnan(item.value):
                parts.append(f"{item.name} could not be estimated")
                continue
            text = f"{item.name} = {item.value:.3g}"
            if not math.isnan(item.low):
                text += f" ({100 * level:.4g} % interval {item.low:.3g} to {item.high:.3g})"
            parts.append(text)
        tested = "not tested" if math.isnan(self.p) else f"p = {self.p:.2g}: {self.verdict}"
        return f"{self.model}: {', '.join(parts)}; {self.equation}; {tested}."


@dataclass(frozen=True, eq=False)
class SynergyResult:
    """All that was asked of a combination."""

    combination: Combination
    scores: Mapping[str, Score]
    fits: Mapping[str, SurfaceFit]
    margins: Margins | None
    noise: Noise | None
    margins_used: str
    level: float
    n_boot: int
    seed: int
    notes: tuple[str, ...]

    def __getitem__(self, model: str) -> Score | SurfaceFit:
        from kinetics.errors import UnknownName

        if model in self.scores:
            return self.scores[model]
        if model in self.fits:
            return self.fits[model]
        raise UnknownName("model", model, (*self.scores, *self.fits), "this result")

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def _sentences(self) -> Iterable[str]:
        data = self.combination
        where = f" in {data.sample}" if data.sample else ""
        yield (
            f"{data.drugs[0]} with {data.drugs[1]}{where}: {data.response.size} wells, "
            f"{int(np.sum(data.counts[1:, 1:] > 0))} combinations; excess is expected minus observed unaffected "
            "fraction, positive is synergy."
        )
        if self.noise is not None:
            yield self.noise.text
        for score in self.scores.values():
            yield score.sentence(self.level, data.units)
        for fit in self.fits.values():
            yield fit.sentence(self.level)
        yield from self.notes

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def summary_frame(self) -> pd.DataFrame:
        """A row per score and per parameter of interaction, with interval and p-value."""
        import pandas as pd

        rows: list[dict[str, Any]] = [
            {"model": s.model, "quantity": "mean excess", "value": s.mean, "low": s.mean_low, "high": s.mean_high,
             "neutral": 0.0, "p": s.p_mean, "verdict": s.verdict}
            for s in self.scores.values()
        ]  # fmt: skip
        for fit in self.fits.values():
            rows += [
                {"model": fit.model, "quantity": p.name, "value": p.value, "low": p.low, "high": p.high,
                 "neutral": p.neutral, "p": fit.p, "verdict": fit.verdict}
                for p in fit.parameters
            ]  # fmt: skip
        data = self.combination
        head = {"sample": data.sample, "drug1": data.drugs[0], "drug2": data.drugs[1]}
        columns = [*head, "model", "quantity", "value", "low", "high", "neutral", "p", "verdict"]
        return pd.DataFrame([{**head, **row} for row in rows], columns=columns)

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per model and combination, a unit beside every dose."""
        import pandas as pd

        data = self.combination
        made: list[dict[str, Any]] = []
        for score in self.scores.values():
            one, two = np.meshgrid(score.first[1:], score.second[1:], indexing="ij")
            made.append(
                {
                    "model": score.model, "drug1": data.drugs[0], "dose1": one.ravel(), "unit1": data.units[0],
                    "drug2": data.drugs[1], "dose2": two.ravel(), "unit2": data.units[1],
                    "expected": score.expected[1:, 1:].ravel(), "excess": score.excess.ravel(),
                    "low": score.low.ravel(), "high": score.high.ravel(), "p_corrected": score.p_cells.ravel(),
                }
            )  # fmt: skip
        for fit in self.fits.values():
            one, two = np.meshgrid(fit.first[1:], fit.second[1:], indexing="ij")
            made.append(
                {
                    "model": fit.model, "drug1": data.drugs[0], "dose1": one.ravel(), "unit1": data.units[0],
                    "drug2": data.drugs[1], "dose2": two.ravel(), "unit2": data.units[1],
                    "expected": (fit.excess + fit.predicted)[1:, 1:].ravel(), "excess": fit.excess[1:, 1:].ravel(),
                    "low": np.nan, "high": np.nan, "p_corrected": np.nan,
                }
            )  # fmt: skip
        if not made:  # nothing was scored
            return pd.DataFrame(columns=list(WHAT))
        return pd.concat([pd.DataFrame(part) for part in made], ignore_index=True)

    def to_xarray(self) -> xarray.Dataset:
        """Over both doses and the model: expected, excess, and the limits of its interval."""
        import xarray as xr

        data = self.combination
        names = [score.model for score in self.scores.values()]
        dims = ("model", "dose1", "dose2")
        shape = (len(names), len(data.first) - 1, len(data.second) - 1)
        parts = {
            "expected": [s.expected[1:, 1:] for s in self.scores.values()],
            "excess": [s.excess for s in self.scores.values()],
            "low": [s.low for s in self.scores.values()],
            "high": [s.high for s in self.scores.values()],
            "p_corrected": [s.p_cells for s in self.scores.values()],
        }
        return xr.Dataset(
            {name: (dims, np.array(values).reshape(shape)) for name, values in parts.items()},
            coords={
                "model": names,
                "dose1": ("dose1", data.first[1:], {"units": data.units[0], "long_name": data.drugs[0]}),
                "dose2": ("dose2", data.second[1:], {"units": data.units[1], "long_name": data.drugs[1]}),
            },
            attrs={"sample": data.sample, "sign": "expected minus observed unaffected fraction; positive is synergy"},
        )
