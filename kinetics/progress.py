"""How far a computation has come, for people who wait: a bar with the time left once it takes longer than two seconds.

One mechanism for simulations, fits and commands.  ``progress=None`` draws where somebody looks: in a notebook or on a
terminal.  Of computations inside each other the outermost draws, as it knows best how much is left, and inside one
that is silent nothing draws by itself.  Results never depend on it.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

DELAY = 2.0  # seconds without a bar: most calls are over by then
BEAT = 0.5  # seconds between two looks at the clock
_COUNTED = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}{postfix}]"
_UNCOUNTED = "{desc} {elapsed}"

_outer: ContextVar[str] = ContextVar("progress of the computation around this one", default="")  # "drawn" or "silent"


class Progress:
    """What is done of a computation; made by `track`."""

    def __init__(self, text: str, total: int | None, unit: str, done: int) -> None:
        self.text, self.unit = text, unit
        self.total = None if total == 1 else total  # one step says nothing about what is left
        self.done = self._before = done
        self._said = ""
        self._began = time.time()

    def advance(self, count: int = 1, said: str = "") -> None:
        """``count`` more are done; ``said`` stands behind the bar from now on."""
        self.done += count
        self._said = said or self._said

    def _make(self, bar: Any, **options: Any) -> Any:
        layout = _UNCOUNTED if self.total is None else _COUNTED
        made = bar(
            desc=self.text, total=self.total, initial=self._before, unit=f" {self.unit}" if self.unit else "",
            bar_format=layout, leave=False, smoothing=0.0, miniters=1, mininterval=0.0, **options,
        )  # fmt: skip
        made.start_t = self._began  # the wait before the bar counts
        return made

    def _draw(self, bar: Any) -> None:
        bar.n = self.done
        bar.set_postfix_str(self._said, refresh=False)
        bar.refresh()


class _OnTerminal(Progress):
    """A line on standard error, drawn from a thread: one long step must not look like a standstill."""

    def __init__(self, text: str, total: int | None, unit: str, done: int) -> None:
        super().__init__(text, total, unit, done)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        if self._ended.wait(DELAY):
            return
        from tqdm import tqdm

        with self._make(tqdm, file=sys.stderr, dynamic_ncols=True) as bar:
            self._draw(bar)
            while not self._ended.wait(BEAT):
                self._draw(bar)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=DELAY)


class _InNotebook(Progress):
    """A widget below the cell; drawn between two steps, because a thread's output belongs to no cell."""

    _bar: Any = None

    def advance(self, count: int = 1, said: str = "") -> None:
        super().advance(count, said)
        if self._bar is None:
            if time.time() - self._began < DELAY:
                return
            with warnings.catch_warnings():  # without ipywidgets it is a line of text, and that is fine
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
            self._bar = self._make(tqdm)
        self._draw(self._bar)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    interactive = sys.modules.get("IPython")  # a kernel has imported it long ago
    if interactive is None:
        return False
    shell = interactive.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def somebody_looks() -> bool:
    """Whether progress has a place to be seen: a notebook, or a terminal as standard error."""
    processes = sys.modules.get("multiprocessing.process")  # a worker process has imported it
    if processes is not None and processes.parent_process() is not None:
        return False  # it has the terminal of its parent, whose bar is enough
    try:
        return in_notebook() or sys.stderr.isatty()
    except (AttributeError, ValueError):  # standard error is closed, or no stream at all
        return False


@contextmanager
def track(
    text: str, total: int | None = None, *, progress: bool | None = None, unit: str = "", done: int = 0
) -> Iterator[Progress]:
    """Show how far the computation inside has come; it says so by `Progress.advance`.

    Args:
        text: what is going on, as in "simulating".
        total: how many steps there are; ``None`` where nobody knows, which shows the time only.
        progress: whether to draw; by default where `somebody_looks` and no computation around this one draws.
        unit: what is counted, as in "starts".
        done: how many were done before.
    """
    around = _outer.get()
    if progress is None:
        shown = not around and somebody_looks()
    else:
        shown = progress and around != "drawn"
    if not shown:
        token = _outer.set(around or "silent")
        try:
            yield Progress(text, total, unit, done)
        finally:
            _outer.reset(token)
        return
    token = _outer.set("drawn")
    made: _OnTerminal | _InNotebook = (_InNotebook if in_notebook() else _OnTerminal)(text, total, unit, done)
    try:
        yield made
    finally:
        made.close()
        _outer.reset(token)
