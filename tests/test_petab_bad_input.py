"""Bad PEtab problems: each is an error of our own that says where it is and what to write instead."""

from __future__ import annotations

import os
import random
import re
import time

import pytest
from petab_text import V1, V2, spoiled, write_files

from fits.petab import read_petab
from kinetics.errors import FormulaError, InputError, KineticsError, ModelNotFound, UnknownName, UnsupportedModel

PAR, OBS, MEA = "parameters.tsv", "observables.tsv", "measurements.tsv"
CON, EXP, YML = "conditions.tsv", "experiments.tsv", "problem.yaml"

# file, what is there, what is put instead, error, and words of its message
BAD_CELLS = [
    (PAR, "lowerBound|upper", "lowerBnd|upper", InputError, "a table without the column 'lowerBound'"),
    (PAR, "parameterId|", "id|", UnknownName, "parameterId.* in parameters.tsv"),
    (MEA, "|time|", "|Time|", UnknownName, "'time' in measurements.tsv.*did you mean 'Time'"),
    (PAR, "k1|0.001|100", "k1|100|0.001", InputError, "line 2.*lowerBound < upperBound, got 100, 0.001"),
    (PAR, "k1|0.001|100", "k1|1|1", InputError, "line 2, column 'upperBound'.*lowerBound < upperBound"),
    (PAR, "k1|0.001", "k1|0,001", InputError, "line 2, column 'lowerBound'.*'0,001'; write 0.001"),
    (PAR, "k1|0.001", "k1|nan", InputError, "line 2, column 'lowerBound'.*expected a number, got nan"),
    (PAR, "k1|0.001", "k1|1_0", InputError, "column 'lowerBound'.*expected a number, got '1_0'"),
    (PAR, "k1|0.001", "k1|0x1", InputError, "expected a number, got '0x1'"),
    (PAR, "\ns|", "\nk1|", InputError, "line 3, column 'parameterId': 'k1' is already in line 2"),
    (PAR, "\ns|", "\n2s|", InputError, "line 3, column 'parameterId'.*identifier"),
    (PAR, "\ns|", "\ntime|", InputError, "line 3, column 'parameterId'.*'time' has a meaning in formulas"),
    (PAR, "\ns|", "\nss|", UnknownName, "measurements.tsv, line 3, column 'observableParameters'"),
    (PAR, "0.8|true", "0.8|yes", InputError, "line 2, column 'estimate'.*'true'.*got 'yes'"),
    (PAR, "1.5|false", "|false", InputError, "line 5, column 'nominalValue'.*got an empty cell"),
    (PAR, "k1|0.001|100|0.8", "A|0.001|100|0.8", InputError, "line 2.*condition"),
    (PAR, "k1|0.001|100|0.8", "B|0.001|100|0.8", InputError, "line 2.*'B' is a species"),
    (PAR, "k1|0.001|100|0.8", "offset|0.001|100|0.8", InputError, "'offset' is set by a condition"),
    (CON, "low|A", "low|k22", UnknownName, "'k22' in conditions.tsv, line 2, column 'targetId'.*did you mean 'k2'"),
    (CON, "low|A|0.5", "low|A|", InputError, "line 2, column 'targetValue'.*empty cell"),
    (CON, "low|A|0.5", "low|A|inf", InputError, "line 2, column 'targetValue'.*finite"),
    (CON, "2 * a_high", "2 * a_hig", UnknownName, "line 3, column 'targetValue'.*did you mean 'a_high'"),
    (CON, "2 * a_high", "2 a_high", FormulaError, "line 3, column 'targetValue'.*expected an operator"),
    (CON, "high|offset|1", "high|A|1", InputError, "line 4, column 'targetId': 'high', 'A' is already in line 3"),
    (CON, "low|A|0.5", "low|forth|0.5", InputError, "line 2.*'forth' cannot be set.*reaction"),
    (EXP, "0|high", "0|hgh", UnknownName, "experiments.tsv, line 4, column 'conditionId'.*'high'"),
    (EXP, "e1|0|", "e1|now|", InputError, "line 2, column 'time'.*expected a number, got 'now'"),
    (EXP, "e1|0|", "e1|inf|", InputError, "line 2, column 'time'.*expected a finite number, got 'inf'"),
    (EXP, "e2|0|high", "e2|-inf|high", InputError, "'A' is set by 'low' and 'high' at the same time"),
    (EXP, "e2|0|high", "e2|-inf|low", InputError, "line 4.*already in line 3"),
    (OBS, "scale * A", "scale * X", UnknownName, "observables.tsv, line 2, column 'observableFormula'"),
    (OBS, "|B|", "|B + obs_a|", UnknownName, "'obs_a' in observables.tsv, line 3, column 'observableFormula'"),
    (OBS, "scale * A", "scale * (A", FormulaError, r"line 2.*expected '\)'"),
    (OBS, "scale * A", "__import__('os').system('true')", FormulaError, "line 2, column 'observableFormula'"),
    (OBS, "scale * A", "scale * A.__class__", FormulaError, "line 2.*unexpected character '.'"),
    (OBS, "scale * A", "9^9^9^9 * A", None, ""),  # no error, and it must not hang
    (OBS, "scale * A", "(" * 5000 + "A" + ")" * 5000, FormulaError, "nested deeper"),
    (OBS, "scale * A", "A" + "+A" * 15000, InputError, "line 2.*characters"),
    (OBS, "|sigma|", "|0|", InputError, "line 2, column 'noiseFormula'.*must be positive, got 0"),
    (OBS, "|sigma|", "|-1|", InputError, "line 2, column 'noiseFormula'.*must be positive, got -1"),
    (OBS, "log-normal", "lognormal", InputError, "line 3, column 'noiseDistribution'.*'log-normal'.*'lognormal'"),
    (OBS, "log-normal", "log10-normal", InputError, "line 3, column 'noiseDistribution'"),
    (OBS, "normal|scale|", "normal|k1|", InputError, "line 2, column 'observablePlaceholders'.*'k1'"),
    (OBS, "\nobs_b", "\nobs_a", InputError, "line 3, column 'observableId'.*already in line 2"),
    (OBS, "\nobs_b", "\nk2", InputError, "line 3, column 'observableId'.*'k2'"),
    (MEA, "obs_a|e1|10", "obs_x|e1|10", UnknownName, "measurements.tsv, line 3, column 'observableId'"),
    (MEA, "obs_a|e1|10", "obs_a|e9|10", UnknownName, "line 3, column 'experimentId'.*'e1'"),
    (MEA, "obs_a|e1|10", "obs_a|e1|-1", InputError, "line 3, column 'time'.*start of the experiment.*got -1"),
    (MEA, "|0.4|", "|high|", InputError, "line 3, column 'measurement'.*expected a number, got 'high'"),
    (MEA, "|0.4|", "|NaN|", InputError, "line 3, column 'measurement'.*expected a number, got NaN"),
    (MEA, "|0.4|", "||", InputError, "line 3, column 'measurement'.*got an empty cell"),
    (MEA, "|0.4|", "|inf|", InputError, "line 3, column 'measurement'.*finite"),
    (MEA, "obs_b|e2|5|0.3", "obs_b|e2|5|0", InputError, "line 5, column 'measurement'.*log-normal.*positive"),
    (MEA, "|s|0.1", "||0.1", InputError, "line 3, column 'observableParameters'.*1 placeholders.*got 0"),
    (MEA, "|s|0.1", "|s;s|0.1", InputError, "line 3, column 'observableParameters'.*got 2"),
    (MEA, "|s|0.1", "|s|0", InputError, "line 3, column 'noiseParameters'.*must be positive, got 0"),
    (MEA, "|s|0.1", "|s|0.1;", InputError, "line 3, column 'noiseParameters'"),
    (MEA, "|s|0.1", "|s|k1 + 1", InputError, "line 3, column 'noiseParameters'"),
    (MEA, "|s|0.1", "|s|0.1|more|cells", InputError, "line 3: 8 cells in a table of 6 columns"),
    (YML, "format_version: 2.0.0", "format_version: 3.0.0", InputError, "'3.0.0'.*versions 1 and 2.0.0"),
    (YML, "format_version: 2.0.0\n", "", InputError, "expected 'format_version"),
    (YML, "sbml", "bngl", UnsupportedModel, "conversion.*'bngl'.*'sbml'"),
    (YML, "language: sbml, ", "", InputError, "model_files: conversion: expected location and language"),
    (YML, "[parameters.tsv]", "[]", InputError, "parameter_files: expected a list of files"),
    (YML, "[parameters.tsv]", "[nowhere.tsv]", ModelNotFound, r"parameter_files\[0\].*'nowhere.tsv'; the folder has"),
    (YML, "[parameters.tsv]", "[7]", InputError, "parameter_files.*expected the name of a file"),
    (YML, "[parameters.tsv]", "[/etc/passwd]", InputError, "absolute path; name the file relative"),
    (YML, "[parameters.tsv]", "['C:\\parameters.tsv']", InputError, "absolute path"),
    (YML, "[parameters.tsv]", "[../parameters.tsv]", InputError, "leads out of the folder"),
    (YML, "[parameters.tsv]", "['sub\\..\\..\\x.tsv']", InputError, "leads out of the folder"),
    (YML, "[parameters.tsv]", "['https://example.org/p.tsv']", InputError, "is a URL; download"),
    (YML, "[parameters.tsv]", "['file:///etc/passwd']", InputError, "is a URL"),
    (YML, "location: model.xml", "location: /etc/passwd", InputError, "model_files: conversion.*absolute path"),
    (YML, "location: model.xml", "location: measurements.tsv", KineticsError, "measurements.tsv"),
    (YML, "[parameters.tsv]", "[parameters.tsv", InputError, "problem.yaml, line .*not YAML"),
    (YML, "condition_files", "format_version: 1\ncondition_files", InputError, "'format_version' is given twice"),
    (YML, "2.0.0", "!!python/object/apply:os.getcwd []", InputError, "not YAML"),
    (YML, "condition_files", "extensions: {sciml: {version: 1.0.0, required: true}}\ncondition_files",
     InputError, "requires the PEtab extension 'sciml'"),
]  # fmt: skip


