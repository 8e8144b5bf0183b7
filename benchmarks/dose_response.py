"""24 IL-7 doses x 2 arms of the paper's protocol: this package, a bare engine loop, and a plain tellurium script.

All three do the same science at the same tolerances.  The bare loop is hand-written libRoadRunner that shares the
pre-incubation; the tellurium script is what one writes first: per dose ``resetAll``, every period, 51 points each.
Runs are interleaved and the medians' ratios printed: on a shared machine a ratio means more than a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time

import numpy as np

DAY, HOUR, READ = 1440.0, 60.0, 30.0
ARMS = {"vehicle": 0.0, "imatinib": 3000.0}  # nM


def ours(model, protocols):
    import kinetics as kin

    return [kin.dose_response(model, protocol).responses for protocol in protocols]


def bare(runner, doses):
    """Bare libRoadRunner: pre-incubate once per arm, then one integration per dose."""
    results = []
    model = runner.model
    for drug in ARMS.values():
        runner.resetToOrigin()
        runner["[Imatinib]"] = drug
        runner.simulate(times=[-DAY - HOUR, -HOUR], selections=["time"])
        runner["[Imatinib]"] = 0.0
        runner.simulate(times=[-HOUR, 0.0], selections=["time"])
        state = model.getFloatingSpeciesAmounts()
        values = []
        for dose in doses:
            model.setFloatingSpeciesAmounts(state)
            runner["[IL7]"] = dose
            values.append(runner.simulate(times=[0.0, READ], selections=["time", "pSTAT5_total"])[-1][1])
        results.append(np.array(values))
    return results


def plain(runner, doses):
    """The straightforward tellurium script."""
    results = []
    for drug in ARMS.values():
        values = []
        for dose in doses:
            runner.resetAll()
            runner["[Imatinib]"] = drug
            runner.simulate(0, DAY, 51)
            runner["[Imatinib]"] = 0.0
            runner.simulate(DAY, DAY + HOUR, 51)
            runner["[IL7]"] = dose
            runner.simulate(DAY + HOUR, DAY + HOUR + READ, 51)
            values.append(runner["pSTAT5_total"])
        results.append(np.array(values))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    import roadrunner

    import kinetics as kin

    model = kin.Model.load("il7_stat5_imatinib")
    protocols = []
    for drug in ARMS.values():
        steps = (("24 h", {"Imatinib": f"{drug} nM"}), ("1 h", {"Imatinib": 0}))
        grid = np.geomspace(1e-3, 1e2, 24)
        doses = [f"{value!r} ng/ml" for value in grid.tolist()]
        protocols.append(kin.DoseProtocol("IL7", doses, kin.Readout.at("pSTAT5_total", "30 min")).before(*steps))
    nanomolar = grid * kin.units.factor("ng/ml", "nM", molar_mass=model.molar_masses["IL7"])

    def tuned():
        runner = roadrunner.RoadRunner(model.sbml)
        integrator = runner.getIntegrator()
        integrator.setValue("relative_tolerance", 1e-8)
        integrator.setValue("stiff", True)
        integrator.setValue("absolute_tolerance", [1e-12] * len(integrator.getAbsoluteToleranceVector()))
        return runner

    bare_runner, plain_runner = tuned(), tuned()
    tasks = {
        "this package": lambda: ours(model, protocols),
        "bare engine": lambda: bare(bare_runner, nanomolar),
        "plain tellurium": lambda: plain(plain_runner, nanomolar),
    }
    reference = None
    for name, task in tasks.items():
        values = np.concatenate(task())  # also warms up
        reference = values if reference is None else reference
        worst = float(np.max(np.abs(values / reference - 1.0)))
        if worst > 1e-5:
            print(f"{name} computes something else: {worst:.2g} relative", file=sys.stderr)
            return 1
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(arguments.repeats):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    result = {
        "seconds": median,
        "ratio_to_bare": median["this package"] / median["bare engine"],
        "speedup_over_plain": median["plain tellurium"] / median["this package"],
        "peak_memory_MB": memory,
    }
    if arguments.json:
        print(json.dumps(result))
        return 0
    for name, value in median.items():
        print(f"{name:16s} {1e3 * value:8.1f} ms CPU (median of {arguments.repeats})")
    print(f"this package / bare engine      {result['ratio_to_bare']:.2f}  (target: at most 1.3)")
    print(f"plain tellurium / this package  {result['speedup_over_plain']:.2f}  (target: at least 1.8)")
    print(f"peak memory {memory:.0f} MB (target: under 350)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
