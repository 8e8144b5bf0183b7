"""The answer to a claim: whether it holds, the value behind it, and why."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from fits.claims.ledger import Claim
from kinetics.ensemble import Interval
from kinetics.errors import InputError


class Status(enum.Enum):
    """What a model says about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_ANSWERED = "not answered"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class Share:
    """In how many of a number of parameter sets a claim holds; it belongs to the sets, not to the printed value."""

    holding: int
    of: int  # sets tried; one that cannot be simulated counts as not holding
    what: str  # which sets: "log-uniform draws over the declared ranges"

    def __post_init__(self) -> None:
        if not 0 <= self.holding <= self.of or self.of < 1:
            raise InputError(f"a share needs 0 <= holding <= of and of >= 1, got {self.holding} of {self.of}")

    @property
    def fraction(self) -> float:
        return self.holding / self.of

    def words(self) -> str:
        """For people: ``"1423 of 2000 log-uniform draws (71 %)"``; the count first, for 1999 of 2000 are not all."""
        return f"{self.holding} of {self.of} {self.what} ({100.0 * self.fraction:.1f} %)"

    def to_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"holding": self.holding, "of": self.of, "fraction": self.fraction, "what": self.what}


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it."""

    claim: Claim
    status: Status
    value: str = ""  # what was found, with units; "" where the claim is not answered
    numbers: Mapping[str, float] = field(default_factory=dict)  # the same by name, for programs
    explanation: str = ""  # why it fails or is not answered, or what to know about the value; may be ""
    shares: Mapping[str, Share] = field(default_factory=dict)  # by kind of sets: "draws", "ensemble"
    intervals: Mapping[str, Interval] = field(default_factory=dict)  # of ``numbers``, over the ensemble

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", MappingProxyType(dict(self.numbers)))
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))
        object.__setattr__(self, "intervals", MappingProxyType(dict(self.intervals)))

    @property
    def answered(self) -> bool:
        return self.status in (Status.HOLDS, Status.FAILS)

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled, workers need it
        values = (self.claim, self.status, self.value, dict(self.numbers), self.explanation)
        return (Verdict, (*values, dict(self.shares), dict(self.intervals)))

    def with_shares(self, shares: Mapping[str, Share]) -> Verdict:
        """The same verdict with further shares; one of the same kind is replaced."""
        return replace(self, shares={**self.shares, **shares})

    def spread(self) -> str:
        """The intervals in words; ``""`` without any."""
        return "; ".join(f"{name} {each.range}" for name, each in self.intervals.items())

    def to_dict(self) -> dict[str, Any]:
        """The object that ``kinetics reproduce --json`` prints; ``how`` and ``value`` are null without an answer."""
        return {
            "id": self.claim.id,
            "priority": self.claim.priority,
            "statement": self.claim.statement,
            "status": self.status.value,
            "how": self.claim.how.value if self.answered and self.claim.how else None,
            "value": self.value or None,
            "criterion": self.claim.criterion,
            "source": self.claim.source,
            "shares": {kind: share.to_dict() for kind, share in self.shares.items()},
            "intervals": {name: [each.low, each.median, each.high] for name, each in self.intervals.items()},
        }
