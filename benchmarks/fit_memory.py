"""Memory of fit workers: resident after start 100 against after start 10, aim at most 1.05 times.

``python benchmarks/fit_memory.py --objective module:function`` fits what the function returns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from kill_test import Decay


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objective", default="", help="module:function that returns the objective")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--early", type=int, default=10)
    parser.add_argument("--late", type=int, default=100)
    parser.add_argument("--limit", type=float, default=1.05)
    arguments = parser.parse_args()

    from fits.optimise import fit
    from fits.starts import StartDesign

    module, _, function = arguments.objective.partition(":")
    objective = getattr(importlib.import_module(module), function)() if function else Decay()
    # A few more than needed, because faster workers take more starts than slower ones.
    n_starts = arguments.workers * arguments.late * 13 // 10
    design = StartDesign(candidates=1)  # what a start leaves behind does not depend on how many candidates it had
    result = fit(objective, n_starts=n_starts, workers=arguments.workers, design=design)
    by_worker: dict[int, list[tuple[str, int, int]]] = {}
    for start in result.starts:
        seen = start.circumstances
        by_worker.setdefault(seen["pid"], []).append((seen["finished"], start.index, seen["memory"]))
    report = []
    for pid, starts in by_worker.items():
        resident = [memory for _, _, memory in sorted(starts)]  # bytes, in the order the worker finished them
        if len(resident) < arguments.late or not resident[0]:
            print(f"worker {pid} finished {len(resident)} starts only, or its memory cannot be told", file=sys.stderr)
            continue
        early, late = resident[arguments.early - 1], resident[arguments.late - 1]
        report.append({"early MB": early / 1e6, "late MB": late / 1e6, "ratio": late / early})
    print(json.dumps({"starts": n_starts, "workers": report}, indent=1))
    return 0 if report and all(worker["ratio"] <= arguments.limit for worker in report) else 1


if __name__ == "__main__":
    sys.exit(main())
