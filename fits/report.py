"""The page of `kinetics reproduce`; what makes it safe and readable is in `fits.page`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fits import page as shared
from fits.claims.ledger import MODELS, How, declared_ranges, find_claim
from fits.claims.verdict import Status, Verdict
from fits.page import FIGURE_SIZE, write_whole
from fits.page import escaped as _e
from fits.page import image as _image
from fits.page import linked as _linked
from fits.page import number as _number
from fits.page import table as _table
from fits.steroid.ridges import CANNOT_TELL
from kinetics import plotting
from kinetics.dosing import DoseResponseCurve

if TYPE_CHECKING:
    from fits.calibration import Calibration
    from fits.claims.draws import Draws
    from fits.reproduce import MeasuredComparison, Reproduction, SubsetCurves
    from fits.steroid.predictions import Ensembled

GENERATOR = "cytokine-kinetics reproduce"
_SECTIONS = {
    Status.FAILS: ("fails", "Claims that fail"),
    Status.HOLDS: ("holds", "Claims that hold"),
    Status.NOT_ANSWERED: ("open", "Claims without an answer"),
    Status.OUT_OF_SCOPE: ("scope", "Claims out of scope"),
}


def write_page(reproduction: Reproduction, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the page; the file appears whole or not at all.

    An earlier page of this kind is replaced; any other file only with ``force``.

    Raises:
        InputError: there is another file of that name, or a folder.
        OSError: it cannot be written.
    """
    check_target(path, force=force)
    write_whole(page(reproduction), path)


