"""10,000 virtual T-ALL samples x 8 doses of dexamethasone, in worker processes: time, memory, and the same numbers.

    python benchmarks/cohort.py                    # in full
    python benchmarks/cohort.py --samples 1000     # smaller

Runs on 1 and on 2 workers are interleaved and the fastest of each compared, because machines are shared; the load is
printed.  Workers are started and have loaded the model before the clock runs.  The numbers must be the same bits on 1
worker, on 2, and on a local Dask cluster (``pip install "cytokine-kinetics[dask]"``), and agree with the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace

import numpy as np

DOSES = (1, 3, 10, 30, 100, 300, 1000, 10000)  # nM


def probe(seconds: float) -> tuple[int, int, float]:
    """Which process this is, its resident memory in bytes and its CPU time; sleeps, so that every worker gets one."""
    from fits.search import memory

    time.sleep(seconds)
    return os.getpid(), memory(), time.process_time()


def states(executor: Executor, workers: int) -> dict[int, tuple[float, float]]:
    """Resident memory in MB and CPU seconds, by process."""
    found = [executor.submit(probe, 0.3) for _ in range(2 * workers)]
    return {pid: (resident / 1e6, cpu) for pid, resident, cpu in (future.result() for future in found)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", type=int, default=20, help="samples that the engine does again")
    parser.add_argument("--faster", type=float, default=1.8, help="aim: how many times faster 2 workers are than 1")
    parser.add_argument("--growth", type=float, default=1.05, help="aim: memory of a worker, end over start")
    parser.add_argument("--no-dask", action="store_true")
    arguments = parser.parse_args()

    import kinetics as kin
    from fits.steroid.virtual import samples
    from kinetics.cohort import CohortCurves

    model = kin.Model.load("gc_bim_tall")
    cohort = replace(samples(), n=arguments.samples)
    schedule = kin.Experiment.steps(("200 h", {"death_on": 0}), ("72 h", {"death_on": 1}))
    viability = kin.Readout.at("live", "72 h").fold_over({"Dexamethasone": 0})
    protocol = kin.DoseProtocol("Dexamethasone", [f"{dose} nM" for dose in DOSES], viability, schedule)

    def run(executor: Executor, check: int = 0) -> tuple[float, CohortCurves]:
        start = time.perf_counter()
        curves = cohort.run(model, protocol, executor=executor, check=check)
        return time.perf_counter() - start, curves

    print(f"{arguments.samples} samples x {len(DOSES)} doses; load {os.getloadavg()}", file=sys.stderr)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    responses: dict[str, np.ndarray] = {}
    report: dict[str, object] = {"samples": arguments.samples, "doses": len(DOSES), "load before": os.getloadavg()}
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        pools = {n: stack.enter_context(ProcessPoolExecutor(n, mp_context=context)) for n in (1, 2)}
        for n, pool in pools.items():  # warm: every worker has its model and its largest arrays once
            replace(cohort, n=min(arguments.samples, 1000 * n)).run(model, protocol, executor=pool, check=0)
        before = {n: states(pool, n) for n, pool in pools.items()}
        for repeat in range(arguments.repeats):
            for n in (1, 2) if repeat % 2 == 0 else (2, 1):
                took, curves = run(pools[n])
                seconds[n].append(took)
                responses[f"{n} worker{'s' * (n > 1)}"] = curves.responses
                print(f"{n} worker(s): {took:.1f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        after = {n: states(pool, n) for n, pool in pools.items()}
    workers = [(n, pid) for n in before for pid in before[n] if pid in after[n]]
    growth = [after[n][pid][0] / before[n][pid][0] for n, pid in workers]
    # What the processor spent per run tells a busy machine from work done twice.
    cpu = {n: sum(after[n][pid][1] - before[n][pid][1] for m, pid in workers if m == n) for n in before}
    report["CPU seconds per run"] = {f"{n} workers": round(spent / arguments.repeats, 2) for n, spent in cpu.items()}
    report["seconds"] = {f"{n} workers": [round(took, 2) for took in all_] for n, all_ in seconds.items()}
    report["speedup (fastest of each)"] = faster = min(seconds[1]) / min(seconds[2])
    report["worker MB, start"] = [round(before[n][pid][0], 1) for n, pid in workers]
    report["worker MB, end"] = [round(after[n][pid][0], 1) for n, pid in workers]
    report["growth, largest"] = max(growth)
    if not arguments.no_dask:
        try:
            from dask.distributed import Client, LocalCluster
        except ImportError:
            report["dask"] = 'skipped: needs pip install "cytokine-kinetics[dask]"'
        else:
            with (
                LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
                Client(cluster) as client,
            ):
                took, curves = run(client.get_executor())
            responses["Dask, 2 workers"] = curves.responses
            report["dask"] = f"{took:.1f} s with start-up"
    same = {name: bool(np.array_equal(responses["1 worker"], values)) for name, values in responses.items()}
    report["the same bits as 1 worker"] = same
    difference = cohort.agreement(
        model, protocol.experiments(), viability, responses["1 worker"], samples=arguments.check
    )
    report[f"difference to the engine, largest of {arguments.check} samples"] = difference
    report["failed samples"] = int(np.count_nonzero(np.isnan(responses["1 worker"]).any(axis=1)))
    report["load after"] = os.getloadavg()
    met = {
        f"at least {arguments.faster:g} times faster": faster >= arguments.faster,
        f"memory grows by at most {100 * (arguments.growth - 1):.0f} %": max(growth) <= arguments.growth,
        "the same bits everywhere": all(same.values()),
        "agrees with the engine to 1e-3": difference <= 1e-3,
    }
    print(json.dumps({**report, "met": met}, indent=1))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
