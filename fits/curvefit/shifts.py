"""How one measured curve differs from another: dose ratio, change of Emax and of Hill slope, each with interval and
test.

The differences are parameters of a joint fit, so their intervals are profiles and their tests are refits without
them::

    log10 EC50(treated) = log10 EC50(control) + delta_log_ec50
    Emax(treated) = Emax(control) + delta_emax,    Emax = top - bottom
    ln h(treated) = ln h(control) + delta_log_hill
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fits.curvefit import quantities
from fits.curvefit.fitting import JointFit, _noise, fit_layout
from fits.curvefit.forms import FloatArray, Form, form_named
from fits.curvefit.layout import DIFFERENCE, Layout, canonical
from fits.curvefit.likelihood import Noise
from fits.curvefit.points import Points, points_of, reason_not_to_fit
from fits.curvefit.results import ArmResult, Estimate, describe_arm, interval_of, parameter_interval, ratio_p_value
from fits.reported import ReportedCurve
from fits.selection import RatioTest
from kinetics.curves import EC50Status
from kinetics.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

CANNOT_TELL = "These data cannot tell"
DELTAS = {"log_ec50": "delta_log_ec50", "top": "delta_emax", "log_hill": "delta_log_hill", "log_skew": "delta_log_skew"}
_SAID = {"delta_log_ec50": "EC50", "delta_emax": "Emax", "delta_log_hill": "Hill slope"}


@dataclass(frozen=True, eq=False)
class MeasuredShift:
    """The difference between two measured arms."""

    fit: JointFit
    control: ArmResult
    treated: ArmResult
    delta_log10_ec50: Estimate
    dose_ratio: Estimate
    delta_emax: Estimate
    emax_ratio: Estimate
    delta_hill: Estimate
    tests: Mapping[str, RatioTest]  # by delta, and "same curve"
    level: float

    @property
    def labels(self) -> tuple[str, str]:
        return self.control.arm, self.treated.arm

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        return self.delta_log10_ec50, self.dose_ratio, self.delta_emax, self.emax_ratio, self.delta_hill

    @property
    def sentences(self) -> tuple[str, ...]:
        """The shift in words, verdict last."""
        said = [f"{arm.arm}: {arm.status.value}" for arm in (self.control, self.treated)
                if arm.status is not EC50Status.INSIDE]  # fmt: skip
        said += [f"{estimate}." for estimate in self.estimates]
        said += [test.sentence for test in self.tests.values()]
        return (*said, self.verdict)

    @property
    def verdict(self) -> str:
        """What the tests say together, at their level."""
        alpha = 1.0 - self.level
        tested = {name: test for name, test in self.tests.items() if name in _SAID}
        if EC50Status.FLAT in (self.control.status, self.treated.status):
            flat = [a.arm for a in (self.control, self.treated) if a.status is EC50Status.FLAT]
            return f"{CANNOT_TELL} how the EC50 moves: {' and '.join(flat)} shows no dose effect."
        changed = [_SAID[name] for name, test in tested.items() if test.p_value < alpha]
        whole = self.tests["same curve"]
        if not changed and whole.p_value < alpha:
            return f"The curves differ (p = {whole.p_value:.2g}), but {CANNOT_TELL.lower()} in which of their numbers."
        if not changed:
            return f"{CANNOT_TELL} the two curves apart (p = {whole.p_value:.2g})."
        rest = [_SAID[name] for name in tested if _SAID[name] not in changed]
        kept = f"; no change is shown in {' and '.join(rest)}" if rest else ""
        verb = "changes" if len(changed) == 1 else "change"
        return f"{' and '.join(changed)} {verb}{kept}."

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """A row per number."""
        import pandas as pd

        p_values = {
            "delta log10 EC50": "delta_log_ec50", "delta Emax": "delta_emax", "delta Hill": "delta_log_hill"
        }  # fmt: skip
        rows = []
        for e in self.estimates:
            test = self.tests.get(p_values.get(e.name, ""))
            p = math.nan if test is None else test.p_value
            rows.append((e.name, e.value, e.lower, e.upper, e.unit, e.extrapolated, p, "; ".join(e.words)))
        columns = ["quantity", "value", "lower", "upper", "unit", "extrapolated", "p_value", "words"]
        return pd.DataFrame(rows, columns=columns)


def measured_shift(
    curve: ReportedCurve | Points,
    control: str | None = None,
    treated: str | None = None,
    *,
    form: str | Form = "4pl",
    shared: Iterable[str] = (),
    fixed: Mapping[str, float] | None = None,
    noise: Noise | str | None = None,
    robust: bool = False,
    level: float = 0.95,
) -> MeasuredShift:
    """Fit two arms together and say how the second differs from the first.

    Args:
        control, treated: names of arms; by default the two of a curve that has two.
        form: ``"3pl"``, ``"4pl"`` or ``"5pl"``.
        shared: parameters that the arms have in common, such as ``("bottom", "hill")``.
        level: of the intervals; the tests reject at one minus it.

    Raises:
        InputError, UnknownName: an arm is missing or cannot be fitted, or the shape has no single EC50.
    """
    points = curve if isinstance(curve, Points) else points_of(curve)
    names = _pair(points, control, treated)
    shape = form_named(form)
    if "gap" in shape.parameters:
        raise InputError("a biphasic curve has two EC50s: compare its arms parameter by parameter with fit_curves")
    pair = points.of(names)
    chosen, given = canonical(shared, fixed)
    together = set(shape.free) if "all" in chosen else set(chosen)
    held = {**shape.fixed, **given}
    for name in (*sorted(together), *held):
        shape.index(name)
    own = len([name for name in shape.parameters if name not in held and name not in together])
    for number, arm in enumerate(names):
        if reason := reason_not_to_fit(pair, number, shape, own):
            raise InputError(f"arm {arm!r} cannot be compared: {reason}")
    sort, _ = _noise(pair, noise)
    layout = pair_layout(shape, names, together, held)
    fit = fit_layout(pair, layout, sort, robust)
    asked = fit.objective.profile_level(level)
    sides = [describe_arm(fit, arm, level=level) for arm in names]
    tests = {}
    for changed in (name for name in layout.names if name in _SAID):
        small = _without(fit, [changed])
        gain = small.nllh - fit.nllh
        tests[changed] = RatioTest(
            f"one {_SAID[changed]}", f"two {_SAID[changed]}s", 2.0 * gain, 1, ratio_p_value(fit.objective, gain, 1),
            1.0 - level,
        )  # fmt: skip
    apart = [name for name in layout.names if name.startswith(DIFFERENCE) or name == f"bottom[{names[1]}]"]
    if apart:
        small = _without(fit, apart)
        gain = small.nllh - fit.nllh
        tests["same curve"] = RatioTest(
            "one curve for both", "two curves", 2.0 * gain, len(apart),
            ratio_p_value(fit.objective, gain, len(apart)), 1.0 - level,
        )  # fmt: skip
    else:
        raise InputError("every parameter is shared or fixed, so the arms cannot differ")
    delta, fold = _ec50_shift(fit, sides, asked)
    unit = pair.response_unit
    one, other = quantities.span(fit, names[0]), quantities.span(fit, names[1])
    emax = _delta(fit, "delta_emax", "delta Emax", asked, unit)
    emax_ratio = interval_of(fit, quantities.ratio(other, one), "Emax ratio", asked)
    if "log_hill" in held or "log_hill" in together:
        hill = Estimate("delta Hill", 0.0, None, None, words=("shared or fixed, not estimated",))
    else:
        steepness = quantities.difference(quantities.hill_slope(fit, names[1]), quantities.hill_slope(fit, names[0]))
        hill = interval_of(fit, steepness, "delta Hill", asked)
    if EC50Status.FLAT in (sides[0].status, sides[1].status):
        none = ("an arm shows no dose effect, so its plateau may lie beyond the doses",)
        hill, emax, emax_ratio = (
            Estimate(e.name, math.nan, None, None, e.unit, words=none) for e in (hill, emax, emax_ratio)
        )
    return MeasuredShift(fit, sides[0], sides[1], delta, fold, emax, emax_ratio, hill, tests, level)


def _pair(points: Points, control: str | None, treated: str | None) -> tuple[str, str]:
    if control is not None and treated is not None:
        points.of((control, treated))
        return control, treated
    if len(points.arms) < 2:
        raise InputError("a shift needs two arms, got one")
    if control is not None or treated is not None:
        points.of([name for name in (control, treated) if name is not None])
        others = [name for name in points.arms if name not in (control, treated)]
        if len(others) == 1:
            return (control, others[0]) if control is not None else (others[0], str(treated))
    elif len(points.arms) == 2:
        return points.arms[0], points.arms[1]
    raise InputError(f"which arms are compared? there are {', '.join(points.arms)}: name control and treated")


def pair_layout(form: Form, arms: Sequence[str], shared: set[str], held: Mapping[str, float]) -> Layout:
    """Two arms, the second described by its differences from the first."""
    names: list[str] = []
    roles: list[int] = []
    rows: list[list[dict[str, float]]] = [[{} for _ in form.parameters] for _ in arms]
    offset = np.zeros((2, len(form.parameters)))

    def new(name: str, role: int) -> str:
        names.append(name)
        roles.append(role)
        return name

    bottom = form.index("bottom")
    for role, name in enumerate(form.parameters):
        if name in held:
            offset[:, role] = held[name]
            continue
        first = new(name if name in shared else f"{name}[{arms[0]}]", role)
        rows[0][role][first] = rows[1][role][first] = 1.0
        if name in shared:
            continue
        if name == "bottom":
            rows[1][role] = {new(f"bottom[{arms[1]}]", role): 1.0}
            continue
        rows[1][role][new(DELTAS[name], role)] = 1.0
        if name == "top":  # the change is that of top - bottom
            for sign, source in ((1.0, rows[1][bottom]), (-1.0, rows[0][bottom])):
                for key, value in source.items():
                    rows[1][role][key] = rows[1][role].get(key, 0.0) + sign * value
    matrix = np.zeros((2, len(form.parameters), len(names)))
    for arm in range(2):
        for role, row in enumerate(rows[arm]):
            for key, value in row.items():
                matrix[arm, role, names.index(key)] = value
    return Layout(form, tuple(arms), tuple(names), tuple(roles), matrix, offset)


def _without(fit: JointFit, dropped: Sequence[str]) -> JointFit:
    """The same fit with some differences set to none; the treated arm's bottom becomes that of the control."""
    layout, names = fit.layout, list(fit.layout.names)
    matrix = layout.matrix.copy()
    keep = [i for i, name in enumerate(names) if name not in dropped]
    for name in dropped:
        if name.startswith("bottom["):
            i, first = names.index(name), names.index(f"bottom[{layout.arms[0]}]")
            matrix[:, :, first] += matrix[:, :, i]
    smaller = Layout(
        layout.form, layout.arms, tuple(names[i] for i in keep), tuple(layout.roles[i] for i in keep),
        matrix[:, :, keep], layout.offset,
    )  # fmt: skip
    old = fit.objective
    tail: FloatArray = fit.x[len(names) :]
    return fit_layout(fit.points, smaller, old.noise, old.robust, extra=[np.append(fit.x[: len(names)][keep], tail)])


