"""The page about a fit: one HTML file that loads nothing; its look is that of the page of `kinetics reproduce`.

Every string that came from data is escaped, figures are inlined, and a content security policy forbids the browser
to fetch anything.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fits.gradient_check import GradientCheck, gradient_check
from fits.identifiability import Identifiability, identifiability
from fits.panels import Panel, panels
from fits.problem_file import problem_path, read_description
from fits.profiles import Profile, profiles
from fits.report import _STYLE, _e, _image, _linked, _number, _table
from fits.stored import StoredFit, fit_sentences, flat_of, flat_result
from fits.terms import Hinge, ReportedNumber
from fits.tolerance_check import ToleranceCheck, check_tolerances
from fits.walk import Walk
from kinetics.errors import InputError, KineticsError, SimulationError

GENERATOR = "cytokine-kinetics fit"
FIGURE_SIZE = (5.3, 3.9)  # inches
MOST_PANELS = 16
MOST_ROWS = 2000  # of measurements in a table


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
    title, sources = _said(fit)
    return FitReport(
        fit, title, sources, check_tolerances(flat, flat_result(fit.objective, fit.result)), checked, judged, found,
        panels(flat, values), tuple(zip(simulated.tolist(), sigma.tolist(), strict=True)), terms, tuple(troubles),
    )  # fmt: skip


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
        described = read_description(str(problem_path(fit.problem_file)), case=fit.making.case, trusted=True)
    except KineticsError:  # a PEtab problem has no place for these
        return fit.problem.id, ()
    title = described.title + (f" ({described.case})" if described.case else "")
    return title or fit.problem.id, tuple(text for text in (described.source,) if text)


# --- writing ------------------------------------------------------------------------------------------------


def check_target(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Refuse a place where the page cannot or must not be written, before anything is computed.

    Raises:
        InputError: saying why.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"cannot write {str(path)!r}: it is a folder")
    if not target.resolve().parent.is_dir():
        raise InputError(f"cannot write {str(path)!r}: its folder does not exist")
    if target.exists() and not force:
        with target.open("rb") as file:
            if _e(GENERATOR).encode() not in file.read(4096):
                raise InputError(f"{str(path)!r} exists and is no page of 'report'; pass --force to overwrite it")


def write_page(report: FitReport, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        InputError: there is another file of that name, or a folder.
        OSError: it cannot be written.
    """
    check_target(path, force=force)
    target, text = Path(path), page(report)
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.resolve().parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(beside, 0o644)  # mkstemp keeps it to its owner, which is no use for a page
        os.replace(beside, target)
    finally:
        Path(beside).unlink(missing_ok=True)


