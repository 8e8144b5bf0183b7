"""``check()``: every claim of the ledger, answered as far as the models on the bench can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import kinetics as kin
from fits.claims.bench import Bench, NotAnswered, known_parameters
from fits.claims.ledger import MODELS, Claim, find_claim, ledger
from fits.claims.registry import checks
from fits.claims.verdict import Status, Verdict
from kinetics import catalogue
from kinetics.errors import KineticsError


def bundled_models() -> tuple[kin.Model, ...]:
    """The models of the ledger that are in the catalogue."""
    known = {entry.name for entry in catalogue.models()}
    return tuple(kin.Model.load(name) for name in MODELS.values() if name in known)


def check(
    models: Iterable[kin.Model] | None = None,
    only: Iterable[str] | None = None,
    parameters: Mapping[str, float] | None = None,
    *,
    solver: kin.Solver | None = None,
    bench: Bench | None = None,
    answered: Callable[[], None] | None = None,
) -> tuple[Verdict, ...]:
    """Check claims.

    Args:
        models: bundled models or variants and calibrated copies of them, recognised by name; default: the bundled.
        only: ids of claims; default: all of the ledger, in its order.
        parameters: values that replace those of the models that have them, in their units.  What a claim's own
            protocol sets (cell density, receptor numbers of the CD8 subset, ...) wins over them.
        bench: where curves are simulated and kept; given, it replaces ``models``, ``parameters`` and ``solver``.
        answered: called after each claim.

    Returns:
        A verdict per claim.  A simulation that fails makes the claim fail, with the reason in words.

    Raises:
        UnknownName: an id or a parameter that nothing here has.
    """
    claims = ledger() if only is None else tuple(find_claim(name) for name in only)
    if bench is None:
        on_bench = {model.name: model for model in (bundled_models() if models is None else models)}
        known_parameters(on_bench, parameters or {})
        bench = Bench(on_bench, parameters, solver)
    verdicts = []
    for claim in claims:
        verdicts.append(_verdict(claim, bench))
        if answered is not None:
            answered()
    return tuple(verdicts)


def _verdict(claim: Claim, bench: Bench) -> Verdict:
    if claim.open:
        status = Status.OUT_OF_SCOPE if claim.priority == "out of scope" else Status.NOT_ANSWERED
        return Verdict(claim, status, explanation=claim.open)
    try:
        finding = checks()[claim.id](bench, claim.thresholds)
    except NotAnswered as missing:
        return Verdict(claim, Status.NOT_ANSWERED, explanation=str(missing))
    except KineticsError as error:
        return Verdict(claim, Status.FAILS, "no value: the simulation failed", {}, str(error))
    if finding.holds:
        return Verdict(claim, Status.HOLDS, finding.value, finding.numbers, claim.remark)
    explanation = " ".join(part for part in (claim.remark, claim.failing) if part)
    return Verdict(claim, Status.FAILS, finding.value, finding.numbers, explanation)
