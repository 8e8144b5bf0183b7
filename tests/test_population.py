"""Calibration over samples: the marginal likelihood against quadrature, recovery of what was put in, files, errors."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import multivariate_normal

import kinetics as kin
from fits.cli import main
from fits.parameters import Parameter, Scale
from fits.population.calibration import RERUN, PopulationFit, assemble_fit, calibrated_path, descend, read_calibrated
from fits.population.marginal import LAST_DIGIT, Curves, Scatter, log_sum, weights
from fits.population.objective import PopulationObjective, model_hash
from fits.population.problem import MEDIAN, SPREAD, RandomEffect, has_random_effects, read_population
from fits.population.spread import drawn
from fits.population.surface import Surface
from fits.population.tables import Well
from fits.problem_file import read_problem
from kinetics.errors import InputError, KineticsError, ModelNotFound, UnknownName
from kinetics.model import Model

GRID = np.linspace(-2.0, 2.0, 401)
SCATTER = Scatter(sd_well=0.03, cv_well=0.15, sd_dose=0.05, cv_plate=0.2, effect_median=0.9, effect_sd=0.4)
POINTS = [("dexamethasone", 1.0), ("dexamethasone", 10.0), ("prednisolone", 10.0)]
WELLS = [
    Well("dexamethasone", "A", "1", 1.0, 0.8), Well("dexamethasone", "A", "1", 1.0, 0.9),
    Well("dexamethasone", "A", "1", 10.0, 0.3), Well("prednisolone", "A", "1", 10.0, 0.7),
    Well("dexamethasone", "B", "1", 10.0, 0.6), Well("dexamethasone", "B", "2", 10.0, 0.4),
    Well("dexamethasone", "B", "2", 10.0, 0.45), Well("dexamethasone", "B", "2", 1.0, 1.1),
]  # fmt: skip


def viability_at(eta):
    """A stand-in for the model: three doses, resistant where ``eta`` is large."""
    return np.array([1.0 / (1.0 + math.exp(-(3.0 * eta + shift))) for shift in (2.0, -0.5, 0.5)])


SURFACE = np.array([viability_at(eta) for eta in GRID]).T  # (n_points, n_grid)


def written_out(eta, wells, scatter):
    """ln likelihood of one sample's wells given its effect, from the full covariance of each curve."""
    mu_of = dict(zip(POINTS, viability_at(eta), strict=True))
    total = 0.0
    for curve in {(w.drug, w.screen) for w in wells}:
        mine = [w for w in wells if (w.drug, w.screen) == curve]
        mu = np.array([mu_of[w.drug, w.dose] for w in mine])
        same = np.array([[a.dose == b.dose for b in mine] for a in mine], dtype=float)
        own = LAST_DIGIT**2 + scatter.sd_well**2 + (scatter.cv_well * mu) ** 2
        covariance = np.diag(own) + scatter.sd_dose**2 * same + scatter.cv_plate**2 * np.outer(mu, mu)
        total += multivariate_normal(mu, covariance).logpdf([w.viability for w in mine])
    return total


@pytest.mark.parametrize(
    "scatter", [SCATTER, replace(SCATTER, cv_plate=0.0), replace(SCATTER, sd_dose=0.0, sd_well=0.1)]
)
def test_the_marginal_likelihood_is_that_of_brute_force(scatter):
    found = Curves.of(WELLS, POINTS).marginal(SURFACE, scatter, GRID)

    def weight(eta):
        return math.exp(-0.5 * ((eta - math.log(scatter.effect_median)) / scatter.effect_sd) ** 2)

    mass = quad(weight, -2.0, 2.0, epsabs=1e-12)[0]
    for sample, value in zip("AB", found, strict=True):
        mine = [w for w in WELLS if w.sample == sample]
        brute = quad(lambda eta, m=mine: weight(eta) * math.exp(written_out(eta, m, scatter)), -2.0, 2.0, epsabs=1e-12)
        # The grid is a trapezoidal rule of 400 intervals; nothing is left of its error but the ends of the range.
        assert value == pytest.approx(math.log(brute[0] / mass), abs=1e-6)


def test_the_order_of_wells_and_samples_does_not_matter():
    one = Curves.of(WELLS, POINTS)
    other = Curves.of(WELLS[::-1], POINTS)
    assert one.keys == other.keys
    assert_allclose(one.marginal(SURFACE, SCATTER, GRID), other.marginal(SURFACE, SCATTER, GRID), rtol=0)


