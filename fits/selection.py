"""Which of several models or mechanisms the data favour, and a plain sentence where they cannot tell.

With ``nllh`` the lowest negative log-likelihood (all constants included, priors and penalties not), k parameters and
n data::

    AIC = 2 k + 2 nllh        AICc = AIC + 2 k (k + 1) / (n - k - 1)        BIC = k log(n) + 2 nllh

AICc needs n > k + 1.  The rule for words follows Burnham and Anderson (2002, doi:10.1007/b97636): candidates less than
2 above the best cannot be told from it; up to 10 above it they have less support, and beyond that practically none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from scipy.special import chdtrc

from kinetics.errors import InputError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

INDISTINCT = 2.0  # of a criterion
UNSUPPORTED = 10.0
SAME_FIT = 0.1  # of a negative log-likelihood
ROUNDING = 1e-3  # of a likelihood ratio: what optimisers leave


class Criterion(Enum):
    """What candidates are ranked by."""

    AIC = "AIC"
    AICC = "AICc"
    BIC = "BIC"


@dataclass(frozen=True)
class Candidate:
    """A fitted model or mechanism."""

    nllh: float  # lowest negative log-likelihood
    n_parameters: int  # estimated from the data, noise parameters and scales included
    n_data: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.nllh):
            raise InputError(f"nllh must be finite, got {self.nllh}; was the fit successful?")
        if self.n_parameters < 0 or self.n_data < 1:
            raise InputError(
                f"a candidate needs n_parameters >= 0 and n_data >= 1, got {self.n_parameters}, {self.n_data}"
            )

    @property
    def aic(self) -> float:
        return 2.0 * self.n_parameters + 2.0 * self.nllh

    @property
    def aicc(self) -> float:
        """NaN where it is undefined: with ``n_data <= n_parameters + 1``."""
        spare = self.n_data - self.n_parameters - 1
        if spare <= 0:
            return math.nan
        return self.aic + 2.0 * self.n_parameters * (self.n_parameters + 1) / spare

    @property
    def bic(self) -> float:
        return self.n_parameters * math.log(self.n_data) + 2.0 * self.nllh

    def score(self, criterion: Criterion) -> float:
        return {Criterion.AIC: self.aic, Criterion.AICC: self.aicc, Criterion.BIC: self.bic}[criterion]


@dataclass(frozen=True)
class Nested:
    """A pair in which the smaller model is the larger one with some parameters fixed.

    ``at_boundary``: fixed at the edge of what they may be, such as an effect of zero that cannot be negative.  The
    statistic is then an even mixture of chi-square with 0 and 1 degrees of freedom (Self and Liang 1987,
    doi:10.1080/01621459.1987.10478472), which is known for one such parameter only.
    """

    small: str
    large: str
    at_boundary: bool = False


@dataclass(frozen=True)
class RatioTest:
    """A likelihood ratio test of a nested pair."""

    small: str
    large: str
    statistic: float  # 2 (nllh of small - nllh of large)
    degrees: int
    p_value: float  # NaN where the larger model fits worse, which it cannot
    level: float
    at_boundary: bool = False  # the p-value is that of the mixture, half of that of chi-square

    @property
    def sentence(self) -> str:
        halved = ", halved at a boundary" if self.at_boundary else ""
        numbers = f"likelihood ratio {self.statistic:.3g}, {self.degrees} df, p = {self.p_value:.2g}{halved}"
        if math.isnan(self.p_value) and self.statistic >= -ROUNDING:
            return f"{self.large} leaves no points to estimate the noise from, so {self.small} cannot be tested in it."
        if math.isnan(self.p_value):
            return (
                f"{self.large} contains {self.small} and yet fits worse by {-0.5 * self.statistic:.3g}, which cannot "
                f"be: the fit of {self.large} has not reached its optimum."
            )
        if self.p_value < self.level:
            return f"The data need {self.large}: {self.small} is rejected ({numbers})."
        return f"The data do not need {self.large} beyond {self.small} ({numbers})."


@dataclass(frozen=True, eq=False)
class Selection:
    """Candidates, ranked."""

    candidates: Mapping[str, Candidate]
    criterion: Criterion
    tests: tuple[RatioTest, ...]

    @property
    def ranking(self) -> tuple[str, ...]:
        """Names from best to worst; candidates without the criterion are not ranked."""
        scores = {name: candidate.score(self.criterion) for name, candidate in self.candidates.items()}
        return tuple(sorted((n for n, s in scores.items() if not math.isnan(s)), key=lambda n: scores[n]))

    @property
    def delta(self) -> dict[str, float]:
        """The criterion above that of the best, by name; NaN where it is undefined."""
        scores = {name: candidate.score(self.criterion) for name, candidate in self.candidates.items()}
        best = min((s for s in scores.values() if not math.isnan(s)), default=math.nan)
        return {name: score - best for name, score in scores.items()}

    @property
    def weights(self) -> dict[str, float]:
        """Akaike (or Schwarz) weights, by name; 0 where the criterion is undefined."""
        raw = {name: 0.0 if math.isnan(d) else math.exp(-0.5 * d) for name, d in self.delta.items()}
        total = sum(raw.values())
        return {name: value / total if total else 0.0 for name, value in raw.items()}

    @property
    def indistinct(self) -> tuple[str, ...]:
        """Those the data cannot tell from the best, which comes first."""
        return tuple(name for name in self.ranking if self.delta[name] < INDISTINCT)

    @property
    def decided(self) -> bool:
        """Whether the data single out one candidate among all."""
        return len(self.indistinct) == 1 and len(self.ranking) == len(self.candidates) > 1

    def to_frame(self) -> pd.DataFrame:
        """A row per candidate, best first, the unranked last."""
        import pandas as pd

        delta, weights = self.delta, self.weights
        order = [*self.ranking, *(name for name in self.candidates if name not in self.ranking)]
        rows = []
        for name in order:
            c = self.candidates[name]
            rows.append({
                "candidate": name, "nllh": c.nllh, "n_parameters": c.n_parameters, "n_data": c.n_data,
                "AIC": c.aic, "AICc": c.aicc, "BIC": c.bic,
                f"delta_{self.criterion.value}": delta[name], "weight": weights[name],
            })  # fmt: skip
        return pd.DataFrame(rows)

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _sentences(self) -> Iterable[str]:
        word, delta = self.criterion.value, self.delta
        without = [name for name in self.candidates if name not in self.ranking]
        for name in without:
            c = self.candidates[name]
            yield (
                f"AICc is undefined for {name}: {c.n_parameters} parameters need at least {c.n_parameters + 2} data, "
                f"there are {c.n_data}; it is not ranked."
            )
        if not self.ranking:
            yield "These data are too few to rank any of the candidates."
        elif len(self.ranking) == 1:
            if without:
                yield f"Only {self.ranking[0]} can be ranked, so nothing is decided."
            else:
                yield f"{self.ranking[0]} is the only candidate; there is nothing to compare it with."
        else:
            yield from self._verdict(word, delta)
        for group in self._same_fit():
            yield (
                f"{_listed(group)} fit equally well with as many parameters: more of the same data will hardly tell "
                "them apart, only another kind of experiment will."
            )
        yield from (test.sentence for test in self.tests)

    def _verdict(self, word: str, delta: Mapping[str, float]) -> Iterable[str]:
        best, *close = self.indistinct
        if close:
            apart = ", ".join(f"{delta[name]:.2g}" for name in close)
            yield (
                f"These data cannot tell {best} from {_listed(close, 'or')}: {word} differs by {apart}, less than "
                f"{INDISTINCT:g}."
            )
        else:
            second = self.ranking[1]
            yield f"{best} is favoured: the next best, {second}, has {word} higher by {delta[second]:.3g}."
        weaker = [n for n in self.ranking if INDISTINCT <= delta[n] <= UNSUPPORTED]
        if weaker:
            yield "Less supported: " + ", ".join(f"{n} (+{delta[n]:.3g})" for n in weaker) + "."
        out = [n for n in self.ranking if delta[n] > UNSUPPORTED]
        if out:
            yield "Practically without support: " + ", ".join(f"{n} (+{delta[n]:.3g})" for n in out) + "."

    def _same_fit(self) -> list[tuple[str, ...]]:
        groups: list[list[str]] = []
        for name in sorted(self.indistinct, key=lambda n: self.candidates[n].nllh):
            candidate = self.candidates[name]
            for group in groups:
                first = self.candidates[group[0]]
                if first.n_parameters == candidate.n_parameters and candidate.nllh - first.nllh < SAME_FIT:
                    group.append(name)
                    break
            else:
                groups.append([name])
        return [tuple(group) for group in groups if len(group) > 1]


def compare(
    candidates: Mapping[str, Candidate],
    *,
    nested: Iterable[Nested | tuple[str, str]] = (),
    criterion: Criterion | str = Criterion.AICC,
    level: float = 0.05,
) -> Selection:
    """Rank fitted candidates and test nested pairs.

    Args:
        candidates: by name; all fitted to the same data.
        nested: pairs (small, large) for likelihood ratio tests.
        criterion: to rank by.  Where AICc is undefined a candidate is left unranked rather than ranked otherwise.
        level: below which p-values reject the smaller model.

    Raises:
        InputError: there are no candidates, they were fitted to different data, or a pair cannot be nested.
        UnknownName: a pair names no candidate.
    """
    if not candidates:
        raise InputError("there are no candidates to compare")
    sizes = {name: candidate.n_data for name, candidate in candidates.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} ({size})" for name, size in sizes.items())
        raise InputError(f"candidates must be fitted to the same data, got different numbers of them: {shown}")
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    try:
        chosen = Criterion(criterion)
    except ValueError:
        raise InputError(f"criterion must be 'AIC', 'AICc' or 'BIC', got {criterion!r}") from None
    pairs = [pair if isinstance(pair, Nested) else Nested(*pair) for pair in nested]
    return Selection(dict(candidates), chosen, tuple(_ratio_test(candidates, pair, level) for pair in pairs))


def _ratio_test(candidates: Mapping[str, Candidate], pair: Nested, level: float) -> RatioTest:
    for name in (pair.small, pair.large):
        if name not in candidates:
            raise UnknownName("candidate", name, candidates, "the nested pairs")
    small, large = candidates[pair.small], candidates[pair.large]
    degrees = large.n_parameters - small.n_parameters
    if degrees < 1:
        raise InputError(
            f"{pair.large!r} must have more parameters than {pair.small!r} nested in it, got {large.n_parameters} and "
            f"{small.n_parameters}"
        )
    if pair.at_boundary and degrees != 1:
        raise InputError(
            f"a test at a boundary is known for one parameter; {pair.large!r} has {degrees} more than {pair.small!r}"
        )
    statistic = 2.0 * (small.nllh - large.nllh)
    if statistic < -ROUNDING:
        p_value = math.nan
    else:
        p_value = float(chdtrc(degrees, max(statistic, 0.0)))
        if pair.at_boundary:
            p_value = 0.5 * p_value if statistic > 0.0 else 1.0
    return RatioTest(pair.small, pair.large, statistic, degrees, p_value, level, pair.at_boundary)


def _listed(names: Iterable[str], word: str = "and") -> str:
    words = list(names)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {word} {words[-1]}"
