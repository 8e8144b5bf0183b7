"""The answer to a claim: whether it holds, the value behind it, and why."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fits.claims.ledger import Claim


class Status(enum.Enum):
    """What a model says about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_ANSWERED = "not answered"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it."""

    claim: Claim
    status: Status
    value: str = ""  # what was found, with units; "" where the claim is not answered
    numbers: Mapping[str, float] = field(default_factory=dict)  # the same by name, for programs
    explanation: str = ""  # why it fails or is not answered, or what to know about the value; may be ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", MappingProxyType(dict(self.numbers)))

    @property
    def answered(self) -> bool:
        return self.status in (Status.HOLDS, Status.FAILS)

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled, workers need it
        return (Verdict, (self.claim, self.status, self.value, dict(self.numbers), self.explanation))

    def to_dict(self) -> dict[str, str | None]:
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
        }
