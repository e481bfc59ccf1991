"""A pulsed-gradient spin echo by hand, with rectangular lobes about an ideal refocusing pulse."""

from __future__ import annotations

import numpy as np
from physics.build import ADC, DEG, MS, RF, Block, build

from mrisim.events.blocks import Use

AT = 1e-6  # center of a hard pulse in its block
EDGE = 1e-9  # of a lobe [s]


def pulsed_spin_echo(gradient, small_delta, big_delta, echo_time=None):
    """One sample at the echo; `gradient` along x, y, z [Hz/m]. Lobes lie as far before the pulse as behind it."""
    te = echo_time or big_delta + small_delta + 4 * MS
    first = te / 2 - (big_delta + small_delta) / 2
    second = first + big_delta - te / 2

    def lobes(start):
        times = AT + np.array([start, start + EDGE, start + small_delta - EDGE, start + small_delta])
        shape = np.array([0, 1, 1, 0])
        named = zip(("gx", "gy", "gz"), np.broadcast_to(gradient, 3), strict=True)
        return {axis: (times, shape * value) for axis, value in named if value}

    echo = ADC(at=AT + te / 2)
    refocus = RF(flip=180 * DEG, phase=90 * DEG, use=Use.REFOCUSING)
    return build([
        Block(duration=te / 2, rf=RF(flip=90 * DEG), **lobes(first)),
        Block(duration=te / 2 + MS, rf=refocus, adc=echo, **lobes(second)),
    ])  # fmt: skip
