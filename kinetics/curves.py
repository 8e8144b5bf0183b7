"""Dose-response curves as formulas, and the description of a simulated one.

``hill``      E(d) = bottom + (top - bottom) / (1 + (EC50/d)^h)                         Hill (1910)
``gaddum``    occupancy under a competitive antagonist: d / (d + K (1 + B/K_B))         Gaddum (1937)
``schild``    ``hill`` with EC50 multiplied by 1 + (B/K_B)^s                            Arunlakshana & Schild (1959)
``operational``  E = basal + (E_max - basal) (tau d)^n / ((d + K_A)^n + (tau d)^n)      Black & Leff (1983)
``cheng_prusoff``  K_i = IC50 / (1 + A/EC50) for a competitive inhibitor      Cheng & Prusoff (1973), Leff & Dougall
(1993)
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]


def hill(dose: npt.ArrayLike, bottom: float, top: float, ec50: float, slope: float) -> FloatArray:
    """The four-parameter logistic in dose; ``bottom`` is the response at dose 0. Shape that of ``dose``."""
    d = np.asarray(dose, dtype=float)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(bottom + (top - bottom) / (1.0 + (ec50 / d) ** slope), dtype=float)


def gaddum(dose: npt.ArrayLike, k_d: float, antagonist: float, k_b: float) -> FloatArray:
    """Fraction of receptors occupied by the agonist at equilibrium, in ``[0, 1]``."""
    d = np.asarray(dose, dtype=float)
    return np.asarray(d / (d + k_d * (1.0 + antagonist / k_b)), dtype=float)


def schild(
    dose: npt.ArrayLike,
    bottom: float,
    top: float,
    ec50: float,
    slope: float,
    antagonist: float,
    k_b: float,
    schild_slope: float = 1.0,
) -> FloatArray:
    """A Hill curve shifted by an antagonist: dose ratio ``1 + (antagonist/k_b)^schild_slope``."""
    return hill(dose, bottom, top, ec50 * (1.0 + (antagonist / k_b) ** schild_slope), slope)


def operational(dose: npt.ArrayLike, basal: float, e_max: float, k_a: float, tau: float, n: float = 1.0) -> FloatArray:
    """The operational model of agonism: efficacy ``tau`` turns occupancy into effect."""
    d = np.asarray(dose, dtype=float)
    driven = (tau * d) ** n
    return np.asarray(basal + (e_max - basal) * driven / ((d + k_a) ** n + driven), dtype=float)


def cheng_prusoff(
    ic50: float, agonist: float, ec50: float, hill: float = 1.0, mechanism: str = "competitive"
) -> float:
    """The inhibition constant from an IC50 measured at one dose of the agonist.

    Competitive: ``IC50 / ((2 + (A/EC50)^h)^(1/h) - 1)``, which is Cheng and Prusoff's ``IC50 / (1 + A/EC50)`` at h = 1
    (Leff and Dougall 1993, doi:10.1016/0165-6147(93)90080-4).  Uncompetitive: ``IC50 / (1 + EC50/A)``, and
    non-competitive: the IC50 itself, both for h = 1.

    Args:
        ic50: the dose of the inhibitor that halves the response, its unit that of the result.
        agonist: its dose in that experiment, in the unit of ``ec50``.
        ec50, hill: of the agonist alone.

    Raises:
        InputError: a value is not positive, or the formula does not apply.
    """
    for name, value in (("ic50", ic50), ("agonist", agonist), ("ec50", ec50), ("hill", hill)):
        if not (math.isfinite(value) and value > 0.0):
            raise InputError(f"{name} must be positive, got {value:g}")
    if mechanism == "competitive":
        return float(ic50 / ((2.0 + (agonist / ec50) ** hill) ** (1.0 / hill) - 1.0))
    if mechanism not in ("uncompetitive", "noncompetitive"):
        raise InputError(f"mechanism must be 'competitive', 'uncompetitive' or 'noncompetitive', got {mechanism!r}")
    if not math.isclose(hill, 1.0):
        raise InputError(f"the formula for {mechanism} inhibition holds for a Hill slope of 1, got {hill:g}")
    return float(ic50 if mechanism == "noncompetitive" else ic50 / (1.0 + ec50 / agonist))


class EC50Status(enum.Enum):
    """What can be said of an EC50; each member is a sentence."""

    INSIDE = "The EC50 lies inside the tested doses."
    BELOW = "The curve is past its midpoint at the lowest dose: the EC50 is below the tested doses."
    ABOVE = "The curve has not reached its midpoint at the highest dose: the EC50 is above the tested doses."
    FLAT = "The curve is flat: it has no EC50."
    NOT_HILL = "The responses do not follow a Hill curve: an EC50 would not describe them."


@dataclass(frozen=True)
class CurveDescription:
    """The least-squares Hill curve through the points of a curve."""

    ec50: float  # dose unit of the curve; NaN unless status is INSIDE
    bottom: float  # response at dose 0
    top: float  # response at high dose; below `bottom` for a falling curve
    hill: float  # slope, positive
    status: EC50Status
    shown: float  # the part of the fitted span that the highest dose shows
    rms: float  # root mean square misfit of the Hill curve, as a fraction of the span
    lowest: float  # lowest non-zero dose
    highest: float

    @property
    def plateau_reached(self) -> bool:
        """Whether the highest dose shows enough of the span for its end not to be an extrapolation."""
        return self.shown >= PLATEAU

    @property
    def span(self) -> float:
        """Emax: the response at high dose minus that at dose 0; negative for a falling curve."""
        return self.top - self.bottom

    @property
    def rising(self) -> bool:
        return self.top >= self.bottom

    def __str__(self) -> str:
        if self.status is EC50Status.INSIDE:
            ec50 = f"{self.ec50:.4g}"
        else:
            ec50 = {EC50Status.BELOW: f"< {self.lowest:.4g}", EC50Status.ABOVE: f"> {self.highest:.4g}"}.get(
                self.status, "none"
            )
        if not self.plateau_reached:
            beyond = f"{self.top:.4g} by extrapolation, {self.shown:.0%} of the way shown"
            return f"EC50 {ec50}, bottom {self.bottom:.4g}, top {beyond}, Hill {self.hill:.3g}"
        return f"EC50 {ec50}, bottom {self.bottom:.4g}, top {self.top:.4g}, Hill {self.hill:.3g}"


PLATEAU = 0.9  # of the fitted span
MISFIT = 0.1  # rms misfit, in units of the span, beyond which a Hill curve says nothing about the points
FLAT = 1e-6  # a span below this fraction of the largest response is numerical noise


def describe_points(doses: npt.ArrayLike, responses: npt.ArrayLike) -> CurveDescription:
    """Fit a Hill curve to a simulated curve, rising or falling.

    Args:
        doses: shape ``(n,)``, increasing, zero allowed.
        responses: shape ``(n,)``.

    Raises:
        InputError: fewer than four doses, or values that are not finite.
    """
    d, y = np.asarray(doses, dtype=float), np.asarray(responses, dtype=float)
    if d.shape != y.shape or d.ndim != 1:
        raise InputError(f"doses and responses must be of one length, got {d.shape} and {y.shape}")
    if len(d) < 4 or np.count_nonzero(d > 0.0) < 3:
        raise InputError(f"describing a curve needs at least four doses, three of them above 0, got {len(d)}")
    if not (np.all(np.isfinite(d)) and np.all(np.isfinite(y))):
        raise InputError("doses and responses must be finite to describe a curve")
    positive = d[d > 0.0]
    lowest, highest = float(positive.min()), float(positive.max())
    scale = float(np.max(np.abs(y)))
    spread = float(np.ptp(y))
    if spread <= FLAT * scale or scale == 0.0:
        middle = float(y.mean())
        return CurveDescription(math.nan, middle, middle, math.nan, EC50Status.FLAT, 1.0, 0.0, lowest, highest)
    best = _fit(d, (y - y.min()) / spread, lowest, highest)
    bottom, top = (float(v) * spread + float(y.min()) for v in best[:2])
    ec50, slope = float(math.exp(best[2])), float(math.exp(best[3]))
    misfit = float(np.sqrt(np.mean((hill(d, bottom, top, ec50, slope) - y) ** 2)) / abs(top - bottom))
    status = EC50Status.INSIDE
    if misfit > MISFIT or abs(top - bottom) > 100.0 * spread:
        status = EC50Status.NOT_HILL
    elif ec50 < lowest:
        status = EC50Status.BELOW
    elif ec50 > highest:
        status = EC50Status.ABOVE
    shown = float(abs(hill(highest, bottom, top, ec50, slope) - bottom) / abs(top - bottom))
    return CurveDescription(
        ec50 if status is EC50Status.INSIDE else math.nan,
        bottom, top, slope, status, shown, misfit, lowest, highest,
    )  # fmt: skip


def _fit(d: FloatArray, y: FloatArray, lowest: float, highest: float) -> FloatArray:
    """Least squares in (bottom, top, ln EC50, ln slope), from both directions and several midpoints."""
    from scipy.optimize import least_squares

    room = math.log(1e3)  # an EC50 that far outside is as good as flat

    def residuals(p: FloatArray) -> FloatArray:
        return hill(d, p[0], p[1], math.exp(p[2]), math.exp(p[3])) - y

    lower = np.array([-3.0, -3.0, math.log(lowest) - room, math.log(0.1)])
    upper = np.array([4.0, 4.0, math.log(highest) + room, math.log(20.0)])
    first, last = float(y[0]), float(y[-1])
    best: FloatArray | None = None
    cost = math.inf
    for fraction in (0.5, 0.25, 0.75):
        start = np.array([first, last, math.log(lowest) + fraction * math.log(highest / lowest), 0.0])
        if abs(first - last) < 0.05:  # peaked: let the fit choose a direction
            start[0], start[1] = float(y.min()), float(y.max())
        found = least_squares(residuals, start, bounds=(lower, upper), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        if found.cost < cost * (1.0 - 1e-9):
            best, cost = np.asarray(found.x, dtype=float), float(found.cost)
    assert best is not None
    return best


def dose_for(doses: npt.ArrayLike, responses: npt.ArrayLike, level: float) -> float:
    """The lowest tested dose range's crossing of ``level``, by monotone interpolation in log dose.

    Returns:
        The dose; NaN when the curve does not cross the level between two non-zero doses.
    """
    from scipy.interpolate import PchipInterpolator

    d, y = np.asarray(doses, dtype=float), np.asarray(responses, dtype=float)
    keep = d > 0.0
    x, y = np.log(d[keep]), y[keep]
    above = y >= level
    crossings = np.nonzero(above[1:] != above[:-1])[0]
    if len(crossings) == 0:
        return math.nan
    roots = PchipInterpolator(x, y - level).roots(extrapolate=False)
    left, right = x[crossings[0]], x[crossings[0] + 1]
    inside = roots[(roots >= left - 1e-12) & (roots <= right + 1e-12)]
    return float(math.exp(inside[0])) if len(inside) else float(math.exp(left))