def test_a_sample_with_one_well_counts_and_knows_little():
    lone = [Well("dexamethasone", "C", "1", 10.0, 0.5)]
    curves = Curves.of([*WELLS, *lone], POINTS)
    both = curves.marginal(SURFACE, SCATTER, GRID)
    assert_allclose(both[:2], Curves.of(WELLS, POINTS).marginal(SURFACE, SCATTER, GRID), rtol=0)
    own = weights(curves.joint(SURFACE, SCATTER, GRID))
    spread = np.sqrt(own @ GRID**2 - (own @ GRID) ** 2)
    assert spread[2] > max(spread[:2])


def test_without_wells_the_posterior_is_the_population():
    logs = SCATTER.log_density(GRID)
    assert log_sum(logs) == pytest.approx(0.0, abs=1e-12)
    assert np.exp(logs) @ GRID == pytest.approx(math.log(0.9), abs=1e-4)  # the range cuts off 5 standard deviations


# --- the bundled problem -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    return read_population("tall_glucocorticoids")


@pytest.fixture(scope="module")
def small(problem):
    """Ten wells of two samples, for evaluations that need the model."""
    chosen = problem.of(("T-HR-08", "T-MR-05"))
    kept = [w for w in chosen.wells if w.drug == "dexamethasone" and w.dose in (1.0, 5.42, 10.0, 10000.0)]
    return replace(chosen, wells=tuple(kept))


@pytest.fixture(scope="module")
def objective(small):
    return PopulationObjective(small, nodes=17)


def middle(objective):
    return 0.5 * (objective.lower + objective.upper)


def test_the_bundled_problem_is_what_it_says(problem):
    assert has_random_effects("tall_glucocorticoids") and not has_random_effects("il7_pstat5")
    assert (len(problem.samples), len(problem.wells), problem.hours) == (17, 320, 72.0)
    assert problem.effect.quantity == "fold_pool"
    assert {p.id for p in problem.structural} == {"Kgre", "ratio_Pred_Dex", "sigma", "kdie"}
    for case in problem.cases:
        other = read_population("tall_glucocorticoids", case=case)
        assert other.case == case and other != problem


def test_slopes_are_those_of_the_value(objective):
    """Against differences with another step: the model's part is only as smooth as its integration."""
    x = middle(objective)
    found = objective.evaluate(x, derivatives=True)
    assert found.value == pytest.approx(objective.evaluate(x).value, rel=1e-12)
    scale = float(np.max(np.abs(found.gradient)))
    for i in (0, 2, 5, 6):
        moved = [np.array(x), np.array(x)]
        moved[0][i] += 5e-3
        moved[1][i] -= 5e-3
        slope = (objective.evaluate(moved[0]).value - objective.evaluate(moved[1]).value) / 1e-2
        assert found.gradient[i] == pytest.approx(slope, abs=0.02 * scale)  # steps of 2 % against 0.5 %
    assert np.all(np.linalg.eigvalsh(found.hessian) > 0.0)


def test_the_surface_is_the_model(problem):
    """At a node and between nodes, beside libRoadRunner."""
    surface = Surface(problem, [("dexamethasone", 10.0)], nodes=33)
    values = {"Kgre": 20.0, "sigma": 0.5, "kdie": 0.1}
    eta = float(surface.nodes[14] + 0.5 * (surface.nodes[15] - surface.nodes[14]))
    between = surface.on(surface.at_nodes({k: np.array([v]) for k, v in values.items()}), np.array([eta]))[0, 0, 0]
    model = Model.load("gc_bim_tall").with_values(**values, fold_pool=math.exp(eta))
    live = []
    for dose in (10.0, 0.0):
        steps = ("200 h", {"death_on": 0.0}), ("72 h", {"death_on": 1.0, "Dexamethasone": dose})
        course = kin.simulate(model, kin.Experiment.steps(*steps), [0.0, 72.0], ["live"])
        live.append(float(course["live"][-1]))
    assert between == pytest.approx(live[0] / live[1], abs=3e-3)  # the spline between nodes; 2e-5 is the integrator's


def test_failed_simulations_are_data_for_the_search(objective, monkeypatch):
    monkeypatch.setattr(objective.surface, "at_nodes", lambda *_: (_ for _ in ()).throw(_boom()))
    found = objective.evaluate(middle(objective), derivatives=True)
    assert found.failed and "lanes" in found.failure


def _boom():
    from kinetics.errors import SimulationError

    return SimulationError("all lanes failed")


def test_objectives_travel_between_processes(objective):
    again = pickle.loads(pickle.dumps(objective))
    assert again.fingerprint == objective.fingerprint
    assert again.evaluate(middle(objective)).value == objective.evaluate(middle(objective)).value


