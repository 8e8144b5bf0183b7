"""The oddities of libRoadRunner that were measured, each pinned: our API is not affected by them.

Every test here fails when `kinetics.engine` is replaced by the obvious calls.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kinetics import DoseProtocol, Experiment, Model, Period, Readout, Solver, added, dose_response, simulate
from kinetics.errors import IntegrationFailed, KineticsError

ROOT = Path(__file__).parents[1]
RTOL = 1e-6  # the integrator runs at rtol 1e-8 per step

DELAYED = """model delayed()
  compartment c = 1; species A in c
  A -> ; c * k * A
  A = 10; k = 0.1; n = 0
  later: at 50 after (A < 9): A = A + 4, n = n + 1
end"""
BLOWS_UP = "model blows_up()\n x = 1; a = 1; x' = a * x^2\nend"


@pytest.fixture(scope="module")
def delayed() -> Model:
    """An event that is triggered at about 1 and happens 50 later: it is pending when a short run ends."""
    return Model.load(DELAYED, trusted=True)


@pytest.fixture(scope="module")
def blows_up() -> Model:
    """``x' = a x^2`` is infinite at time 1/a."""
    return Model.load(BLOWS_UP, trusted=True)


def _run(script: str) -> str:
    """Run Python in a fresh process and return what it prints; a crash is a failure with its status."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()


# --- nothing of an earlier run is left ------------------------------------------------------------------------


def test_results_do_not_depend_on_what_ran_before(decay, delayed, pk, blows_up):
    """Every order of five unlike runs, one of them failing, gives the bits of a run in a fresh state."""

    def fails() -> np.ndarray:
        with pytest.raises(IntegrationFailed):
            simulate(blows_up, None, [0.0, 2.0], ["x"])
        return np.zeros(0)

    changed = Experiment([Period(-10.0, {"A": 3.0, "cell": 5.0}), Period(0.0, {"k": 0.7, "A": added(1.0)})])
    runs = [
        lambda: simulate(decay, None, [0.0, 1.0, 5.0], ["A", "P", "k", "cell"]).values,
        lambda: simulate(decay, changed, [-10.0, 2.0], ["A", "P", "k", "cell"], solver=Solver(1e-5, 1e-7)).values,
        lambda: simulate(delayed, None, [0.0, 20.0], ["A", "n"]).values,  # leaves its event pending
        lambda: simulate(delayed, Experiment(Period(0.0, {"A": 5.0})), [0.0, 80.0], ["A", "n"]).values,
        lambda: simulate(pk, Experiment([Period(-math.inf, {"rate": 2.0}), Period(0.0)]), [0.0, 3.0], ["Drug"]).values,
        fails,
    ]
    alone = [run() for run in runs]
    for order in list(permutations(range(len(runs))))[::29]:
        for index in order:
            assert np.array_equal(runs[index](), alone[index]), f"run {index} in order {order}"


def test_pending_events_of_an_earlier_run_do_not_happen_in_the_next(delayed):
    """resetToOrigin leaves them pending in the raw engine."""
    simulate(delayed, None, [0.0, 20.0], ["A"])
    course = simulate(delayed, Experiment(Period(0.0, {"k": 0.0})), [0.0, 100.0], ["A", "n"])
    assert course.values.tolist() == [[10.0, 0.0], [10.0, 0.0]]


def test_delayed_event_happens_once_at_its_time(delayed):
    triggered = math.log(10.0 / 9.0) / 0.1
    happens = triggered + 50.0
    again = happens + math.log(13.0 / 9.0) / 0.1 + 50.0  # A is 9 + 4 = 13 after it, and falls below 9 again
    times = [happens - 1e-3, happens + 1e-3, again - 1e-3, again + 1e-3]
    assert simulate(delayed, None, times, ["n"])["n"].tolist() == [0.0, 1.0, 1.0, 2.0]


def test_a_failure_leaves_the_process_and_the_model_usable(blows_up):
    good = simulate(blows_up, None, [0.0, 0.5], ["x"])["x"]
    assert_allclose(good, [1.0, 2.0], rtol=RTOL)  # x = 1/(1 - t)
    for _ in range(3):
        with pytest.raises(IntegrationFailed, match="blows_up"):
            simulate(blows_up, None, [0.0, 2.0], ["x"])
        assert np.array_equal(simulate(blows_up, None, [0.0, 0.5], ["x"])["x"], good)


def test_a_nan_failure_leaves_nothing_behind():
    model = Model.load("model roots()\n x = 4; s = 1; x' = -s * sqrt(x - 3)\n y = 1; y' = -y\nend", trusted=True)
    good = simulate(model, None, [0.0, 0.5], ["x", "y"]).values
    for bad in ({"x": 1.0}, {"x": 3.0 - 1e-9}):
        with pytest.raises(IntegrationFailed):
            simulate(model, None, [0.0, 1.0], ["x", "y"], parameters=bad)
        assert np.array_equal(simulate(model, None, [0.0, 0.5], ["x", "y"]).values, good)


def test_failures_do_not_print(capfd, blows_up):
    """SUNDIALS complains on standard error even when the failure is caught."""
    with pytest.raises(IntegrationFailed):
        simulate(blows_up, None, [0.0, 2.0], ["x"])
    assert capfd.readouterr() == ("", "")


def test_solver_settings_do_not_leak(decay):
    before = simulate(decay, None, [0.0, 7.0], ["A"]).values
    rough = simulate(decay, None, [0.0, 7.0], ["A"], solver=Solver(rtol=1e-2, atol=1e-2)).values
    assert not np.array_equal(rough, before)  # the settings did arrive
    assert np.array_equal(simulate(decay, None, [0.0, 7.0], ["A"]).values, before)


def test_max_steps_is_obeyed_and_does_not_leak():
    model = Model.load("model m()\n x = 1; y = 0; x' = y; y' = -x\nend", trusted=True)
    with pytest.raises(IntegrationFailed, match="max_steps"):
        simulate(model, None, [0.0, 1000.0], ["x"], solver=Solver(max_steps=10))
    x = simulate(model, None, [0.0, 1000.0], ["x"])["x"][-1]
    # the local error of about 1e-8 a step adds up over the 160 cycles
    assert x == pytest.approx(math.cos(1000.0), abs=1e-3)


def test_parameters_beyond_a_reset_are_the_models_own(chain_model):
    """The raw engine keeps parameters over `reset` and does not compute initial assignments again."""
    first = simulate(chain_model, None, [0.0, 1.0], ["p", "S"]).values
    simulate(chain_model, None, [0.0, 1.0], ["S"], parameters={"k": 9.0, "p": 1.0})
    assert np.array_equal(simulate(chain_model, None, [0.0, 1.0], ["p", "S"]).values, first)
    assert simulate(chain_model, None, [0.0], ["p", "S"], parameters={"k": 1.0}).values.tolist() == [[3.0, 15.0]]


@pytest.fixture(scope="module")
def chain_model() -> Model:
    """p = 3 k and S = 5 p as initial assignments."""
    text = "model chain()\n compartment c = 1; species S in c\n k = 2; p = 3*k; S = 5*p; S -> ; c*k*S\nend"
    return Model.load(text, trusted=True)


def test_copies_and_variants_share_an_engine_but_no_values(decay):
    fast, slow = decay.with_values(k=1.0), decay.with_values(k=0.01)
    twin = Model.load(decay.sbml, trusted=True)
    assert fast.engine() is slow.engine() is twin.engine()
    for model, k in ((fast, 1.0), (slow, 0.01), (twin, 0.1), (fast, 1.0), (decay, 0.1)):
        assert simulate(model, None, [2.0], ["A"])["A"][0] == pytest.approx(10.0 * math.exp(-2.0 * k), rel=RTOL)


def test_more_models_than_engines_are_kept():
    """Engines are evicted after sixteen; coming back builds a new one with the same result."""
    texts = [f"model m{i}()\n x = {i}; x' = -x\nend" for i in range(1, 20)]
    models = [Model.load(text, trusted=True) for text in texts]
    for _ in range(2):
        for i, model in enumerate(models, 1):
            assert simulate(model, None, [0.0, 1.0], ["x"])["x"] == pytest.approx([i, i * math.exp(-1.0)], rel=RTOL)


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "simulate",
        "reset",
        "resetToOrigin",
        "getValue",
        "setValue",
        "getIntegrator",
        "timeCourseSelections",
        "this",
        "n",
    ],
)
def test_a_model_may_name_its_parameter_like_a_method_of_the_engine(decay, name):
    """In the raw engine a parameter called `simulate` deletes that method for the whole process."""
    model = Model.load(
        f"model m()\n compartment c = 1; species A in c; A -> ; c*{name}*A; A = 1; {name} = 0.5\nend", trusted=True
    )
    course = simulate(model, Experiment([Period(0.0), Period(1.0, {name: 0.0})]), [1.0, 2.0], ["A", name])
    assert_allclose(course["A"], math.exp(-0.5), rtol=RTOL)
    assert course[name].tolist() == [0.0, 0.0]
    assert simulate(decay, None, [1.0], ["A"])["A"][0] == pytest.approx(10.0 * math.exp(-0.1), rel=RTOL)


@pytest.mark.parametrize("name", ["pi", "inf", "nan", "true", "time"])
def test_a_model_may_name_its_parameter_like_a_constant_of_formulas(decay, name):
    sbml = decay.sbml.replace('id="k"', f'id="{name}"').replace("<ci> k </ci>", f"<ci> {name} </ci>")
    assert f'id="{name}"' in sbml
    model = Model.load(sbml, trusted=True)
    course = simulate(model, Experiment([Period(0.0), Period(1.0, {name: 0.5})]), [0.0, 1.0, 3.0], ["A", name])
    assert course[name].tolist() == [0.1, 0.5, 0.5]
    assert_allclose(course["A"], 10.0 * np.exp([0.0, -0.1, -1.1]), rtol=RTOL)


def test_a_model_without_species():
    model = Model.load("model rules()\n x := 3 * y; y = 2; z = 0; z' = y\nend", trusted=True)
    assert model.species == ()
    course = simulate(model, Experiment([Period(0.0), Period(1.0, {"y": 5.0})]), [0.0, 1.0, 2.0], ["x", "y", "z"])
    assert_allclose(course.values, [[6.0, 2.0, 0.0], [15.0, 5.0, 2.0], [15.0, 5.0, 7.0]], rtol=RTOL, atol=1e-12)


def test_a_model_without_anything_that_moves():
    model = Model.load("model still()\n x := 3 * y; y = 2\nend", trusted=True)
    assert simulate(model, None, [0.0, 4.0, math.inf], ["x", "y"]).values.tolist() == [[6.0, 2.0]] * 3
    moved = simulate(model, Experiment([Period(-math.inf, {"y": 7.0}), Period(0.0)]), [0.0], ["x"])
    assert moved.values.tolist() == [[21.0]]


# --- tolerances ----------------------------------------------------------------------------------------------


def test_absolute_tolerance_is_what_was_asked_for_whatever_the_initial_values():
    """A scalar absolute tolerance is silently scaled by each state's initial value in the raw engine."""
    text = "model m()\n compartment c = 1; species A in c, B in c\n A -> B; c*k*A\n A = {}; B = 0; k = 1\nend"
    for start in (1e-3, 1.0, 1e6):
        model = Model.load(text.format(start), trusted=True)
        times = np.array([0.0, 1.0, 20.0])
        a = simulate(model, None, times, ["A"])["A"]
        assert_allclose(a, start * np.exp(-times), rtol=1e-5, atol=1e-11)


