"""The page of `kinetics reproduce`: one HTML file that loads nothing and can be read on a phone.

Every string that came from data is escaped; figures are inlined; a content security policy forbids the browser to
fetch anything, should an escape ever be forgotten.
"""

from __future__ import annotations

import base64
import html
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fits.claims.ledger import MODELS, How, declared_ranges, find_claim
from fits.claims.verdict import Status, Verdict
from fits.steroid.ridges import CANNOT_TELL
from kinetics import plotting
from kinetics.dosing import DoseResponseCurve
from kinetics.errors import InputError

if TYPE_CHECKING:
    from fits.calibration import Calibration
    from fits.claims.draws import Draws
    from fits.reproduce import MeasuredComparison, Reproduction, SubsetCurves
    from fits.steroid.predictions import Ensembled

GENERATOR = "cytokine-kinetics reproduce"
FIGURE_SIZE = (5.3, 3.9)  # inches; small enough that words in it stay readable on a phone
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
    target = Path(path)
    text = page(reproduction)
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.resolve().parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(beside, 0o644)  # mkstemp keeps it to its owner, which is no use for a page
        os.replace(beside, target)
    finally:
        Path(beside).unlink(missing_ok=True)


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
                raise InputError(f"{str(path)!r} exists and is no page of 'reproduce'; pass --force to overwrite it")


def page(reproduction: Reproduction) -> str:
    """The page as text."""
    by_status = {status: reproduction.with_status(status) for status in Status}
    sections = [
        _claims(Status.FAILS, by_status[Status.FAILS]),
        _figures(reproduction),
        _claims(Status.HOLDS, by_status[Status.HOLDS]),
        _open_claims(Status.NOT_ANSWERED, by_status[Status.NOT_ANSWERED]),
        _open_claims(Status.OUT_OF_SCOPE, by_status[Status.OUT_OF_SCOPE]),
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
    nav = "".join(f'<li><a href="#{anchor}">{_e(title)}</a></li>' for anchor, title in links)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{_e(GENERATOR)}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What the models say about the papers</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>What the models say about the papers</h1>
<p class="lead">{_e(reproduction.summary)}</p>
{_tiles(by_status)}
<p>The claims are about the bundled parameter values: nothing is fitted for them, except a scale and an offset for the
measured points. The criterion of each claim is printed beside what was found, and how the answer came about, as the
ledger of claims declares it: <em>emergent</em> means that some parameter set in the declared ranges would break the
claim, <em>by construction</em> that none would, <em>input</em> that a parameter was set from this very observation.
Where each parameter value comes from is printed by <code>kinetics show</code>.</p>
<nav aria-label="Sections"><ul>{nav}</ul></nav>
</header>
<main>
{"".join(sections)}
</main>
</body>
</html>
"""


# --- text ---------------------------------------------------------------------------------------------------


def _e(text: object) -> str:
    """Escaped, and without control characters, which HTML forbids."""
    return html.escape("".join(c if c >= " " or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


_DOI = re.compile(r"doi:(10\.\d{4,9}/[A-Za-z0-9._()/-]*[A-Za-z0-9])")


def _linked(text: str) -> str:
    """Escaped, with DOIs as links; the pattern leaves no room for anything but a DOI."""
    return _DOI.sub(r'<a href="https://doi.org/\1" rel="noreferrer">doi:\1</a>', _e(text))


def _number(value: float, unit: str = "") -> str:
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "not reached"
    return _e(f"{value:.3g} {unit}".rstrip())


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself on a narrow screen; cells are HTML already."""
    head = "".join(f'<th scope="col">{_e(item)}</th>' for item in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_e(caption)}"><table>'
        f"<caption>{_e(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _tiles(by_status: Mapping[Status, Sequence[Verdict]]) -> str:
    answered = [*by_status[Status.FAILS], *by_status[Status.HOLDS]]
    core = {status: sum(v.claim.priority == "core" for v in verdicts) for status, verdicts in by_status.items()}
    verb = {Status.HOLDS: "hold", Status.FAILS: "fail", Status.NOT_ANSWERED: "have no answer"}
    tiles = [
        *((core[status], f"core claims {said}", _SECTIONS[status][0]) for status, said in verb.items()),
        *((sum(v.claim.how is how for v in answered), f"answers are {how.value}", "how") for how in How),
    ]
    return '<ul class="tiles">' + "".join(
        f'<li class="{kind}"><b>{_e(number)}</b> <span>{_e(text)}</span></li>' for number, text, kind in tiles
    ) + "</ul>"  # fmt: skip


# --- claims -------------------------------------------------------------------------------------------------


def _claims(status: Status, verdicts: Sequence[Verdict]) -> str:
    anchor, title = _SECTIONS[status]
    if not verdicts:
        return ""
    cards = "".join(map(_card, verdicts))
    return f'<section id="{anchor}"><h2>{_e(title)} ({len(verdicts)})</h2>{cards}</section>'


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
    return f'<section id="figures"><h2>Figures</h2>{"".join(shown)}</section>'


def _image(svg: str, alt: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{_e(alt)}">'


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
        f"declared ranges, not a probability.</p>{table}{_open_questions()}</section>"
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


_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5a6675; --line: #d9dee5; --paper: #fff; --wash: #f5f7f9;
  --good: #00674a; --bad: #a33b00; --blue: #0b5a91; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 52rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 1rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.02rem; line-height: 1.4; margin: 0; }
a { color: var(--blue); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid #56b4e9; outline-offset: 2px; }
.lead { font-size: 1.15rem; margin: 0 0 1rem; color: var(--soft); }
.tiles { list-style: none; display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .6rem;
  margin: 0 0 1.2rem; padding: 0; }
.tiles li { background: var(--wash); border-top: 3px solid var(--line); border-radius: 4px; padding: .6rem .75rem; }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles span { font-size: .85rem; color: var(--soft); }
.tiles .holds { border-color: var(--good); } .tiles .fails { border-color: var(--bad); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 0; padding: 0;
  font-size: .95rem; }
article { border: 1px solid var(--line); border-left: 4px solid var(--line); border-radius: 4px;
  padding: .9rem 1rem; margin: 0 0 .9rem; }
article.fails { border-left-color: var(--bad); } article.holds { border-left-color: var(--good); }
.id { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: .3rem; }
.marks { margin: .35rem 0 .6rem; font-size: .87rem; color: var(--soft); }
.badge { display: inline-block; padding: .05rem .5rem; border-radius: 3px; font-weight: 600; color: #fff;
  background: var(--soft); margin-right: .4rem; }
.badge.fails { background: var(--bad); } .badge.holds { background: var(--good); }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem .8rem; margin: 0; font-size: .93rem; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
figure { margin: 0 0 .5rem; } figure img { display: block; width: 100%; max-width: 40rem; height: auto; }
figcaption { font-size: .93rem; margin: .4rem 0 .9rem; max-width: 44rem; }
.scroll { overflow-x: auto; margin: 0 0 2rem; }
table { border-collapse: collapse; font-size: .9rem; min-width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; white-space: nowrap; } tbody th { font-weight: 500; min-width: 9rem; }
details { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .9rem; margin: 0 0 .7rem; }
details[open] summary { margin-bottom: .8rem; } summary { cursor: pointer; }
details td { min-width: 6rem; } details tbody th { min-width: 3.5rem; }
details td:nth-child(2), details td:nth-child(4) { min-width: 16rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .45rem; }
  dt { font-size: .82rem; } h1 { font-size: 1.45rem; } }
@media print { body { max-width: none; padding: 0; } article, figure { break-inside: avoid; } nav { display: none; } }
"""