@pytest.mark.parametrize(
    "name, old, new, error, words", BAD_CELLS, ids=[f"{row[0]}-{row[2][:30]}" for row in BAD_CELLS]
)
def test_a_fault_in_version_2_is_named(tmp_path, name, old, new, error, words):
    path = write_files(tmp_path, spoiled(V2, name, old, new))
    began = time.monotonic()
    if error is None:
        read_petab(path, trusted=True)
    else:
        with pytest.raises(error, match=f"(?s){words}"):
            read_petab(path, trusted=True)
    assert time.monotonic() - began < 20.0  # bounded, whatever the file says


BAD_V1 = [
    (PAR, "|log10|", "|log2|", InputError, "line 2, column 'parameterScale'.*'lin', 'log' or 'log10'"),
    (PAR, "log10|0.001", "log10|-1", InputError, "line 2, column 'lowerBound'.*log10.*negative"),
    (PAR, "|0;0.5", "|0", InputError, "line 2, column 'objectivePriorParameters'.*mean; standard deviation"),
    (PAR, "|0;0.5", "|0;-1", InputError, "line 2.*standard deviation.*positive, got -1"),
    (PAR, "ScaleNormal", "ScaleGamma", InputError, "line 2, column 'objectivePriorType'"),
    (PAR, "0.8|1", "0.8|2", InputError, "line 2, column 'estimate'.*got '2'"),
    (CON, "|k2\n", "|kk\n", UnknownName, "conditions.tsv, line 2, column 'kk'"),
    (CON, "drug|with", "rest|with", InputError, "line 3, column 'conditionId'.*already in line 2"),
    (CON, "|a_high|", "|a_hgh|", UnknownName, "line 3, column 'A'.*did you mean 'a_high'"),
    (CON, "|a_high|", "|2*a_high|", InputError, "line 3, column 'A'.*a number or the id"),
    (CON, "|a_high|", "|inf|", InputError, "line 3, column 'A'.*finite"),
    (OBS, "Parameter1_obs_a *", "Parameter2_obs_a *", InputError, "line 2.*without gaps.*Parameter1_obs_a"),
    (OBS, "|log10", "|log2", InputError, "line 3, column 'observableTransformation'"),
    (OBS, "laplace", "cauchy", InputError, "line 3, column 'noiseDistribution'"),
    (MEA, "rest|drug", "rest|drg", UnknownName, "line 3, column 'simulationConditionId'"),
    (MEA, "rest|drug", "rst|drug", UnknownName, "line 3, column 'preequilibrationConditionId'"),
    (MEA, "|5|0.7", "|-5|0.7", InputError, "line 3, column 'time'.*got -5"),
    (MEA, "|s|sd", "|s|", InputError, "line 3, column 'noiseParameters'.*noiseParameter1_obs_a.*got 0"),
    (MEA, "|keep|5|0.3", "|keep|5|-0.3", InputError, "line 4, column 'measurement'.*log10-laplace"),
    (YML, "[model.xml]", "[model.xml, model.xml]", InputError, "expected one SBML file, got 2"),
    (YML, "parameter_file: parameters.tsv\n", "", InputError, "parameter_file: expected one or more files"),
    (YML, "problems:\n-", "problems:\n ", InputError, "problems: expected a list"),
]  # fmt: skip


