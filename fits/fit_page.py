"""The page about a fit: what `fits.fit_report` found, in the order in which a reader asks."""

from __future__ import annotations

import math
import os

from fits import page as shared
from fits.checking import Level
from fits.fit_report import FitReport, FittedShift
from fits.page import FIGURE_SIZE, escaped, figure, folded, linked, number, sentence_list, table, write_whole
from fits.profiles import Profile
from fits.terms import Hinge, ReportedNumber
from kinetics.model import Model

GENERATOR = "cytokine-kinetics report"
MOST_PANELS = 16
MOST_ROWS = 2000  # of measurements in a table


def check_target(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Refuse a place where the page cannot or must not be written, before anything is computed.

    Raises:
        InputError: saying why.
    """
    shared.check_target(path, GENERATOR, force=force)


def write_page(report: FitReport, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        InputError: there is another file of that name, or a folder.
        OSError: it cannot be written.
    """
    check_target(path, force=force)
    write_whole(page(report), path)


def page(report: FitReport) -> str:
    """The page as text."""
    sections = (
        ("answer", "Answer", sentence_list(report.sentences)),
        ("question", "Question", _question(report)),
        ("model", "Model", _model(report)),
        ("data", "Data", _data(report)),
        ("fit", "Fit", _fit(report)),
        ("parameters", "Parameters", _parameters(report)),
        ("identifiability", "Identifiability", _identifiability(report)),
        ("shift", "Shift", "".join(map(_shift, report.shifts))),
        ("checks", "Checks", _checks(report)),
        ("provenance", "Provenance", _provenance(report)),
    )
    shown = [(anchor, name, body) for anchor, name, body in sections if body]
    main = "".join(f'<section id="{anchor}"><h2>{escaped(name)}</h2>{body}</section>' for anchor, name, body in shown)
    links = [(anchor, name) for anchor, name, _ in shown]
    return shared.document(GENERATOR, report.title, report.sentences[0], _tiles(report), links, main)


def _tiles(report: FitReport) -> str:
    result = report.fit.result
    near, bounds = len(result.agreeing()), len(result.at_bounds())
    return shared.tile_list(
        [
            (f"{result.value:.6g}", "best objective", "how"),
            (f"{near} of {len(result.starts)}", "starts agree", "holds" if near > 1 else "fails"),
            (len(report.fit.problem.parameters.free), "estimated parameters", "how"),
            (bounds, "at a bound", "fails" if bounds else "holds"),
        ]
    )


# --- what was asked -----------------------------------------------------------------------------------------


def _question(report: FitReport) -> str:
    problem = report.fit.problem
    free = [parameter.id for parameter in problem.parameters.free]
    listed = ", ".join(free[:12]) + (f" and {len(free) - 12} more" if len(free) > 12 else "")
    names = ", ".join(model.title or model.name for model in problem.models.values())
    asked = (
        f"Which values of {listed} let the model ({names}) say what was observed: "
        f"{len(problem.measurements)} measurements of {', '.join(problem.observables)} in {len(problem.experiments)} "
        f"experiments{f', and {len(problem.terms)} reported numbers, claims or curves' if problem.terms else ''}? "
        "And how well do these settle the values?"
    )
    notes = f"<h3>What reading the problem decided</h3>{sentence_list(problem.notes)}" if problem.notes else ""
    return f"<p>{escaped(asked)}</p><p>Problem <code>{escaped(problem.id)}</code>.</p>{notes}"


def _model(report: FitReport) -> str:
    models = report.fit.problem.models
    rows = [
        (escaped(name), escaped(model.title or model.name), escaped(model.variant_name), escaped(len(model.species)),
         escaped(model.time_unit))
        for name, model in models.items()
    ]  # fmt: skip
    heads = ("Model", "Title", "Variant", "Species", "Time unit")
    return table("Models", heads, rows) + "".join(_constants(name, model) for name, model in models.items())


def _constants(name: str, model: Model) -> str:
    """Every value of a model before the fit, with where it is from."""
    rows = [
        (escaped(row["id"]), escaped(row["name"]), escaped(row["kind"]),
         number(math.nan if row["value"] is None else float(row["value"]), row["unit"]), escaped(row["label"]),
         linked(row["source"]))
        for row in model.table().to_dict(orient="records")
    ]  # fmt: skip
    heads = ("Id", "Name", "Kind", "Value", "Label", "Source")
    text = f"{len(rows)} values of {name} before the fit, with their sources where the model gives them"
    return folded(text, table(text, heads, rows))


def _data(report: FitReport) -> str:
    problem = report.fit.problem
    sources = "<h3>Source</h3>" + (
        sentence_list(report.sources) if report.sources else "<p>The problem names no source of its data.</p>"
    )
    observables = table(
        "What was observed",
        ("Observable", "Formula", "Sigma", "Noise", "Unit"),
        (
            (escaped(o.id), f"<code>{escaped(o.formula)}</code>", f"<code>{escaped(o.noise)}</code>",
             escaped(o.distribution.value), escaped(o.unit))
            for o in problem.observables.values()
        ),
    )  # fmt: skip
    return sources + observables + _measurements(report) + _terms(report)


def _measurements(report: FitReport) -> str:
    problem = report.fit.problem
    rows = []
    for row, (value, sigma) in list(zip(problem.measurements, report.simulated, strict=True))[:MOST_ROWS]:
        measured = f"{row.lower:g} to {row.upper:g}" if row.censored else f"{row.value:.6g}"
        rows.append(
            (escaped(row.observable), escaped(row.experiment), escaped(row.dataset), escaped(f"{row.time:g}"),
             escaped(measured), escaped(f"{value:.6g}"), escaped(f"{sigma:.3g}"))
        )  # fmt: skip
    if not rows:
        return ""
    heads = ("Observable", "Experiment", "Data set", "Time", "Measured", "Fitted", "Sigma")
    shown = f"{len(problem.measurements)} measurements"
    left = len(problem.measurements) - len(rows)
    return folded(shown, table(f"{shown}{f', {left} of them not shown' if left else ''}", heads, rows))


def _terms(report: FitReport) -> str:
    terms = []
    for term in report.fit.problem.terms:
        if isinstance(term, ReportedNumber | Hinge):
            value = getattr(term, "value", math.nan)
            wanted = f"{term.lower:g} to {term.upper:g}" if math.isnan(value) else f"{value:g}"
            kind = "reported" if isinstance(term, ReportedNumber) else "claim"
            terms.append(
                (escaped(term.id), escaped(kind), escaped(term.number.measure.value), escaped(wanted),
                 number(report.terms.get(term.id, math.nan)), linked(term.source))
            )  # fmt: skip
        else:
            source = str(getattr(term, "source", ""))
            name = escaped(getattr(term, "id", ""))
            terms.append((name, "curve", "normalised inside the fit", "", "", linked(source)))
    columns = ("Term", "Kind", "What", "Reported", "Fitted", "Source")
    return table("Reported numbers, claims and normalised curves", columns, terms) if terms else ""


# --- what was found -----------------------------------------------------------------------------------------


def _fit(report: FitReport) -> str:
    from fits.plotting_fits import plot_panel, plot_waterfall
    from kinetics.plotting import new_axes, to_svg

    result = report.fit.result
    alt = f"Objectives of {len(result.starts)} starts in ascending order. {result.sentences()[0]}"
    svg = to_svg(plot_waterfall(result, new_axes(*FIGURE_SIZE)))
    parts = []
    for panel in report.panels[:MOST_PANELS]:
        count = sum(len(series.x) for series in panel.series)
        drawn = to_svg(plot_panel(panel, new_axes(*FIGURE_SIZE)))
        words = f"{panel.title} over {panel.x_label}: {count} measurements and the fitted model."
        caption = "Points are measurements with one sigma of the fit, lines the fitted model."
        parts.append(figure(drawn, words, panel.title, caption))
    if len(report.panels) > MOST_PANELS:
        left = ", ".join(panel.title for panel in report.panels[MOST_PANELS:])
        parts.append(f"<p>Not drawn: {escaped(left)}.</p>")
    steps = "A step is a local optimum; starts within 0.1 of the best agree."
    return "".join([*parts, figure(svg, alt, "All starts", steps)])


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
            (escaped(p.id), number(values[p.id], p.unit), escaped(interval), escaped(f"{p.lower:g} to {p.upper:g}"),
             escaped(p.scale.value), escaped(prior), escaped(verdict), escaped(remark))
        )  # fmt: skip
    heads = ("Parameter", "Fitted", "Profile interval", "Bounds", "Scale", "Prior", "Data say", "")
    fixed = [p for p in fit.problem.parameters.parameters if not p.estimate]
    made = table("Estimated parameters", heads, rows)
    if fixed:
        given = ((escaped(p.id), number(p.nominal, p.unit)) for p in fixed)
        made += table("Fixed parameters", ("Parameter", "Value"), given)
    return made


