"""What a fit says about itself, checked on results whose meaning is known by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from toys import Decay, Guarded, Himmelblau, Hopeless, Rosenbrock

from fits.local import ExitReason
from fits.optimise import fit
from fits.provenance import collect, without_place
from fits.result import FitFailed, FitResult, StartRecord

NAMES = ("k_on", "k_off")


def record(index, value, x, reason=ExitReason.VALUE, **more):
    gradient = np.array(more.pop("gradient", [0.0, 0.0]))
    return StartRecord(index, np.zeros(2), np.array(x, dtype=float), value, gradient, reason, **more)


def result(*records):
    starts = tuple(sorted(records, key=lambda start: (start.value, start.index)))
    return FitResult(NAMES, np.array([-5.0, -5.0]), np.array([5.0, 5.0]), starts, {"seed": 3}, {}, collect(["fit"]))


def test_starts_are_sorted_and_counted():
    found = result(record(0, 12.0, [1, 1]), record(1, 10.05, [0, 2]), record(2, 10.0, [0, 2]), record(3, 10.2, [0, 2]))
    assert [start.index for start in found.starts] == [2, 1, 3, 0]
    assert_array_equal(found.values, [10.0, 10.05, 10.2, 12.0])
    assert [start.index for start in found.agreeing()] == [2, 1]
    assert len(found.agreeing(0.5)) == 3
    assert found.parameters == {"k_on": 0.0, "k_off": 2.0}
    assert (found.value, found.seed) == (10.0, 3)
    text = str(found)
    assert "The best objective is 10 (start 2); 2 of 4 starts end within 0.1 of it." in text
    assert "agree in every parameter" in text


def test_a_lone_best_start_is_not_trusted():
    assert "No second start confirms it" in str(result(record(0, 10.0, [1, 1]), record(1, 11.0, [1, 1])))


def test_equal_objective_at_different_parameters_is_said():
    """k_on differs by 3 of a range of 10."""
    text = str(result(record(0, 10.0, [1, 1]), record(1, 10.0, [4, 1])))
    assert "agree in the objective but not in the parameters" in text and "k_on (30% of its range)" in text
    assert "k_off (" not in text


def test_parameters_at_bounds_are_named():
    found = result(record(0, 10.0, [-5, 5], gradient=[3.0, -2.0]))
    assert found.at_bounds() == {"k_on": "lower", "k_off": "upper"}
    assert "2 parameters lie at a bound: k_on (lower), k_off (upper)" in str(found)
    assert found.gradient_norm == 0.0  # both slopes press against the bounds
    assert "falls on beyond" in str(found) and "nearly flat" not in str(found)
    open_one = result(record(0, 10.0, [-5, 5], gradient=[-3.0, -2.0]))
    assert "k_on (lower), though the objective falls inwards" in str(open_one)
    assert open_one.gradient_norm == 3.0


def test_a_flat_parameter_at_its_bound_is_not_called_pulled():
    """A slope of 0.01 over a tenth of the range of 10 gains 0.01, far below what anybody could tell."""
    text = str(result(record(0, 10.0, [-5, 5], gradient=[0.01, -2.0])))
    assert "1 parameter lies at a bound: k_off (upper); the objective falls on beyond" in text
    assert "1 parameter lies at a bound: k_on (lower), where the objective is nearly flat" in text


def test_unconverged_best_start_is_said():
    text = str(result(record(0, 10.0, [1, 1], ExitReason.EVALUATIONS), record(1, 10.0, [1, 1])))
    assert "The best start stopped at the limit of evaluations before it converged: raise the limit" in text


def test_finite_differences_are_said():
    assert "finite differences" in str(result(record(0, 10.0, [1, 1], exact=False)))


def test_failures_are_grouped_by_cause():
    """Messages that differ in numbers alone are one cause."""
    died = [StartRecord.failed(i, 2, ExitReason.DIED, "exit code 3") for i in (4, 7)]
    lost = [StartRecord.failed(i, 2, ExitReason.NO_POINT, f"stuck at t = 0.{i}") for i in (1, 2, 3)]
    noisy = record(
        0, 10.0, [1, 1], failures={"gave up at t = 1.5": 2, "gave up at t = 2.5": 3, "odd": 4}, evaluations=30
    )
    text = str(result(noisy, *died, *lost))
    assert "3 of 6 starts failed, no starting point could be evaluated (start 1, 2, 3): stuck at t = 0.1." in text
    assert (
        "2 of 6 starts failed, the worker process died, and died again" in text and "(start 4, 7): exit code 3" in text
    )
    assert "9 of 30 evaluations failed, most often (5 times) like this: gave up at t = 1.5." in text


def test_result_without_any_success_has_no_best():
    found = fit(Hopeless(), n_starts=2)
    with pytest.raises(FitFailed, match=r"All 2 starts failed.*step size too small"):
        found.parameters
    assert found.values.tolist() == [np.inf, np.inf]
    assert len(found.to_frame()) == 2
    assert json.loads(found.to_json())["starts"][0]["value"] == "inf"


def test_frame_and_json_hold_every_start():
    found = fit(Guarded(), n_starts=6)
    frame = found.to_frame()
    assert frame["start"].tolist() == [start.index for start in found.starts]
    assert frame.loc[0, "x"] == found.parameters["x"]
    assert frame["objective"].is_monotonic_increasing
    document = json.loads(found.to_json())
    assert document["sentences"] == list(found.sentences())
    assert [float(v) for v in document["starts"][0]["x"]] == list(found.parameters.values())  # to the bit
    assert document["settings"]["limits"]["evaluations"] == 1000
    assert document["provenance"]["versions"]["numpy"] == np.__version__


def test_document_of_a_start_comes_back():
    start = fit(Decay(), n_starts=1).best
    again = StartRecord.from_document(start.index, json.loads(json.dumps(start.to_document())), start.circumstances)
    assert again.to_document() == start.to_document()
    assert again.x.tobytes() == start.x.tobytes()


def test_values_and_slopes_belong_to_the_point():
    """The stored gradient is that of the objective at the stored point: here by central differences."""
    objective = Himmelblau()
    for start in fit(objective, n_starts=4).starts:
        assert objective.evaluate(start.x).value == start.value
        step = 1e-6
        for i in range(2):
            forward, backward = (objective.evaluate(start.x + sign * step * np.eye(2)[i]).value for sign in (1, -1))
            # second differences of a quartic with curvature below 200: error below 1e-8
            assert (forward - backward) / (2 * step) == pytest.approx(start.gradient[i], abs=1e-7)


def test_every_reason_has_a_sentence():
    assert len({reason.sentence for reason in ExitReason}) == len(ExitReason)
    assert {reason for reason in ExitReason if reason.converged} == {
        ExitReason.GRADIENT,
        ExitReason.VALUE,
        ExitReason.STEP,
    }
    assert not any(reason.converged and reason.failed for reason in ExitReason)


@pytest.mark.parametrize(
    "word, shown",
    [
        ("/home/me/fit.sqlite", "fit.sqlite"),
        ("--store=/home/me/my fits/fit.sqlite", "--store=fit.sqlite"),
        ("C:\\Users\\me\\fit.py", "fit.py"),
        ("~/fits/run.py", "run.py"),
        ("problems/boehm", "problems/boehm"),
        ("--fold=1/2", "--fold=1/2"),
    ],
)
def test_commands_lose_absolute_paths(word, shown):
    assert without_place(word) == shown


def test_provenance_names_versions():
    made = collect(["fit", "--starts", "5"])
    assert made.command == ("fit", "--starts", "5")
    assert {"python", "numpy", "scipy"} <= made.versions.keys()
    assert type(made).from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_one_start_is_not_plural():
    assert "1 of 1 start ends within" in str(fit(Rosenbrock(), n_starts=1))
