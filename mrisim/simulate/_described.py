"""What a sequence is before any spin: its normal form, and where and when its samples lie; kept while it lives.

A series of simulations plays one sequence over many phantoms, and sequences are immutable.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from mrisim._types import Float
from mrisim.data import ReadoutTable
from mrisim.events.blocks import Sequence
from mrisim.events.readouts import readout_table
from mrisim.program import Program, Pulses, lower

Samples = tuple[Float[np.ndarray, "samples 3"], Float[np.ndarray, " samples"], ReadoutTable]


@dataclass(kw_only=True, eq=False)
class _Described:
    programs: dict[Pulses, Program] = field(default_factory=dict)
    samples: Samples | None = None


_KNOWN: WeakKeyDictionary[Sequence, _Described] = WeakKeyDictionary()


def _described(seq: Sequence) -> _Described:
    return _KNOWN.setdefault(seq, _Described())


def program_of(seq: Sequence, pulses: Pulses) -> Program:
    """The normal form, shared by all who ask."""
    known = _described(seq).programs
    if pulses not in known:
        known[pulses] = lower(seq, pulses)
    return known[pulses]


def samples_of(seq: Sequence) -> Samples:
    """k and time of all samples, and the readouts; shared by all who ask, who only read."""
    known = _described(seq)
    if known.samples is None:
        known.samples = (*seq.kspace(), readout_table(seq))
    return known.samples


def own_samples(seq: Sequence) -> Samples:
    """The same, to give away."""
    return deepcopy(samples_of(seq))
