"""Progress: on a terminal after two seconds, with the time left; the outermost only; and it changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from toys import Rosenbrock

import kinetics as kin
from fits import doctor
from fits.bootstrap import bootstrap
from fits.optimise import fit
from fits.profiles import profiles
from fits.sampling import sample
from kinetics import progress
from kinetics.progress import track

ROOT = Path(__file__).parents[1]


class Bars:
    """What was asked of `track` at the outermost level, in order."""

    def __init__(self) -> None:
        self.made: list[progress.Progress] = []

    def __call__(self, *given: object) -> progress.Progress:
        bar = progress.Progress(*given)
        bar.close = lambda: None
        self.made.append(bar)
        return bar

    def said(self) -> list[tuple[str, int | None, int]]:
        return [(bar.text, bar.total, bar.done) for bar in self.made]


@pytest.fixture
def bars(monkeypatch) -> Bars:
    """Somebody looks; bars are noted instead of drawn."""
    noted = Bars()
    monkeypatch.setattr(progress, "somebody_looks", lambda: True)
    monkeypatch.setattr(progress, "_OnTerminal", noted)
    return noted


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    """Standard error is no terminal in tests; nothing is made that could draw."""
    monkeypatch.setattr(progress, "_OnTerminal", lambda *_: pytest.fail("drawn off a terminal"))
    with track("waiting", 3) as bar:
        bar.advance(2)
    assert bar.done == 2


def test_the_outermost_draws(bars):
    with track("outer", 2) as outer:
        for _ in range(2):
            with track("inner", 5) as inner:
                inner.advance(5)
            with track("insists", 5, progress=True):
                pass
            outer.advance()
    assert bars.said() == [("outer", 2, 2)]
    with track("next", 4):
        pass
    assert bars.said()[1:] == [("next", 4, 0)]


def test_inside_a_silent_one_only_who_insists_draws(bars):
    with track("quiet", 2, progress=False), track("by itself", 2), track("insists", 2, progress=True):
        pass
    assert [text for text, _, _ in bars.said()] == ["insists"]


def test_an_error_inside_ends_the_bar(bars):
    with pytest.raises(ZeroDivisionError), track("bad", 2):
        _ = 1 / 0
    with track("next", 2):
        pass
    assert len(bars.made) == 2


def test_a_closed_standard_error_is_nobody_looking(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.somebody_looks()


# --- what is counted ----------------------------------------------------------------------------------------


def test_simulations_count_experiments(bars, decay, antagonist):
    experiments = [kin.Experiment.steps((1.0, {"A": dose})) for dose in (1.0, 2.0, 3.0)]
    kin.simulate_many(decay, experiments, [1.0], ["A"])
    protocol = kin.DoseProtocol("L", [0.0, 1.0, 2.0], kin.Readout.at("C", 1.0))
    kin.dose_response(antagonist, protocol)
    matrix = kin.dose_matrix(antagonist, protocol, "B", [0.0, 1.0])
    assert bars.said() == [("simulating", 3, 3), ("simulating", 3, 3), ("simulating", 6, 6)]
    silent = kin.dose_matrix(antagonist, protocol, "B", [0.0, 1.0], progress=False)
    assert np.array_equal(matrix.responses, silent.responses)
    assert len(bars.made) == 3


def test_one_simulation_has_no_parts(bars, decay):
    kin.simulate(decay, None, [1.0], ["A"])
    assert bars.said() == [("simulating", None, 1)]


def test_an_executor_counts_what_has_come_back(bars, antagonist):
    protocol = kin.DoseProtocol("L", [0.0, 1.0, 2.0, 3.0], kin.Readout.at("C", 1.0))
    with ThreadPoolExecutor(1) as executor:  # of threads: the counting is what is tested
        kin.dose_response(antagonist, protocol, executor=executor)
    assert bars.said() == [("simulating", 4, 4)]


def test_fits_profiles_samples_and_bootstraps_count(bars, tmp_path):
    toy, store = Rosenbrock(), tmp_path / "fit.sqlite"
    fit(toy, n_starts=2, seed=1, store=store)
    result = fit(toy, n_starts=3, seed=1, store=store)
    assert bars.said() == [("fitting", 2, 2), ("fitting", 3, 3)]
    assert bars.made[1]._before == 2  # those in the store do not count for the time left
    profiles(toy, result)
    sample(toy, result, 20, chunk=10, seed=1)
    assert bars.said()[2:] == [("profiling", 2, 2), ("sampling", 20, 20)]

    def refit(data: float) -> list[float]:
        fit(toy, n_starts=1, seed=1)  # inside, so it draws nothing of its own
        return [data]

    bootstrap(lambda rng: float(rng.normal()), refit, {"mean": 0.0}, 3)
    assert bars.said()[4:] == [("bootstrapping", 3, 3)]


def test_the_doctor_says_each_trial():
    said: list[int] = []
    doctor.examine(lambda: said.append(1))
    assert len(said) == doctor.TRIALS


# --- what is drawn ------------------------------------------------------------------------------------------

TERMINAL = """
import time
from kinetics import progress
progress.DELAY, progress.BEAT = 0.2, 0.05
with progress.track("working", 4, unit="pieces", progress={progress}) as bar:
    for _ in range(3):
        time.sleep(0.3)
        bar.advance(said="best 1.5")
    time.sleep(0.3)
"""


def on_a_terminal(code: str) -> str:
    """What a program writes to a terminal as standard error."""
    import fcntl
    import pty
    import struct
    import termios

    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, env=environment, check=True, timeout=120
    )
    os.write(writer, b"end")
    said = ""
    while not said.endswith("end"):
        said += os.read(reader, 5000).decode()
    os.close(writer)
    os.close(reader)
    assert done.stdout == b""
    return said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_bar_says_how_much_time_is_left():
    said = on_a_terminal(TERMINAL.format(progress=None))
    assert re.search(r"working: +75%\|.*\| 3/4 pieces \[00:0\d<00:0\d, best 1.5\]", said), said
    assert "\n" not in said  # the line goes away again


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_whoever_says_no_sees_nothing():
    assert on_a_terminal(TERMINAL.format(progress=False)) == "end"


def test_quick_work_draws_nothing(capfd):
    """Less than the delay: a bar that flashes up is worse than none."""
    before = time.perf_counter()
    with track("quick", 2, progress=True) as bar:
        bar.advance(2)
    if time.perf_counter() - before < progress.DELAY:
        assert capfd.readouterr().err == ""


def test_in_a_notebook_a_bar_appears_between_steps(monkeypatch):
    drawn = []

    class Widget:
        def __init__(self, **options: object) -> None:
            drawn.append(options["desc"])
            self.n = 0

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            drawn.append(text)

        def refresh(self) -> None:
            drawn.append(self.n)

        def close(self) -> None:
            drawn.append("closed")

    import tqdm.auto

    monkeypatch.setattr(tqdm.auto, "tqdm", Widget)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with track("working", 2) as bar:
        bar.advance(said="one")
    assert drawn == ["working", "one", 1, "closed"]
