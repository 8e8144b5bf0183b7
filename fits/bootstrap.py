"""Parametric bootstrap: new data from the fitted model, fitted again, as often as wanted.

What simulating and refitting mean is given as two functions, so it serves a problem, a measured curve or a toy alike.
Replicate ``i`` depends on the seed and ``i`` alone: 200 replicates after 100 compute 100 new ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fits.evaluation import FloatArray
from fits.result import without_numbers
from fits.store import Store, digest
from kinetics.errors import InputError, SimulationError
from kinetics.progress import track

if TYPE_CHECKING:
    import pandas as pd

Data = TypeVar("Data")
FEW = 0.05  # share of failed replicates above which the intervals are doubtful


@dataclass(frozen=True, eq=False)
class Refit:
    """A replicate: the estimates and the lowest objective."""

    x: FloatArray  # (n,), NaN where it failed
    value: float = math.nan
    failure: str = ""


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The estimates of all replicates, on the scale on which they were given."""

    names: tuple[str, ...]
    optimum: FloatArray  # (n,)
    estimates: FloatArray  # (n_replicates, n), of those that succeeded
    values: FloatArray  # (n_replicates,), their objectives
    failures: tuple[str, ...]  # one message per replicate that did not
    seed: int

    @property
    def standard_errors(self) -> FloatArray:
        """Shape ``(n,)``."""
        return np.asarray(np.std(self.estimates, axis=0, ddof=1))

    @property
    def bias(self) -> FloatArray:
        """Mean of the estimates minus what the data were made with, shape ``(n,)``."""
        return np.asarray(np.mean(self.estimates, axis=0) - self.optimum)

    @property
    def covariance(self) -> FloatArray:
        """Shape ``(n, n)``."""
        return np.atleast_2d(np.cov(self.estimates, rowvar=False))

    def interval(self, name: str, level: float = 0.95, *, basic: bool = False) -> tuple[float, float]:
        """The percentile interval of an estimate, or the basic one, which is mirrored at the optimum."""
        if name not in self.names:
            raise InputError(f"no estimate named {name!r}; there are {', '.join(self.names)}")
        i = self.names.index(name)
        return _interval(self.estimates[:, i], float(self.optimum[i]), level, basic)

    def quantity_interval(
        self, quantity: Callable[[FloatArray], float], level: float = 0.95, *, basic: bool = False
    ) -> tuple[float, float]:
        """The interval of something derived from the estimates, such as an EC50 shift."""
        drawn = np.array([quantity(x) for x in self.estimates])
        return _interval(drawn, float(quantity(self.optimum)), level, basic)

    def p_value(self, value: float) -> float:
        """How often data of the fitted model are fitted as badly as the real data were, whose objective is ``value``.

        A small one says that the model, noise included, does not describe the data.  Only objectives that refits
        returned count.
        """
        known = self.values[np.isfinite(self.values)]
        if not len(known):
            raise InputError("the refits returned no objectives: return Refit(x, value)")
        return float((1 + np.sum(known >= value)) / (1 + len(known)))

    def to_frame(self) -> pd.DataFrame:
        """A row per replicate that succeeded."""
        import pandas as pd

        columns = {name: self.estimates[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame({**columns, "objective": self.values})

    def sentences(self, level: float = 0.95) -> tuple[str, ...]:
        return tuple(self._sentences(level))

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _sentences(self, level: float) -> Iterable[str]:
        total = len(self.estimates) + len(self.failures)
        yield f"{len(self.estimates)} of {total} replicates were fitted."
        if self.failures:
            kind, count = Counter(without_numbers(message) for message in self.failures).most_common(1)[0]
            example = next(message for message in self.failures if without_numbers(message) == kind)
            doubtful = "; so many that the intervals are doubtful" if len(self.failures) > FEW * total else ""
            yield f"{len(self.failures)} failed{doubtful}, most often ({count} times) like this: {example}."
        needed = math.ceil(20.0 / (1.0 - level))
        if len(self.estimates) < needed:
            yield f"A {100 * level:.4g} % interval wants {needed} replicates or more, with ten beyond each end."
        for i, name in enumerate(self.names):
            low, high = self.interval(name, level)
            yield (
                f"{name} = {self.optimum[i]:.4g}, {100 * level:.4g} % bootstrap interval {low:.4g} to {high:.4g}, "
                f"standard error {self.standard_errors[i]:.3g}, bias {self.bias[i]:.2g}."
            )


def bootstrap(
    simulate: Callable[[np.random.Generator], Data],
    refit: Callable[[Data], Refit | Sequence[float] | FloatArray],
    optimum: Mapping[str, float],
    n: int,
    *,
    seed: int = 0,
    store: Store | None = None,
    label: str = "",
    executor: Executor | None = None,
    progress: bool | None = None,
) -> Bootstrap:
    """Make data from the fitted model and fit them, ``n`` times.

    Args:
        simulate: new data, noise included, from the model at the optimum.
        refit: the estimates for new data, best searched from the optimum; a `Refit` also tells their objective.  What
            cannot be fitted is raised as `SimulationError` and counted.
        optimum: the estimates for the real data, by name, on the scale ``refit`` returns them on.
        n: number of replicates; with a store only those it lacks are made.
        seed: replicate ``i`` depends on the seed and ``i`` alone.
        store: an open store, which keeps every replicate.
        label: tells bootstraps of one store apart whose two functions differ.
        executor: where to run; the two functions must then be importable by workers.
        progress: whether to draw a bar once it takes long, by default where somebody looks.

    Raises:
        InputError: arguments do not fit, or ``refit`` returns something else than estimates.
        SimulationError: fewer than two replicates could be fitted.
    """
    names, x = tuple(optimum), np.array(list(optimum.values()), dtype=float)
    if n < 2 or seed < 0:
        raise InputError(f"a bootstrap needs n >= 2 and seed >= 0, got {n}, {seed}")
    if not names or not np.all(np.isfinite(x)):
        raise InputError(f"a bootstrap needs a finite estimate of each parameter, got {dict(optimum)}")
    settings = {"method": "parametric bootstrap 1", "label": label, "names": list(names), "x": x, "seed": int(seed)}
    with ExitStack() as stack:
        pieces = None if store is None else store.open_kind(f"bootstrap {digest(settings)[:12]}", settings)
        done: dict[int, Refit] = {}
        if pieces is not None:
            done = {number: _read(document) for number, document, _ in pieces.items() if number < n}
        missing = [i for i in range(n) if i not in done]
        replicates = _replicates(simulate, refit, len(x), int(seed), missing, executor)
        stack.callback(replicates.close)
        bar = stack.enter_context(track("bootstrapping", n, progress=progress, unit="replicates", done=len(done)))
        for number, found in replicates:
            if pieces is not None:
                pieces.put(number, {"x": found.x, "value": found.value, "failure": found.failure})
            done[number] = found
            bar.advance()
    ordered = [done[i] for i in range(n)]
    good = [found for found in ordered if not found.failure]
    failures = tuple(found.failure for found in ordered if found.failure)
    if len(good) < 2:
        raise SimulationError(f"{len(failures)} of {n} bootstrap replicates failed, the first with: {failures[0]}")
    estimates, values = np.array([found.x for found in good]), np.array([found.value for found in good])
    return Bootstrap(names, x, estimates, values, failures, int(seed))


def _replicates(
    simulate: Callable[[np.random.Generator], Data],
    refit: Callable[[Data], Refit | Sequence[float] | FloatArray],
    size: int,
    seed: int,
    missing: Sequence[int],
    executor: Executor | None,
) -> Generator[tuple[int, Refit], None, None]:
    if executor is None:
        for index in missing:
            yield index, _replicate(simulate, refit, size, seed, index)
        return
    futures: dict[Future[Refit], int] = {
        executor.submit(_replicate, simulate, refit, size, seed, index): index for index in missing
    }
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _replicate(
    simulate: Callable[[np.random.Generator], Data],
    refit: Callable[[Data], Refit | Sequence[float] | FloatArray],
    size: int,
    seed: int,
    index: int,
) -> Refit:
    rng = np.random.default_rng((seed, index))
    try:
        found = refit(simulate(rng))
    except SimulationError as error:
        return Refit(np.full(size, np.nan), failure=str(error) or type(error).__name__)
    if not isinstance(found, Refit):
        found = Refit(np.asarray(found, dtype=float))
    if found.x.shape != (size,):
        raise InputError(f"refit must return {size} estimates, one per name, got shape {found.x.shape}")
    if not found.failure and not np.all(np.isfinite(found.x)):
        return Refit(found.x, found.value, "the estimates are not finite")
    return found


def _read(document: Mapping[str, Any]) -> Refit:
    x = np.array([float(v) for v in document["x"]])
    return Refit(x, float(document["value"]), str(document["failure"]))


def _interval(drawn: FloatArray, centre: float, level: float, basic: bool) -> tuple[float, float]:
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    tail = 0.5 * (1.0 - level)
    low, high = (float(q) for q in np.quantile(drawn, [tail, 1.0 - tail]))
    return (2.0 * centre - high, 2.0 * centre - low) if basic else (low, high)
