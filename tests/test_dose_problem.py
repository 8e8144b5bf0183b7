"""From a reported curve to a problem: what a synthetic curve was made with is found again."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits.dose_problem import DoseProblem
from fits.joined import join_problems
from fits.objective import compile_problem
from fits.optimise import fit
from fits.parameters import Parameter, Scale
from fits.problem import Distribution
from fits.reported import CurvePoint, ReportedCurve, parse_curve
from fits.terms import NormalisedCurve
from kinetics.errors import InputError, UnitError, UnknownName

LATE = 200.0  # at equilibrium
DOSES = tuple(float(f"{d:.4g}") for d in np.geomspace(0.05, 200.0, 9))
ESTIMATED = {"scale": "estimate", "offset": "estimate", "noise": "estimate"}
AS_IS = {"scale": "fixed", "offset": "none", "noise": 0.01}


def curve_of(responses, arm="", doses=DOSES, **more):
    pairs = zip(doses, np.asarray(responses).tolist(), strict=True)
    return ReportedCurve(tuple(CurvePoint(d, r, arm, **more) for d, r in pairs), "")


def occupancy(k_d, doses=DOSES):
    return np.array(doses) / (np.array(doses) + k_d)


@pytest.fixture
def protocol(antagonist):
    return kin.DoseProtocol("L", [1.0], kin.Readout.at("C", LATE))


def test_known_affinity_scale_and_offset_are_recovered(antagonist, protocol):
    """K_d = k_off / k_on = 5 with k_on = 1, measured as 40 occupancy + 3: noise-free, so exactly."""
    curve = curve_of(40.0 * occupancy(5.0) + 3.0)
    given = {**ESTIMATED, "noise": 0.5}
    problem = DoseProblem(antagonist, protocol, curve, {"k_off": (0.02, 200.0)}, **given).problem()
    assert problem.parameters.names == ("k_off", "scale_data", "offset_data")
    assert problem.observables["data"].formula == "scale_data * C + offset_data"
    result = fit(compile_problem(problem), n_starts=3, seed=1)
    found = problem.parameters.plain(result.best.x)
    assert_allclose([found["k_off"], found["scale_data"], found["offset_data"]], [5.0, 40.0, 3.0], rtol=1e-4)


def test_estimated_noise_is_the_root_mean_square_of_the_residuals(antagonist, protocol):
    rng = np.random.default_rng(5)
    curve = curve_of(40.0 * occupancy(5.0) + 3.0 + rng.normal(0.0, 1.0, len(DOSES)))
    problem = DoseProblem(antagonist, protocol, curve, {"k_off": (0.02, 200.0)}, **ESTIMATED).problem()
    objective = compile_problem(problem)
    result = fit(objective, n_starts=4, seed=1)
    found = problem.parameters.plain(result.best.x)
    residuals = objective.simulate(found) - [row.value for row in problem.measurements]
    assert found["sigma_data"] == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-4)
    assert found["k_off"] == pytest.approx(5.0, rel=0.3)  # nine points with noise of 2.5 % of the top


def test_two_arms_share_the_parameters(antagonist, protocol):
    """Gaddum: 1 nM of the antagonist with K_b = 0.25 / 0.5 makes 2 nM out of K_d = 2 look like 6."""
    control, drug = curve_of(occupancy(2.0), "control"), curve_of(occupancy(6.0), "drug")
    curve = ReportedCurve((*control.points, *drug.points), "")
    described = DoseProblem(
        antagonist,
        {"control": protocol, "drug": protocol.under({"B": 1.0})},
        curve,
        {"k_off": (0.02, 200.0), "k_off_b": (0.01, 10.0)},
        **AS_IS,
    )
    problem = described.problem()
    assert len(problem.experiments) == 2 * len(DOSES)
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=3, seed=2).best.x)
    assert_allclose([found["k_off"], found["k_off_b"]], [2.0, 0.25], rtol=1e-4)
    assert pickle.loads(pickle.dumps(problem)).experiments.keys() == problem.experiments.keys()


@pytest.mark.parametrize("how", ["percent of maximum", "fold", "percent of a dose"])
def test_normalised_curves_are_normalised_inside_the_fit(antagonist, protocol, how):
    values = occupancy(5.0)
    readout, responses = {
        "percent of maximum": (protocol.readout.percent_of_maximum(), 100.0 * values / values[-1]),
        "fold": (protocol.readout.fold_over({"L": 1.0}), values * 6.0),  # occupancy at 1 is 1/6
        "percent of a dose": (protocol.readout.percent_of({"L": 20.0}), 100.0 * values / 0.8),
    }[how]
    relative = kin.DoseProtocol("L", [1.0], readout)
    problem = DoseProblem(
        antagonist, relative, curve_of(responses), {"k_off": (0.02, 200.0)}, scale="fixed", offset="none", noise=0.5
    ).problem()
    assert not problem.measurements and isinstance(problem.terms[0], NormalisedCurve)
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=3, seed=3).best.x)
    assert found["k_off"] == pytest.approx(5.0, rel=1e-3)


def test_errors_by_point_and_intervals(antagonist, protocol):
    points = [CurvePoint(1.0, 0.2, error=0.1), CurvePoint(5.0, math.nan, lower=0.4, upper=0.6, error=0.05)]
    problem = DoseProblem(
        antagonist, protocol, ReportedCurve(tuple(points), ""), {"k_off": (0.02, 200.0)},
        scale="fixed", offset="none", noise="column",
    ).problem()  # fmt: skip
    assert [row.noise_overrides for row in problem.measurements] == [(0.1,), (0.05,)]
    from scipy.stats import norm

    value = compile_problem(problem).nllh({"k_off": 5.0})  # occupancy 1/6 and 1/2
    exact = -norm.logpdf(0.2, 1.0 / 6.0, 0.1)
    between = -math.log(norm.cdf(0.6, 0.5, 0.05) - norm.cdf(0.4, 0.5, 0.05))
    assert value == pytest.approx(exact + between, rel=1e-6)


def test_times_of_points_and_units(with_units):
    """Drug' = -k Drug, read at two times: exp(-k t) of the dose; 50 ng/ml of 50 kg/mol is 1 nM."""
    curve = parse_curve("dose (ng/ml),response,time (h)\n50,0.5,0.1\n500,5,0.1\n50,0.25,0.2\n500,2.5,0.2\n")
    protocol = curve.protocol("Drug", kin.Readout.at("Drug", "10 min"))
    problem = DoseProblem(
        with_units, protocol, curve, {"k": (0.001, 1.0)}, scale="fixed", offset="none", noise=0.01
    ).problem()
    assert [row.time for row in problem.measurements] == pytest.approx([6.0, 6.0, 12.0, 12.0])
    assert problem.parameters["k"].unit == "1/min"
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=2).best.x)
    assert found["k"] == pytest.approx(math.log(2.0) / 6.0, rel=1e-5)