def _delta(fit: JointFit, parameter: str, name: str, asked: float, unit: str) -> Estimate:
    if parameter not in fit.layout.names:
        return Estimate(name, 0.0, None, None, unit, words=("shared or fixed, not estimated",))
    return parameter_interval(fit, parameter, name, asked, lambda v: v, unit)


def _ec50_shift(fit: JointFit, sides: Sequence[ArmResult], asked: float) -> tuple[Estimate, Estimate]:
    """Delta log10 EC50 and the dose ratio; a number only where both EC50s lie within the tested doses."""
    flat = [side.arm for side in sides if side.status is EC50Status.FLAT]
    if flat:
        none: tuple[str, ...] = (f"{' and '.join(flat)} shows no dose effect",)
        return (
            Estimate("delta log10 EC50", math.nan, None, None, words=none),
            Estimate("dose ratio", math.nan, None, None, words=none),
        )
    delta = _delta(fit, "delta_log_ec50", "delta log10 EC50", asked, "")
    outside = [side.arm for side in sides if side.status is not EC50Status.INSIDE]
    if outside:
        words = (*delta.words, f"the EC50 of {' and '.join(outside)} is outside the tested range: "
                 f"by extrapolation {delta.value:.3g}")  # fmt: skip
        delta = replace(delta, value=math.nan, extrapolated=delta.value, words=words)
    low, high = (None if end is None else 10.0**end for end in delta.interval)
    said = tuple(w for w in delta.words if "extrapolation" not in w)
    if outside:
        said = (*said, f"by extrapolation {10.0**delta.extrapolated:.3g}")
    fold = Estimate("dose ratio", 10.0**delta.value, low, high, "", 10.0**delta.extrapolated, said)
    return delta, fold