def test_default_accuracy_on_every_time_scale(pk):
    for k_a, k_e in ((1e-4, 1e-2), (1.0, 1e-3), (1e3, 1.0)):
        times = np.array([0.1, 1.0, 3.0]) / k_e
        course = simulate(
            pk, Experiment(Period(0.0, {"Gut": 10.0})), times, ["Drug"], parameters={"k_a": k_a, "k_e": k_e}
        )
        exact = 10.0 * k_a / (k_a - k_e) * (np.exp(-k_e * times) - np.exp(-k_a * times))
        assert_allclose(course["Drug"], exact, rtol=RTOL)


# --- processes and threads ------------------------------------------------------------------------------------


def _curve_inputs() -> tuple[DoseProtocol, Experiment]:
    schedule = Experiment([Period(-5.0, {"B": 0.5}), Period(0.0)])
    protocol = DoseProtocol("L", np.geomspace(0.01, 100.0, 7), Readout.at("C", 3.0).fold_over({"L": 1.0}), schedule)
    return protocol, schedule


def test_worker_processes_give_the_same_bits_as_none(antagonist, delayed):
    """Spawned workers build their own engine from the SBML; neither their number nor their history matters."""
    protocol, _ = _curve_inputs()
    events = DoseProtocol("A", [1.0, 5.0, 9.5, 20.0], Readout.at("A", 70.0))
    plain = dose_response(antagonist, protocol).responses
    with_events = dose_response(delayed, events).responses
    for workers in (1, 2, 3):
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            assert np.array_equal(dose_response(antagonist, protocol, executor=pool).responses, plain)
            assert np.array_equal(dose_response(delayed, events, executor=pool).responses, with_events)
            assert np.array_equal(dose_response(antagonist, protocol, executor=pool).responses, plain)