def test_parameters_take_nominal_value_and_unit_from_the_model(antagonist, protocol):
    given = {"k_off": (0.02, 200.0), "R": (0.1, 10.0, "lin"), "k_on": Parameter("k_on", 0.1, 10.0, Scale.LOG)}
    problem = DoseProblem(antagonist, protocol, curve_of(occupancy(5.0)), given, **AS_IS).problem()
    assert [(p.id, p.scale, p.nominal) for p in problem.parameters.parameters] == [
        ("k_off", Scale.LOG10, 2.0), ("R", Scale.LIN, 1.0), ("k_on", Scale.LOG, 1.0),
    ]  # fmt: skip


def test_log_normal_noise(antagonist, protocol):
    problem = DoseProblem(
        antagonist, protocol, curve_of(occupancy(5.0)), {"k_off": (0.02, 200.0)},
        scale=1.0, offset=0.0, noise=(0.01, 1.0), distribution=Distribution.LOG_NORMAL,
    ).problem()  # fmt: skip
    assert problem.observables["data"].distribution is Distribution.LOG_NORMAL
    assert (problem.parameters["sigma_data"].lower, problem.parameters["sigma_data"].upper) == (0.01, 1.0)
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=2).best.x)
    assert found["k_off"] == pytest.approx(5.0, rel=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scale": ""}, r"pass scale='estimate', \(lower, upper\), a number, or 'fixed'"),
        ({"offset": ""}, r"pass offset='estimate', \(lower, upper\), a number, or 'none'"),
        ({"noise": ""}, r"pass noise='estimate', 'column', a standard deviation or \(lower, upper\); got ''"),
        ({"noise": 0.0}, "must be positive, got 0"),
        ({"noise": "column"}, "dose 0.05 has none: fill the column 'error'"),
        ({"scale": 0.0}, "scale must be a finite number other than 0"),
        ({"scale": (-1.0, 2.0)}, r"scale_data' is searched on the log10 scale and needs 0 < lower < upper, got -1, 2"),
        ({"parameters": {}}, "there is no parameter to estimate"),
        ({"parameters": {"koff": (0.1, 1.0)}}, r"no parameter named 'koff' in model 'antagonist'; did you mean 'k_off"),
        ({"parameters": {"k_off": (1.0, 0.1)}}, r"'k_off' needs lower < upper, got 1, 0.1"),
        ({"parameters": {"k_off": (0.1, 1.0, "log2")}}, "no scale named 'log2'"),
        ({"parameters": {"k_off": 1.0}}, r"needs bounds such as"),
        ({"dataset": "my data"}, "letters, digits and _, got 'my data'"),
    ],
)
def test_what_is_not_said_or_cannot_be_meant(antagonist, protocol, changes, message):
    given = {"parameters": {"k_off": (0.02, 200.0)}, **AS_IS, **changes}
    with pytest.raises(InputError, match=message):
        DoseProblem(antagonist, protocol, curve_of(occupancy(5.0)), **given).problem()


