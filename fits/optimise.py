"""Fit: many local searches from seeded starts, in any number of processes, each kept as soon as it is finished.

The same call gives the same result for any number of workers and however often it was interrupted, because a start
depends on the objective, the settings and its own number alone.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from fits.evaluation import Objective
from fits.local import ExitReason, Tolerance
from fits.provenance import Provenance, collect
from fits.result import FitResult, StartRecord, assemble
from fits.search import Limits, Search, circumstances, run_start
from fits.starts import StartDesign, draw
from fits.store import Store
from fits.workers import WorkersFailed, run_in_processes, ship
from kinetics.errors import InputError
from kinetics.progress import track


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C during a fit; ``result`` has the starts finished by then and the message says how to go on."""

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result


def fit(
    objective: Objective,
    *,
    n_starts: int = 10,
    seed: int = 0,
    design: StartDesign | None = None,
    limits: Limits | None = None,
    tolerance: Tolerance | None = None,
    workers: int = 0,
    executor: Executor | None = None,
    store: str | Path | None = None,
    progress: bool | None = None,
    command: Sequence[str] | None = None,
) -> FitResult:
    """Minimise an objective by local searches from many starting points.

    Args:
        objective: what to minimise; sums of squares and objectives with a Hessian converge fastest.
        n_starts: how many starts there shall be; with a store, only those it lacks are run.
        seed: start ``i`` depends on the seed and ``i`` alone.
        design: how starting points are drawn.
        limits: what one start may cost.  A hanging evaluation can be ended in worker processes only.
        tolerance: when a local search has converged.
        workers: number of worker processes; 0 runs here, one start after the other.
        executor: where to run instead: a Dask client's, an MPI pool, any `concurrent.futures.Executor`.
        store: file that keeps every finished start; a later call with the same arguments goes on from there.
        progress: whether to draw a bar once it takes long; by default where somebody looks.
        command: the command line for the record, by default that of this process.

    Raises:
        InputError: an argument cannot be meant, or the objective has no finite range to draw starts from.
        StoreInUse, StoreDamaged, StoreMismatch: the store cannot be used; it is left as it is.
        WorkersFailed: workers or executor broke down as a whole; finished starts are in the store.
        FitInterrupted: Ctrl-C; finished starts are in the store and in the exception.
    """
    if n_starts < 1:
        raise InputError(f"a fit needs at least 1 start, got {n_starts}")
    if workers < 0:
        raise InputError(f"workers must be 0 (run here) or the number of processes, got {workers}")
    if workers and executor is not None:
        raise InputError(f"pass workers or an executor, got workers={workers} and {type(executor).__name__}")
    search = Search(int(seed), design or StartDesign(), limits or Limits(), tolerance or Tolerance())
    _check(objective, search)
    provenance = collect(command)
    about = {
        "names": list(objective.names), "lower": objective.lower, "upper": objective.upper,
        "provenance": provenance.to_dict(),
    }  # fmt: skip
    run = _Run(objective, search, n_starts, about, provenance)
    if store is None:
        return run.complete(None, workers, executor, progress)
    with Store(store, objective.fingerprint, about) as opened:
        return run.complete(opened, workers, executor, progress)


def _check(objective: Objective, search: Search) -> None:
    lower, upper = np.asarray(objective.lower, dtype=float), np.asarray(objective.upper, dtype=float)
    if not len(objective.names):
        raise InputError("there is no free parameter to fit")
    for name, low, high in zip(objective.names, lower, upper, strict=True):
        if not low < high:
            raise InputError(f"parameter {name!r} needs lower < upper, got {low}, {high}")
    draw(objective, search.design, search.seed, 0)  # says now rather than in every worker what is missing


class _Run:
    """One call of `fit`."""

    def __init__(
        self, objective: Objective, search: Search, n_starts: int, about: dict[str, Any], provenance: Provenance
    ) -> None:
        self._objective, self._search, self._n_starts = objective, search, n_starts
        self._about, self._provenance = about, provenance
        self._records: list[StartRecord] = []

    def complete(
        self, store: Store | None, workers: int, executor: Executor | None, progress: bool | None
    ) -> FitResult:
        pieces = None if store is None else store.open_kind("start", self._search.settings())
        if pieces is not None:
            stored = [StartRecord.from_document(*item) for item in pieces.items()]
            self._records = [record for record in stored if record.index < self._n_starts]
        done = {record.index for record in self._records}
        missing = [index for index in range(self._n_starts) if index not in done]
        records = self._records_of(missing, workers, executor)
        try:
            with track("fitting", self._n_starts, progress=progress, unit="starts", done=len(done)) as bar:
                for record in records:
                    if pieces is not None:
                        pieces.put(record.index, record.to_document(), record.circumstances)
                    self._records.append(record)
                    bar.advance(said=f"best {min(r.value for r in self._records):.6g}")
        except KeyboardInterrupt:
            count = f"interrupted after {len(self._records)} of {self._n_starts} starts"
            if store is None:
                message = f"{count}; without a store they cannot be continued, pass store=... next time"
            else:
                message = f"{count}, all kept in {store.path}; run the same command again to go on"
            raise FitInterrupted(message, self._result()) from None
        finally:
            records.close()
        return self._result()

    def _records_of(
        self, missing: list[int], workers: int, executor: Executor | None
    ) -> Generator[StartRecord, None, None]:
        if not missing:
            return
        if executor is not None:
            yield from _run_in_executor(self._objective, self._search, missing, executor)
        elif workers:
            yield from run_in_processes(self._objective, self._search, missing, workers)
        else:
            for index in missing:
                yield run_start(self._objective, self._search, index)

    def _result(self) -> FitResult:
        search, fingerprint = self._search.settings(), self._objective.fingerprint
        return assemble(self._about, self._records, search, fingerprint, self._provenance)


def _run_in_executor(
    objective: Objective, search: Search, indices: Sequence[int], executor: Executor
) -> Iterator[StartRecord]:
    payload = ship(objective)
    key = hashlib.sha256(payload).hexdigest()
    futures: dict[Future[StartRecord | str], int] = {
        executor.submit(run_shipped, key, payload, search, index): index for index in indices
    }
    try:
        for future in as_completed(futures):
            index = futures[future]
            try:
                outcome = future.result()
            except BrokenExecutor as error:
                raise WorkersFailed(
                    f"the executor broke down in or before start {index} ({error}): run the same command again to go "
                    "on, or pass workers=..., where a dying process costs one start"
                ) from error
            except Exception as error:
                # Dask gives a task up after several workers died of it; anything else is no fault of the start.
                if type(error).__name__ != "KilledWorker":
                    raise WorkersFailed(f"the executor could not run start {index}: {error}") from error
                message = f"{type(error).__name__}: {error}"
                outcome = StartRecord.failed(
                    index, len(objective.names), ExitReason.DIED, message, circumstances=circumstances(0.0)
                )
            if isinstance(outcome, str):
                raise WorkersFailed(f"workers of the executor cannot load the objective: {outcome}")
            yield outcome
    finally:
        for future in futures:
            future.cancel()


_loaded: dict[str, Objective] = {}  # the last objective this process was sent


def run_shipped(key: str, payload: bytes, search: Search, index: int) -> StartRecord | str:
    """Run a start of an objective that came as bytes, loaded once per process; or say why it cannot be loaded."""
    if key not in _loaded:
        _loaded.clear()
        try:
            _loaded[key] = pickle.loads(payload)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return run_start(_loaded[key], search, index)
