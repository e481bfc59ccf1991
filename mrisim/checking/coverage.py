"""What the samples cover in k-space, and the times of echoes, repetitions and dynamics as found in the blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from mrisim._types import Bool, Float, Int
from mrisim.checking.moments import echo_moments
from mrisim.data import ReadoutTable, ReconSpec
from mrisim.events.blocks import Sequence
from mrisim.events.moments import pulse_instances
from mrisim.events.readouts import readout_table, repetition
from mrisim.events.tables import Use

SAME_LINE = 0.02  # distance of lines that count as one, in steps of the k-space grid
HALF_STEP = 0.5  # distance from k = 0, in steps, within which a readout holds the center
MOST_ECHOES = 8  # whose moments are computed
MOST_PLACES = 40_000  # of a disc that is searched for gaps
SAME_TIME = 1e-7  # [s]
_IMAGE = ("REP", "ECO", "SET", "PHS", "SLC")  # labels that tell images apart
_OF_IMAGES = dict.fromkeys(("NAV", "NOISE"), 0)  # labels of readouts that belong to images


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """Samples of images, without navigators and noise, against the k-space that the recon part asks for."""

    read_step: float  # largest distance of neighbouring samples [1/m]
    reach: Float[np.ndarray, " 3"]  # largest |k| on read, phase and partition [1/m]
    line_gap: Float[np.ndarray, " 2"]  # largest distance of lines of the first image on phase, partition; nan of one
    hole: float  # diameter of the largest disc without a sample, where samples lie on no lines; else nan [1/m]
    center: float  # smallest |k| [1/m]
    te: Float[np.ndarray, " echoes"]  # excitation to the center of k-space, by ECO label [s]
    tr: Float[np.ndarray, " excitations"]  # different values; between inversions where one serves many excitations [s]
    ti: Float[np.ndarray, " preparations"]  # different values at the center of k-space [s]
    spacing: float  # of readouts after one excitation, or of excitations after one inversion; nan without [s]
    b: Float[np.ndarray, " readouts"]  # trace of the b-matrix, where known [s/m^2]
    moments: Float[np.ndarray, "echoes 3"]  # size of m0 [1/m], m1 [s/m], m2 [s^2/m] at the centers of echoes


def cover(seq: Sequence) -> Coverage | None:
    """Coverage of a sequence; None where it samples nothing or says nothing of its images."""
    table = readout_table(seq)
    if seq.recon is None or len(table) == 0:
        return None
    keep = _chosen(table, _OF_IMAGES)
    if not keep.any():
        return None
    k, time, axes = _trajectory(seq, seq.recon)
    distance = np.linalg.norm(k[:, axes], axis=1)
    owner = np.repeat(np.arange(len(table)), table.count)
    inside, same = keep[owner], (np.diff(owner) == 0) & keep[owner[1:]]
    steps = np.linalg.norm(np.diff(k[:, axes], axis=0), axis=1)[same]
    image = keep & _chosen(table, {n: int(table.labels[n][keep].min()) for n in _IMAGE if n in table.labels})
    first = k[image[owner]]
    nearest = np.minimum.reduceat(distance, table.start)
    te, centers = _echoes(table, distance, nearest, time, keep)
    central = _central(nearest, keep, seq.recon)
    tr = repetition_times(seq, table)
    b = np.trace(table.b_matrix, axis1=1, axis2=2)
    return Coverage(
        read_step=float(steps.max(initial=0.0)),
        reach=np.abs(k[inside]).max(axis=0),
        line_gap=np.array([_line_gap(first[:, axis], seq.recon.fov[axis]) for axis in (1, 2)]),
        hole=_hole(first[:, :2], seq.recon),
        center=float(distance[inside].min()),
        te=te,
        tr=tr,
        ti=_different(table.ti[central]),
        spacing=_spacing(table, time, keep, tr),
        b=b[np.isfinite(b)],
        moments=np.array([echo_moments(seq, float(t)) for t in centers[:MOST_ECHOES]]).reshape(-1, 3),
    )


def central_readouts(seq: Sequence, table: ReadoutTable) -> Bool[np.ndarray, " readouts"]:
    """Readouts through the center of k-space, whose times weight the image; all where there is no image.

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> seq = load_sequence("spin_echo", matrix=16)
        >>> np.flatnonzero(central_readouts(seq, readout_table(seq))).tolist()
        [8]
    """
    keep = _chosen(table, _OF_IMAGES)
    if seq.recon is None or not keep.any():
        return np.ones(len(table), dtype=bool)
    k, _, axes = _trajectory(seq, seq.recon)
    nearest = np.minimum.reduceat(np.linalg.norm(k[:, axes], axis=1), table.start)
    return _central(nearest, keep, seq.recon)


def _trajectory(seq: Sequence, recon: ReconSpec) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """k of all samples on logical axes [1/m], their times [s], and the axes that are encoded."""
    physical, time = seq.kspace()
    return physical @ seq.geometry.rotation, time, [0, 1, 2] if recon.matrix[2] > 1 else [0, 1]


def _central(
    nearest: Float[np.ndarray, " readouts"], keep: Bool[np.ndarray, " readouts"], recon: ReconSpec
) -> Bool[np.ndarray, " readouts"]:
    return keep & (nearest <= nearest[keep].min() + HALF_STEP / max(recon.fov[:2]))


def _chosen(table: ReadoutTable, labels: dict[str, int]) -> Bool[np.ndarray, " readouts"]:
    """Readouts whose labels have some values; what has no such label passes."""
    keep = np.ones(len(table), dtype=bool)
    for name, value in labels.items():
        if name in table.labels:
            keep &= np.asarray(table.labels[name]) == value
    return keep


def _different(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    return np.unique(np.round(values[np.isfinite(values)], 8))


def _middle(table: ReadoutTable, time: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " readouts"]:
    return time[table.start + table.count // 2]


def _echoes(
    table: ReadoutTable,
    distance: Float[np.ndarray, " samples"],
    nearest: Float[np.ndarray, " readouts"],
    time: Float[np.ndarray, " samples"],
    keep: Bool[np.ndarray, " readouts"],
) -> tuple[Float[np.ndarray, " echoes"], Float[np.ndarray, " echoes"]]:
    """Echo time and time of the sample nearest to the center of k-space, of each echo."""
    echo = np.asarray(table.labels.get("ECO", np.zeros(len(table), dtype=int)))
    te, at = [], []
    for number in np.unique(echo[keep]):
        mine = np.flatnonzero((echo == number) & keep & np.isfinite(table.te))
        if len(mine) == 0:
            continue
        row = mine[int(nearest[mine].round(6).argmin())]
        start, count = table.start[row], table.count[row]
        sample = start + int(distance[start : start + count].argmin())
        te.append(table.te[row] + time[sample] - time[start + count // 2])
        at.append(time[sample])
    return np.array(te), np.array(at)


def repetition_times(seq: Sequence, table: ReadoutTable) -> Float[np.ndarray, " n"]:
    """Different repetition times [s].

    From excitation to excitation of a slice; where several excitations follow one inversion, as in MPRAGE, from
    inversion to inversion.
    """
    pulses = pulse_instances(seq)
    inversions = np.flatnonzero(seq.rf.use[pulses.event] == Use.INVERSION)
    cycle, tr = _different(repetition(seq, pulses, inversions)), _different(table.tr)
    several = len(cycle) > 0 and len(tr) > 0 and tr.max() < 0.99 * cycle.min()
    return cycle if several else tr


def _spacing(
    table: ReadoutTable,
    time: Float[np.ndarray, " samples"],
    keep: Bool[np.ndarray, " readouts"],
    tr: Float[np.ndarray, " n"],
) -> float:
    """Of readouts after one excitation, or of excitations whose TR is from inversion to inversion; nan without."""
    middle = _middle(table, time)[keep]
    follows = np.abs(np.diff(middle - table.te[keep])) < SAME_TIME
    if follows.any():
        return float(np.median(np.diff(middle)[follows]))
    found = table.tr[keep & np.isfinite(table.tr)]
    return float(np.median(found)) if len(found) and len(tr) and found.max() < tr.min() - SAME_TIME else np.nan


def _line_gap(k: Float[np.ndarray, " n"], fov: float) -> float:
    """Largest distance of neighbouring lines [1/m]."""
    lines: Int[np.ndarray, " m"] = np.unique(np.round(k * fov / SAME_LINE))
    return float(np.diff(lines).max() * SAME_LINE / fov) if len(lines) > 1 else np.nan


def _hole(k: Float[np.ndarray, "n 2"], recon: ReconSpec) -> float:
    """Diameter of the largest disc without a sample inside the circle that the recon part asks for [1/m]."""
    if recon.method == "cartesian":
        return np.nan
    step = 1 / max(recon.fov[:2])
    radius = min((recon.matrix[axis] // 2 - 1) / recon.fov[axis] for axis in (0, 1))
    spacing = max(0.5 * step, radius * np.sqrt(np.pi / MOST_PLACES))
    line = np.arange(-radius, radius + 0.5 * spacing, spacing)
    places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    places = places[np.linalg.norm(places, axis=1) <= radius]
    cells = np.unique(np.round(k / (0.1 * step)), axis=0) * (0.1 * step)
    return float(2 * KDTree(cells).query(places)[0].max(initial=0.0))
