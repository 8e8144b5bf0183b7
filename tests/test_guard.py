"""Functions that crash, hang and disturb, run in a process of their own."""

from __future__ import annotations

import ctypes
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinetics.errors import InvalidModel
from kinetics.guard import run_guarded


def abort() -> None:
    os.abort()


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def read_address_zero() -> None:
    ctypes.string_at(0)


def write_and_sleep(path: str, seconds: float) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)


def leave(code: int) -> None:
    os._exit(code)


def noisy(value: int) -> int:
    """Writes to the descriptors themselves, as libraries in C do."""
    os.write(1, b"to standard output\n" * 10_000)
    os.write(2, b"to standard error\n" * 10_000)
    print("and from Python")
    return value + 1


class Awkward(Exception):
    """Cannot be built again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def raise_invalid() -> None:
    raise InvalidModel("model 'x': no species")


def raise_awkward() -> None:
    raise Awkward("one", "two")


def return_awkward() -> object:
    return lambda: None


def crashed(how: str) -> InvalidModel:
    return InvalidModel(f"model 'x' cannot be loaded: the engine {how}")


def test_result_comes_back() -> None:
    assert run_guarded(operator.add, 2, 3) == 5
    assert run_guarded(noisy, 1) == 2


def test_large_results_come_back() -> None:
    assert len(run_guarded(operator.mul, b"x", 5_000_000)) == 5_000_000  # more than a pipe holds


@pytest.mark.skipif(sys.platform == "win32", reason="signals end processes on POSIX only")
@pytest.mark.parametrize(
    ("function", "name"), [(abort, "SIGABRT"), (segfault, "SIGSEGV"), (read_address_zero, "SIGSEGV")]
)
def test_crashes_become_errors(function: object, name: str) -> None:
    with pytest.raises(InvalidModel, match=rf"the engine crashed \({name}\)"):
        run_guarded(function, failed=crashed)  # type: ignore[arg-type]


def test_a_crash_is_a_runtime_error_unless_said_otherwise() -> None:
    with pytest.raises(RuntimeError, match="crashed"):
        run_guarded(abort)


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_without_an_answer(code: int) -> None:
    with pytest.raises(InvalidModel, match=rf"without a result \(exit status {code}\)"):
        run_guarded(leave, code, failed=crashed)


@pytest.mark.skipif(sys.platform == "win32", reason="asks for the process by signal 0")
def test_a_function_that_hangs_is_stopped_and_gone(tmp_path: Path) -> None:
    began = time.perf_counter()
    with pytest.raises(InvalidModel, match="stopped after 6 s"):
        run_guarded(write_and_sleep, str(tmp_path / "pid"), 600.0, timeout=6.0, failed=crashed)
    assert time.perf_counter() - began < 60.0
    with pytest.raises(ProcessLookupError):  # it really began, and nothing of it is left
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_exceptions_keep_their_type_and_text() -> None:
    with pytest.raises(InvalidModel, match="model 'x': no species"):
        run_guarded(raise_invalid)


def test_exceptions_and_results_that_cannot_travel() -> None:
    with pytest.raises(RuntimeError, match="Awkward: one and two"):
        run_guarded(raise_awkward)
    with pytest.raises(TypeError, match="cannot be sent back"):
        run_guarded(return_awkward)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        run_guarded(lambda: None)
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="timeout above 0"):
            run_guarded(operator.add, 1, 2, timeout=timeout)


def test_scripts_without_a_main_guard_run_once(tmp_path: Path) -> None:
    """multiprocessing would import the script again in the child."""
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\nfrom kinetics.guard import run_guarded\n"
        "print('started')\nprint(run_guarded(operator.add, 1, 2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment, check=True
    )
    assert done.stdout.split() == ["started", "3"]


def test_functions_of_main_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from kinetics.guard import run_guarded\ndef mine(): return 1\n"
        "try:\n    run_guarded(mine)\nexcept ValueError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment, check=True
    )
    assert "importable module" in done.stdout
