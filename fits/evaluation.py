"""What a search sees of a problem: numbers in, an `Evaluation` out.

Everything that searches, profiles or samples depends on the `Objective` protocol alone, so it can be tested on
functions whose optimum is known by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The objective at one point.

    ``value`` is the negative log-likelihood plus penalties minus the log prior; ``inf`` where a simulation failed.
    Where ``residuals`` are given, ``value = 0.5 * sum(residuals**2) + constant`` with a constant that does not depend
    on the point, so least-squares methods apply.
    """

    value: float
    gradient: FloatArray | None = None  # (n,), by search-scale parameter
    residuals: FloatArray | None = None  # (m,)
    jacobian: FloatArray | None = None  # (m, n)
    exact: bool = True  # whether the derivatives are exact rather than finite differences
    failure: str = ""  # why a simulation failed, in words
    details: Mapping[str, float] = field(default_factory=dict)  # values solved for on the way, such as scales
    hessian: FloatArray | None = None  # (n, n); or an approximation such as the Fisher information, by parameter

    @property
    def failed(self) -> bool:
        return not np.isfinite(self.value)


class Objective(Protocol):
    """A function to minimise over a box; picklable, so that workers can build their own."""

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters, in order."""

    @property
    def lower(self) -> FloatArray:
        """Bounds on the search scale, shape ``(n,)``; may be ``-inf``."""

    @property
    def upper(self) -> FloatArray:
        """Bounds on the search scale, shape ``(n,)``; may be ``inf``."""

    @property
    def nominal(self) -> FloatArray:
        """The point the problem itself states, shape ``(n,)``; NaN where it states none."""

    @property
    def least_squares(self) -> bool:
        """Whether evaluations carry residuals."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Hashes by part (model, data, parameters, ...): two objectives are one if these agree."""

    def evaluate(self, x: npt.ArrayLike, *, derivatives: bool = False) -> Evaluation:
        """The objective at ``x``, shape ``(n,)``; a failed simulation is an evaluation with ``value = inf``."""

    def sample_prior(self, rng: np.random.Generator) -> FloatArray | None:
        """A draw from the prior on the search scale, shape ``(n,)``; ``None`` where there is no proper prior."""
