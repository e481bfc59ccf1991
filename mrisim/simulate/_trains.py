"""Long trains of samples by non-uniform Fourier transforms: their magnetisation is kept, and encoded after all chunks.

A class of trains goes this way where that is cheaper than a matrix per chunk and where the memory holds its
magnetisation. Each transform runs on one thread, classes side by side, so results do not depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding import nufft
from mrisim.encoding.cost import choose, some_of
from mrisim.encoding.grouping import precessing
from mrisim.encoding.train import TrainEncoder
from mrisim.program import Program, ReadoutClass

_PER_SPIN = 5 * 16  # bytes of an encoder: positions, phases, and one copy
_SHARE = 0.5  # of the tolerance; the rest is left to the other shortcuts


@dataclass(frozen=True, kw_only=True, eq=False)
class Trains:
    """Readout classes that are transformed, and the magnetisation of their rows at the first sample of each train."""

    program: Program
    first: dict[int, int]  # of each class: the class whose split in time it shares, itself perhaps
    encoders: dict[int, TrainEncoder]  # of those classes
    row: dict[int, int]  # of each class: its first row in what was emitted
    emitted: Complex[np.ndarray, "rows spins"]
    spins: Phantom  # one of each run that the encoding cannot tell apart, as this process takes them
    df: Float[np.ndarray, " spins"]
    coils: Complex[np.ndarray, "coils spins"] | None
    tolerance: float
    width: int  # spins of a chunk
    size: int  # bytes

    @staticmethod
    def of(
        program: Program,
        spins: Phantom,
        coils: Complex[np.ndarray, "coils spins"] | None,
        *,
        width: int,
        tolerance: float,
        dtype: np.dtype,
        left: int,
        workers: int,
        chosen: tuple[int, ...] | None = None,
    ) -> Trains:
        """Choose the classes that are transformed, and make room for them.

        Args:
            program: The program.
            spins: What is encoded, in the order of the chunks.
            coils: Sensitivities at the spins; None for one uniform coil.
            width: Spins of a chunk.
            tolerance: As in `simulate`.
            dtype: Precision of the device.
            left: Bytes that may be taken.
            workers: Transforms that run side by side.
            chosen: The classes, where a former run has chosen.
        """
        tolerance = _SHARE * tolerance
        n_coils = 1 if coils is None else len(coils)
        wanted = _cheaper(program, spins, tolerance, n_coils) if chosen is None else list(chosen)
        offset = precessing(spins) if wanted else np.zeros(0)
        kind = np.result_type(dtype, np.complex64)
        room = _Room(left=left if chosen is None else None, itemsize=kind.itemsize, n_spins=spins.n_spins)
        for alike in _same_delay(program, wanted):
            encoder = _encoder(program.readouts[alike[0]], spins, offset, tolerance)
            if encoder is not None:
                room.add(alike, [len(program.readouts[index].step) for index in alike], encoder, workers)
        return Trains(
            program=program,
            first=room.first,
            encoders=room.encoders,
            row=room.row,
            emitted=np.zeros((room.n_rows, spins.n_spins), dtype=kind),
            spins=spins,
            df=offset,
            coils=coils,
            tolerance=tolerance,
            width=width,
            size=room.size,
        )

    @property
    def classes(self) -> tuple[int, ...]:
        """Readout classes that are transformed."""
        return tuple(self.row)

    def keep(
        self, number: int, index: int, chosen: Int[np.ndarray, " rows"], m: Complex[np.ndarray, "rows spins"]
    ) -> None:
        """Take the magnetisation of some rows of a class, as one chunk of this process emits it."""
        begin = number * self.width
        part = m[:, : self.emitted.shape[1] - begin]
        self.emitted[self.row[index] + chosen, begin : begin + part.shape[1]] = part

    def first_chunks(self, done: int) -> Complex[np.ndarray, "rows spins"]:
        """What some chunks emitted."""
        return self.emitted[:, : done * self.width]

    def samples(self, index: int) -> tuple[Int[np.ndarray, "rows samples"], Complex[np.ndarray, "coils rows samples"]]:
        """Samples of a class, and where in the signal they belong."""
        readout, shared = self.program.readouts[index], self.encoders[self.first[index]]
        encoder = shared
        if self.first[index] != index:
            where = (np.asarray(self.spins.position), self.df, 1 / np.asarray(self.spins.t2))
            encoder = TrainEncoder.of(readout, *where, tolerance=self.tolerance, like=shared)
        m = self.emitted[self.row[index] : self.row[index] + len(readout.step)]
        if self.coils is None:
            found = encoder(m, threads=1)[None]
        else:
            found = np.stack([encoder(m * coil, threads=1) for coil in self.coils])
        return np.asarray(readout.first)[:, None] + np.arange(len(readout.delay)), found


class _Room:
    """Classes that fit into some memory, in turn."""

    def __init__(self, *, left: int | None, itemsize: int, n_spins: int):
        self._left, self._per_row, self._n_spins = left, itemsize * n_spins, n_spins
        self.first: dict[int, int] = {}
        self.encoders: dict[int, TrainEncoder] = {}
        self.row: dict[int, int] = {}
        self.n_rows, self.size, self._working = 0, 0, 0

    def add(self, alike: list[int], rows: list[int], encoder: TrainEncoder, workers: int) -> None:
        """Take as many as fit of the classes that share an encoder's split in time."""
        shared = encoder.spin.nbytes + _PER_SPIN * self._n_spins
        for index, more in zip(alike, rows, strict=True):
            working = max(self._working, workers * (encoder.working_bytes(more) + _PER_SPIN * self._n_spins))
            size = self.size + shared + more * self._per_row + working - self._working
            if self._left is not None and size > self._left:
                continue
            self.encoders[alike[0]] = encoder
            self.first[index], self.row[index] = alike[0], self.n_rows
            self.n_rows, self.size, self._working, shared = self.n_rows + more, size, working, 0


def _cheaper(program: Program, spins: Phantom, tolerance: float, n_coils: int) -> list[int]:
    """Classes that are cheaper to transform; on another device than the CPU, and without a compiled library, none."""
    if spins.n_spins == 0 or nufft.backends()[0] != "finufft":
        return []
    some = spins.take(some_of(spins.n_spins))
    where, found = (np.asarray(some.position), precessing(some)), []
    for alike in _same_delay(program, range(len(program.readouts))):
        for index in alike:
            readout = program.readouts[index]
            path = choose(
                readout, len(readout.step), *where, tolerance, spins=spins.n_spins, coils=n_coils, shared=len(alike)
            )
            found += [index] if path == "nufft" else []
    return found


def _same_delay(program: Program, classes) -> list[list[int]]:
    """Classes whose samples have the same delays."""
    groups: dict[bytes, list[int]] = {}
    for index in classes:
        groups.setdefault(np.asarray(program.readouts[index].delay).tobytes(), []).append(index)
    return list(groups.values())


def _encoder(readout: ReadoutClass, spins: Phantom, df: np.ndarray, tolerance: float) -> TrainEncoder | None:
    """The encoder of a class; None where off-resonance and decay would take too many terms."""
    try:
        return TrainEncoder.of(readout, np.asarray(spins.position), df, 1 / np.asarray(spins.t2), tolerance)
    except ValueError:
        return None
