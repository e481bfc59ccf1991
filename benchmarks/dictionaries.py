"""Atoms per second of a fingerprinting dictionary: between nodes, atom by atom, and by compiled C, in turn.

python -m benchmarks.dictionaries [--repeat 5]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.peers import compiled_c
from mrisim.physics.fingerprints import fisp_dictionary

PULSES, STATES = 1000, 100
TR, TE, TI = 12e-3, 2.5e-3, 20e-3
T1, T2 = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.1, 4, 100), np.geomspace(0.01, 0.5, 100), indexing="ij"))


def flips() -> np.ndarray:
    """Humps of 200 pulses between 5° and 70°, each of another height [rad]."""
    n = np.arange(PULSES)
    return np.radians(5 + 65 * (0.4 + 0.6 * np.abs(np.cos(1.3 * (n // 200)))) * np.sin(np.pi * (n % 200 + 1) / 201))


def c_dictionary(library: ctypes.CDLL) -> np.ndarray:
    """The same signals in float32 on all cores, (atoms, pulses)."""
    found = np.empty((PULSES, len(T1)), np.float32)
    columns = [np.ascontiguousarray(column, dtype=np.float32) for column in (T1, T2, flips(), found)]
    t1, t2, flip, _ = (column.ctypes.data_as(ctypes.c_void_p) for column in columns)
    library.epg_fisp_f32(
        ctypes.c_long(len(T1)), t1, t2, ctypes.c_long(PULSES), flip, *map(ctypes.c_float, (TR, TE, TI)),
        ctypes.c_long(STATES), found.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(os.cpu_count() or 1),
    )  # fmt: skip
    return found.T


def own_dictionary(tolerance: float | None) -> np.ndarray:
    return fisp_dictionary(T1, T2, flips(), TR, TE, TI, n_states=STATES, tolerance=tolerance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    runners: dict[str, Callable[[], np.ndarray]] = {
        "between nodes": lambda: own_dictionary(None),
        "atom by atom": lambda: own_dictionary(0.0),
    }
    library = compiled_c()
    if library is not None:
        runners["c"] = lambda: c_dictionary(library)
    some = slice(0, None, 97)
    exact = fisp_dictionary(T1[some], T2[some], flips(), TR, TE, TI, n_states=STATES, dtype=np.float64, tolerance=0.0)
    rows = {
        name: {"error": float(np.linalg.norm(run()[some] - exact) / np.linalg.norm(exact))}
        for name, run in runners.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeat):
        for name, run in runners.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    for name, row in rows.items():
        middle = statistics.median(seconds[name])
        row.update(seconds=middle, atoms_per_second=round(len(T1) / middle))
        if "c" in rows:
            row["of_c"] = statistics.median(seconds["c"]) / middle
        print(json.dumps({"way": name, **{k: float(f"{v:.3g}") for k, v in row.items()}}), flush=True)


if __name__ == "__main__":
    main()
