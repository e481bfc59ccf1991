"""Propagators kept across calls: a series of scans over one phantom plays the same pulses again and again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

import numpy as np

from mrisim._types import Array
from mrisim.data import Phantom
from mrisim.program import Program
from mrisim.simulate._memory import STORE_LIMIT

_DIGITS = 6  # of a moment [1/m]: absolute times in a long scan leave the rest undetermined


class PropagatorStore:
    """Arrays by what they were made from; the least recently used go first."""

    def __init__(self, limit: int):
        self._limit = limit
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """The array of that key, made where it is not there."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = array
                self._bytes += array.nbytes
            self._forget()
        return array

    def resize(self, limit: int) -> None:
        """Hold at most so many bytes from now on."""
        with self._lock:
            self._limit = limit
            self._forget()

    def _forget(self) -> None:
        while self._bytes > self._limit:
            _, oldest = self._arrays.popitem(last=False)
            self._bytes -= oldest.nbytes


def pulse_key(program: Program, row: int) -> str:
    """Digest of all that a propagator depends on, but for the spins."""
    pulses = program.pulses
    waveform = program.waveforms[pulses.waveform[row]]
    numbers = [np.round(waveform.moment, _DIGITS) + 0.0, np.round(waveform.dt * 1e9, _DIGITS), waveform.area]
    columns = (
        "amplitude", "frequency", "slice_normal", "slice_position", "slice_half_width",
        "band_center", "band_half_width",
    )  # fmt: skip
    return _digest([*numbers, *(getattr(pulses, name)[row] for name in columns)])


def spins_key(phantom: Phantom) -> str:
    """Digest of all that a propagator depends on in a chunk of spins."""
    names = ("position", "t1", "t2", "df", "b1", "t2_prime", "lorentz")
    return _digest(getattr(phantom, name) for name in names)


def _digest(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for values in arrays:
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


STORE = PropagatorStore(STORE_LIMIT)