@pytest.mark.parametrize("name, old, new, error, words", BAD_V1, ids=[f"{row[0]}-{row[2][:30]}" for row in BAD_V1])
def test_a_fault_in_version_1_is_named(tmp_path, name, old, new, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        read_petab(write_files(tmp_path, spoiled(V1, name, old, new)), trusted=True)


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ["parameters.tsv", "observables.tsv", "measurements.tsv"])
@pytest.mark.parametrize("rows", [0, 1])
def test_empty_tables(tmp_path, files, name, rows):
    header = "".join(line + "\n" for line in files[name].splitlines()[:rows])
    with pytest.raises(InputError, match=r"empty file|no rows"):
        read_petab(write_files(tmp_path, {**files, name: header}), trusted=True)


@pytest.mark.parametrize("name", ["problem.yaml", "measurements.tsv"])
@pytest.mark.parametrize(
    "content, words",
    [
        (bytes(range(256)) * 20, "binary data"),
        (b"PK\x03\x04\x00\x00", "binary data"),
        ("caf\u00e9".encode("latin-1"), "line 1: not UTF-8"),
        ("format_version: 2".encode("utf-16"), "binary data"),
    ],
)
def test_files_that_are_no_text(tmp_path, name, content, words):
    with pytest.raises(InputError, match=f"{re.escape(name)}.*{words}"):
        read_petab(write_files(tmp_path, {**V2, name: content}), trusted=True)


