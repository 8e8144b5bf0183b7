"""A function run in a process of its own, so that a crash there costs an error here and not the session."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import BinaryIO, TypeVar

T = TypeVar("T")

# Not multiprocessing: its spawned children import the user's script again, which runs it twice when it
# lacks `if __name__ == "__main__"`, and workers of a pool may be forbidden children.
_CHILD = """\
import pickle, sys
path, task = pickle.load(sys.stdin.buffer)
sys.path[:] = path
from kinetics.guard import _answer
_answer(task)
"""


def run_guarded(
    function: Callable[..., T],
    *args: object,
    timeout: float = 60.0,
    failed: Callable[[str], Exception] = RuntimeError,
) -> T:
    """Call a function in a fresh Python process and return what it returns.

    Args:
        function: importable from a module (not a lambda, not of ``__main__``); its result must pickle.
        *args: its arguments, which must pickle.
        timeout: seconds until the process is ended, start of Python (0.1 to 2 s) included.
        failed: makes the exception for a crash or a timeout from words for what happened, for example
            ``lambda how: InvalidModel(f"model 'x' cannot be loaded: the engine {how}")``.

    Raises:
        Exception: what ``function`` raised; or ``failed("crashed (SIGSEGV)")``,
            ``failed("was stopped after 60 s")``.
        ValueError: ``function`` or its arguments cannot be sent to another process, or ``timeout`` is not positive.
    """
    if not timeout > 0:
        raise ValueError(f"expected a timeout above 0 s, got {timeout!r}")
    if getattr(function, "__module__", None) == "__main__":
        raise ValueError(f"expected a function of an importable module, got {function!r} of __main__")
    try:
        message = pickle.dumps(([*sys.path], pickle.dumps((function, args))))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"{function!r} cannot be sent to another process: {error}") from error

    child = subprocess.Popen(  # -I would drop the environment that found this Python's packages
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        answer, noise = child.communicate(message, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise failed(f"was stopped after {timeout:g} s") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()  # closes the pipes and reaps the process
    try:
        good, result = pickle.loads(answer)
    except Exception:  # cut off, empty, or an object this process cannot build
        raise failed(_how_it_ended(child.returncode, noise)) from None
    if good:
        return result  # type: ignore[no-any-return]  # what the function returned, through a pipe
    raise result


def _how_it_ended(code: int, noise: bytes) -> str:
    if code < 0:
        try:
            return f"crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"crashed (signal {-code})"
    lines = noise.decode("utf-8", "replace").strip().splitlines()
    said = f": {lines[-1][:200]}" if lines else ""
    return f"ended without a result (exit status {code}){said}"


def _answer(task: bytes) -> None:
    """Run a task in the child and send the outcome, undisturbed by what the task prints."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected: leave no core file
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)  # libraries in C print to standard output, too
        try:
            function, args = pickle.loads(task)
            outcome: tuple[bool, object] = (True, function(*args))
        except Exception as error:
            outcome = (False, error)
        _send(outcome, channel)


def _send(outcome: tuple[bool, object], channel: BinaryIO) -> None:
    try:
        data = pickle.dumps(outcome)
        pickle.loads(data)  # exceptions with arguments of their own may pickle and yet not unpickle
    except Exception as error:
        good, value = outcome
        what = f"result of type {type(value).__name__} cannot be sent back: {error}"
        lost = TypeError(what) if good else RuntimeError(f"{type(value).__name__}: {value}")
        data = pickle.dumps((False, lost))
    channel.write(data)
