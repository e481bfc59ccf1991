"""Settings of all tests: examples are the same in every run, a busy machine is no failure, workers share the work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

settings.register_profile("mrisim", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mrisim")

# what one worker compiled the other need not compile again
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

# one core to each worker, so that their threads do not fight for it
worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

_MOST_MAPS = 30_000  # half of what Linux grants a process; each compiled program takes some, and beyond it crashes


def pytest_runtest_teardown(item, nextitem):
    """Between files: a worker that has compiled much forgets it."""
    if nextitem is not None and nextitem.path == item.path:
        return
    if "jax" in sys.modules:
        from mrisim.simulate._progress import spare_maps

        spare_maps(_MOST_MAPS)
