"""How long imports take: each in a new process, interleaved, medians.

``import kinetics`` loads nothing heavy until a name is used, so ``kinetics.simulate`` is looked up, too.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

CASES = {
    "numpy, pandas, roadrunner": "import numpy, pandas, roadrunner",
    "kinetics": "import kinetics",
    "kinetics, names used": "import kinetics; kinetics.simulate; kinetics.dose_response; kinetics.compare",
    "kinetics models": "from fits.cli import main; main(['models'])",
}
CLOCK = """
import sys, time
start = time.perf_counter()
try:
    {code}
except SystemExit:
    pass
print(time.perf_counter() - start, file=sys.stderr)
"""


def seconds(code: str) -> float:
    program = CLOCK.format(code=code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stderr.split()[-1])


def main() -> int:
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for repeat in range(12):
        for name, code in CASES.items():
            value = seconds(code)
            if repeat:  # the first run fills the disk cache
                taken[name].append(value)
    for name, values in taken.items():
        print(f"{name:40s} {statistics.median(values):.3f} s")
    middle = {name: statistics.median(values) for name, values in taken.items()}
    for name in ("kinetics", "kinetics, names used"):
        extra = middle[name] - middle["numpy, pandas, roadrunner"]
        print(f"{name}: {extra:+.3f} s beyond numpy, pandas and roadrunner (target: at most 0.1)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
