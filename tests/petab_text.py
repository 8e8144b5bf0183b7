"""Small PEtab problems as text, for tests that write them, spoil them and read them."""

# ruff: noqa: E501  (rows of tables)

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kinetics.antimony import to_sbml

# A -> B -> A in a compartment whose size is not 1; A and B start from parameters.
CONVERSION = """model conversion()
  compartment cell = 2; species A in cell, B in cell
  a0 = 1; b0 = 0; k1 = 0.8; k2 = 0.6; offset = 0
  A = a0; B = b0
  forth: A -> B; cell * k1 * A
  back: B -> A; cell * k2 * B
end"""

V2 = {
    "problem.yaml": """format_version: 2.0.0
model_files:
  conversion: {language: sbml, location: model.xml}
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
observable_files: [observables.tsv]
measurement_files: [measurements.tsv]
parameter_files: [parameters.tsv]
""",
    "conditions.tsv": """conditionId|targetId|targetValue
low|A|0.5
high|A|2 * a_high
high|offset|1
""",
    "experiments.tsv": """experimentId|time|conditionId
e1|0|low
e2|-inf|low
e2|0|high
""",
    "observables.tsv": """observableId|observableFormula|noiseFormula|noiseDistribution|observablePlaceholders|noisePlaceholders
obs_a|scale * A + offset|sigma|normal|scale|sigma
obs_b|B|0.1 + 0.2 * obs_b|log-normal||
""",
    "measurements.tsv": """observableId|experimentId|time|measurement|observableParameters|noiseParameters
obs_a|e1|0|0.5|1|0.1
obs_a|e1|10|0.4|s|0.1
obs_a|e2|5|0.7|s|sd
obs_b|e2|5|0.3||
obs_b|e2|inf|0.3||
""",
    "parameters.tsv": """parameterId|lowerBound|upperBound|nominalValue|estimate
k1|0.001|100|0.8|true
s|0|10|2|true
sd|0.01|10|0.5|true
a_high|||1.5|false
""",
}

V1 = {
    "problem.yaml": """format_version: 1
parameter_file: parameters.tsv
problems:
- sbml_files: [model.xml]
  condition_files: [conditions.tsv]
  observable_files: [observables.tsv]
  measurement_files: [measurements.tsv]
""",
    "conditions.tsv": """conditionId|conditionName|A|offset|k2
rest||0.5|1|0.3
drug|with drug|a_high||
keep||NaN|1|0.9
""",
    "observables.tsv": """observableId|observableFormula|noiseFormula|noiseDistribution|observableTransformation
obs_a|observableParameter1_obs_a * A + offset|noiseParameter1_obs_a|normal|lin
obs_b|B|0.1 + 0.2 * obs_b|laplace|log10
""",
    "measurements.tsv": """observableId|preequilibrationConditionId|simulationConditionId|time|measurement|observableParameters|noiseParameters
obs_a||rest|0|0.5|1|0.1
obs_a|rest|drug|5|0.7|s|sd
obs_b|rest|keep|5|0.3||
obs_b|rest|keep|inf|0.3||
""",
    "parameters.tsv": """parameterId|parameterScale|lowerBound|upperBound|nominalValue|estimate|objectivePriorType|objectivePriorParameters
k1|log10|0.001|100|0.8|1|parameterScaleNormal|0;0.5
s|lin|0|10|2|1||
sd|log|0.01|10|0.5|1||
a_high|lin|||1.5|0||
""",
}


def table(text: str) -> str:
    """Tabs for ``|``, which editors and readers keep apart more easily."""
    return text.replace("|", "\t")


def write_files(folder: Path, files: Mapping[str, str | bytes], model: str = CONVERSION) -> Path:
    """Write a problem; returns its YAML file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.xml").write_text(to_sbml(model), encoding="utf-8")
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(table(content) if name.endswith(".tsv") else content, encoding="utf-8")
    return folder / "problem.yaml"


def spoiled(files: Mapping[str, str], name: str, old: str, new: str) -> dict[str, str]:
    """The same files with one piece of text replaced, which must be there once at least."""
    assert old in files[name], f"{old!r} is not in {name}"
    return {**files, name: files[name].replace(old, new)}
