"""Propagators kept across calls: a series of scans over one phantom plays the same pulses again and again."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from mrisim._types import Array
from mrisim.data import Phantom
from mrisim.program import Program

LIMIT = 1 << 30  # bytes
_DIGITS = 6  # of a moment [1/m]: absolute times in a long scan leave the rest undetermined


class PropagatorStore:
    """Arrays by phantom, pulse and chunk; least recently used first out; all of a phantom out when it is gone."""

    def __init__(self, limit: int = LIMIT):
        self._limit = limit
        self._arrays: OrderedDict[tuple[int, Hashable], Array] = OrderedDict()
        self._bytes = 0
        self._watched: dict[int, weakref.finalize] = {}
        self._lock = threading.RLock()

    def get(self, phantom: Phantom, key: Hashable, make: Callable[[], Array]) -> Array:
        """The array of that key, made where it is not there."""
        full = (id(phantom), key)
        with self._lock:
            if full in self._arrays:
                self._arrays.move_to_end(full)
                return self._arrays[full]
        array = make()
        with self._lock:
            self._watch(phantom)
            if full not in self._arrays:
                self._arrays[full] = array
                self._bytes += array.nbytes
            while self._bytes > self._limit:
                _, oldest = self._arrays.popitem(last=False)
                self._bytes -= oldest.nbytes
        return array

    def _watch(self, phantom: Phantom) -> None:
        if id(phantom) not in self._watched:
            self._watched[id(phantom)] = weakref.finalize(phantom, self._forget, id(phantom))

    def _forget(self, identity: int) -> None:
        with self._lock:
            self._watched.pop(identity, None)
            for key in [k for k in self._arrays if k[0] == identity]:
                self._bytes -= self._arrays.pop(key).nbytes


def pulse_key(program: Program, row: int) -> str:
    """Digest of all that a propagator depends on, but for the spins."""
    pulses = program.pulses
    waveform = program.waveforms[pulses.waveform[row]]
    digest = hashlib.blake2b(digest_size=16)
    numbers = (
        np.round(waveform.moment, _DIGITS) + 0.0,
        np.round(waveform.dt * 1e9, _DIGITS),
        waveform.area,
        *(
            np.asarray(column[row])
            for column in (
                pulses.amplitude,
                pulses.frequency,
                pulses.slice_normal,
                pulses.slice_position,
                pulses.slice_half_width,
            )
        ),
    )
    for values in numbers:
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


STORE = PropagatorStore()
