"""What there is to say about a fit: checks, profiles, shifts, the numbers of figures; `fits.fit_page` says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fits.checking import Finding, lint
from fits.curve_numbers import Measure
from fits.gradient_check import GradientCheck, gradient_check
from fits.identifiability import Identifiability, Verdict, identifiability
from fits.panels import Panel, panels
from fits.problem_file import problem_path, read_description
from fits.profiles import Profile, profiles
from fits.stored import StoredFit, fit_sentences, flat_of, flat_result
from fits.terms import Hinge, ReportedNumber
from fits.tolerance_check import ToleranceCheck, check_tolerances
from fits.walk import Walk
from kinetics.dosing import DoseProtocol, DoseResponseCurve, dose_response
from kinetics.errors import KineticsError, SimulationError
from kinetics.shift import Shift, compare

MOST_SHIFTS = 6



@dataclass(frozen=True, eq=False)
class FittedShift:
    """Two curves that a reported number of the problem compares, at the fitted values."""

    control: DoseResponseCurve
    treated: DoseResponseCurve
    shift: Shift
    interval: tuple[float, float] | None  # dose ratios within the profiles; None: no profile, or an open one
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FitReport:
    """Everything the page says."""

    fit: StoredFit
    title: str
    sources: tuple[str, ...]
    tolerance: ToleranceCheck
    gradient: GradientCheck | None
    identifiability: Identifiability | None
    profiles: Mapping[str, Profile]
    panels: tuple[Panel, ...]
    simulated: tuple[tuple[float, float], ...]  # model's value and sigma of every measurement
    terms: Mapping[str, float]  # predicted, of terms that are one number
    shifts: tuple[FittedShift, ...] = field(default=())
    findings: tuple[Finding, ...] = field(default=())  # what `kinetics check` says of the problem without simulating
    problems: tuple[str, ...] = field(default=())  # parts of the page that could not be made, and why

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words."""
        said = [*fit_sentences(self.fit.objective, self.fit.result, self.tolerance)]
        if self.gradient is not None:
            said.append(self.gradient.sentences[0])
        if self.identifiability is not None:
            said += self.identifiability.sentences()
        return (*said, *self.problems)


def make_report(fit: StoredFit, *, gradient: bool = True) -> FitReport:
    """Compute what the page shows: checks, figures' numbers, profiles the store holds.

    Raises:
        FitFailed: no start succeeded.
        SimulationError: the best point cannot be simulated any more.
    """
    flat, values = flat_of(fit.objective), fit.values
    troubles: list[str] = []
    checked, judged = None, None
    if gradient:
        try:
            checked = gradient_check(fit.objective)
        except SimulationError as error:
            troubles.append(f"The gradient could not be checked: {error}")
    found = stored_profiles(fit, troubles)
    try:
        judged = identifiability(fit.objective, fit.result, found, scales=fit.scales)
    except KineticsError as error:
        troubles.append(f"Identifiability could not be judged: {error}")
    simulated, sigma = flat.run(flat.complete(values))
    terms = {}
    if flat.terms is not None:
        predictions = flat.terms.predictions(flat.complete(values))
        terms = {name: float(value[0]) for name, value in predictions.items() if len(value) == 1}
    shifts = fitted_shifts(fit, found, troubles)
    title, sources = _said(fit)
    return FitReport(
        fit, title, sources, check_tolerances(flat, flat_result(fit.objective, fit.result)), checked, judged, found,
        panels(flat, values), tuple(zip(simulated.tolist(), sigma.tolist(), strict=True)), terms, shifts,
        tuple(lint(fit.problem)), tuple(troubles),
    )  # fmt: skip


def fitted_shifts(fit: StoredFit, found: Mapping[str, Profile], troubles: list[str]) -> tuple[FittedShift, ...]:
    """The shifts that reported numbers of the problem are about, simulated at the fitted values."""
    pairs: dict[tuple[str, DoseProtocol, DoseProtocol], list[ReportedNumber | Hinge]] = {}
    for term in fit.problem.terms:
        if isinstance(term, ReportedNumber | Hinge) and term.number.reference is not None:
            if not term.number.measure.at_a_dose:
                pairs.setdefault((term.number.model, term.number.curve, term.number.reference), []).append(term)
    made = []
    for (name, curve, reference), terms in list(pairs.items())[:MOST_SHIFTS]:
        model = fit.problem.models[name] if name else next(iter(fit.problem.models.values()))
        known = model.description.entities
        own = {n: value for n, value in fit.values.items() if n in known and known[n].settable}
        try:
            control, treated = (
                dose_response(model, protocol, label=label, solver=flat_of(fit.objective).solver, parameters=own)
                for protocol, label in ((reference, "control"), (curve, "treated"))
            )
            shift = compare(control, treated)
        except KineticsError as error:
            troubles.append(f"The shift of {terms[0].id} could not be simulated: {error}")
            continue
        sources = tuple(dict.fromkeys(term.source for term in terms if term.source))
        made.append(FittedShift(control, treated, shift, _shift_interval(fit, found, terms), sources))
    return tuple(made)


def _shift_interval(
    fit: StoredFit, found: Mapping[str, Profile], terms: Sequence[ReportedNumber | Hinge]
) -> tuple[float, float] | None:
    """Dose ratios over all points of the profiles within their thresholds, where these are closed."""
    ratio = next((term.id for term in terms if term.number.measure is Measure.LOG10_EC50_RATIO), None)
    flat = flat_of(fit.objective)
    if ratio is None or not found or flat.terms is None:
        return None
    if any(profile.verdict is not Verdict.IDENTIFIABLE for profile in found.values()):
        return None
    ratios = []
    for profile in found.values():
        for x in profile.inside:
            values = fit.values_at(x)
            ratios.append(10.0 ** float(flat.terms.predictions(flat.complete(values))[ratio][0]))
    return min(ratios), max(ratios)


def stored_profiles(fit: StoredFit, troubles: list[str]) -> dict[str, Profile]:
    """Profiles of parameters at the present optimum; walked again from their stored points, which costs nothing."""
    found: dict[str, Profile] = {}
    best = fit.result.best.x.tolist() if fit.profiled() else []
    for name, made in fit.profiled().items():
        for settings in made:
            if [float(value) for value in settings["x"]] != best:
                continue  # of an optimum that was overtaken
            walk = Walk(**{key: settings[key] for key in ("max_points", "max_evaluations", "rtol")})
            try:
                found |= profiles(
                    fit.objective, fit.result, [name], level=float(settings["level"]), walk=walk, scales=fit.scales,
                    store=fit.path,
                )  # fmt: skip
            except KineticsError as error:
                troubles.append(f"The profile of {name} could not be read: {error}")
    return found


def _said(fit: StoredFit) -> tuple[str, tuple[str, ...]]:
    """Title and sources, where the problem's file has them."""
    try:
        described = read_description(str(problem_path(str(fit.problem_file))), case=fit.making.case, trusted=True)
    except KineticsError:  # a PEtab problem has no place for these
        return fit.problem.id, ()
    title = described.title + (f" ({described.case})" if described.case else "")
    return title or fit.problem.id, tuple(text for text in (described.source,) if text)