def page(report: FitReport) -> str:
    """The page as text."""
    sections = (
        ("answer", "Answer", _answer(report)),
        ("problem", "Problem and model", _problem(report)),
        ("fit", "Fit", _fit(report)),
        ("parameters", "Parameters", _parameters(report)),
        ("identifiability", "Identifiability", _identifiability(report)),
        ("data", "Data", _data(report)),
        ("gradient", "Gradient", _gradient(report)),
        ("provenance", "Provenance", _provenance(report)),
    )
    shown = [(anchor, name, body) for anchor, name, body in sections if body]
    nav = "".join(f'<li><a href="#{anchor}">{_e(name)}</a></li>' for anchor, name, _ in shown)
    main = "".join(f'<section id="{anchor}"><h2>{_e(name)}</h2>{body}</section>' for anchor, name, body in shown)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{_e(GENERATOR)}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_e(report.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{_e(report.title)}</h1>
<p class="lead">{_e(report.sentences[0])}</p>
{_tiles(report)}
<nav aria-label="Sections"><ul>{nav}</ul></nav>
</header>
<main>
{main}
</main>
</body>
</html>
"""


def _tiles(report: FitReport) -> str:
    result = report.fit.result
    near, bounds = len(result.agreeing()), len(result.at_bounds())
    tiles = [
        (f"{result.value:.6g}", "best objective", "how"),
        (f"{near} of {len(result.starts)}", "starts agree", "holds" if near > 1 else "fails"),
        (str(len(report.fit.problem.parameters.free)), "estimated parameters", "how"),
        (str(bounds), "at a bound", "fails" if bounds else "holds"),
    ]
    return '<ul class="tiles">' + "".join(
        f'<li class="{kind}"><b>{_e(number)}</b> <span>{_e(text)}</span></li>' for number, text, kind in tiles
    ) + "</ul>"  # fmt: skip


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_linked(text)}</li>' for text in sentences)}</ul>" if sentences else ""


# --- sections -----------------------------------------------------------------------------------------------


def _answer(report: FitReport) -> str:
    return _list(report.sentences)


def _problem(report: FitReport) -> str:
    problem = report.fit.problem
    rows = [
        (_e(name), _e(model.title or model.name), _e(model.variant_name), _e(len(model.species)), _e(model.time_unit))
        for name, model in problem.models.items()
    ]
    models = _table("Models", ("Model", "Title", "Variant", "Species", "Time unit"), rows)
    observables = _table(
        "What was observed",
        ("Observable", "Formula", "Sigma", "Noise", "Unit"),
        (
            (_e(o.id), f"<code>{_e(o.formula)}</code>", f"<code>{_e(o.noise)}</code>", _e(o.distribution.value),
             _e(o.unit))
            for o in problem.observables.values()
        ),
    )  # fmt: skip
    intro = f"<p>Problem <code>{_e(problem.id)}</code>, {len(problem.experiments)} experiments.</p>"
    sources = f"<h3>Source of the data</h3>{_list(report.sources)}" if report.sources else ""
    notes = f"<h3>What reading it decided</h3>{_list(problem.notes)}" if problem.notes else ""
    return intro + sources + models + observables + notes


def _fit(report: FitReport) -> str:
    from fits.plotting_fits import plot_panel, plot_waterfall
    from kinetics.plotting import new_axes, to_svg

    result = report.fit.result
    alt = f"Objectives of {len(result.starts)} starts in ascending order. {result.sentences()[0]}"
    svg = to_svg(plot_waterfall(result, new_axes(*FIGURE_SIZE)))
    parts = [
        f"<figure>{_image(svg, alt)}<figcaption><strong>All starts.</strong> A step is a local optimum; "
        "starts within 0.1 of the best agree.</figcaption></figure>"
    ]
    for panel in report.panels[:MOST_PANELS]:
        svg = to_svg(plot_panel(panel, new_axes(*FIGURE_SIZE)))
        count = sum(len(series.x) for series in panel.series)
        alt = f"{panel.title} over {panel.x_label}: {count} measurements and the fitted model."
        parts.append(
            f"<figure>{_image(svg, alt)}<figcaption><strong>{_e(panel.title)}.</strong> Points are measurements with "
            "one sigma of the fit, lines the fitted model.</figcaption></figure>"
        )
    if len(report.panels) > MOST_PANELS:
        left = ", ".join(panel.title for panel in report.panels[MOST_PANELS:])
        parts.append(f"<p>Not drawn: {_e(left)}.</p>")
    return "".join(parts)


def _parameters(report: FitReport) -> str:
    fit = report.fit
    values, bounds = fit.values, fit.result.at_bounds()
    solved = set(getattr(fit.objective, "solved", ()))
    verdicts = report.identifiability.verdicts if report.identifiability is not None else {}
    rows = []
    for p in fit.problem.parameters.free:
        profile = report.profiles.get(p.id)
        interval = _interval(profile) if profile else ""
        verdict = verdicts[p.id].value if p.id in verdicts else ""
        remark = f"at its {bounds[p.id]} bound" if p.id in bounds else "solved for" if p.id in solved else ""
        prior = "" if p.prior is None else type(p.prior).__name__ if not str(p.prior) else str(p.prior)
        rows.append(
            (_e(p.id), _number(values[p.id], p.unit), _e(interval), _e(f"{p.lower:g} to {p.upper:g}"),
             _e(p.scale.value), _e(prior), _e(verdict), _e(remark))
        )  # fmt: skip
    heads = ("Parameter", "Fitted", "Profile interval", "Bounds", "Scale", "Prior", "Data say", "")
    fixed = [p for p in fit.problem.parameters.parameters if not p.estimate]
    table = _table("Estimated parameters", heads, rows)
    if fixed:
        given = ((_e(p.id), _number(p.nominal, p.unit)) for p in fixed)
        table += _table("Fixed parameters", ("Parameter", "Value"), given)
    return table


def _interval(profile: Profile) -> str:
    ends = ["open" if end is None else f"{end:.3g}" for end in (profile.plain(e) for e in profile.interval)]
    return f"{ends[0]} to {ends[1]} ({100.0 * profile.level:g} %)"


def _identifiability(report: FitReport) -> str:
    from fits.plotting_fits import plot_profile
    from kinetics.plotting import new_axes, to_svg

    parts = []
    if report.identifiability is not None:
        parts.append(_list(report.identifiability.sentences()))
    if not report.profiles:
        parts.append("<p>No profiles are stored; <code>kinetics profile</code> adds them.</p>")
    for profile in report.profiles.values():
        svg = to_svg(plot_profile(profile, new_axes(*FIGURE_SIZE)))
        said = " ".join(profile.sentences())
        parts.append(
            f"<figure>{_image(svg, said)}<figcaption><strong>{_e(profile.name)}.</strong> {_e(said)} The dashed line "
            "is the threshold.</figcaption></figure>"
        )
    return "".join(parts)


def _data(report: FitReport) -> str:
    problem = report.fit.problem
    rows = []
    for row, (value, sigma) in list(zip(problem.measurements, report.simulated, strict=True))[:MOST_ROWS]:
        measured = f"{row.lower:g} to {row.upper:g}" if row.censored else f"{row.value:.6g}"
        # on the scale of the noise, whatever that is, a ratio to sigma says most for normal noise
        rows.append(
            (_e(row.observable), _e(row.experiment), _e(row.dataset), _e(f"{row.time:g}"), _e(measured),
             _e(f"{value:.6g}"), _e(f"{sigma:.3g}"))
        )  # fmt: skip
    heads = ("Observable", "Experiment", "Data set", "Time", "Measured", "Fitted", "Sigma")
    shown = f"{len(problem.measurements)} measurements"
    left = len(problem.measurements) - len(rows)
    table = _table(f"{shown}{f', {left} of them not shown' if left else ''}", heads, rows) if rows else ""
    if table:
        table = f"<details><summary>{_e(shown)}</summary>{table}</details>"
    terms = []
    for term in problem.terms:
        if isinstance(term, ReportedNumber | Hinge):
            value = getattr(term, "value", math.nan)
            wanted = f"{term.lower:g} to {term.upper:g}" if math.isnan(value) else f"{value:g}"
            kind = "reported" if isinstance(term, ReportedNumber) else "claim"
            terms.append(
                (_e(term.id), _e(kind), _e(term.number.measure.value), _e(wanted),
                 _number(report.terms.get(term.id, math.nan)), _linked(term.source))
            )  # fmt: skip
        else:
            source = str(getattr(term, "source", ""))
            terms.append((_e(getattr(term, "id", "")), "curve", "normalised inside the fit", "", "", _linked(source)))
    if terms:
        columns = ("Term", "Kind", "What", "Reported", "Fitted", "Source")
        table += _table("Reported numbers, claims and normalised curves", columns, terms)
    return table


def _gradient(report: FitReport) -> str:
    if report.gradient is None:
        return ""
    found = report.gradient
    rows = [
        (_e(name), _e(f"{found.gradient[i]:.6g}"), _e(f"{found.reference[i]:.6g}"), _e(f"{found.errors[i]:.1e}"),
         _e(found.inexact.get(name, "exact")))
        for i, name in enumerate(found.names)
    ]  # fmt: skip
    heads = ("Parameter", "Gradient", "Finite difference", "Error / largest", "How")
    return _list(found.sentences) + _table("At a point 10 % off the nominal values", heads, rows)


def _provenance(report: FitReport) -> str:
    fit, result = report.fit, report.fit.result
    made = result.provenance
    making = fit.making
    rows = [
        ("command", f"<code>{_e(' '.join(made.command))}</code>"),
        ("seed", _e(result.seed)),
        ("starts", _e(f"{len(result.starts)}, {result.seconds:.1f} s of computing")),
        ("solver", _e(f"CVODE, relative tolerance {making.rtol:g}, absolute tolerance {making.atol:g}")),
        ("gradients", _e(making.gradients)),
        ("hierarchical", _e("yes" if making.hierarchical else "no")),
        ("created", _e(made.created)),
        ("platform", _e(made.platform)),
        *((_e(name), _e(version)) for name, version in made.versions.items()),
        *((_e(f"hash of {part}"), f"<code>{_e(digest)}</code>") for part, digest in result.fingerprint.items()),
    ]
    return _table("How this fit was made", ("What", "Which"), rows)
