"""What the product is compared with and held against: a simulator of forty lines in NumPy.

It steps through the normal form of a sequence, all spins at once: each interval of each pulse, each time it is played,
and each readout as phasors times magnetisation. In float64 it is the reference of the errors.
"""

from __future__ import annotations

import numpy as np

BLOCK = 2**22  # numbers of a block of phasors


def plain_signal(program, phantom, precision=np.float64):
    """Samples (n_samples,) of a program over a phantom; `precision` is float32 or float64."""
    kind = np.result_type(precision, np.complex64)
    r = np.asarray(phantom.position, precision)
    r1, r2, df, b1 = (np.asarray(v, precision) for v in (1 / phantom.t1, 1 / phantom.t2, phantom.df, phantom.b1))
    weight = np.asarray(phantom.weight * phantom.pd, precision)
    mxy, mz = np.zeros(len(r), kind), np.ones(len(r), precision)
    steps, signal = program.steps, np.zeros(program.n_samples, complex)
    rows = [dict(zip(c.step.tolist(), zip(c.phase, c.first, strict=True), strict=True)) for c in program.readouts]
    phasors = [_phasors(c, r, df, r2, kind) for c in program.readouts]

    def free(mxy, mz, duration, moment):
        phase = (r @ np.asarray(moment, precision) + df * precision(duration)).astype(precision)
        mxy = mxy * np.exp(-duration * r2 - 2j * np.pi * phase).astype(kind)
        return mxy, (1 + (mz - 1) * np.exp(-duration * r1)).astype(precision)

    for i in range(program.n_steps):
        if steps.pulse[i] >= 0:
            mxy, mz = _pulse(program, steps.pulse[i], steps.phase[i], mxy, mz, (r, r1, r2, df, b1))
        if (which := steps.readout[i]) >= 0:
            phase, first = rows[which][i]
            m, _ = free(mxy * weight, mz, steps.readout_delay[i], steps.readout_moment[i])
            signal[first : first + len(program.readouts[which].delay)] = phasors[which](m) * np.exp(-1j * phase)
        mxy, mz = free(mxy, mz, steps.duration[i], steps.moment[i])
    return signal


def _phasors(readout, r, df, r2, kind):
    """Function from magnetisation at the first sample to all samples; the phasors are kept where they are few."""
    delay, k, receiver = readout.delay, readout.k, readout.receiver
    size = max(1, BLOCK // len(r))

    def block(start):
        part = slice(start, start + size)
        phase = k[part] @ r.T.astype(float) + np.outer(delay[part], df) - receiver[part, None]
        return np.exp(-np.outer(delay[part], r2) - 2j * np.pi * phase).astype(kind)

    if len(delay) <= 16 * size:
        kept = [block(start) for start in range(0, len(delay), size)]
        return lambda m: np.concatenate([b @ m for b in kept])
    return lambda m: np.concatenate([block(start) @ m for start in range(0, len(delay), size)])


def _pulse(program, row, phase, mxy, mz, spins):
    """Interval by interval: half of the relaxation, an exact rotation, the other half."""
    r, r1, r2, df, b1 = spins
    pulses = program.pulses
    played = program.waveforms[pulses.waveform[row]]
    offset = df - pulses.frequency[row]
    mxy = mxy * np.exp(-2j * np.pi * pulses.frequency[row] * pulses.center[row] - 1j * phase).astype(mxy.dtype)
    for area, dt, moment in zip(played.area * pulses.amplitude[row], played.dt, played.moment, strict=True):
        e1, e2 = np.exp(-dt / 2 * r1), np.exp(-dt / 2 * r2)
        mxy, mz = mxy * e2, 1 + (mz - 1) * e1
        x, y, z = (-2 * np.pi * v for v in (area.real * b1, area.imag * b1, offset * dt + r @ moment))
        angle = np.sqrt(x**2 + y**2 + z**2) + 1e-30
        s, c = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
        mx, my = mxy.real, mxy.imag
        tx, ty, tz = y * mz - z * my, z * mx - x * mz, x * my - y * mx
        ux, uy, uz = y * tz - z * ty, z * tx - x * tz, x * ty - y * tx
        mxy = ((mx + s * tx + c * ux) + 1j * (my + s * ty + c * uy)).astype(mxy.dtype) * e2
        mz = 1 + ((mz + s * tz + c * uz) - 1) * e1
    rest = pulses.frequency[row] * (pulses.duration[row] - pulses.center[row])
    return mxy * np.exp(1j * phase - 2j * np.pi * rest).astype(mxy.dtype), mz.astype(r.dtype)