def test_the_fingerprint_follows_model_data_and_problem(small, objective):
    same = objective.fingerprint
    changed = {
        "model": replace(small, model=small.model.with_values(theta=20.0)),
        "data": replace(small, wells=small.wells[1:]),
        "parameters": replace(small, structural=small.structural[:-1]),
        "problem": replace(small, hours=48.0),
    }
    for part, other in changed.items():
        now = PopulationObjective(other, nodes=17).fingerprint
        assert [key for key in same if same[key] != now[key]] == [part]


# --- the stored calibration -----------------------------------------------------------------------------------------


def test_the_stored_calibration_belongs_to_the_model_as_it_is():
    """When the model, the data or the problem changed: kinetics fit tall_glucocorticoids --write-calibrated."""
    problem, found = read_calibrated()
    assert found.fingerprint["model"] == model_hash(problem), f"run '{RERUN}'"
    assert set(found.effects) == set(problem.samples)
    assert found.wells == len(problem.wells)
    again = PopulationObjective(problem).evaluate(found.x)
    assert again.value == pytest.approx(found.nllh, abs=1e-2)  # other processors round differently
    for name, item in found.estimates.items():
        assert (item.lower or 0.0) < item.value < (item.upper or math.inf), name
    assert {"python", "numpy"} <= set(found.provenance.versions)


def test_a_calibration_of_another_model_is_refused_with_what_to_do(tmp_path, monkeypatch):
    document = json.loads(calibrated_path().read_text())
    stale = tmp_path / "calibrated.json"
    monkeypatch.setattr("fits.population.calibration.calibrated_path", lambda *_: stale)
    with pytest.raises(ModelNotFound, match=r"not calibrated.*--write-calibrated"):
        read_calibrated()
    stale.write_text(json.dumps({**document, "fingerprint": {**document["fingerprint"], "model": "0123456789abcdef"}}))
    with pytest.raises(InputError, match=r"made for another model.*--write-calibrated"):
        read_calibrated()
    stale.write_text(json.dumps({**document, "covariance": "nothing"}))
    with pytest.raises(InputError, match=r"damaged.*--write-calibrated"):
        read_calibrated()


def test_a_calibration_survives_its_file():
    _, found = read_calibrated()
    again = PopulationFit.from_dict(json.loads(json.dumps(found.to_dict())))
    assert_allclose(again.covariance, found.covariance, rtol=0)
    assert again.estimates == found.estimates and again.effects == found.effects
    draws = found.draws(200, seed=3)
    assert_allclose(draws, found.draws(200, seed=3), rtol=0)
    assert np.all(draws >= found.lower) and np.all(draws <= found.upper)


# --- recovery --------------------------------------------------------------------------------------------------------

# Known only by their scatter, because the model is replaced by `viability_at`: random effect and noise.
TRUTH = {MEDIAN: 0.9, SPREAD: 0.4, "cv_well": 0.15, "sd_dose": 0.05, "cv_plate": 0.15}


class FixedSurface:
    """A model that costs nothing, on the same terms as `Surface`."""

    def __init__(self, problem, points, nodes=33):
        self.points, self.nodes = tuple(points), np.linspace(-2.0, 2.0, nodes)

    def at_nodes(self, sets, rtol=0.0):
        return np.array([viability_at(eta) for eta in self.nodes]).T[None]

    def on(self, at_nodes, grid):
        return np.array([viability_at(eta) for eta in grid]).T[None]


def recovered(problem, monkeypatch, seed):
    """A calibration of simulated samples: 40 of them, three doses in pairs."""
    design = [Well(drug, f"S{n}", "1", dose, 1.0) for n in range(40) for drug, dose in POINTS for _ in (0, 1)]
    wells = drawn(design, POINTS, SURFACE, GRID, Scatter.of(TRUTH), seed=seed)
    monkeypatch.setattr("fits.population.objective.Surface", FixedSurface)
    bounds = {MEDIAN: (0.2, 4.0), SPREAD: (0.05, 2.0), "cv_well": (0.02, 1.0), "sd_dose": (0.005, 0.5)}
    bounds["cv_plate"] = (0.02, 1.0)
    made = replace(
        problem, wells=tuple(wells), structural=(),
        statistical=tuple(Parameter(name, *ends, Scale.LOG10) for name, ends in bounds.items()),
    )  # fmt: skip
    objective = PopulationObjective(made)
    x, value = descend(objective, middle(objective))
    return assemble_fit(objective, x, (value,), {})