def _interval(profile: Profile) -> str:
    ends = ["open" if end is None else f"{end:.3g}" for end in (profile.plain(e) for e in profile.interval)]
    return f"{ends[0]} to {ends[1]} ({100.0 * profile.level:g} %)"


def _identifiability(report: FitReport) -> str:
    from fits.plotting_fits import plot_correlations, plot_profile
    from kinetics.plotting import new_axes, to_svg

    parts = []
    if report.identifiability is not None:
        found = report.identifiability
        parts.append(sentence_list(found.sentences()))
        if len(found.fisher.names) > 1:
            drawn = to_svg(plot_correlations(found.fisher, new_axes(*FIGURE_SIZE)))
            alt = f"Correlations between the estimates of {', '.join(found.fisher.names[:12])}."
            words = (
                "How estimates move together, by the curvature at the optimum: near 1 or -1 the data settle a "
                "combination rather than each."
            )
            parts.append(figure(drawn, alt, "Correlations", words))
    if not report.profiles:
        parts.append("<p>No profiles are stored; <code>kinetics profile</code> adds them.</p>")
    for profile in report.profiles.values():
        drawn = to_svg(plot_profile(profile, new_axes(*FIGURE_SIZE)))
        said = " ".join(profile.sentences())
        parts.append(figure(drawn, said, profile.name, f"{escaped(said)} The dashed line is the threshold."))
    return "".join(parts)


