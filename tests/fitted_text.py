"""A small calibration problem with data from known parameters, for tests of the commands and pages of a fit."""

from __future__ import annotations

import math
from pathlib import Path

from petab_text import write_files

K1, K2 = 0.8, 0.6  # the parameters the data come from
SIGMA = 0.01
TIMES = (0.0, 0.3, 0.7, 1.2, 2.0, 3.0, 5.0)

# A and B start from parameters through initial assignments.
MODEL = """model conversion()
  compartment cell = 2; species A in cell, B in cell
  a0 = 3; b0 = 0; k1 = 0.1; k2 = 0.1
  A = a0; B = 0.5 * b0
  forth: A -> B; cell * k1 * A
  back: B -> A; cell * k2 * B
end"""


def truth(time: float, a0: float) -> float:
    """A of two first-order reactions that starts as all of the material."""
    share = K2 / (K1 + K2)
    return a0 * (share + (1.0 - share) * math.exp(-(K1 + K2) * time))


def files() -> dict[str, str]:
    # Errors of one sigma that alternate, so that the fit is good but not perfect.
    rows = [
        f"obs_a|{name}|{time}|{truth(time, a0) + SIGMA * (-1) ** number}"
        for name, a0 in (("low", 1.0), ("high", 2.0))
        for number, time in enumerate(TIMES)
    ]
    return {
        "problem.yaml": """format_version: 2.0.0
model_files:
  conversion: {language: sbml, location: model.xml}
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
observable_files: [observables.tsv]
measurement_files: [measurements.tsv]
parameter_files: [parameters.tsv]
""",
        "conditions.tsv": "conditionId|targetId|targetValue\nlow|a0|1\nhigh|a0|2\n",
        "experiments.tsv": "experimentId|time|conditionId\nlow|0|low\nhigh|0|high\n",
        "observables.tsv": f"observableId|observableFormula|noiseFormula|noiseDistribution\nobs_a|A|{SIGMA}|normal\n",
        "measurements.tsv": "observableId|experimentId|time|measurement\n" + "\n".join(rows) + "\n",
        "parameters.tsv": """parameterId|lowerBound|upperBound|nominalValue|estimate
k1|0.01|10|0.5|true
k2|0.01|10|0.5|true
""",
    }


def write_problem(folder: Path) -> Path:
    return write_files(folder, files(), MODEL)