def check_target(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Refuse a place where the page cannot or must not be written, before anything is computed.

    Raises:
        InputError: saying why.
    """
    shared.check_target(path, GENERATOR, force=force)


def page(reproduction: Reproduction) -> str:
    """The page as text."""
    from fits.reproduce import SEARCHED

    by_status = {status: reproduction.with_status(status) for status in Status}
    sections = [
        _claims(Status.FAILS, by_status[Status.FAILS]),
        _open_claims(Status.NOT_ANSWERED, by_status[Status.NOT_ANSWERED]),
        _open_claims(Status.OUT_OF_SCOPE, by_status[Status.OUT_OF_SCOPE]),
        _figures(reproduction),
        _claims(Status.HOLDS, by_status[Status.HOLDS]),
        "" if reproduction.ensemble is None else _predictions(reproduction.ensemble),
        "" if reproduction.draws is None else _draws(reproduction.draws),
        "" if reproduction.calibration is None else _calibration(reproduction.calibration),
        _provenance(reproduction),
    ]
    links = [
        (anchor, f"{title} ({len(by_status[status])})")
        for status, (anchor, title) in _SECTIONS.items()
        if by_status[status]
    ]
    drawn = [] if reproduction.draws is None else [("draws", "Draws")]
    fitted = [] if reproduction.calibration is None else [("calibration", "Calibration")]
    if reproduction.ensemble is not None:
        fitted.insert(0, ("predictions", "Predictions"))
    links = [*links[:1], ("figures", "Figures"), *links[1:], *drawn, *fitted, ("provenance", "Provenance")]
    above = f"""{_tiles(by_status)}
{f"<p>{_e(SEARCHED)}</p>" if reproduction.lines else ""}
<p>The claims are about the bundled parameter values; on this page nothing is fitted for them, except a scale and
an offset for the measured points. The criterion of each claim is printed beside what was found, and how the answer
came about, as the ledger of claims declares it: <em>emergent</em> means that some parameter set in the declared
ranges would break the claim, <em>by construction</em> that none would, <em>input</em> that a parameter was set from
this very observation.
Where each parameter value comes from is printed by <code>kinetics show</code>.</p>"""
    title = "What the models say about the papers"
    return shared.document(GENERATOR, title, reproduction.summary, above, links, "".join(sections))


def _tiles(by_status: Mapping[Status, Sequence[Verdict]]) -> str:
    answered = [*by_status[Status.FAILS], *by_status[Status.HOLDS]]
    core = {status: sum(v.claim.priority == "core" for v in verdicts) for status, verdicts in by_status.items()}
    verb = {Status.HOLDS: "hold", Status.FAILS: "fail", Status.NOT_ANSWERED: "have no answer"}
    tiles = [
        *((core[status], f"core claims {said}", _SECTIONS[status][0]) for status, said in verb.items()),
        *((sum(v.claim.how is how for v in answered), f"answers are {how.value}", "how") for how in How),
    ]
    return shared.tile_list(tiles)


# --- claims -------------------------------------------------------------------------------------------------


def _claims(status: Status, verdicts: Sequence[Verdict]) -> str:
    anchor, title = _SECTIONS[status]
    if not verdicts:
        return ""
    from fits.reproduce import by_paper

    groups = "".join(
        f"<h3>{_linked(paper)} ({len(group)})</h3>{''.join(map(_card, group))}"
        for paper, group in by_paper(verdicts).items()
    )
    return f'<section id="{anchor}"><h2>{_e(title)} ({len(verdicts)})</h2>{groups}</section>'


def _card(verdict: Verdict) -> str:
    claim = verdict.claim
    kind = _SECTIONS[verdict.status][0]
    rows = (
        ("Found", _e(verdict.value)),
        ("Criterion", _e(claim.criterion)),
        ("Holds in", _e("; ".join(share.words() for share in verdict.shares.values()))),
        ("Ensemble", _e(verdict.spread())),
        (
            "How",
            _e(". ".join(part for part in (claim.how.value.capitalize() if claim.how else "", claim.why_how) if part)),
        ),
        ("Read-out", _e(claim.readout)),
        ("Protocol", _e(claim.protocol)),
        ("Note", _e(verdict.explanation)),
        ("Source", _linked(claim.source)),
    )
    body = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows if text)
    return (
        f'<article class="{kind}" id="claim-{_e(claim.id)}"><h3><span class="id">{_e(claim.id)}</span> '
        f'{_e(claim.statement)}</h3><p class="marks"><span class="badge {kind}">{_e(verdict.status.value)}</span> '
        f"{_e(claim.priority)}</p><dl>{body}</dl></article>"
    )


def _open_claims(status: Status, verdicts: Sequence[Verdict]) -> str:
    """Claims that no bundled model answers, by reason, folded away."""
    anchor, title = _SECTIONS[status]
    if not verdicts:
        return ""
    reasons: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        reasons.setdefault(verdict.explanation, []).append(verdict)
    parts = []
    for reason, group in reasons.items():
        rows = (
            (
                _e(v.claim.id),
                _e(v.claim.statement),
                _e(v.claim.priority),
                _e(v.claim.criterion),
                _linked(v.claim.source),
            )
            for v in group
        )
        heads = ("Claim", "Statement", "Priority", "Criterion", "Source")
        table = _table(f"{status.value}: {', '.join(v.claim.id for v in group[:3])}", heads, rows)
        count = f"{len(group)} claim{'s' if len(group) > 1 else ''}"
        parts.append(f"<details><summary>{_e(count)}: {_e(reason or 'no reason given')}</summary>{table}</details>")
    return f'<section id="{anchor}"><h2>{_e(title)} ({len(verdicts)})</h2>{"".join(parts)}</section>'


# --- figures ------------------------------------------------------------------------------------------------


def _figures(reproduction: Reproduction) -> str:
    shown = [*map(_subset_figure, reproduction.subsets), _measured_figure(reproduction.measured)]
    if reproduction.lines:
        shown.append(_lines_figure(reproduction.lines))
    return f'<section id="figures"><h2>Figures</h2>{"".join(shown)}</section>'


def _subset_figure(subset: SubsetCurves) -> str:
    ax = plotting.new_axes(*FIGURE_SIZE)
    plotting.plot_shift(subset.control, subset.imatinib, ax, shift=subset.shift, markersize=3.5, markevery=2)
    shift, unit = subset.shift, subset.control.dose_unit
    alt = (
        f"Dose-response curves of {subset.control.readout} over {subset.control.target} in {subset.title}, control and "
        f"{subset.imatinib.label}. {shift}"
    )
    rows = [
        (_e(label), _number(side.ec50, unit), _number(side.top, subset.control.response_unit), _number(side.hill))
        for label, side in zip(shift.labels, (shift.control, shift.treated), strict=True)
    ]
    table = _table(f"{subset.title}: Hill curves through the simulated points", ("Arm", "EC50", "Top", "Hill"), rows)
    return (
        f"<figure>{_image(plotting.to_svg(ax), alt)}<figcaption><strong>{_e(subset.title)}.</strong> "
        f"Simulated {_e(subset.control.readout)} after {_e(subset.control.target)}, control and "
        f"{_e(subset.imatinib.label)}, in the protocol of the paper. {_e(shift)} The dose for half of the control's "
        f"maximum is {_number(shift.equieffective_ratio)} times higher.</figcaption></figure>{table}"
    )


def _lines_figure(curves: Sequence[DoseResponseCurve]) -> str:
    """Resistance as it is drawn in the screens: viability over prednisolone, a curve per line."""
    ax = plotting.new_axes(*FIGURE_SIZE)
    plotting.plot_dose_response(list(curves), ax, markersize=3.0)
    left = ", ".join(f"{curve.label} {curve.responses[-1]:.2g}" for curve in curves)
    alt = f"Viability over prednisolone at 72 h. At the highest dose: {left}."
    return (
        f"<figure>{_image(plotting.to_svg(ax), alt)}<figcaption><strong>Lines of T-ALL cells in prednisolone.</strong> "
        f"Simulated viability at 72 h. Resistance is what is left at saturating doses ({_e(left)}); "
        "the dose for half of the effect stays within twofold.</figcaption></figure>"
    )


def _measured_figure(measured: MeasuredComparison) -> str:
    curve = replace(measured.simulated, responses=measured.scaled, response_unit="MFI", label="model, scaled")
    points = plotting.MeasuredPoints(measured.doses, measured.responses, label="measured")
    ax = plotting.new_axes(*FIGURE_SIZE)
    plotting.plot_dose_response(curve, ax, points=points, marker="")
    unit = measured.simulated.dose_unit
    alt = (
        f"The simulated untreated curve at 10 min, scaled to fluorescence, beside {len(measured.doses)} measured "
        f"points. Simulated EC50 {measured.ec50:.3g} {unit}, of the points {measured.measured_ec50:.3g} {unit}."
    )
    rows = [
        ("this model", _number(measured.ec50, unit), _number(measured.hill), _percent(measured.rms), ""),
        (
            "Hill curve through the points", _number(measured.measured_ec50, unit), _number(measured.measured_hill),
            _percent(measured.measured_rms), "",
        ),
        *(
            (_e(case.title), _number(case.ec50, unit), _number(case.hill), _percent(case.rms), _fold(case.shift))
            for case in measured.cases
        ),
    ]  # fmt: skip
    heads = ("Case", "EC50", "Hill", "Misfit", "Shift by imatinib")
    table = _table("What the unknown cell density and other receptor numbers would change", heads, rows)
    return (
        f"<figure>{_image(plotting.to_svg(ax), alt)}<figcaption><strong>Untreated curve at 10 min beside measured "
        f"points.</strong> Only the scale ({_number(measured.scale, 'MFI/nM')}) and the offset "
        f"({_number(measured.offset, 'MFI')}) were determined from the points. Root mean square misfit "
        f"{_percent(measured.rms)} of the measured top; a free Hill curve has {_percent(measured.measured_rms)}. "
        f"Points: {_linked(measured.source)}</figcaption></figure>{table}"
    )


def _predictions(ensemble: Ensembled) -> str:
    """What nobody reported, with its spread."""
    rows = [
        (
            _e(each.title), _e(f"{each.interval.median:.3g} {each.unit}".rstrip()),
            _e(f"{each.interval.low:.3g} to {each.interval.high:.3g}"), _e(each.without or ""),
        )
        for each in ensemble.predictions
    ]  # fmt: skip
    table = _table(
        f"Median and range over {ensemble.size} parameter sets of gc_bim_tall",
        ("Prediction", "Median", "Range", "Sets that do not reach it"),
        rows,
    )
    return (
        '<section id="predictions"><h2>Predictions of the steroid model</h2><p>The sets keep every core claim about '
        "steroids and fit the curves of the samples; a range over them is what claims and data leave open within the "
        f"declared ranges, not a probability. The EC50 ratios end at 2 because the search bounded them there. "
        f"Members of one search are neighbours: what counts is how many searches agree.</p>{table}"
        f"<p>Verdicts on the shift by member: {_e('; '.join(ensemble.verdicts))}.</p>{_open_questions()}</section>"
    )


def _open_questions() -> str:
    """What the claims and the data cannot tell apart in the steroid model."""
    items = "".join(f"<li>{_e(text)}</li>" for text in CANNOT_TELL)
    return f"<h3>What cannot be told apart</h3><ul>{items}</ul>"


def _draws(draws: Draws) -> str:
    """In how many draws the claims about T-cell numbers hold, one by one and together."""
    rows = [
        (
            _e(claim),
            _e(find_claim(claim).statement),
            _e(find_claim(claim).priority),
            _e(f"{share.holding} of {share.of}"),
            _percent(share.fraction),
        )
        for claim in draws.holding
        for share in (draws.share(claim),)
    ]
    ranges = declared_ranges(MODELS["M3"])
    declared = [
        (_e(name), _e(f"{item.lower:g} to {item.upper:g}"), _e(item.label), _e(item.why))
        for name, item in ranges.items()
    ]
    said = "".join(f"<li>{_e(sentence)}</li>" for sentence in draws.sentences())
    claims = _table("Draws in which each claim holds", ("Claim", "Statement", "Priority", "Draws", "Share"), rows)
    table = _table("What was drawn, log-uniformly", ("Constant", "Range", "Label", "Reason"), declared)
    return (
        f'<section id="draws"><h2>Draws</h2><p>The constants of the T-cell model are assumed or recalled. Their '
        f"ranges were written down before any draw was made; the claims about T-cell numbers were then checked in "
        f"each draw.</p>"
        f"<ul>{said}</ul>{claims}<details><summary>The declared ranges</summary>{table}</details></section>"
    )


def _calibration(calibration: Calibration) -> str:
    """The fitted curve with its band, and everything else in words."""
    unit = calibration.response_unit
    ax = plotting.new_axes(*FIGURE_SIZE)
    ax.fill_between(
        calibration.doses, calibration.lower, calibration.upper, alpha=0.25, linewidth=0.0, label="95 % band"
    )
    curve = DoseResponseCurve(
        calibration.doses, calibration.fitted, "pg/ml", unit, "IL7", "phospho-STAT5 at 10 min", label="fitted"
    )
    points = plotting.MeasuredPoints(calibration.measured_doses, calibration.measured, label="measured")
    plotting.plot_dose_response(curve, ax, points=points, marker="")
    alt = (
        f"The fitted curve of phospho-STAT5 over IL-7 with its 95 % band and {len(calibration.measured)} measured "
        f"points. EC50 {calibration.ec50:.3g} pg/ml."
    )
    rows = [
        (
            _e(case.title), _e(", ".join(f"{name} {value:.3g}" for name, value in case.estimated.items())),
            _e(f"{case.nllh:.2f}" + (f" (at a bound: {case.at_bound})" if case.at_bound else "")),
            _number(case.ec50, "pg/ml"), _fold(case.shift), _number(case.emax_ratio),
        )
        for case in calibration.cases
    ]  # fmt: skip
    heads = ("Assumption", "Estimated", "Objective", "EC50 at 10 min", "Shift by imatinib", "Emax ratio")
    said = "".join(f"<li>{_e(sentence)}</li>" for sentence in calibration.sentences())
    notes = "".join(f"<li>{_e(note)}</li>" for note in calibration.notes)
    return (
        f'<section id="calibration"><h2>Calibration</h2><p>{_e(calibration.title)}. A quick fit with '
        f"{len(calibration.result.starts)} starts; <code>kinetics fit il7_pstat5</code> does it at length.</p>"
        f"<figure>{_image(plotting.to_svg(ax), alt)}<figcaption><strong>The fitted curve.</strong> Scale, offset, "
        f"noise level and kp were estimated; the band follows from their uncertainty. "
        f"Data: {_linked(calibration.source)}"
        f"</figcaption></figure><ul>{said}</ul>{_table('The same fit under other assumptions', heads, rows)}"
        f"<details><summary>Decisions made on the way</summary><ul>{notes}</ul></details></section>"
    )


def _fold(ratio: float) -> str:
    return f"{ratio:.3g}-fold" if math.isfinite(ratio) else _number(ratio)


def _percent(share: float) -> str:
    return "none" if math.isnan(share) else f"{100.0 * share:.2g} %"


# --- provenance ---------------------------------------------------------------------------------------------


def _provenance(reproduction: Reproduction) -> str:
    solver = reproduction.solver
    seeds = []
    if reproduction.draws is not None:
        seeds.append(f"{reproduction.draws.seed} for the draws")
    if reproduction.calibration is not None:
        seeds.append(f"{reproduction.calibration.result.seed} for the starts of the calibration")
    seed = f"{', '.join(seeds)}; nothing else is random" if seeds else "none: nothing here is random"
    rows = [
        ("command", "<code>kinetics reproduce</code>"),
        ("seed", _e(seed)),
        ("solver", _e(f"CVODE, relative tolerance {solver.rtol:g}, absolute tolerance {solver.atol:g}")),
        *((_e(name), _e(version)) for name, version in reproduction.versions.items()),
        ("time", _e(", ".join(f"{name} {seconds:.1f} s" for name, seconds in reproduction.timings.items()))),
    ]
    table = _table("How this page was made", ("What", "Which"), rows)
    return f'<section id="provenance"><h2>Provenance</h2>{table}</section>'
