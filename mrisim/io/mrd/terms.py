"""Words of the format next to mrisim's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LPS = np.array([-1.0, -1.0, 1.0])  # physical x right, y anterior, z superior → left, posterior, superior
MM, MS, US = 1e-3, 1e-3, 1e-6
TICK = 2.5e-3  # of acquisition_time_stamp [s]
MAX_COUNT = 2**16 - 1
VENDOR = "mrisim"

COUNTERS: Mapping[str, str] = {
    "LIN": "kspace_encode_step_1",
    "PAR": "kspace_encode_step_2",
    "AVG": "average",
    "SLC": "slice",
    "ECO": "contrast",
    "PHS": "phase",
    "REP": "repetition",
    "SET": "set",
    "SEG": "segment",
}  # label → encoding counter
LIMITS: Mapping[str, str] = {"LIN": "kspace_encoding_step_1", "PAR": "kspace_encoding_step_2"}  # where named otherwise

NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE, NAVIGATION = 19, 20, 21, 22, 23
LAST_IN_MEASUREMENT = 25
OTHER_USE = (24, 26, 27, 28, 29, 30, 31)  # phase correction, feedback, dummies: of no image
BORDERS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "LIN": (1, ("PAR", "SLC", "ECO", "PHS", "REP", "SET", "AVG")),
    "PAR": (3, ("LIN", "SLC", "ECO", "PHS", "REP", "SET", "AVG")),
    "AVG": (5, ("AVG", "SLC", "ECO", "PHS", "REP", "SET")),
    "SLC": (7, ("SLC", "ECO", "PHS", "REP", "SET")),
    "ECO": (9, ("ECO", "PHS", "REP", "SET")),
    "PHS": (11, ("PHS", "REP", "SET")),
    "REP": (13, ("REP",)),
    "SET": (15, ("SET", "REP")),
    "SEG": (17, ("SEG", "SLC", "ECO", "PHS", "REP", "SET", "AVG")),
}  # label → flag of the first of a group (the next number is the last), and the labels that are equal in the group

USER_FLOATS = ("te", "ti", "tr", "flip", "ts")  # columns of the readout table in user_float [s, rad]
USER_INTS = "seconds and nanoseconds of the first sample"  # user_int[0] and [1]


def bit(flag: int) -> np.uint64:
    """Mask of a flag; flags count from 1.

    Example:
        >>> int(bit(NOISE))
        262144
    """
    return np.uint64(1) << np.uint64(flag - 1)
