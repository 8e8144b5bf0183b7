"""Problem files: what they say becomes a problem, and what they cannot mean is named by file and key."""

from __future__ import annotations

import math

import pytest
from conftest import ANTAGONIST

from fits.dose_problem import DoseProblem
from fits.hierarchical import HierarchicalObjective
from fits.objective import compile_problem
from fits.optimise import fit
from fits.parameters import Scale
from fits.problem import Distribution
from fits.problem_file import problem_path, read_description, read_problem
from fits.terms import Hinge, NormalisedCurve, ReportedNumber
from kinetics.errors import InputError, KineticsError, ModelNotFound

BASE = """
format: dose-response 1
id: gaddum
title: agonist and antagonist at equilibrium
model: antagonist.ant
protocols:
  control: {target: L, readout: C, at: 200, doses: [0.02, 0.2, 2, 20, 200, 2000]}
  drug: {target: L, readout: C, at: 200, set: {B: 1}, doses: [0.02, 0.2, 2, 20, 200, 2000]}
data:
  - file: curve.csv
    protocol: {control: control, drug: drug}
    scale: fixed
    offset: none
    noise: 0.01
parameters:
  k_off: {bounds: [0.02, 200], scale: log10}
  k_off_b: {bounds: [0.01, 10.0]}
"""
CURVE = "dose (dimensionless),response,arm\n" + "".join(
    f"{dose},{dose / (dose + k)},{arm}\n" for arm, k in (("control", 2.0), ("drug", 6.0)) for dose in (0.2, 2.0, 20.0)
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "antagonist.ant").write_text(ANTAGONIST)
    (tmp_path / "curve.csv").write_text(CURVE)
    (tmp_path / "problem.yaml").write_text(BASE)
    return tmp_path


def rewrite(folder, *changes, more=""):
    text = BASE + more
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "problem.yaml").write_text(text)
    return folder / "problem.yaml"


def test_a_file_becomes_a_problem_that_finds_the_truth(folder):
    """Gaddum: K_d = 2 and K_b = 0.25 / 0.5, so 1 of the antagonist makes the EC50 6."""
    problem = read_problem(folder, trusted=True)  # the folder will do: it holds one problem.yaml
    assert problem.id == "gaddum" and problem.parameters.names == ("k_off", "k_off_b")
    assert problem.parameters["k_off_b"].scale is Scale.LOG10
    found = problem.parameters.plain(fit(compile_problem(problem), n_starts=2, seed=1).best.x)
    assert [found["k_off"], found["k_off_b"]] == pytest.approx([2.0, 0.25], rel=1e-4)


def test_what_a_problem_has_no_place_for_is_in_the_description(folder):
    described = read_description(folder / "problem.yaml", trusted=True)
    assert described.title == "agonist and antagonist at equilibrium"
    assert set(described.protocols) == {"control", "drug"}
    (part,) = described.data
    assert isinstance(part, DoseProblem) and part.curve is described.curves["data"]
    assert described.folder == folder


def test_terms_in_the_file_and_in_a_table(folder):
    inline = """
terms:
  - {id: shift, number: log10 EC50 ratio, curve: drug, reference: control, lower: 0.3, upper: 0.6, error: 0.1}
  - {id: claim, kind: hinge, number: Emax ratio, curve: drug, reference: control, lower: 0.8, width: 0.05}
  - {id: half, number: response, curve: control, dose: 2, value: 0.5, error: 0.1}
"""
    problem = read_problem(rewrite(folder, more=inline), trusted=True)
    assert [type(term) for term in problem.terms] == [ReportedNumber, Hinge, ReportedNumber]
    assert math.isfinite(compile_problem(problem).evaluate(problem.parameters.nominal).value)
    (folder / "terms.tsv").write_text(
        "id\tkind\tnumber\tcurve\treference\tdose\tvalue\tlower\tupper\terror\twidth\n"
        "shift\tnumber\tlog10 EC50 ratio\tdrug\tcontrol\t\t\t0.3\t0.6\t0.1\t\n"
        "claim\thinge\tEmax ratio\tdrug\tcontrol\t\t\t0.8\t\t\t0.05\n"
        "half\t\tresponse\tcontrol\t\t2\t0.5\t\t\t0.1\t\n"
    )
    assert repr(read_problem(rewrite(folder, more="terms: terms.tsv\n"), trusted=True).terms) == repr(problem.terms)


