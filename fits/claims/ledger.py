"""The ledger: every reported claim as data, with its source and criterion.  ``ledger.toml`` holds it.

The numbers of a criterion are data too (``thresholds``): checks read them from here, so that what is printed as
the criterion and what is tested cannot drift apart.
"""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

from kinetics.errors import InputError, UnknownName

PRIORITIES = ("core", "secondary", "validation", "optional", "control", "out of scope")
MODELS = {"M1": "il7_stat5_imatinib", "M2": "gc_bim_tall", "M3": "tcell_homeostasis"}


class How(enum.Enum):
    """Where an answer comes from."""

    EMERGENT = "emergent"  # some parameter set in the declared ranges would break it
    BY_CONSTRUCTION = "by construction"  # none would
    INPUT = "input"  # a parameter was set from this very observation


PAPERS = {
    "A": "Steroid resistance in T-ALL, doi:10.1371/journal.pmed.1002208",
    "B": "Imatinib and IL-7 (Thiant 2017), doi:10.1038/bcj.2017.29",
    "X": "Results from elsewhere",
    "N": "Negative controls of this project",
}


@dataclass(frozen=True)
class Claim:
    """A reported observation and what a model must do to agree with it."""

    id: str
    priority: str  # one of PRIORITIES
    type: str  # "ordinal", "negative result", ...
    statement: str
    source: str  # with DOI or URL, and the place in it
    protocol: str
    readout: str
    criterion: str
    models: tuple[str, ...]  # keys of MODELS that are needed to answer it
    notes: str = ""
    how: How | None = None  # set where a bundled model answers it
    why_how: str = ""  # the reason for `how`
    remark: str = ""  # what to know about the value
    failing: str = ""  # what is behind it where it fails
    open: str = ""  # why it is not answered, or out of scope; "" where it is answered
    thresholds: Mapping[str, float] = field(default_factory=dict)  # the numbers of the criterion

    def __post_init__(self) -> None:
        if self.priority not in PRIORITIES:
            raise InputError(f"priority of claim {self.id!r} must be one of {', '.join(PRIORITIES)}: {self.priority!r}")
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))

    @property
    def paper(self) -> str:
        """Where the claim comes from, by the letter of its id; what tables are grouped by."""
        return PAPERS.get(self.id[:1], "Other claims")

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled, workers need it
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return (_rebuild, ({**values, "thresholds": dict(self.thresholds)},))


def _rebuild(values: Mapping[str, Any]) -> Claim:
    return Claim(**values)


@functools.cache
def ledger() -> tuple[Claim, ...]:
    """All claims: the steroid paper (A), the imatinib paper (B), external results (X), negative controls (N).

    Raises:
        InputError: the bundled table is damaged.
    """
    text = resources.files("fits.claims").joinpath("ledger.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    sources = table.pop("sources")
    return tuple(_claim(name, row, sources) for name, row in table.items())


def _claim(name: str, row: Mapping[str, Any], sources: Mapping[str, str]) -> Claim:
    given = dict(row)
    place, how = given.pop("location", ""), given.pop("how", "")
    paper = given.pop("paper")
    if paper not in sources:
        raise InputError(f"claim {name!r} names the source {paper!r}; expected one of {', '.join(sources)}")
    source = "; ".join(part for part in (sources[paper], place) if part)
    models = tuple(given.pop("models"))
    return Claim(id=name, source=source, models=models, how=How(how) if how else None, **given)


def find_claim(name: str) -> Claim:
    """The claim with that id.

    Raises:
        UnknownName: there is none.
    """
    for claim in ledger():
        if claim.id == name:
            return claim
    raise UnknownName("claim", name, [claim.id for claim in ledger()], "the ledger")


@dataclass(frozen=True)
class DeclaredRange:
    """How far a parameter may lie from its value before anyone would object, and the reason."""

    lower: float  # in the model's unit
    upper: float
    why: str
    label: str = ""  # how far the range itself can be trusted; "" where the reason says it


_RANGES = {
    "il7_stat5_imatinib": "ranges.toml",
    "gc_bim_tall": "ranges_steroid.toml",
    "tcell_homeostasis": "ranges_tcell.toml",
}


@functools.cache
def declared_ranges(model: str = "il7_stat5_imatinib") -> Mapping[str, DeclaredRange]:
    """By parameter of a model; what `How` refers to.  Those of the T-cell model include the exposures it is run at.

    Raises:
        UnknownName: no ranges are declared for that model.
    """
    if model not in _RANGES:
        raise UnknownName("model", model, _RANGES, "the declared ranges")
    text = resources.files("fits.claims").joinpath(_RANGES[model]).read_text(encoding="utf-8")
    found = {}
    for name, row in tomllib.loads(text).items():
        lower, upper = row["range"]
        found[name] = DeclaredRange(float(lower), float(upper), row["why"], row.get("label", ""))
    return MappingProxyType(found)
