"""A fit on a local Dask cluster: the same bits as without it.  Needs ``pip install "dask[distributed]"``.

Any `concurrent.futures.Executor` works the same way; docs/how-to/cluster.md says more, also about MPI.
"""

from __future__ import annotations

import sys


def main() -> int:
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        print('skipped: needs pip install "dask[distributed]"', file=sys.stderr)
        return 0
    from kill_test import Decay

    from fits.optimise import fit

    objective = Decay(pause=0.001)
    # The dashboard would open a port.  On a real cluster: Client(address of the scheduler).
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        result = fit(objective, n_starts=20, executor=client.get_executor())
    print(result)
    alone = fit(objective, n_starts=20)
    same = all(
        (one.index, one.to_document()) == (other.index, other.to_document())
        for one, other in zip(result.starts, alone.starts, strict=True)
    )
    print("the same bits as without Dask" if same else "NOT the same as without Dask")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
