"""Starts in worker processes of our own, which may die or hang at the cost of one start.

A pool of `concurrent.futures` breaks as a whole when one of its processes dies, and cannot end one that hangs.  Here
every worker is a process with a pipe: the objective goes down once, numbers of starts go down one by one, and up come
a sign of life before each evaluation and the record of each start.  Silence beyond the limit is a hang.

A worker notices when its parent is gone and ends itself, so a killed fit leaves nothing running.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext

from fits.evaluation import Objective
from fits.local import ExitReason
from fits.result import StartRecord
from fits.search import Search, circumstances, run_start
from kinetics.errors import InputError, KineticsError

LOADING_SECONDS = 120.0  # for starting Python and importing the engine, on top of the limit of an evaluation
SIGNS_PER_SECOND = 5.0
# When a whole machine goes down, workers may be ended an instant before we are; that is no fault of their starts.
GRACE_SECONDS = 0.5


class WorkersFailed(KineticsError):
    """Workers cannot do any work at all; finished starts are kept."""


def ship(objective: Objective) -> bytes:
    """The objective as it travels to workers.

    Raises:
        InputError: it cannot be pickled.
    """
    try:
        return pickle.dumps(objective, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise InputError(
            f"the objective cannot be sent to worker processes ({type(error).__name__}: {error}): "
            "define it at the top level of a module, or pass workers=0"
        ) from error


def run_in_processes(objective: Objective, search: Search, indices: Sequence[int], count: int) -> Iterator[StartRecord]:
    """Run starts in ``count`` worker processes; records come as they are finished, in any order.

    Raises:
        WorkersFailed: workers cannot be started or cannot load the objective.
    """
    payload, names = ship(objective), len(objective.names)
    context = multiprocessing.get_context("spawn")  # fork would copy threads and engines in an unknown state
    waiting, deaths, false_starts = deque(indices), set[int](), 0
    workers = [_Worker(context, search) for _ in range(min(count, len(indices)))]
    try:
        for worker in workers:  # all are starting up by now
            worker.load(payload)
        while waiting or any(worker.index is not None for worker in workers):
            for worker in workers:
                if waiting and worker.ready and worker.index is None:
                    worker.begin(waiting.popleft())
            multiprocessing.connection.wait([worker.connection for worker in workers], timeout=1.0)
            for place, worker in enumerate(workers):
                record, alive = worker.news()
                if record is not None:
                    yield record
                if alive and not worker.overdue(search):
                    continue
                index, seconds = worker.index, worker.seconds
                hung, ready = alive, worker.ready
                worker.end()
                if not ready:
                    false_starts += 1
                    if hung or worker.fault or false_starts >= 3:
                        raise WorkersFailed(_cannot_start(worker, hung))
                elif index is not None and hung:
                    message = f"no sign of life for {search.limits.evaluation_seconds:g} s"
                    more = {"circumstances": circumstances(seconds)}
                    yield StartRecord.failed(index, names, ExitReason.HUNG, message, **more)
                elif index is not None:
                    time.sleep(GRACE_SECONDS)
                    if index in deaths:
                        more = {"circumstances": circumstances(seconds)}
                        yield StartRecord.failed(index, names, ExitReason.DIED, worker.obituary(), **more)
                    else:  # once may be bad luck, out of memory beside a greedy neighbour, say
                        deaths.add(index)
                        waiting.appendleft(index)
                workers[place] = _Worker(context, search)
                workers[place].load(payload)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One worker process, seen from the parent."""

    def __init__(self, context: SpawnContext, search: Search) -> None:
        self.connection, far = context.Pipe()
        self._process = context.Process(target=_work, args=(far, search), daemon=True, name="fit worker")
        self.ready, self.fault = False, ""
        self.index: int | None = None  # the start it works on
        self._began = self._heard = time.monotonic()
        with _deaf_to_interrupts():
            self._process.start()
        far.close()  # so that the pipe ends when the worker does

    def load(self, payload: bytes) -> None:
        """Send the objective; waits until the worker takes it, if that is large."""
        with contextlib.suppress(OSError):  # it died already; `news` will say so
            self.connection.send_bytes(payload)

    @property
    def seconds(self) -> float:
        """Since the present start began."""
        return time.monotonic() - self._began

    def begin(self, index: int) -> None:
        self.index = index
        self._began = self._heard = time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.send(index)

    def news(self) -> tuple[StartRecord | None, bool]:
        """A record if one has come, and whether the worker is alive."""
        try:
            while self.connection.poll():
                message = self.connection.recv()
                self._heard = time.monotonic()
                if isinstance(message, StartRecord):
                    self.index = None
                    return message, True
                if message == "ready":
                    self.ready = True
                elif message != "alive":
                    self.fault = str(message)
        except (EOFError, OSError):
            return None, False
        return None, True

    def overdue(self, search: Search) -> bool:
        silence = time.monotonic() - self._heard
        if not self.ready:
            return silence > LOADING_SECONDS + search.limits.evaluation_seconds
        # Signs of life are thinned out, so the last may be a little older than the evaluation.
        return self.index is not None and silence > search.limits.evaluation_seconds + 1.0 / SIGNS_PER_SECOND

    def obituary(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            try:
                return f"ended by {signal.Signals(-code).name}"
            except ValueError:
                return f"ended by signal {-code}"
        return f"exit code {code}"

    def end(self) -> None:
        """End the process whatever it does."""
        self.connection.close()
        if self._process.is_alive() and not self.ready:
            self._process.terminate()
        self._process.join(0.0 if self.index is not None else 1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(10.0)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; one started here ignores it from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signals; the worker still does so for itself
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _cannot_start(worker: _Worker, hung: bool) -> str:
    if worker.fault:
        return f"worker processes cannot load the objective: {worker.fault}"
    if hung:
        return "a worker process took too long to load the objective: raise evaluation_seconds in Limits"
    return (
        f"worker processes end as soon as they start ({worker.obituary()}): a script must call fit below "
        "'if __name__ == \"__main__\":', and what it fits must live in a module; or pass workers=0"
    )


def _work(connection: Connection, search: Search) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        objective: Objective = pickle.loads(connection.recv_bytes())
    except EOFError:
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    last = 0.0

    def alive() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 1.0 / SIGNS_PER_SECOND:
            last = now
            connection.send("alive")

    # A hang inside compiled code may hold up every thread of Python; this timer of the interpreter's own goes off
    # nevertheless, should the parent not live to end us.
    patience = search.limits.start_seconds + 2.0 * search.limits.evaluation_seconds
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        try:
            connection.send("ready")
            while True:
                index = connection.recv()
                if math.isfinite(patience) and patience < 1e8:
                    faulthandler.dump_traceback_later(patience, exit=True, file=nowhere)
                record = run_start(objective, search, index, alive)
                faulthandler.cancel_dump_traceback_later()
                connection.send(record)
        except (EOFError, OSError):  # the parent closed the pipe or is gone
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