def test_scales_and_noise_can_be_solved_for_beside_terms(folder):
    """Terms depend on what is simulated alone, so scale, offset and noise level stay a linear problem."""
    more = "terms:\n  - {id: h, kind: hinge, number: Emax ratio, curve: drug, reference: control, lower: 2, width: 1}\n"
    path = rewrite(
        folder, ("scale: fixed", "scale: estimate"), ("offset: none", "offset: estimate"),
        ("noise: 0.01", "noise: estimate"), more=more,
    )  # fmt: skip
    problem = read_problem(path, trusted=True)
    objective = HierarchicalObjective(problem)
    assert objective.names == ("k_off", "k_off_b")
    x = objective.nominal + 0.1
    found = objective.evaluate(x, derivatives=True)
    flat = compile_problem(problem).evaluate(objective.complete(x), derivatives=True)
    assert found.value == pytest.approx(flat.value, rel=1e-9)
    assert objective.evaluate(x).value == pytest.approx(flat.value, rel=1e-6)  # other steps of the integrator
    assert found.details["h"] == flat.details["h"]
    assert flat.gradient[2:] == pytest.approx(0.0, abs=1e-4)  # the inner parameters are at their optimum


def test_cases_change_what_they_name(folder):
    more = """
cases:
  narrow: {title: narrower bounds, parameters: {k_off: {bounds: [1, 3]}}}
  one: {parameters: {k_off_b: null}, data: [{file: curve.csv, protocol: {control: control, drug: drug}, scale: fixed,
        offset: none, noise: 0.5}]}
"""
    path = rewrite(folder, more=more)
    assert read_description(path, trusted=True).cases == {"narrow": "narrower bounds", "one": "one"}
    narrow = read_problem(path, case="narrow", trusted=True).parameters["k_off"]
    assert (narrow.lower, narrow.upper, narrow.scale) == (1.0, 3.0, Scale.LOG10)
    one = read_problem(path, case="one", trusted=True)
    assert one.parameters.names == ("k_off",)
    assert next(iter(one.observables.values())).noise == "0.5"
    with pytest.raises(KineticsError, match=r"no case named 'narow' in problem.yaml; did you mean 'narrow'"):
        read_problem(path, case="narow", trusted=True)


def test_units_priors_distributions_and_normalisation(folder):
    path = rewrite(
        folder,
        ("model: antagonist.ant", "model: il7_stat5_imatinib\nvalues: {cell_density: 1e6}"),
        ("k_off: {bounds: [0.02, 200], scale: log10}",
         "kp: {bounds: [2e4, 2e6], scale: lin, unit: 1/mM/min, nominal: 2e5}"),
        ("k_off_b: {bounds: [0.01, 10.0]}",
         "kd: {bounds: [0.05, 0.4], prior: {family: normal, parameters: [-1, 0.3], scale: log10}}"),
        ("control: {target: L, readout: C, at: 200, doses: [0.02, 0.2, 2, 20, 200, 2000]}",
         "control: {protocol: thiant_2017, everywhere: {Imatinib: 0}, percent_of_maximum: true}"),
        ("drug: {target: L, readout: C, at: 200, set: {B: 1}, doses: [0.02, 0.2, 2, 20, 200, 2000]}",
         "drug: {protocol: thiant_2017, percent_of_maximum: true}"),
    )  # fmt: skip
    (folder / "curve.csv").write_text(CURVE.replace("dimensionless", "ng/ml"))
    problem = read_problem(path)
    kp, kd = problem.parameters["kp"], problem.parameters["kd"]
    assert [kp.lower, kp.upper, kp.nominal] == pytest.approx([0.02, 2.0, 0.2])
    assert kd.prior is not None and kd.prior.family == "normal"
    assert all(isinstance(term, NormalisedCurve) for term in problem.terms) and len(problem.terms) == 2
    periods = [len(term.protocol.schedule.periods) for term in problem.terms]
    assert periods == [3, 3]
    with pytest.raises(InputError, match=r"parameters.kd: a prior is in the unit of the model"):
        text = path.read_text().replace("kd: {bounds: [0.05, 0.4],", "kd: {bounds: [3, 24], unit: 1/h,")
        path.write_text(text)
        read_problem(path)


def test_log_normal_noise(folder):
    path = rewrite(folder, ("noise: 0.01", "noise: [0.01, 1]\n    distribution: log-normal"))
    (observable,) = read_problem(path, trusted=True).observables.values()
    assert observable.distribution is Distribution.LOG_NORMAL