def test_a_yaml_bomb_is_refused_at_once(tmp_path):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    began = time.monotonic()
    with pytest.raises(InputError, match="aliases"):
        read_petab(write_files(tmp_path, {**V2, "problem.yaml": bomb + V2["problem.yaml"]}))
    assert time.monotonic() - began < 5.0


def test_a_deep_or_large_yaml_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="levels"):
        read_petab(write_files(tmp_path, {**V2, "problem.yaml": "x: " + "[" * 3000 + "]" * 3000}))
    with pytest.raises(InputError, match="at most 1,000,000 bytes"):
        read_petab(write_files(tmp_path, {**V2, "problem.yaml": "# " + "x" * 1_000_001}))


def test_a_huge_table_is_refused_before_it_is_read(tmp_path):
    path = write_files(tmp_path, V2)
    with (tmp_path / "measurements.tsv").open("r+b") as handle:
        handle.truncate(100_000_001)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match=r"measurements\.tsv: expected at most 100,000,000 bytes"):
        read_petab(path, trusted=True)


def test_a_cell_without_end_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"measurements\.tsv, line"):
        read_petab(write_files(tmp_path, spoiled(V2, "measurements.tsv", "|0.4|", '|"0.4|')), trusted=True)
    with pytest.raises(InputError, match=r"measurements\.tsv, line 3"):
        read_petab(write_files(tmp_path, spoiled(V2, "measurements.tsv", "|0.4|", f"|{'9' * 200_000}|")), trusted=True)


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path):
    path = write_files(tmp_path / "problem", V2)
    outside = tmp_path / "secret.tsv"
    outside.write_text("secret")
    (tmp_path / "problem" / "parameters.tsv").unlink()
    os.symlink(outside, tmp_path / "problem" / "parameters.tsv")
    with pytest.raises(InputError, match="link that leads out of the folder"):
        read_petab(path, trusted=True)