def test_errors_of_workers_arrive_as_our_own(blows_up):
    protocol = DoseProtocol("a", [0.1, 0.2, 5.0], Readout.at("x", 2.0))
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(IntegrationFailed, match="blows_up"),
    ):
        dose_response(blows_up, protocol, executor=pool)


def test_models_survive_pickling_with_their_values(decay):
    import pickle

    model = Model.load(decay.sbml, readouts={"total": "A + P"}, trusted=True).with_values(k=0.5)
    again = pickle.loads(pickle.dumps(model))
    assert (again.name, dict(again.values), dict(again.readouts)) == (model.name, {"k": 0.5}, {"total": "A + P"})
    names = ["A", "total"]
    assert np.array_equal(simulate(again, None, [1.0], names).values, simulate(model, None, [1.0], names).values)


def test_threads_neither_crash_nor_mix_their_results():
    """Two threads in one instance of the raw engine end in a segmentation fault, so this runs in a process."""
    printed = _run("""
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        from kinetics import Model, simulate

        model = Model.load(
            "model m()\\n compartment c = 1; species A in c; A -> ; c*k*A; A = 10; k = 0.1\\nend", trusted=True
        )

        def run(k):
            return simulate(model, None, np.linspace(0.0, 5.0, 50), ["A"], parameters={"k": k}).values

        rates = [0.01 * i for i in range(200)]
        alone = [run(k) for k in rates]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(run, rates))
        print(sum(not np.array_equal(a, b) for a, b in zip(alone, together)))
    """)
    assert printed == "0"