def _shift(found: FittedShift) -> str:
    from kinetics.plotting import new_axes, plot_shift, to_svg

    shift, unit = found.shift, found.control.dose_unit
    drawn = to_svg(
        plot_shift(
            found.control, found.treated, new_axes(*FIGURE_SIZE), shift=shift, interval=found.interval, markersize=3.5
        )
    )
    rows = [
        (escaped(label), number(side.ec50, unit), number(side.top, found.control.response_unit), number(side.hill))
        for label, side in zip(shift.labels, (shift.control, shift.treated), strict=True)
    ]
    ends = "no profile is stored, or one is open, so there is no interval"
    if found.interval is not None:
        ends = f"{found.interval[0]:.3g} to {found.interval[1]:.3g} over the profiles of the parameters"
    caption = f"{escaped(shift)} Dose ratio {number(shift.dose_ratio)}; {escaped(ends)}."
    heads = ("Arm", "EC50", "Top", "Hill")
    title = f"{found.control.readout} over {found.control.target}, at the fitted values"
    source = f"<p>Reported: {linked('; '.join(found.sources))}</p>" if found.sources else ""
    return (
        figure(drawn, str(shift), title, caption)
        + table("Hill curves through the simulated points", heads, rows)
        + source
    )


# --- whether to believe it ----------------------------------------------------------------------------------


def _checks(report: FitReport) -> str:
    told = [f"{item.level.value}: {item.text}" for item in report.findings if item.level is not Level.NOTE]
    said = [report.tolerance.sentence, *(told or ["Looking the problem over found nothing wrong."])]
    return sentence_list(said) + _gradient(report)


def _gradient(report: FitReport) -> str:
    if report.gradient is None:
        return "<p>The gradient was not checked.</p>"
    found = report.gradient
    rows = [
        (escaped(name), escaped(f"{found.gradient[i]:.6g}"), escaped(f"{found.reference[i]:.6g}"),
         escaped(f"{found.errors[i]:.1e}"), escaped(found.inexact.get(name, "exact")))
        for i, name in enumerate(found.names)
    ]  # fmt: skip
    heads = ("Parameter", "Gradient", "Finite difference", "Error / largest", "How")
    return sentence_list(found.sentences) + table("At a point 10 % off the nominal values", heads, rows)


def _provenance(report: FitReport) -> str:
    fit, result = report.fit, report.fit.result
    made = result.provenance
    making = fit.making
    rows = [
        ("command", f"<code>{escaped(' '.join(made.command))}</code>"),
        ("seed", escaped(result.seed)),
        ("starts", escaped(f"{len(result.starts)}, {result.seconds:.1f} s of computing")),
        ("solver", escaped(f"CVODE, relative tolerance {making.rtol:g}, absolute tolerance {making.atol:g}")),
        ("gradients", escaped(making.gradients)),
        ("hierarchical", escaped("yes" if making.hierarchical else "no")),
        ("created", escaped(made.created)),
        ("platform", escaped(made.platform)),
        *((escaped(name), escaped(version)) for name, version in made.versions.items()),
        *(
            (escaped(f"hash of {part}"), f"<code>{escaped(digest)}</code>")
            for part, digest in result.fingerprint.items()
        ),
    ]
    return table("How this fit was made", ("What", "Which"), rows)
