"""N/2 ghost: what tells lines read backwards from the others, from reference lines without phase encoding.

Gradients that lag behind the receiver move the echo of forward lines one way and that of backward lines the other. In
the image of a line both are a phase that is straight along read; half of its difference goes to each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import fft

from mrisim._types import Complex, Float, Int
from mrisim.data import RawData, ReconSpec
from mrisim.errors import ConsistencyError, Problem
from mrisim.recon.ramps import even_lines

_DELAY_STEPS = 4
_COLUMNS = ("dwell", "te", "ti", "ts", "tr", "flip", "b_matrix")


def remove_ghost(raw: RawData) -> RawData:
    """Raw data whose backward lines agree with the forward ones; itself where there are no reference lines.

    Reference lines carry NAV, run both ways and come before the lines of the image that they correct. Of forward,
    backward, forward the mean of the outer two stands for the time of the middle one, so that off-resonance drops out.

    Raises:
        ConsistencyError: reference lines that run one way only.

    Source:
        Phase straight along read, from the autocorrelation: Ahn and Cho, IEEE Trans Med Imaging 6:32 (1987); three
        reference lines: Heid, US patent 6,043,651 (2000).
    """
    table = raw.readouts
    reference = (table.label("NAV") != 0) & (table.label("NOISE") == 0)
    if not reference.any():
        return raw
    backwards, signal = _backwards(raw), np.array(raw.signal)
    group = np.cumsum(np.diff(reference.astype(int), prepend=0) == 1)  # counts runs of reference lines
    other = ~reference & (table.label("NOISE") == 0)
    for number in range(1, int(group.max()) + 1):
        phase = _phase(raw, np.flatnonzero(reference & (group == number)), backwards)
        for way in (False, True):
            rows = np.flatnonzero(other & (group == number) & (backwards == way))
            samples = _samples(raw, rows, len(phase))[:, :: -1 if way else 1]
            turn = np.exp(-0.5j * phase if way else 0.5j * phase)
            signal[:, samples] = _to_kspace(_to_image(signal[:, samples]) * turn)
    return replace(raw, signal=signal)


def find_delay(raw: RawData, spec: ReconSpec) -> float:
    """Time by which gradients lag behind samples on ramps, from the reference lines; zero without them [s].

    A shift of k on the flat top is one of less on the ramps, so the delay is found in steps, each of which leaves about
    six per cent.
    """
    table = raw.readouts
    rows = np.flatnonzero((table.label("NAV") != 0) & (table.label("NOISE") == 0))
    if len(rows) == 0:
        return 0.0
    lines = _only(raw, rows)
    along, time = np.asarray(lines.k) @ raw.geometry.rotation[:, 0], np.asarray(lines.time)
    fastest = float(np.abs(np.diff(along[: table.count[rows[0]]]) / np.diff(time[: table.count[rows[0]]])).max())
    delay = 0.0
    for _ in range(_DELAY_STEPS):
        even = even_lines(lines, spec, delay)
        n = len(even.time) // len(rows)
        step = abs(float((even.k[1] - even.k[0]) @ raw.geometry.rotation[:, 0]))
        phase = _phase(even, np.arange(len(rows)), _backwards(even))
        delay -= float(phase[1] - phase[0]) / (2 * np.pi) * n * step / 2 / fastest  # half of the shift is each way's
    return delay


def _only(raw: RawData, rows: Int[np.ndarray, " lines"]) -> RawData:
    """Those readouts and their samples."""
    table = raw.readouts
    count = np.asarray(table.count)[rows]
    starts = np.asarray(table.start)[rows]
    samples = np.concatenate([first + np.arange(n) for first, n in zip(starts, count, strict=True)])
    columns = {name: np.asarray(getattr(table, name))[rows] for name in _COLUMNS}
    labels = {name: np.asarray(values)[rows] for name, values in table.labels.items()}
    start = np.cumsum(count) - count
    return replace(
        raw, signal=np.asarray(raw.signal)[:, samples], k=np.asarray(raw.k)[samples],
        time=np.asarray(raw.time)[samples],
        readouts=replace(table, start=start, count=count, labels=labels, **columns),
    )  # fmt: skip


def _phase(raw: RawData, members: Int[np.ndarray, " lines"], backwards: np.ndarray) -> Float[np.ndarray, " columns"]:
    """Phase of backward against forward lines over the columns of their image [rad]."""
    ways = [members[~backwards[members]], members[backwards[members]]]
    if min(map(len, ways)) == 0:
        only = "forward" if len(ways[0]) else "backward"
        rule = f"must run forward and backward, but readouts {members[0]} to {members[-1]} run {only} only"
        raise ConsistencyError(Problem(rule, "Read three lines without blips: forward, backward, forward", path="NAV"))
    forward, backward = (_to_image(_mean(raw, rows, backwards)) for rows in ways)
    product = np.sum(backward * np.conj(forward), axis=0)
    slope = float(np.angle(np.sum(product[1:] * np.conj(product[:-1]))))
    column = np.arange(len(product)) - len(product) // 2
    constant = float(np.angle(np.sum(product * np.exp(-1j * slope * column))))
    return constant + slope * column


def _mean(raw: RawData, rows: np.ndarray, backwards: np.ndarray) -> Complex[np.ndarray, "coils columns"]:
    samples = _samples(raw, rows, int(raw.readouts.count[rows[0]]))
    samples = np.where(backwards[rows][:, None], samples[:, ::-1], samples)
    return np.asarray(raw.signal)[:, samples].mean(axis=1)


def _samples(raw: RawData, rows: np.ndarray, n: int) -> Int[np.ndarray, "lines n"]:
    """Indices of the samples of lines that are all of one length."""
    count = np.asarray(raw.readouts.count)[rows]
    if (count != n).any():
        rule = f"must have the {n} samples of its reference lines, but has {count[count != n][0]}"
        raise ConsistencyError(Problem(rule, "Read reference lines like those of the image", path="NAV"))
    return np.asarray(raw.readouts.start)[rows][:, None] + np.arange(n)


def _backwards(raw: RawData) -> np.ndarray:
    """Readouts in which k runs against the read direction."""
    start = np.asarray(raw.readouts.start)
    last = start + np.asarray(raw.readouts.count) - 1
    return (np.asarray(raw.k)[last] - np.asarray(raw.k)[start]) @ raw.geometry.rotation[:, 0] < 0


def _to_image(line: np.ndarray) -> np.ndarray:
    return fft.fftshift(fft.ifft(fft.ifftshift(line, axes=-1), axis=-1), axes=-1)


def _to_kspace(line: np.ndarray) -> np.ndarray:
    return fft.fftshift(fft.fft(fft.ifftshift(line, axes=-1), axis=-1), axes=-1)