def test_a_folder_or_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match=r"nothing\.yaml"):
        read_petab(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="found none"):
        read_petab(tmp_path)
    path = write_files(tmp_path, V2)
    (tmp_path / "measurements.tsv").unlink()
    (tmp_path / "measurements.tsv").mkdir()
    with pytest.raises(InputError, match=r"measurements\.tsv: expected a file, got a folder"):
        read_petab(path, trusted=True)


def test_a_table_separated_by_commas_says_so(tmp_path):
    files = {**V2, "parameters.tsv": V2["parameters.tsv"].replace("|", ",")}
    with pytest.raises(UnknownName, match="separated by tabs"):
        read_petab(write_files(tmp_path, files), trusted=True)


def test_a_prior_outside_the_bounds_is_refused(tmp_path):
    rows = "parameterId|lowerBound|upperBound|nominalValue|estimate|priorDistribution|priorParameters\n"
    kept = "s|0|10|2|true||\nsd|0.01|10|0.5|true||\na_high|||1.5|false||\n"
    for prior, words in [
        ("uniform|1;2", "line 2, column 'priorParameters'.*no probability between its bounds"),
        ("normal|1", "line 2, column 'priorParameters'.*mean; standard deviation"),
        ("normal|1;x", "line 2, column 'priorParameters'"),
        ("nrmal|1;1", "line 2, column 'priorDistribution'.*'normal'"),
        ("gamma|-1;1", "line 2, column 'priorParameters'.*shape.*positive"),
    ]:
        with pytest.raises(InputError, match=words):
            read_petab(
                write_files(tmp_path, {**V2, "parameters.tsv": f"{rows}k1|10|100|0.8|true|{prior}\n{kept}"}),
                trusted=True,
            )


def test_whatever_is_broken_the_error_is_ours(tmp_path):
    """Random damage: the problem is read, or an error of the project's own says what is wrong."""
    pieces = ["", "|", "\n", "NaN", "inf", "-1", "1e400", "A", "time", "(", "9^9", "__import__('os')", ";", '"', "'"]
    pieces += ["[", "{", "*a", "&a", "!!python", "..", "/", "\u00e9", "\0", "obs_a", "k1", "a:b", "- ", "\r", "\u2028"]
    rng = random.Random(20240229)
    path = write_files(tmp_path, V1)
    outcomes = {True: 0, False: 0}
    for _ in range(150):
        files = dict(rng.choice([V1, V2]))
        name = rng.choice(sorted(files))
        start = rng.randrange(len(files[name]))
        files[name] = files[name][:start] + rng.choice(pieces) + files[name][start + rng.randrange(6) :]
        for other, text in files.items():
            data = text.replace("|", "\t") if other.endswith(".tsv") else text
            (tmp_path / other).write_text(data, encoding="utf-8", newline="")
        try:
            read_petab(path, trusted=True)
            outcomes[True] += 1
        except KineticsError as error:
            assert str(error).strip()
            outcomes[False] += 1
    assert min(outcomes.values()) > 10  # the damage is neither always harmless nor always fatal