def test_arms_without_a_protocol(antagonist, protocol):
    curve = ReportedCurve((*curve_of(occupancy(2.0), "control").points, *curve_of(occupancy(6.0), "drug").points), "")
    chosen = {"k_off": (0.02, 200.0)}
    with pytest.raises(InputError, match=r"arms 'control', 'drug', but there is one protocol"):
        DoseProblem(antagonist, protocol, curve, chosen, **AS_IS).problem()
    with pytest.raises(InputError, match=r"has an arm 'drug', and the protocol does not say"):
        DoseProblem(antagonist, {"control": protocol}, curve, chosen, **AS_IS).problem()
    with pytest.raises(UnknownName, match=r"no arm named 'drugs' in the curve; did you mean 'drug'"):
        DoseProblem(antagonist, {"control": protocol, "drugs": protocol}, curve, chosen, **AS_IS).problem()


def test_read_outs_that_cannot_be_fitted(antagonist):
    chosen = {"k_off": (0.02, 200.0)}
    for readout, message in (
        (kin.Readout.peak("C", 0.0, 5.0), "peaks, areas and half-times"),
        (kin.Readout.at("C", 5.0).fraction_positive(0.1, 0.5), "fraction of cells above a gate"),
    ):
        with pytest.raises(InputError, match=message):
            protocol = kin.DoseProtocol("L", [1.0], readout)
            DoseProblem(antagonist, protocol, curve_of(occupancy(5.0)), chosen, **AS_IS).problem()
    percent = kin.DoseProtocol("L", [1.0], kin.Readout.at("C", 5.0).percent_of_maximum())
    with pytest.raises(InputError, match="a normalised read-out has no free scale"):
        DoseProblem(antagonist, percent, curve_of(occupancy(5.0)), chosen, **{**AS_IS, "scale": "estimate"}).problem()


def test_a_read_out_that_does_not_respond(antagonist):
    dead = kin.DoseProtocol("L", [1.0], kin.Readout.at("X", LATE))
    with pytest.raises(InputError, match="is 0 at every dose, so the size of the scale cannot be told"):
        DoseProblem(antagonist, dead, curve_of(occupancy(5.0)), {"k_off": (0.02, 200.0)}, **ESTIMATED).problem()
    flat = curve_of(np.full(len(DOSES), 2.0))
    late = kin.DoseProtocol("L", [1.0], kin.Readout.at("C", LATE))
    with pytest.raises(InputError, match="all responses of the curve are 2"):
        DoseProblem(antagonist, late, flat, {"k_off": (0.02, 200.0)}, **ESTIMATED).problem()


def test_units_that_do_not_fit_are_refused(with_units):
    curve = parse_curve("dose (min),response\n1,2\n3,4\n")
    protocol = curve.protocol("Drug", kin.Readout.at("Drug", "10 min"))
    problem = DoseProblem(with_units, protocol, curve, {"k": (0.001, 1.0)}, **AS_IS).problem()
    with pytest.raises(UnitError, match="dimensions differ"):
        compile_problem(problem)


def test_joined_problems_share_parameters(antagonist, protocol):
    """The same truth seen through two scales."""
    made = [
        DoseProblem(
            antagonist,
            protocol,
            curve_of(factor * occupancy(5.0)),
            {"k_off": (0.02, 200.0)},
            scale="estimate",
            offset="none",
            noise=0.1 * factor,
            dataset=name,
        ).problem()
        for name, factor in (("one", 3.0), ("two", 70.0))
    ]
    problem = join_problems("both", made)
    assert problem.parameters.names == ("k_off", "scale_one", "scale_two")
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=3, seed=1).best.x)
    assert_allclose([found["k_off"], found["scale_one"], found["scale_two"]], [5.0, 3.0, 70.0], rtol=1e-3)
    other = DoseProblem(
        antagonist, protocol, curve_of(occupancy(5.0)), {"k_off": (0.1, 1.0)}, **ESTIMATED, dataset="three"
    ).problem()
    with pytest.raises(InputError, match=r"parameter 'k_off' is described differently"):
        join_problems("clash", [*made, other])


def test_a_fixed_scale_converts_units_and_refuses_arbitrary_ones():
    """The same curve in pM and in nM is one problem; in MFI it needs a scale."""
    model = kin.Model.load("il7_stat5_imatinib")
    protocol = kin.DoseProtocol("IL7", ["1 ng/ml"], kin.Readout.at("pSTAT5_total", "10 min"))
    rows = [(dose, 1.5 * number) for number, dose in enumerate((0.01, 0.1, 1.0, 10.0), start=1)]

    def found(unit: str, factor: float) -> float:
        lines = [f"{dose},ng/ml,{response * factor},{unit}" for dose, response in rows]
        curve = parse_curve("dose,dose_unit,response,response_unit\n" + "\n".join(lines))
        given = DoseProblem(
            model, protocol, curve, {"kp": (0.02, 2.0)}, scale="fixed", offset="none", noise=0.1 * factor
        )
        return compile_problem(given.problem()).chi2({"kp": 0.2})

    assert found("pM", 1000.0) == pytest.approx(found("nM", 1.0), rel=1e-9)
    with pytest.raises(InputError, match=r"MFI.*scale: estimate"):
        found("MFI", 1.0)
