"""The shortest echo time in which a diffusion weighting can be reached: what an error about it names."""

from __future__ import annotations

import math
from collections.abc import Callable

from mrisim.errors import Problem, SpecError, TimingError
from mrisim.units import TIME, show

STEP = 1e-4  # that the echo time is found to [s]
LONGEST = 2.0  # [s]


def name_echo_time(error: TimingError, te: float, play: Callable[[float], object]) -> TimingError:
    """The error, with the shortest echo time that plays as its remedy; the error itself where there is none.

    The time between lobes grows with TE, so lobes get shorter; what the timing of one TE says is no answer.

    Args:
        error: What the sequence says at `te`.
        te: Echo time [s].
        play: Expands the sequence at another echo time; raises SpecError where it cannot be played.
    """
    low = math.floor(te / STEP + 1e-6)
    high = low + 1
    while not _plays(play, high * STEP):
        if high * STEP > LONGEST:
            return error
        low, high = high, high + max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _plays(play, middle * STEP) else (middle, high)
    least = show(high * STEP, TIME)
    first = error.problems[0]
    rule = f"{first.rule}; b takes a TE of at least {least}"
    return TimingError(Problem(rule, f"Set TE: {least}, or lower b", first.path, first.file, first.line, first.column))


def _plays(play: Callable[[float], object], te: float) -> bool:
    try:
        play(te)
    except SpecError:
        return False
    return True
