"""What is estimated: parameters with a scale, bounds and a prior.

A search moves on the search scale (``lin``, ``log`` or ``log10``); models and formulas see plain values.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.priors import Prior
from kinetics.errors import InputError, UnknownName

FloatArray = npt.NDArray[np.float64]


class Scale(enum.Enum):
    """The scale on which a parameter is searched."""

    LIN = "lin"
    LOG = "log"
    LOG10 = "log10"

    def scaled(self, value: float) -> float:
        """To the search scale; ``-inf`` for 0 on a logarithmic one."""
        if self is Scale.LIN:
            return value
        if value == 0.0:
            return -math.inf
        if value < 0.0:
            raise InputError(f"{value:g} is negative and has no place on the {self.value} scale")
        return math.log(value) if self is Scale.LOG else math.log10(value)

    def plain(self, scaled: float) -> float:
        """Back from the search scale; ``inf`` where that overflows."""
        if self is Scale.LIN:
            return scaled
        try:
            return math.exp(scaled) if self is Scale.LOG else 10.0**scaled
        except OverflowError:
            return math.inf

    def slope(self, value: float) -> float:
        """d(value)/d(scaled) at a plain value."""
        if self is Scale.LIN:
            return 1.0
        return value if self is Scale.LOG else value * math.log(10.0)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a problem; ``lower``, ``upper`` and ``nominal`` are plain values."""

    id: str
    lower: float
    upper: float
    scale: Scale = Scale.LIN
    nominal: float = math.nan  # NaN: the problem states none
    estimate: bool = True
    prior: Prior | None = None
    unit: str = ""
    name: str = ""
    start: Prior | None = None  # where starts are drawn from; None: the prior, else between the bounds

    def __post_init__(self) -> None:
        if not self.estimate:
            if not math.isfinite(self.nominal):
                raise InputError(f"parameter {self.id!r} is not estimated, so it needs a finite nominal value")
            return
        if math.isnan(self.lower) or math.isnan(self.upper) or not self.lower < self.upper:
            raise InputError(f"parameter {self.id!r} needs lower < upper, got {self.lower:g}, {self.upper:g}")
        if self.scale is not Scale.LIN and self.lower < 0.0:
            raise InputError(
                f"parameter {self.id!r} is searched on the {self.scale.value} scale and needs lower >= 0, "
                f"got {self.lower:g}"
            )
        if not math.isnan(self.nominal) and not math.isfinite(self.nominal):
            raise InputError(f"the nominal value of parameter {self.id!r} must be finite, got {self.nominal}")


@dataclass(frozen=True)
class ParameterSet:
    """All parameters of a problem, in order; free ones make up the search vector."""

    parameters: tuple[Parameter, ...]

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        chosen = tuple(parameters)
        seen: set[str] = set()
        for parameter in chosen:
            if parameter.id in seen:
                raise InputError(f"parameter {parameter.id!r} is declared twice")
            seen.add(parameter.id)
        object.__setattr__(self, "parameters", chosen)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.id == name:
                return parameter
        raise UnknownName("parameter", name, (parameter.id for parameter in self.parameters), "the problem")

    @property
    def free(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.estimate)

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters, in order of the search vector."""
        return tuple(parameter.id for parameter in self.free)

    @property
    def lower(self) -> FloatArray:
        """Lower bounds on the search scale, shape ``(n_free,)``."""
        return np.array([parameter.scale.scaled(parameter.lower) for parameter in self.free], dtype=np.float64)

    @property
    def upper(self) -> FloatArray:
        """Upper bounds on the search scale, shape ``(n_free,)``."""
        return np.array([parameter.scale.scaled(parameter.upper) for parameter in self.free], dtype=np.float64)

    @property
    def nominal(self) -> FloatArray:
        """Nominal values on the search scale, shape ``(n_free,)``; NaN where the problem states none."""
        return np.array(
            [
                math.nan
                if math.isnan(parameter.nominal) or (parameter.scale is not Scale.LIN and parameter.nominal <= 0.0)
                else parameter.scale.scaled(parameter.nominal)
                for parameter in self.free
            ],
            dtype=np.float64,
        )

    def plain(self, x: npt.ArrayLike) -> dict[str, float]:
        """Plain values of all parameters, fixed ones included, from a search vector of shape ``(n_free,)``."""
        vector = np.asarray(x, dtype=float)
        free = self.free
        if vector.shape != (len(free),):
            raise InputError(f"expected {len(free)} values, one per estimated parameter, got shape {vector.shape}")
        values = {parameter.id: parameter.nominal for parameter in self.parameters if not parameter.estimate}
        for parameter, scaled in zip(free, vector.tolist(), strict=True):
            values[parameter.id] = parameter.scale.plain(scaled)
        return values

    def scaled(self, values: Mapping[str, float]) -> FloatArray:
        """A search vector from plain values by name."""
        missing = [parameter.id for parameter in self.free if parameter.id not in values]
        if missing:
            near = difflib.get_close_matches(missing[0], values, n=1)
            hint = f" (there is a {near[0]!r})" if near else ""
            raise InputError(f"no value given for parameter {missing[0]!r}{hint}")
        return np.array([p.scale.scaled(float(values[p.id])) for p in self.free], dtype=np.float64)

    def slopes(self, values: Mapping[str, float]) -> FloatArray:
        """d(plain)/d(scaled) of the free parameters, shape ``(n_free,)``."""
        return np.array([p.scale.slope(values[p.id]) for p in self.free], dtype=np.float64)

    def with_fixed(self, values: Mapping[str, float]) -> ParameterSet:
        """The same parameters with some fixed at plain values (a profile, a mechanism switched off)."""
        from dataclasses import replace

        for name in values:
            self[name]
        return ParameterSet(
            replace(p, estimate=False, nominal=float(values[p.id])) if p.id in values else p for p in self.parameters
        )

    def restricted(self, names: Sequence[str]) -> ParameterSet:
        """Only these are estimated; the others stay at their nominal values."""
        for name in names:
            self[name]
        return self.with_fixed({p.id: p.nominal for p in self.free if p.id not in names})
