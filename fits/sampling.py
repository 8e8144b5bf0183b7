"""Samples from the posterior by the affine-invariant ensemble of emcee, with diagnostics and resume.

The density is ``exp(-objective)`` between the bounds, so it is a posterior where the objective contains the priors, or
where flat priors on the search scale are meant.  emcee (Foreman-Mackey et al. 2013, doi:10.1086/670067) is an optional
dependency.

The chain is computed in chunks of fixed length whose random numbers come from (seed, chunk), so a chain that was
interrupted, or is made longer, goes on to the bit as if it had run in one piece.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fits.evaluation import FloatArray, Objective
from fits.information import (
    Point,
    correlations_of,
    curvature_of,
    evaluate_optimum,
    point_of,
    ranges_of,
    scales_of,
    spread,
)
from fits.parameters import Scale
from fits.profiles import loaded, open_store
from fits.store import Store, digest
from fits.workers import ship
from kinetics.errors import InputError, SimulationError
from kinetics.progress import Progress, track

if TYPE_CHECKING:
    import pandas as pd

METHOD = "emcee stretch move 1"  # part of the settings: a changed method must not continue another's chain
_WALKERS, _CHAIN = range(2)  # told apart, so that no two uses of a seed share random numbers
LONG_ENOUGH = 50.0  # autocorrelation times; the rule of emcee's authors
MIXED = 1.05  # split R-hat


@dataclass(frozen=True, eq=False)
class Samples:
    """A chain of an ensemble of walkers; parameters are on the search scale."""

    names: tuple[str, ...]
    lower: FloatArray  # (n,)
    upper: FloatArray  # (n,)
    scales: tuple[Scale, ...]
    chain: FloatArray  # (n_steps, n_walkers, n)
    objective: FloatArray  # (n_steps, n_walkers)
    accepted: FloatArray  # (n_walkers,), share of accepted proposals
    seed: int

    @cached_property
    def autocorrelation_times(self) -> FloatArray:
        """Integrated, in steps, by parameter, shape ``(n,)``; an underestimate while the chain is short."""
        import emcee

        with warnings.catch_warnings():  # a walker that never moved has no correlation
            warnings.simplefilter("ignore")
            return np.asarray(emcee.autocorr.integrated_time(self.chain, tol=0), dtype=float)

    @property
    def burn_in(self) -> int:
        """Steps to forget: twice the longest autocorrelation time, at most half of the chain."""
        times = self.autocorrelation_times
        longest = float(np.max(times)) if np.all(np.isfinite(times)) else math.inf
        return int(min(math.ceil(2.0 * longest) if math.isfinite(longest) else math.inf, len(self.chain) // 2))

    @property
    def r_hat(self) -> FloatArray:
        """Split R-hat over the halves of all walkers after burn-in, by parameter, shape ``(n,)``.

        Walkers of one ensemble are not independent chains, so a value near 1 is necessary rather than sufficient.
        """
        return split_r_hat(self.chain[self.burn_in :])

    @property
    def effective_size(self) -> FloatArray:
        """Independent samples that the chain after burn-in is worth, by parameter, shape ``(n,)``."""
        kept = (len(self.chain) - self.burn_in) * self.chain.shape[1]
        return np.asarray(kept / np.maximum(self.autocorrelation_times, 1.0))

    @property
    def correlations(self) -> FloatArray:
        """Of the samples after burn-in, shape ``(n, n)``."""
        return correlations_of(np.atleast_2d(np.cov(self.flat(), rowvar=False)))

    @property
    def long_enough(self) -> bool:
        times = self.autocorrelation_times
        return bool(np.all(np.isfinite(times)) and len(self.chain) >= LONG_ENOUGH * float(np.max(times)))

    @property
    def best(self) -> FloatArray:
        """The sample of the lowest objective, shape ``(n,)``."""
        step, walker = np.unravel_index(int(np.argmin(self.objective)), self.objective.shape)
        return np.asarray(self.chain[step, walker])

    def flat(self, size: int | None = None) -> FloatArray:
        """All samples after burn-in, shape ``(k, n)``; evenly thinned to ``size`` where that is fewer."""
        kept = self.chain[self.burn_in :].reshape(-1, len(self.names))
        if size is None or size >= len(kept):
            return kept
        if size < 1:
            raise InputError(f"size must be at least 1, got {size}")
        return np.asarray(kept[np.linspace(0, len(kept) - 1, size).astype(int)])

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The central credible interval, on the search scale."""
        if not 0.0 < level < 1.0:
            raise InputError(f"level must lie between 0 and 1, got {level}")
        tail = 0.5 * (1.0 - level)
        low, high = np.quantile(self.flat()[:, self.names.index(name)], [tail, 1.0 - tail])
        return float(low), float(high)

    def sentences(self, level: float = 0.95) -> tuple[str, ...]:
        return tuple(self._sentences(level))

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_frame(self) -> pd.DataFrame:
        """A row per parameter: moments, interval and diagnostics on the search scale."""
        import pandas as pd

        kept, sizes, r_hat, times = self.flat(), self.effective_size, self.r_hat, self.autocorrelation_times
        rows = []
        for i, name in enumerate(self.names):
            low, high = self.interval(name)
            rows.append({
                "parameter": name, "mean": float(np.mean(kept[:, i])), "sd": float(np.std(kept[:, i])),
                "median": float(np.median(kept[:, i])), "lower_95": low, "upper_95": high,
                "effective_size": float(sizes[i]), "r_hat": float(r_hat[i]), "autocorrelation_time": float(times[i]),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def to_inference_data(self) -> Any:
        """The samples after burn-in as ArviZ has them, walkers as chains.

        Raises:
            InputError: ArviZ is not installed.
        """
        try:
            with warnings.catch_warnings():  # of its own future, at import
                warnings.simplefilter("ignore")
                arviz: Any = importlib.import_module("arviz")
        except ImportError:
            raise InputError("InferenceData needs ArviZ: pip install arviz") from None
        kept, lp = self.chain[self.burn_in :], -self.objective[self.burn_in :]
        posterior = {name: np.ascontiguousarray(kept[:, :, i].T) for i, name in enumerate(self.names)}
        groups = {"posterior": posterior, "sample_stats": {"lp": np.ascontiguousarray(lp.T)}}
        if int(arviz.__version__.split(".")[0]) >= 1:  # groups became one argument
            return arviz.from_dict(groups)
        return arviz.from_dict(**groups)

    def _sentences(self, level: float) -> Iterable[str]:
        steps, walkers, _ = self.chain.shape
        times, r_hat = self.autocorrelation_times, self.r_hat
        accepted = float(np.mean(self.accepted))
        yield (
            f"{walkers} walkers made {steps} steps and accepted {accepted:.0%} of the proposals; the first "
            f"{self.burn_in} steps are left out, the rest is worth {np.min(self.effective_size):.0f} independent "
            "samples or more for each parameter."
        )
        if not self.long_enough:
            longest = self.names[int(np.argmax(np.where(np.isfinite(times), times, np.inf)))]
            yield (
                f"The chain is too short to trust: it should be {LONG_ENOUGH:g} times as long as the autocorrelation "
                f"time, which is {np.max(times):.0f} steps or more for {longest}. Ask for more steps, it goes on."
            )
        apart = [f"{name} ({value:.2f})" for name, value in zip(self.names, r_hat, strict=True) if not value <= MIXED]
        if apart:
            yield f"Walkers disagree with each other, or with their own first half, by split R-hat: {', '.join(apart)}."
        if not 0.1 <= accepted <= 0.8:
            yield (
                f"An acceptance of {accepted:.0%} is unusual (0.1 to 0.8): the posterior may have several separate or "
                "strongly curved parts."
            )
        for i, name in enumerate(self.names):
            low, high = self.interval(name, level)
            plain = self.scales[i].plain
            middle = float(np.median(self.flat()[:, i]))
            yield (
                f"{name}: median {plain(middle):.4g}, {100.0 * level:.4g} % between {plain(low):.4g} and "
                f"{plain(high):.4g}{self._limits(i)}."
            )

    def _limits(self, i: int) -> str:
        """Whether the posterior leans on a bound, which then says as much as the data."""
        values, span = self.flat()[:, i], self.upper[i] - self.lower[i]
        if not math.isfinite(span):
            return ""
        near = [
            side
            for side, gap in (("lower", values - self.lower[i]), ("upper", self.upper[i] - values))
            if np.mean(gap < 0.05 * span) > 0.05
        ]
        return f"; it leans on its {' and its '.join(near)} bound, so the bound decides too" if near else ""


def split_r_hat(chain: FloatArray) -> FloatArray:
    """Split R-hat of Gelman et al. (Bayesian Data Analysis, third edition, 11.4), shape ``(n,)``.

    ``chain`` has shape ``(n_steps, n_chains, n)``; each chain is cut in half, so a drift shows as well.
    """
    half = len(chain) // 2
    if half < 2:
        return np.full(chain.shape[2], np.nan)
    parts = np.concatenate([chain[:half], chain[-half:]], axis=1)  # (half, 2 n_chains, n)
    within = np.mean(np.var(parts, axis=0, ddof=1), axis=0)
    between = half * np.var(np.mean(parts, axis=0), axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(((half - 1) / half * within + between / half) / within))


def sample(
    objective: Objective,
    optimum: Point,
    n_steps: int,
    *,
    seed: int = 0,
    walkers: int | None = None,
    chunk: int = 100,
    scales: Mapping[str, Scale | str] | None = None,
    store: Store | str | Path | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> Samples:
    """Sample ``exp(-objective)`` between the bounds.

    Args:
        objective: what was minimised.
        optimum: around which the walkers begin, as far apart as the curvature there allows.
        n_steps: of the whole chain; with a store only what it lacks is computed.
        seed: the chain depends on the seed, ``walkers`` and ``chunk`` alone.
        walkers: how many; at least twice the number of parameters, by default four times and no fewer than 16.
        chunk: steps between two commits to the store; the last chunk is computed whole.
        scales: by name, for words in plain values; an objective made from a problem knows them itself.
        store: keeps every finished chunk.
        executor: where the objective is evaluated.
        progress: whether to draw a bar once it takes long, by default where somebody looks.

    Raises:
        InputError: arguments do not fit, or emcee is not installed.
        SimulationError: no walker finds a point around the optimum.
        StoreError: the store cannot be used.
    """
    try:
        import emcee  # noqa: F401  is it there?
    except ImportError:
        raise InputError("sampling needs emcee: pip install 'cytokine-kinetics[sampling]'") from None
    x = point_of(objective, optimum)
    count = max(16, 4 * len(x)) if walkers is None else int(walkers)
    if n_steps < 1 or chunk < 1 or seed < 0:
        raise InputError(f"sampling needs n_steps >= 1, chunk >= 1 and seed >= 0, got {n_steps}, {chunk}, {seed}")
    if count < max(2 * len(x), 4):
        raise InputError(f"{len(x)} parameters need at least {max(2 * len(x), 4)} walkers, got {count}")
    settings = {"method": METHOD, "seed": int(seed), "walkers": count, "chunk": int(chunk), "x": x}
    with ExitStack() as stack:
        opened = open_store(objective, store, stack)
        kind = f"samples {digest(settings)[:12]}"
        pieces = None if opened is None else opened.open_kind(kind, settings)
        stored = {} if pieces is None else {number: document for number, document, _ in pieces.items()}
        chunks: list[_Chunk] = []
        run = _Ensemble(objective, x, int(seed), count, int(chunk), executor)
        needed = range(math.ceil(n_steps / chunk))
        known = sum(number in stored for number in needed)
        length = int(chunk)
        bar = stack.enter_context(
            track("sampling", length * len(needed), progress=progress, unit="steps", done=length * known)
        )
        for number in needed:
            if number in stored:
                chunks.append(_Chunk.from_document(stored[number]))
                continue
            chunks.append(run.chunk(number, chunks[-1] if chunks else None, bar))
            if pieces is not None:
                pieces.put(number, chunks[-1].to_document())
    chain = np.concatenate([part.chain for part in chunks])[:n_steps]
    values = np.concatenate([part.values for part in chunks])[:n_steps]
    moved = np.sum([part.accepted for part in chunks], axis=0) / (len(chunks) * chunk)
    return Samples(
        tuple(objective.names), np.array(objective.lower, dtype=float), np.array(objective.upper, dtype=float),
        scales_of(objective, scales), chain, values, moved, int(seed),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some steps of the ensemble."""

    chain: FloatArray  # (chunk, n_walkers, n)
    values: FloatArray  # (chunk, n_walkers), of the objective
    accepted: FloatArray  # (n_walkers,), number of accepted proposals

    def to_document(self) -> dict[str, Any]:
        return {"chain": self.chain, "values": self.values, "accepted": self.accepted}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> _Chunk:
        return cls(*(np.array(document[name], dtype=float) for name in ("chain", "values", "accepted")))


class _Ensemble:
    """The walkers, and how they move."""

    def __init__(
        self, objective: Objective, x: FloatArray, seed: int, walkers: int, chunk: int, executor: Executor | None
    ) -> None:
        self._objective, self._x, self._seed, self._walkers, self._length = objective, x, seed, walkers, chunk
        self._pool: _Pool | None = None
        self._density: Callable[[FloatArray], float] = partial(log_density, objective)
        if executor is not None:
            payload = ship(objective)
            self._density = partial(_log_density_shipped, hashlib.sha256(payload).hexdigest(), payload)
            self._pool = _Pool(executor)

    def chunk(self, number: int, before: _Chunk | None, bar: Progress) -> _Chunk:
        import emcee

        state = np.random.RandomState(
            np.random.MT19937(np.random.SeedSequence((self._seed, _CHAIN, number)))
        ).get_state()
        if before is None:
            coords = self._begin()
            start = emcee.State(coords, random_state=state)
        else:
            start = emcee.State(before.chain[-1], log_prob=-before.values[-1], random_state=state)
        sampler = emcee.EnsembleSampler(self._walkers, len(self._x), self._density, pool=self._pool)
        # Walkers on a narrow ridge look dependent to emcee's check, which is about its own starting balls.
        for _ in sampler.sample(start, iterations=self._length, store=True, skip_initial_state_check=True):
            bar.advance()
        return _Chunk(sampler.get_chain(), -sampler.get_log_prob(), np.asarray(sampler.backend.accepted, dtype=float))

    def _begin(self) -> FloatArray:
        """Walkers around the optimum, shape ``(n_walkers, n)``: each depends on the seed and its number alone."""
        here = evaluate_optimum(self._objective, self._x)
        covariance = spread(self._objective, self._x, curvature_of(self._objective, self._x, here)[0])
        scale = ranges_of(self._objective, self._x)
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        root = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
        lower, upper = np.asarray(self._objective.lower, float), np.asarray(self._objective.upper, float)
        coords = np.empty((self._walkers, len(self._x)))
        for walker in range(self._walkers):
            rng = np.random.default_rng((self._seed, _WALKERS, walker))
            for attempt in range(100):
                shrink = 0.9**attempt  # towards the optimum, where the objective is known to work
                point = self._x + shrink * root @ rng.standard_normal(len(self._x))
                point = _reflected(point, lower, upper)
                value = self._objective.evaluate(point).value
                # A walker far up a wall would take long to come down; 10 n is far outside any posterior.
                if value - here.value < 10.0 * len(self._x):
                    coords[walker] = point
                    break
            else:
                raise SimulationError(
                    f"walker {walker} found no point around the optimum at which the objective works and is within "
                    f"{10 * len(self._x)} of its minimum, in 100 attempts"
                )
        return coords


def _reflected(point: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Back between the bounds; where one reflection does not do, onto the nearer bound's inside."""
    point = np.where(point < lower, 2.0 * lower - point, point)
    point = np.where(point > upper, 2.0 * upper - point, point)
    return np.clip(point, lower, upper)


def log_density(objective: Objective, x: FloatArray) -> float:
    """Minus the objective between the bounds; ``-inf`` outside, and where a simulation fails."""
    if np.any(x < objective.lower) or np.any(x > objective.upper):
        return -math.inf
    value = objective.evaluate(x).value
    return -math.inf if not math.isfinite(value) else -float(value)


def _log_density_shipped(key: str, payload: bytes, x: FloatArray) -> float:
    return log_density(loaded(key, payload), x)


class _Pool:
    """An executor as emcee wants it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return self._executor.map(function, items)
