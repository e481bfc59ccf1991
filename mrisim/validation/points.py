"""Points of an expectation as a phantom, and the samples of each of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import Geometry, Phantom, ReadoutTable
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.events.blocks import Sequence
from mrisim.events.readouts import readout_table
from mrisim.phantom.sampling import Sampling, lattice
from mrisim.sequence.expect import Expectation
from mrisim.simulate import simulate

NUMERICAL = (1e-7, 1e-5)
"""Error that shortcuts of the simulation may add: a hundredth of what an expectation allows, within these bounds."""
BATCH = 64
"""Points of one simulation."""
_SIDE = 5e-3  # of a voxel where the sequence makes no image [m]
_ROW = 5  # points side by side along the read axis
_FIRST = (2, -3)  # voxel of the first point: not the center, where every gradient vanishes
_DEFAULTS = {"T1": np.inf, "T2": np.inf, "df": 0.0, "b1": 1.0, "pd": 1.0, "D": 0.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Property combinations, in the order of their product."""

    columns: Mapping[str, Float[np.ndarray, " points"]]  # T1, T2, T2star, df, b1, pd, D [SI]

    @staticmethod
    def of(properties: Mapping[str, np.ndarray]) -> Points:
        """All combinations of the values of some properties.

        Raises:
            ConsistencyError: T2 above 2 T1, or T2* above T2.
        """
        names = list(properties)
        combinations = list(itertools.product(*(properties[name] for name in names)))
        rows = np.array(combinations).reshape(len(combinations), len(names))
        columns = {name: np.full(len(rows), value) for name, value in _DEFAULTS.items()}
        columns |= {name: rows[:, index] for index, name in enumerate(names)}
        columns.setdefault("T2star", columns["T2"])
        _check(columns)
        return Points(columns=columns)

    def __len__(self) -> int:
        return len(self.columns["T1"])

    def take(self, rows: slice) -> Points:
        """Some of them."""
        return Points(columns={name: values[rows] for name, values in self.columns.items()})

    def phantom(self, seq: Sequence, expectation: Expectation, engine: str) -> Phantom:
        """Each point in a voxel of its own; its isochromats one after the other, with weights that add up to 1."""
        side = voxel_side(seq)
        full = expectation.voxel == "full"
        n = expectation.isochromats if full and engine == "bloch" else 1
        inner = lattice(n) * side if n > 1 else np.zeros((1, 3))
        index = np.arange(len(self))
        voxel = np.column_stack([_FIRST[0] + index % _ROW, _FIRST[1] - index // _ROW, np.zeros(len(self))])
        position = (voxel * side + [0.0, 0.0, _slice(seq)])[:, None] + inner
        columns = {name: np.repeat(values, n) for name, values in self.columns.items()}
        phantom = Phantom.from_arrays(
            position=position.reshape(-1, 3) @ seq.geometry.rotation.T + seq.geometry.center,
            t1=columns["T1"], t2=columns["T2"], df=columns["df"], b1=columns["b1"], pd=columns["pd"],
            t2_prime=_reversible(columns), lorentz=np.tile(_line(n), len(self)), weight=1 / n,
            diffusion=columns["D"],
        )  # fmt: skip
        if engine == "epg" and full:
            through = seq.geometry.center + _slice(seq) * seq.geometry.rotation[:, 2]  # the slice, not the center
            grid = Geometry(rotation=seq.geometry.rotation, center=through)
            phantom = replace(phantom, sampling=Sampling(geometry=grid, extent=tuple(side), voxel=tuple(side)))
        return phantom


def _check(columns: Mapping[str, np.ndarray]) -> None:
    rules = (
        ("T2", 2 * columns["T1"], "at most 2 T1 in every combination"),
        ("T2star", columns["T2"], "at most T2 in every combination"),
    )
    problems = [
        Problem(f"must be {text}, but is {columns[name][columns[name] > most * (1 + 1e-12)][0]:g} s", path=name)
        for name, most, text in rules
        if (columns[name] > most * (1 + 1e-12)).any()
    ]
    if problems:
        raise ConsistencyError(problems)


def _reversible(columns: Mapping[str, np.ndarray]) -> Float[np.ndarray, " n"]:
    """T2' of T2 and T2* [s]."""
    rate = 1 / columns["T2star"] - 1 / columns["T2"]
    return np.where(rate > 1e-12 / columns["T2star"], 1 / np.maximum(rate, 1e-300), np.inf)


def _line(n: int) -> Float[np.ndarray, " n"]:
    """Places in the Lorentzian line: midpoints of equal parts, in an order that has nothing to do with the lattice."""
    golden = np.arange(n) * 0.6180339887498949 % 1.0
    return (np.argsort(np.argsort(golden)) + 0.5) / n - 0.5


def voxel_side(seq: Sequence) -> Float[np.ndarray, " 3"]:
    """Sides of an image's voxel along read, phase and slice [m]."""
    if seq.recon is None:
        return np.full(3, _SIDE)
    side = np.array(seq.recon.fov) / np.array(seq.recon.matrix)
    return np.where(np.isfinite(side), side, _SIDE)


def _slice(seq: Sequence) -> float:
    """Position of the first slice along its direction, from the geometry's center [m]."""
    return float(seq.recon.slice_positions[0]) if seq.recon is not None else 0.0


def central_samples(seq: Sequence) -> dict[str, Int[np.ndarray, " echoes"]]:
    """Index of the first, the central and the last sample of each readout that holds the center of k-space.

    Of a Cartesian image the readouts of the central line and partition by their labels, and sample N//2 of them, of a
    line that runs backwards its mirror image. Elsewhere all readouts, of the central partition where there are several,
    and the sample nearest to k = 0. Of the first slice, in order of time, without reference lines (NAV).

    Raises:
        ConsistencyError: there is none.
    """
    table = readout_table(seq)
    rows = np.flatnonzero(_is_central(seq, table))
    if len(rows) == 0:
        rule = "must sample the center of k-space, but samples no central line of the first slice"
        raise ConsistencyError(Problem(rule, "Check the labels LIN, PAR and SLC", path=seq.name))
    start, count = table.start[rows], table.count[rows]
    if seq.recon is not None and seq.recon.method == "cartesian":
        backwards = table.labels["REV"][rows] == 1 if "REV" in table.labels else np.zeros(len(rows), bool)
        center = np.where(backwards, count - 1 - count // 2, count // 2)
    else:
        k, _ = seq.kspace()
        radius = np.linalg.norm(k, axis=1)
        center = np.array([int(np.argmin(radius[s : s + c])) for s, c in zip(start, count, strict=True)])
    return {"first": start, "center": start + center, "last": start + count - 1}


def _is_central(seq: Sequence, table: ReadoutTable) -> np.ndarray:
    central = np.ones(len(table), dtype=bool)
    due = {"SLC": 0, "NAV": 0}
    if seq.recon is not None:
        due |= {"PAR": seq.recon.matrix[2] // 2}
    if seq.recon is not None and seq.recon.method == "cartesian":
        due |= {"LIN": seq.recon.matrix[1] // 2}
    for label, value in due.items():
        if label in table.labels:
            central &= np.asarray(table.labels[label]) == value
    return central


def echoes_of(
    seq: Sequence, points: Points, expectation: Expectation, engine: str
) -> tuple[dict[str, Complex[np.ndarray, "points echoes"]], tuple[Finding, ...]]:
    """Samples of each point by itself: part of an echo → (points, echoes), in units of M0 of the voxel."""
    where = central_samples(seq)
    found: list[np.ndarray] = []
    notes: dict[str, Finding] = {}
    for batch in range(math.ceil(len(points) / BATCH)):
        part = points.take(slice(batch * BATCH, (batch + 1) * BATCH))
        phantom = part.phantom(seq, expectation, engine)
        owner = np.repeat(np.arange(len(part)), phantom.n_spins // len(part))
        receivers = (owner == np.arange(len(part))[:, None]).astype(complex)  # each point has a coil of its own
        error = float(np.clip(0.01 * expectation.tolerance.relative, *NUMERICAL))
        raw = simulate(
            seq, phantom, engine=engine, pulses=expectation.pulses, spoiling=expectation.spoiling,
            tolerance=error, dtype="float64", coils=receivers,
        )  # fmt: skip
        found.append(raw.signal)
        notes |= {str(finding): finding for finding in raw.findings}
    signal = np.concatenate(found)
    return {name: signal[:, index] for name, index in where.items()}, tuple(notes.values())
