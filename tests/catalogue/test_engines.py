"""Every sequence of the library through the phase graph, against isochromats: pulses as rotations, fat among the spins.

Points are followed exactly by both engines, so that nothing hangs on how finely voxels are sampled.
"""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import Phantom
from mrisim.paths import library_files
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate

TOLERANCE = 1e-5
AGREE = 10 * TOLERANCE  # what is dropped at some dozens of pulses
SMALL = {"matrix": 8}
OF_THREE = {"matrix": (8, 6, 4)}
TRAIN = {
    "repetitions": 40,
    "angle": "0 deg",
}  # arms that turn end beside k = 0, each elsewhere: too many states
SETTINGS = {
    "dce_golden_angle": {**SMALL, "dynamics": 1, "dummies": 20},
    "dce_spgr_3d": {**OF_THREE, "dynamics": 1, "dummies": 20},
    "dti_se_epi": {**SMALL, "directions": 7},
    "fid": {},
    "flash_3d": OF_THREE,
    "ivim": {**SMALL, "b": (1e7, 5e8)},
    "mprage": OF_THREE,
    "mrf_bssfp": {**SMALL, **TRAIN},
    "mrf_fisp": {**SMALL, **TRAIN},
    "stir": {"matrix": 16},
    "t2_flair": {"matrix": 16},
    "t2_tse": {"matrix": 16},
    "t2_tse_coronal": {"matrix": 16},
}
AXES = {"t2_tse_coronal": (0, 2, 1)}  # its slices lie across y


def points(axes=(0, 1, 2)) -> Phantom:
    """Water off its frequency, and fat."""
    position = np.array([[11, -23, 0.4], [-31, 17, 0.3], [20, 10, -0.2]])[:, axes] * 1e-3
    return Phantom.from_arrays(
        position=position, t1=[0.15, 0.2, 0.1], t2=[0.03, 0.02, 0.025], df=[0.0, -434.0, 12.0], b1=[1.0, 0.9, 1.1],
        pd=[1.0, 0.7, 0.5],
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(library_files("sequences")))
@pytest.mark.slow
def test_the_phase_graph_is_isochromats(name):
    seq = load_sequence(name, **SETTINGS.get(name, SMALL))
    given = {"pulses": "ideal", "dtype": "float64", "tolerance": TOLERANCE}
    where = points(AXES.get(name, (0, 1, 2)))
    graph, exact = (simulate(seq, where, engine=engine, **given).signal for engine in ("epg", "bloch"))
    assert np.linalg.norm(exact) > 0
    assert np.linalg.norm(graph - exact) < AGREE * np.linalg.norm(exact)
