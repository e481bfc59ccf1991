"""Other simulators, where they are there: compiled C beside the shared reference data, and MRzeroCore."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).parents[2] / "shared" / "bench" / "c" / "bloch_peers.c"
_FLAGS = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC"]


def compiled_c() -> ctypes.CDLL | None:
    """The library, compiled now; None where source or compiler is missing."""
    if not SOURCE.exists():
        return None
    target = Path(tempfile.mkdtemp()) / "libpeers.so"
    try:
        subprocess.run(["gcc", *_FLAGS, str(SOURCE), "-o", str(target), "-lm"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ctypes.CDLL(str(target))


def c_runner(library: ctypes.CDLL, program, phantom):
    """A function that simulates hard pulses in float32 on all cores; None for shaped pulses or turning receivers."""
    if any(w.dt.sum() > 0 for w in program.waveforms):
        return _c_slice_pulse(library, program, phantom)
    events, n_samples = _events(program), program.n_samples
    kind = np.ascontiguousarray(events[:, 0], dtype=np.int32)
    adc = np.ascontiguousarray(events[:, 5], dtype=np.int32)
    dt, flip, phase = (np.ascontiguousarray(events[:, c]) for c in (1, 6, 7))
    dk = np.ascontiguousarray(events[:, 2:5])
    spins = _float32(*np.asarray(phantom.position).T, phantom.pd * phantom.weight, phantom.t1, phantom.t2, phantom.df)
    receiver = np.zeros(n_samples)
    for readout in program.readouts:
        where = readout.first[:, None] + np.arange(len(readout.delay))
        receiver[where] = readout.phase[:, None] - 2 * np.pi * readout.receiver

    def run():
        signal = np.zeros(2 * n_samples)
        library.seqsim_f32(
            ctypes.c_long(len(spins[0])), *map(_pointer, spins), ctypes.c_long(len(kind)), _pointer(kind), _pointer(dt),
            _pointer(dk), _pointer(adc), _pointer(flip), _pointer(phase), _pointer(signal), ctypes.c_long(n_samples),
            ctypes.c_int(os.cpu_count() or 1), ctypes.c_int(2),
        )  # fmt: skip
        return (signal[::2] + 1j * signal[1::2]) * np.exp(-1j * receiver)

    return run


def _events(program) -> np.ndarray:
    """Rows of kind (1: pulse), dt, dk (3), sample after it, flip, phase."""
    steps, rows = program.steps, []
    for i in range(program.n_steps):
        if steps.pulse[i] >= 0:
            flip = 2 * np.pi * program.pulses.amplitude[steps.pulse[i]]
            rows.append((1, 0, 0, 0, 0, 0, flip, steps.phase[i]))
        done, at = np.zeros(3), 0.0
        if steps.readout[i] >= 0:
            readout = program.readouts[steps.readout[i]]
            for delay, k in zip(
                readout.delay + steps.readout_delay[i], readout.k + steps.readout_moment[i], strict=True
            ):
                rows.append((0, delay - at, *(k - done), 1, 0, 0))
                at, done = delay, k
        rows.append((0, steps.duration[i] - at, *(steps.moment[i] - done), 0, 0, 0))
    return np.array(rows, dtype=float)


def _c_slice_pulse(library: ctypes.CDLL, program, phantom):
    """A single pulse along one direction, then samples without a gradient: a kernel of its own."""
    if program.n_steps > 2 or len(program.readouts) != 1 or np.abs(program.readouts[0].k).max() > 1e-9:
        return None
    played = program.waveforms[0]
    direction = int(np.argmax(np.abs(played.moment).sum(axis=0)))
    envelope = np.ascontiguousarray(
        (played.area * program.pulses.amplitude[0]).real / played.dt * (played.dt / played.dt.mean()), dtype=np.float32
    )
    gradient = played.moment[:, direction].sum() / played.dt.sum()
    position, t1, t2, df = _float32(np.asarray(phantom.position)[:, direction], phantom.t1, phantom.t2, phantom.df)
    n, samples = len(position), len(program.readouts[0].delay)
    dwell = float(np.diff(program.readouts[0].delay).mean())

    def run():
        m = [np.zeros(n, np.float32), np.zeros(n, np.float32), np.ones(n, np.float32)]
        signal = np.zeros(2 * samples)
        library.w1_soa_f32(
            ctypes.c_long(n), ctypes.c_long(len(envelope)), _pointer(envelope), ctypes.c_float(played.dt.mean()),
            ctypes.c_float(gradient), ctypes.c_long(samples), ctypes.c_float(dwell),
            *map(_pointer, (position, t1, t2, df, *m)), _pointer(signal), ctypes.c_int(os.cpu_count() or 1),
            ctypes.c_int(1),
        )  # fmt: skip
        return signal[::2] + 1j * signal[1::2]

    return run


def _float32(*columns) -> list[np.ndarray]:
    return [np.ascontiguousarray(c, dtype=np.float32) for c in columns]


def _pointer(array: np.ndarray):
    return array.ctypes.data_as(ctypes.c_void_p)


def mrzero_runner(seq, phantom):
    """A function that simulates with MRzeroCore's isochromats; None where it is not installed.

    Pulses are instantaneous there. Its frame turns the other way and by a quarter, so the mirrored experiment is run:
    S(r, f) = i S'(-r, -f)*.
    """
    if importlib.util.find_spec("MRzeroCore") is None:
        return None
    import MRzeroCore
    import torch

    import mrisim as mr

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "played.seq"
        mr.write_sequence(seq, path)
        played = MRzeroCore.Sequence.import_file(str(path))
    data = _mrzero_data(MRzeroCore.SimData, torch, phantom)

    def run():
        signal = MRzeroCore.isochromat_sim(played, data, 1, print_progress=False)
        return 1j * signal[:, 0].numpy().conj()

    return run


def _mrzero_data(make, torch, phantom):
    """Isochromats as voxels of no size."""

    def column(values):
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)

    n = phantom.n_spins
    one = torch.ones(1, n)
    return make(
        PD=column(phantom.pd * phantom.weight), T1=column(phantom.t1), T2=column(phantom.t2),
        T2dash=torch.full((n,), 1e9), D=torch.zeros(n), B0=column(-np.asarray(phantom.df)), B1=one, coil_sens=one,
        size=torch.ones(3), affine=torch.eye(3, 4), voxel_pos=column(-np.asarray(phantom.position)),
        nyquist=torch.full((3,), 1e9), dephasing_func=lambda k, _: torch.ones(len(k)),
    )  # fmt: skip