def test_importing_the_package_does_not_import_tellurium_or_matplotlib():
    printed = _run("""
        import sys
        import kinetics
        print([name for name in ("tellurium", "antimony", "matplotlib", "petab", "pypesto") if name in sys.modules])
    """)
    assert printed == "[]"


# --- silent nonsense -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times", [[], [math.nan], [0.0, math.nan, 1.0], [0.0, 0.0], [1.0, 0.5], [-1.0, 0.0], [1.0, math.inf, math.inf]]
)
def test_times_the_raw_engine_misreads_are_refused(decay, times):
    """``[]`` means 0 to 5 there, NaN passes, and the first time is taken for the start."""
    with pytest.raises(KineticsError, match="time"):
        simulate(decay, None, times, ["A"])


@pytest.mark.parametrize("changes", [{"cell": -1.0}, {"cell": 0.0}, {"A": -1.0}, {"k": math.nan}, {"A": math.inf}])
def test_values_the_raw_engine_swallows_are_refused(decay, changes):
    name = next(iter(changes))
    with pytest.raises(KineticsError, match=repr(name)):
        simulate(decay, None, [0.0, 1.0], ["A"], parameters=changes)
    with pytest.raises(KineticsError, match=repr(name)):
        simulate(decay, Experiment(Period(0.0, changes)), [0.0, 1.0], ["A"])
    with pytest.raises(KineticsError, match=repr(name)):
        simulate(decay, Experiment([Period(0.0), Period(0.5, changes)]), [0.0, 1.0], ["A"])


def test_values_that_become_negative_by_a_formula_or_an_added_dose_are_refused(decay):
    for change in ("A - 11", "-cell", added(-11.0)):
        with pytest.raises(KineticsError, match="'A'"):
            simulate(decay, Experiment([Period(0.0), Period(1.0, {"A": change})]), [2.0], ["A"])
