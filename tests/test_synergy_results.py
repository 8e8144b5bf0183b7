"""Is it synergy or noise?  Measured and simulated matrices, intervals, tests, drawings and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits import cli, plotting_synergy
from fits.synergy.analysis import draws, synergy
from fits.synergy.flat import flatness
from fits.synergy.margins import fit_margins
from fits.synergy.posterior import posterior_scores
from fits.synergy.reading import read_combination
from fits.synergy.replicates import estimate_noise
from fits.synergy.surfaces import musyc
from fits.synergy.wells import Combination, from_columns, from_matrix
from kinetics import plotting
from kinetics.curves import hill
from kinetics.errors import InputError, UnknownName

SHARED = Path(__file__).parents[1].parent / "shared"
MEASURED = SHARED / "data" / "all_exvivo_viability" / "venetoclax_matrix_B-HR-26.csv"
DOSES = np.concatenate(([0.0], np.geomspace(0.1, 10.0, 6)))
ALONE = ((1.0, 0.1, 0.8, 1.2), (1.0, 0.3, 1.5, 0.9))  # untreated, plateau, EC50, slope


def experiment(surface, repeats: int = 3, sd: float = 0.04, seed: int = 1, growing: float = 0.0, **more: object):
    one, two = (np.repeat(g.ravel(), repeats) for g in np.meshgrid(DOSES, DOSES, indexing="ij"))
    mean = surface(one, two)
    noise = np.random.default_rng(seed).standard_normal(mean.size) * np.hypot(sd, growing * mean)
    return from_columns(("A", "B"), "uM", one, two, mean + noise, **more)


def independent(one, two):
    return hill(one, *ALONE[0]) * hill(two, *ALONE[1])


def synergistic(one, two):
    return musyc(one, two, (1.0, 0.1, 0.3, 0.02), (0.8, 1.5), (1.2, 0.9), (10.0, 10.0))


def antagonistic(one, two):
    return musyc(one, two, (1.0, 0.1, 0.3, 0.25), (0.8, 1.5), (1.2, 0.9), (0.2, 0.2))


def sham(one, two):
    return hill(one + two, *ALONE[0])


# --- noise ---------------------------------------------------------------------------------------------------


def test_noise_is_estimated_from_equal_wells():
    """588 - 49 degrees of freedom: the standard deviation is known to about 3 %."""
    data = experiment(independent, repeats=12)
    noise = estimate_noise(data, fit_margins(data))
    assert noise is not None and noise.equal and noise.freedom == 539
    assert noise.weight == 0.0
    assert noise.sigma == pytest.approx(0.04, rel=0.1)


def test_noise_that_grows_with_the_response_is_seen_to_grow():
    data = experiment(independent, repeats=6, sd=0.005, growing=0.1)
    noise = estimate_noise(data, fit_margins(data))
    assert noise is not None and noise.weight > 0.9
    assert_allclose(noise.deviations(np.array([1.0, 0.1])), [0.1, np.hypot(0.005, 0.01)], rtol=0.25)


def test_without_equal_wells_noise_is_that_of_the_single_agents_and_never_of_combinations():
    """13 wells and 7 parameters; synergy must not pass for noise."""
    quiet = experiment(independent, repeats=1, sd=0.02)
    strong = experiment(synergistic, repeats=1, sd=0.02)
    found = [estimate_noise(data, fit_margins(data)) for data in (quiet, strong)]
    assert found[0] is not None and found[1] is not None
    assert found[0].freedom == found[1].freedom == 6
    assert "single-agent" in found[0].text
    assert found[1].sigma == pytest.approx(found[0].sigma, rel=1e-3)  # the same draws about the same curves


# --- found and not found ---------------------------------------------------------------------------------------


def test_independent_drugs_show_no_synergy():
    found = synergy(experiment(independent), ["bliss", "zip"], n=199)
    for score in found.scores.values():
        assert score.verdict == "no interaction found"
        assert score.mean_low < 0.0 < score.mean_high
        assert not score.cells


def test_a_drug_with_itself_shows_no_synergy_by_loewe():
    for repeats in (1, 3):
        score = synergy(experiment(sham, repeats), ["loewe"], n=199).scores["loewe"]
        assert score.verdict == "no interaction found"
        assert not score.cells
        assert abs(score.mean) < 0.03  # noise of 0.04 in 36 cells


def test_simulated_synergy_and_antagonism_are_found_with_the_right_sign():
    found = synergy(experiment(synergistic), n=199)
    for model in ("bliss", "hsa", "loewe", "zip"):
        assert found.scores[model].verdict == "synergy", model
        assert found.scores[model].mean_low > 0.0
    truth = synergistic(*np.meshgrid(DOSES, DOSES, indexing="ij"))
    exact = (independent(*np.meshgrid(DOSES, DOSES, indexing="ij")) - truth)[1:, 1:]
    score = found.scores["bliss"]
    assert score.mean == pytest.approx(float(exact.mean()), abs=0.02)  # the interval is about that wide
    assert np.mean((score.low <= exact) & (exact <= score.high)) > 0.8
    alpha = {p.name: p for p in found.fits["musyc"].parameters}
    for name in ("alpha12", "alpha21"):
        assert alpha[name].low < 10.0 < alpha[name].high
        assert alpha[name].low > 1.0
    assert found.fits["musyc"].verdict == "synergy"
    assert found.fits["braid"].parameters[0].low > 0.0

    other = synergy(experiment(antagonistic), ["bliss", "musyc", "braid"], n=99)
    assert other.scores["bliss"].verdict == "antagonism"
    assert other.fits["musyc"].verdict == "antagonism"
    assert other.fits["braid"].parameters[0].value < 0.0


def test_the_unit_of_dose_and_response_does_not_change_a_conclusion():
    data = experiment(synergistic)
    scaled = from_columns(("A", "B"), "nM", data.dose1 * 1e3, data.dose2 * 1e3, data.response * 1e4)
    one, two = (synergy(item, ["bliss", "loewe"], n=99) for item in (data, scaled))
    for model in ("bliss", "loewe"):
        assert two.scores[model].mean == pytest.approx(one.scores[model].mean, abs=1e-6)
        assert two.scores[model].p_mean == one.scores[model].p_mean
        assert two.scores[model].mean_low == pytest.approx(one.scores[model].mean_low, abs=1e-4)


def test_bootstrap_sets_depend_on_seed_and_number_alone():
    assert_allclose(draws(5, 7, 3)[:3], draws(3, 7, 3), rtol=0.0)
    data = experiment(independent, repeats=1)
    first, again = (synergy(data, ["bliss"], n=49, seed=5).scores["bliss"] for _ in range(2))
    assert first.mean_low == again.mean_low and first.p_mean == again.p_mean


@pytest.mark.skipif(not MEASURED.is_file(), reason="the measured matrix lies beside the checkout and is not there")
def test_a_measured_near_additive_matrix_shows_no_bliss_excess():
    """Venetoclax and dexamethasone in B-HR-26: 81 single wells, so the noise is that of the single agents."""
    data = read_combination(MEASURED, drugs=("venetoclax", "dexamethasone"))
    assert data.response.size == 81 and data.units == ("nM", "nM")
    found = synergy(data, ["bliss", "loewe", "zip"], n=499)
    assert abs(found.scores["bliss"].mean) < 0.05
    assert found.scores["bliss"].p_mean > 0.05
    assert not found.scores["bliss"].cells
    assert found.scores["loewe"].p_mean > 0.05
    assert found.scores["zip"].p_mean > 0.05
    raw = synergy(data, ["bliss"], margins="measured", n=499).scores["bliss"]
    assert abs(raw.mean) < 0.05
    assert raw.p_mean > 0.05


# --- simulated matrices -----------------------------------------------------------------------------------------


def simulated(surface, **more: object) -> kin.DoseMatrix:
    one, two = np.meshgrid(DOSES, DOSES, indexing="ij")
    return kin.DoseMatrix(DOSES, DOSES, 80.0 * surface(one, two), "uM", "uM", "nM", ("A", "B"), "pSTAT5", **more)


def test_a_simulated_matrix_is_taken_exactly_and_not_tested():
    found = synergy(simulated(synergistic), n=99)
    one, two = np.meshgrid(DOSES, DOSES, indexing="ij")
    exact = (independent(one, two) - synergistic(one, two))[1:, 1:]
    assert_allclose(found.scores["bliss"].excess, exact, atol=1e-12)
    assert found.scores["bliss"].verdict == "not tested"
    assert any("no replicate noise" in note for note in found.notes)
    assert any("miss the simulated ones" in note for note in found.notes)


def test_a_stated_noise_says_what_one_experiment_would_show():
    loud = synergy(simulated(synergistic), ["bliss", "musyc"], noise=1.0, n=99)
    clear = synergy(simulated(synergistic), ["bliss", "musyc"], noise=0.02, n=99)
    assert loud.scores["bliss"].verdict == "no interaction found" == loud.fits["musyc"].verdict
    assert clear.scores["bliss"].verdict == "synergy" == clear.fits["musyc"].verdict


def test_draws_of_a_posterior_give_an_interval():
    rng = np.random.default_rng(0)

    def one(alpha):
        return simulated(lambda a, b: musyc(a, b, (1.0, 0.1, 0.3, 0.03), (0.8, 1.5), (1.2, 0.9), (alpha, 1.0)))

    alphas = np.exp(rng.normal(np.log(4.0), 0.2, size=40))
    score = posterior_scores([one(alpha) for alpha in alphas])
    middle = synergy(one(float(np.median(alphas))), ["bliss"], n=0).scores["bliss"].mean
    assert score.mean_low < middle < score.mean_high
    assert score.p_mean == 0.0 and score.verdict == "synergy"
    with pytest.raises(InputError, match="at least 20 draws"):
        posterior_scores([one(2.0)] * 3)


# --- what cannot be estimated ------------------------------------------------------------------------------------


def test_too_few_doses_leave_bliss_and_hsa_and_say_what_is_missing():
    one, two = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    data = from_columns(("A", "B"), "uM", one, two, np.array([1.0, 0.5, 0.6, 0.2]))
    with pytest.raises(InputError, match="alone was given at 1 dose above 0, a Hill curve needs 3: pass margins="):
        synergy(data)
    found = synergy(data, margins="measured", n=99)
    assert set(found.scores) == {"bliss", "hsa"} and not found.fits
    assert any(note.startswith("Loewe, ZIP, MuSyC and BRAID could not be estimated") for note in found.notes)
    assert any("not enough" in note or "are enough" in note for note in found.notes)
    assert np.isnan(found.scores["bliss"].p_mean)


def test_holes_are_left_out_and_counted():
    data = experiment(synergistic)
    keep = ~((data.dose1 == DOSES[3]) & (data.dose2 == DOSES[4]))
    holed = from_columns(("A", "B"), "uM", data.dose1[keep], data.dose2[keep], data.response[keep])
    found = synergy(holed, ["bliss", "zip", "loewe"], n=99)
    assert np.isnan(found.scores["bliss"].excess[2, 3]) and np.isnan(found.scores["zip"].excess[2, 3])
    assert np.sum(np.isnan(found.scores["loewe"].excess)) == 1
    assert found.scores["bliss"].verdict == "synergy"
    assert any("1 of 36 combinations were not measured" in note for note in found.notes)
    assert np.isnan(holed.matrix().responses[3, 4])


def test_a_drug_without_effect_is_named():
    found = synergy(experiment(lambda a, b: hill(a, *ALONE[0]) * (1.0 + 0.3 * b / (b + 1.0))), ["loewe"], n=0)
    assert any("B alone does not lower" in note for note in found.notes)


def lone(one, two):
    return hill(one, *ALONE[0]) * np.ones_like(two)


def test_a_drug_that_is_flat_is_said_and_the_other_is_not():
    found = synergy(experiment(lone), ["bliss"], n=19)
    said = [note for note in found.notes if "cannot be told from a flat response" in note]
    assert len(said) == 1 and said[0].startswith("B alone")
    assert found.scores["bliss"].verdict == "no interaction found"
    assert not any("flat response" in note for note in synergy(experiment(independent), ["bliss"], n=0).notes)


def test_flat_matrices_are_not_scored_and_say_why(tmp_path, capsys):
    found = synergy(experiment(lambda one, two: np.ones_like(one)), n=60)
    assert not found.scores and not found.fits and found.n_boot == 0
    assert "Nothing was scored: neither A nor B alone" in str(found)
    assert found.to_frame().empty and found.summary_frame().empty
    assert "p_corrected" in found.to_frame() and "verdict" in found.summary_frame()
    assert found.to_xarray()["excess"].shape == (0, 6, 6)
    with pytest.raises(InputError, match="nothing was scored"):
        plotting_synergy.plot_synergy(found)
    table = tmp_path / "flat.csv"
    found.combination.to_frame().to_csv(table, index=False)
    assert cli.main(["synergy", str(table)]) == 0
    assert "Nothing was scored" in capsys.readouterr().out
    assert cli.main(["synergy", str(table), "--plot", str(tmp_path / "flat.png")]) == 2
    assert "there is nothing to draw: Nothing was scored" in capsys.readouterr().err


def test_drugs_that_act_only_together_are_scored():
    found = synergy(experiment(lambda one, two: 1.0 - 0.8 * (one * two) / (1.0 + one * two)), ["bliss"], n=99)
    assert found.scores["bliss"].verdict == "synergy"
    assert any(note.startswith("Neither A nor B alone can be told from a flat response") for note in found.notes)


def test_flat_drugs_pass_for_flat_at_about_the_stated_rate():
    """40 curves of noise: at 5 % a test rejects 2; more than 6 would be chance in 3 of 1,000 such tests."""
    p = []
    for seed in range(40):
        data = experiment(lone, repeats=2, seed=seed)
        margins = fit_margins(data)
        p.append(flatness(data, margins, estimate_noise(data, margins)).alone)
    assert 1 <= np.sum(np.array(p)[:, 1] < 0.05) <= 6
    assert np.all(np.array(p)[:, 0] < 1e-6)


def test_an_untreated_level_that_nobody_measured_is_said():
    data = experiment(independent)
    keep = (data.dose1 > 0.0) | (data.dose2 > 0.0)
    bare = from_columns(("A", "B"), "uM", data.dose1[keep], data.dose2[keep], data.response[keep])
    assert any("No well is without drugs: the untreated level" in note for note in synergy(bare, ["bliss"], n=0).notes)
    assert not any("No well is without drugs" in note for note in synergy(data, ["bliss"], n=0).notes)


def test_few_wells_for_a_surface_are_said():
    doses = np.array([0.0, 1.0, 2.0, 4.0])
    one, two = np.r_[doses, np.zeros(3), 2.0], np.r_[np.zeros(4), doses[1:], 2.0]
    response = hill(one, 1.0, 0.0, 2.0, 1.0) * hill(two, 1.0, 0.1, 2.0, 1.0)
    found = synergy(from_columns(("A", "B"), "uM", one, two, response), ["bliss", "musyc"], n=0)
    assert "musyc" not in found.fits
    assert any("MuSyC could not be estimated: it has 10 parameters and there are 8 wells" in n for n in found.notes)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"response": np.full(9, 0.7)}, "all 9 responses are 0.7"),
        ({"dose1": -np.ones(9)}, "must be finite and not negative, got -1"),
        ({"response": np.full(9, np.nan)}, "responses must be finite"),
        ({"full_effect": 1.0}, "untreated wells answer 1, which is also the response at full effect"),
        ({"dose2": np.ones(9)}, "no well has A alone"),
        ({"dose1": np.zeros(9)}, "no well has A: expected doses above 0"),
        ({"units": ("uM", "blargs")}, "blargs"),
        ({"response": np.ones(3)}, "columns of one length"),
    ],
)
def test_what_is_no_combination_is_refused(change, message):
    one, two = (g.ravel() for g in np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], indexing="ij"))
    given = {
        "drugs": ("A", "B"),
        "units": ("uM", "uM"),
        "dose1": one,
        "dose2": two,
        "response": 1.0 / (1.0 + one + two),
    }
    with pytest.raises(InputError, match=message):
        Combination(**{**given, **change})


def test_combinations_alone_are_refused_because_nothing_can_be_expected():
    with pytest.raises(InputError, match="every reference of no interaction needs each drug by itself"):
        from_columns(("A", "B"), "uM", [1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.5, 0.4, 1.0])


def test_rising_responses_ask_for_the_full_effect():
    one, two = (g.ravel() for g in np.meshgrid(DOSES, DOSES, indexing="ij"))
    with pytest.raises(InputError, match="pass full_effect"):
        from_columns(("A", "B"), "uM", one, two, 2.0 + 98.0 * (1.0 - independent(one, two)))


def test_settings_without_meaning_are_refused():
    data = experiment(independent, repeats=1)
    with pytest.raises(UnknownName, match="did you mean 'bliss'"):
        synergy(data, ["blis"])
    for options, message in (
        ({"n": 5}, "at least 19"), ({"level": 1.5}, "level"), ({"margins": "none"}, "margins must be"),
        ({"noise": -1.0}, "standard deviation"), ({"models": []}, "at least one"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            synergy(data, **options)
    with pytest.raises(UnknownName):
        synergy(data, ["bliss"], n=0)["loewe"]


# --- tables, drawings, the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return synergy(experiment(synergistic, sample="S1"), ["bliss", "loewe", "musyc"], n=49)


def test_results_are_tidy_tables(result):
    frame = result.to_frame()
    assert len(frame) == 3 * 36
    assert {"unit1", "unit2", "expected", "excess", "low", "high", "p_corrected"} <= set(frame.columns)
    summary = result.summary_frame()
    assert list(summary["quantity"]) == ["mean excess", "mean excess", "alpha12", "alpha21", "beta"]
    grid = result.to_xarray()
    assert grid["excess"].sel(model="Bliss").shape == (6, 6)
    assert grid["dose1"].attrs["units"] == "uM"
    assert len(result.combination.to_frame()) == 147
    assert "positive is synergy" in str(result)


def test_drawings_show_the_result_and_leave_it_alone(result, tmp_path):
    ax = plotting_synergy.plot_excess(result)
    assert "Bliss" in ax.get_title() and "µM" in ax.get_xlabel()
    assert len(ax.texts) == 36
    assert "MuSyC" in plotting_synergy.plot_synergy_surface(result, "musyc").get_title()
    bars = plotting_synergy.plot_synergy_waterfall([result, result])
    assert len(bars.patches) == 2
    both = plotting_synergy.plot_synergy(result)
    plotting.save(both, tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no score 'zip'"):
        plotting_synergy.plot_synergy_waterfall([result], "zip")
    with pytest.raises(InputError, match="1 to 60 results"):
        plotting_synergy.plot_synergy_waterfall([])


def test_the_command_scores_a_table(result, tmp_path, capsys):
    table = tmp_path / "matrix.csv"
    result.combination.to_frame().to_csv(table, index=False)
    plot = tmp_path / "synergy.png"
    status = cli.main(
        ["synergy", str(table), "A", "B", "--models", "bliss,musyc", "--sets", "49", "--json", "--plot", str(plot)]
    )
    captured = capsys.readouterr()
    assert status == 0, captured.err
    said = json.loads(captured.out)["results"][0]
    assert said["drugs"] == ["A", "B"]
    assert said["scores"]["bliss"]["verdict"] == "synergy"
    assert said["scores"]["bliss"]["mean"] == pytest.approx(result.scores["bliss"].mean)
    assert said["surfaces"]["musyc"]["parameters"]["alpha12"]["value"] > 1.0
    assert plot.stat().st_size > 10_000


def test_the_command_scores_a_model(capsys, tmp_path):
    words = ["synergy", "il7_stat5_imatinib", "Imatinib", "Ruxolitinib", "--doses1", "0,0.3,1,3 uM"]
    words += ["--doses2", "0,10,30,100 nM", "--before", "60 min", "--models", "bliss,hsa", "--json"]
    assert cli.main([*words, "--set", "IL7=1 ng/ml"]) == 0
    said = json.loads(capsys.readouterr().out)["results"][0]
    assert said["bootstrap_sets"] == 0 and said["scores"]["bliss"]["p"] is None
    assert said["scores"]["bliss"]["mean"] > 0.0
    assert cli.main(words) == 2  # no IL-7: nothing happens
    assert "the cells need their stimulus" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["il7_stat5_imatinib"], "which two drugs"),
        (["il7_stat5_imatinib", "Imatinib"], "expected two drugs or none, got 1"),
        (["il7_stat5_imatinib", "Imatinib", "Ruxolitinib"], "which doses"),
        (["il7_stat5_imatinib", "Imatinib", "Ruxolitinb"], "did you mean 'Ruxolitinib'"),
        (["nowhere.csv"], "nowhere.csv"),
        (["nowhere.csv", "--at", "3 min"], "--at goes with a model"),
        (["il7_stat5_imatinib", "Imatinib", "Ruxolitinib", "--sample", "S"], "--sample goes with a table"),
    ],
)
def test_the_command_says_what_is_missing(words, message, capsys):
    assert cli.main(["synergy", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_model_matrix_becomes_wells():
    data = from_matrix(simulated(synergistic))
    assert data.exact and data.counts.max() == 1
    assert_allclose(data.matrix().responses, simulated(synergistic).responses)
