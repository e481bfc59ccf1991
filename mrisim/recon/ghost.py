"""N/2 ghost: what tells lines read backwards from the others, from reference lines without phase encoding.

Gradients that lag behind the receiver move the echo of forward lines one way and that of backward lines the other. In
the image of a line both are a phase that is straight along read; half of its difference goes to each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import fft

from mrisim._types import Complex, Float, Int
from mrisim.data import RawData
from mrisim.errors import ConsistencyError, Problem


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
    lines = np.flatnonzero((table.label("NOISE") == 0) & ~((table.label("REF") != 0) & (table.label("IMA") == 0)))
    backwards = _backwards(raw)
    signal = np.array(raw.signal)
    group = np.cumsum(np.diff(reference.astype(int), prepend=0) == 1)  # counts runs of reference lines
    for number in range(1, int(group.max()) + 1):
        members = np.flatnonzero(reference & (group == number))
        corrected = lines[(group[lines] == number) & ~reference[lines]]
        phase = _phase(raw, members, backwards)
        for row in corrected:
            part = _part(raw, row)
            sense = -1.0 if backwards[row] else 1.0
            order = slice(None, None, -1) if backwards[row] else slice(None)
            line = _to_image(signal[:, part][:, order]) * np.exp(0.5j * sense * phase)
            signal[:, part] = _to_kspace(line)[:, order]
    return replace(raw, signal=signal.astype(raw.signal.dtype))


def find_delay(even: RawData, raw: RawData) -> float:
    """Time by which gradients lag behind the samples, from the reference lines; zero without them [s].

    Args:
        even: Raw data with samples in equal steps.
        raw: The same as sampled, for the gradient.
    """
    table = even.readouts
    reference = np.flatnonzero((table.label("NAV") != 0) & (table.label("NOISE") == 0))
    if len(reference) == 0:
        return 0.0
    backwards = _backwards(even)
    line = np.asarray(even.k)[_part(even, reference[0])] @ even.geometry.rotation[:, 0]
    slope = np.diff(_phase(even, reference, backwards)[:2])[0]
    shift = -slope / (2 * np.pi) * abs(line[-1] - line[0]) / (len(line) - 1) * len(line) / 2  # of k, each way [1/m]
    first = _part(raw, int(np.flatnonzero(raw.readouts.label("NAV") != 0)[0]))
    along = np.asarray(raw.k)[first] @ raw.geometry.rotation[:, 0]
    return float(shift / np.abs(np.gradient(along, np.asarray(raw.time)[first])).max())


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
    parts = [np.asarray(raw.signal)[:, _part(raw, row)] for row in rows]
    return np.mean([part[:, ::-1] if backwards[row] else part for row, part in zip(rows, parts, strict=True)], axis=0)


def _backwards(raw: RawData) -> np.ndarray:
    """Readouts in which k runs against the read direction."""
    start = np.asarray(raw.readouts.start)
    last = start + np.asarray(raw.readouts.count) - 1
    return (np.asarray(raw.k)[last] - np.asarray(raw.k)[start]) @ raw.geometry.rotation[:, 0] < 0


def _part(raw: RawData, row: int) -> slice:
    start = int(raw.readouts.start[row])
    return slice(start, start + int(raw.readouts.count[row]))


def _to_image(line: np.ndarray) -> np.ndarray:
    return fft.fftshift(fft.ifft(fft.ifftshift(line, axes=-1), axis=-1), axes=-1)


def _to_kspace(line: np.ndarray) -> np.ndarray:
    return fft.fftshift(fft.fft(fft.ifftshift(line, axes=-1), axis=-1), axes=-1)
