"""Which function answers which claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fits.claims.bench import Bench


@dataclass(frozen=True)
class Finding:
    """What a check found: does the criterion hold, the value in words, and the numbers by name."""

    holds: bool
    value: str
    numbers: Mapping[str, float]


Check = Callable[[Bench, Mapping[str, float]], Finding]
_checks: dict[str, Check] = {}


def answers(claim: str) -> Callable[[Check], Check]:
    """Register a check; it gets the bench and the ``thresholds`` of the claim in the ledger."""

    def register(check: Check) -> Check:
        if claim in _checks:
            raise ValueError(f"claim {claim!r} has two checks: {_checks[claim].__name__} and {check.__name__}")
        _checks[claim] = check
        return check

    return register


def checks() -> Mapping[str, Check]:
    """All checks by claim."""
    from fits.claims import cohorts, controls, homeostasis, imatinib, joined, steroid  # noqa: F401  they register when imported

    return MappingProxyType(_checks)