def test_petab_problems_are_read_too(shared):
    folder = shared / "suites" / "petab" / "v2.0.0" / "0001"
    if not folder.is_dir():
        pytest.skip("the PEtab suite is not beside this checkout")
    file = next(item for item in sorted(folder.iterdir()) if item.suffix == ".yaml" and "solution" not in item.name)
    assert read_problem(file).measurements
    with pytest.raises(InputError, match="a PEtab problem has no cases"):
        read_problem(file, case="any")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("format: dose-response 1", "form: 1", r"problem.yaml: expected 'format: dose-response 1' .* got neither"),
        ("format: dose-response 1", "format: dose-response 9", r"format: expected 'dose-response 1', got 'dose-resp"),
        ("title:", "titel:", r"problem.yaml: there is no key 'titel'; did you mean 'title'\?"),
        ("id: gaddum", "id: ''", r"problem.yaml: id: expected a name for the problem, got ''"),
        ("model: antagonist.ant", "model: il7_stat5", r"no bundled model 'il7_stat5'.* did you mean 'il7_stat5_im"),
        ("model: antagonist.ant", "model: none.ant", r"there is no file 'none.ant'; the folder has antagonist.ant"),
        ("model: antagonist.ant", "model: ../antagonist.ant", r"leads out of the folder"),
        ("target: L, readout: C, at: 200, set", "target: L, at: 200, set", r"drug.readout: expected a species"),
        ("at: 200, set", "at: soon, set", r"protocols.drug: time of a read-out must start with a number"),
        ("set: {B: 1}", "set: {B: [1]}", r"drug.set.B: expected a number or text such as '3 uM', got \[1\]"),
        ("set: {B: 1}", "sets: {B: 1}", r"protocols.drug: there is no key 'sets'; did you mean 'set'"),
        ("[0.02, 200], scale", "[0.02], scale", r"parameters.k_off.bounds: expected two numbers .* got \[0.02\]"),
        ("[0.02, 200], scale", "[0.02, big], scale", r"parameters.k_off.bounds: expected two numbers"),
        ("[0.02, 200], scale", "[200, 0.02], scale", r"parameters.k_off: .*lower < upper, got 200, 0.02"),
        ("scale: log10}", "scale: log2}", r"no scale named 'log2' in problem.yaml: parameters.k_off"),
        ("k_off: {", "koff: {", r"no parameter named 'koff' .*\(problem.yaml: parameters.koff\); did"),
        ("drug: drug}", "drug: drugs}", r"no protocol named 'drugs' in problem.yaml: data\[0\].protocol.drug; did you"),
        ("noise: 0.01", "nois: 0.01", r"data\[0\]: there is no key 'nois'; did you mean 'noise'"),
        ("noise: 0.01", "noise: {a: 1}", r"data\[0\].noise: expected 'estimate', a number or \[lower, upper\]"),
        ("noise: 0.01", "noise: guess", r"pass noise='estimate', 'column'"),
        ("file: curve.csv", "file: none.csv", r"data\[0\].file: there is no file 'none.csv'"),
        ("file: curve.csv", "file: /etc/passwd", r"is an absolute path"),
        ("data:\n  - file: curve.csv", "data: []\nvalues:\n  - file: curve.csv", r"expected at least one table|values"),
        ("protocols:", "protocols: 3\nnotes:", r"protocols: expected a mapping of names, got 3"),
    ],
)
def test_files_without_a_meaning(folder, old, new, message):
    with pytest.raises(KineticsError, match=message):
        read_problem(rewrite(folder, (old, new)), trusted=True)


@pytest.mark.parametrize(
    "term, message",
    [
        ("{id: s, number: EC50 ratio, curve: drug}", r"terms\[0\]: no number of a curve named 'EC50 ratio'; did"),
        ("{id: s, number: Emax, curve: durg, value: 1, error: 1}", r"no protocol named 'durg' in problem.yaml: terms"),
        ("{id: s, number: Emax, curve: drug, value: 1}", r"terms\[0\]: reported number 's' needs error > 0"),
        ("{id: s, number: Emax, curve: drug, value: one, error: 1}", r"terms\[0\].value: expected a number, got 'one'"),
        ("{id: s, kind: hinge, number: Emax, curve: drug, lower: 1, error: 1}", r"a hinge has limits and a width"),
        ("{id: s, kind: clause, number: Emax, curve: drug}", r"no kind named 'clause'"),
        ("{id: s, nummer: Emax, curve: drug}", r"terms\[0\]: there is no key 'nummer'; did you mean 'number'"),
    ],
)
def test_terms_without_a_meaning(folder, term, message):
    with pytest.raises(KineticsError, match=message):
        read_problem(rewrite(folder, more=f"terms:\n  - {term}\n"), trusted=True)


def test_yaml_that_is_hostile(folder):
    path = folder / "problem.yaml"
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairs)
    for text, message in (
        (bomb, "aliases"),
        ("a: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("a: [" * 40 + "]" * 40, "levels|not YAML"),
        ("id: a\nid: b\n", "given twice"),
        ("- a list\n", "expected a mapping"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_problem(path)


def test_places(folder, tmp_path_factory):
    assert problem_path("il7_pstat5").name == "problem.yaml"
    with pytest.raises(ModelNotFound, match=r"did you mean the bundled 'il7_pstat5'\?"):
        problem_path("il7_pstat")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InputError, match="expected a folder with one problem file, found none"):
        problem_path(empty)
    for name in ("a.yaml", "b.yaml"):
        (empty / name).write_text("x: 1")
    with pytest.raises(InputError, match=r"found a.yaml, b.yaml; name the file"):
        problem_path(empty)