def test_what_was_put_in_is_found_again(problem, monkeypatch):
    found = recovered(problem, monkeypatch, seed=1)
    for name, value in TRUTH.items():
        low, high = found.estimates[name].lower, found.estimates[name].upper
        # Three standard errors: with one seed a 95 % interval is missed by one of five parameters too often.
        error = (math.log(high) - math.log(low)) / 3.92 if low and high else math.log(2.0)
        assert abs(math.log(found.estimates[name].value / value)) < 3.0 * error, name


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say(problem, monkeypatch):
    """20 seeds, 5 parameters: of 100 intervals of 95 %, 87 or more; fewer has a chance below 1 in 1000."""
    covered = 0
    for seed in range(20):
        found = recovered(problem, monkeypatch, seed)
        for name, value in TRUTH.items():
            item = found.estimates[name]
            covered += (item.lower or 0.0) <= value <= (item.upper or math.inf)
    assert covered >= 87


# --- errors --------------------------------------------------------------------------------------------------------


def test_such_a_problem_is_no_other(problem):
    with pytest.raises(InputError, match=r"random_effects.*kinetics fit"):
        read_problem("tall_glucocorticoids")
    with pytest.raises(InputError, match="expected a problem over samples"):
        read_population("il7_pstat5")
    with pytest.raises(UnknownName, match="did you mean 'affinity'"):
        read_population("tall_glucocorticoids", case="afinity")
    with pytest.raises(UnknownName, match="sample"):
        problem.of(("T-HR-99",))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"wells": ()}, "no wells"),
        ({"species": {"dexamethasone": "Dexamethasone"}}, "prednisolone"),
        ({"statistical": ()}, "effect_sd"),
        ({"structural": (Parameter("fold_pool", 0.1, 2.0),)}, "estimate its median"),
    ],
)
def test_a_problem_that_cannot_be_meant_is_refused(problem, change, message):
    with pytest.raises(InputError, match=message):
        replace(problem, **change)


def test_a_random_effect_needs_a_range_around_one():
    with pytest.raises(InputError, match="lower < 1 < upper"):
        RandomEffect("fold_pool", 1.5, 3.0)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("parameter: fold_pool", "parameter: fold_pol", "fold_pool"),
        ("dexamethasone: Dexamethasone", "dexamethasone: Dexametason", "Dexamethasone"),
        ("at: 72 h", "at: 72 nM", "data.at.*dimensions differ"),
        ("carried: tall_glucocorticoids.csv", "carried: tall.csv", "tall_glucocorticoids.csv"),
        ("sd_dose: {bounds", "sd_doze: {bounds", "sd_dose"),
        ("range: [0.2, 8]", "range: [8]", "two increasing numbers"),
        ("    sd: {bounds: [0.03, 0.9]", "    sd: {bounds: [0.9, 0.03]", "two increasing numbers"),
    ],
)
def test_a_file_at_fault_says_where(tmp_path, old, new, message):
    text = (calibrated_path().parent / "problem.yaml").read_text()
    assert old in text
    (tmp_path / "problem.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(KineticsError, match=message):
        read_population(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [(["--hierarchical"], "--hierarchical"), (["--rtol", "1e-9"], "--rtol"), (["--candidates", "2"], "--candidates"),
     (["--write-calibrated", "--case", "claims"], "without --case")],
)  # fmt: skip
def test_the_command_refuses_what_says_nothing_here(capsys, options, message):
    assert main(["fit", "tall_glucocorticoids", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_fits_a_small_problem(tmp_path, capsys):
    text = (calibrated_path().parent / "problem.yaml").read_text()
    (tmp_path / "problem.yaml").write_text(text.replace("carried: tall_glucocorticoids.csv", "file: mine.csv"))
    rows = ["drug,sample,screen,dose_nM,replicate,viability"]
    rng = np.random.default_rng(0)
    for number, floor in enumerate((0.05, 0.2, 0.4, 0.1)):
        for dose in (1.0, 10.0, 100.0, 10000.0):
            mean = floor + (1.0 - floor) / (1.0 + (dose / 6.0) ** 2)
            for replicate in (1, 2):
                value = mean * (1.0 + 0.1 * rng.standard_normal())
                rows.append(f"dexamethasone,S{number},1,{dose},{replicate},{value:.4f}")
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    status = main(["fit", str(tmp_path), "--starts", "1", "--json", "--quiet", "--write-calibrated",
                   "--store", str(tmp_path / "fit.sqlite")])  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert status == 0 and set(document["effects"]) == {"S0", "S1", "S2", "S3"}
    # The more viable a sample at the highest dose, the larger its pool.
    order = sorted(document["effects"], key=lambda name: document["effects"][name]["value"])
    assert order == ["S0", "S3", "S1", "S2"]
    stated, found = read_calibrated(tmp_path)
    assert found.nllh == document["nllh"] and stated.samples == ("S0", "S1", "S2", "S3")
    assert (tmp_path / "fit.sqlite").is_file()
