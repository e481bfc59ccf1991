"""Exact systems: a sequence and spins whose signal a formula states. Every engine runs every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from physics.build import ADC, DEG, MS, RF, Block, build, lobe, repeat, row_of_spins, spins
from physics.phase_graph import PhaseGraph

from mrisim.data import Phantom
from mrisim.events.blocks import Sequence, Use
from mrisim.simulate import simulate

TOLERANCE = {"float64": 1e-6, "float32": 1e-4}  # hard ideal pulses against a closed form
AT = 1e-6  # center of a pulse in its block [s]
GAP = 10e-6  # between a pulse or a sample and the dephasing of an ensemble [s]
ENSEMBLE = 2048  # isochromats over a whole number of cycles: exact for fewer orders of dephasing than that


@dataclass(frozen=True, kw_only=True)
class System:
    """What is run, and what must come out: one row per receive coil, one column per sample."""

    name: str
    sequence: Callable[[], Sequence]
    phantom: Callable[[], Phantom]
    exact: Callable[[], np.ndarray]
    coils: Callable[[], np.ndarray] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    last: int = 0  # samples at the end that count; 0: all of them

    def run(self, engine: str = "bloch", dtype: str = "float64") -> np.ndarray:
        coils = None if self.coils is None else self.coils()
        raw = simulate(
            self.sequence(), self.phantom(), engine=engine, dtype=dtype, pulses="ideal", coils=coils, **self.options
        )
        return raw.signal[:, -self.last :]


def one_coil_per_group(n_groups: int, each: int = 1) -> Callable[[], np.ndarray]:
    """Coils that see the mean of one group of spins each."""
    return lambda: np.kron(np.eye(n_groups), np.full((1, each), 1 / each)).astype(complex)


def free_precession() -> System:
    """Given magnetisation turns by exp(-2 pi i df t) and decays with T2; no pulse at all."""
    t1, t2, df = (np.array(v) for v in ([0.9, 1.3, np.inf], [0.08, 0.21, np.inf], [37.3, -112.9, 211.7]))
    start, first, dwell, n = np.array([0.31, -0.44, 0.53]), 3.3 * MS, 1.7 * MS, 40
    t = first + np.arange(n) * dwell
    return System(
        name="free precession",
        sequence=lambda: build([Block(duration=0.1, adc=ADC(at=first, samples=n, dwell=dwell))]),
        phantom=lambda: spins(t1=t1, t2=t2, df=df),
        coils=one_coil_per_group(3),
        options={"initial": start},
        exact=lambda: (start[0] + 1j * start[1]) * np.exp(-np.outer(1 / t2 + 2j * np.pi * df, t)),
    )


def saturation_recovery() -> System:
    """(1 - exp(-TS/T1)) exp(-TE/T2), read by an ideal 90 degree pulse after a perfect saturation."""
    wait, t1, t2, te = np.array([17.0, 90.0, 410.0, 1500.0]) * MS, np.array([0.3, 0.9, 2.4]), 0.07, 2 * MS
    parts = [
        block
        for ts in wait
        for block in (
            Block(duration=ts, rf=RF(flip=90 * DEG)),
            Block(duration=5 * MS, rf=RF(flip=90 * DEG), adc=ADC(at=AT + te)),
        )
    ]
    return System(
        name="saturation recovery",
        sequence=lambda: build(parts),
        phantom=lambda: spins(t1=t1, t2=t2),
        coils=one_coil_per_group(3),
        options={"spoiling": "ideal"},
        exact=lambda: 1j * (1 - np.exp(-wait / t1[:, None])) * np.exp(-te / t2),
    )


def inversion_recovery(tr: float, ti: float, inversion: float, flip: float, expected: float) -> System:
    """Gradient-echo inversion recovery in the steady state; `expected` is Mz before the excitation times sin(flip)."""
    t1, t2, te = 0.9, 0.08, 1 * MS
    parts = [
        Block(duration=ti, rf=RF(flip=inversion, use=Use.INVERSION)),
        Block(duration=tr - ti, rf=RF(flip=flip), adc=ADC(at=AT + te)),
    ]
    return System(
        name=f"inversion recovery {inversion / DEG:.0f}-{flip / DEG:.0f}",
        sequence=lambda: build(parts * 8),
        phantom=lambda: spins(t1=t1, t2=t2),
        options={"spoiling": "ideal"},
        exact=lambda: np.array([[1j * expected * np.exp(-te / t2)]]),
        last=1,
    )


def inversion_recovery_spin_echo(tr: float, ti: float, te: float, t1: float, expected: float) -> System:
    """Spin-echo inversion recovery in the steady state; `expected` is Mz before the 90 degree pulse."""
    t2 = 0.08
    parts = [
        Block(duration=ti, rf=RF(flip=180 * DEG, use=Use.INVERSION)),
        Block(duration=te / 2, rf=RF(flip=90 * DEG)),
        Block(
            duration=tr - ti - te / 2,
            rf=RF(flip=180 * DEG, phase=90 * DEG, use=Use.REFOCUSING),
            adc=ADC(at=AT + te / 2),
        ),
    ]  # fmt: skip
    return System(
        name="inversion recovery spin echo",
        sequence=lambda: build(parts * 8),
        phantom=lambda: spins(t1=t1, t2=t2, df=13.0),
        options={"spoiling": "ideal"},
        exact=lambda: np.array([[1j * expected * np.exp(-te / t2)]]),
        last=1,
    )


def spin_echo(tr: float, te: float, t1: float, t2: float, expected: float) -> System:
    """Spin echo of finite TR; the echo of an off-resonant spin has the phase of an on-resonant one."""
    parts = [
        Block(duration=te / 2, rf=RF(flip=90 * DEG)),
        Block(duration=tr - te / 2, rf=RF(flip=180 * DEG, phase=90 * DEG, use=Use.REFOCUSING), adc=ADC(at=AT + te / 2)),
    ]
    return System(
        name="spin echo",
        sequence=lambda: build(parts * 12),
        phantom=lambda: spins(t1=t1, t2=t2, df=np.array([0.0, 61.0])),
        coils=one_coil_per_group(2),
        options={"spoiling": "ideal"},
        exact=lambda: np.full((2, 1), 1j * expected),
        last=1,
    )


def ernst(flip: float, tr: float, t1: float) -> System:
    """Ideally spoiled gradient echo from the first pulse to the steady state: Mss + (1 - Mss) (E1 cos flip)^n."""
    t2, te, n, df = 0.06, 3 * MS, 900, 17.0
    e1 = np.exp(-tr / t1)
    steady = (1 - e1) / (1 - e1 * np.cos(flip))
    mz = steady + (1 - steady) * (e1 * np.cos(flip)) ** np.arange(n)
    return System(
        name=f"Ernst {flip / DEG:.0f} deg",
        sequence=lambda: build([Block(duration=tr, rf=RF(flip=flip), adc=ADC(at=AT + te))] * n),
        phantom=lambda: spins(t1=t1, t2=t2, df=df),
        options={"spoiling": "ideal"},
        exact=lambda: 1j * np.sin(flip) * mz[None] * np.exp(-te * (1 / t2 + 2j * np.pi * df)),
    )


def bssfp(flip: float, tr: float, t1: float, t2: float, df: np.ndarray, expected: np.ndarray) -> System:
    """Balanced SSFP with alternating phase, M+ half a TR after the last pulse, whose phase is zero."""
    n = 2 * round(8 * t1 / tr) + 1
    parts = repeat(n, lambda i: [Block(duration=tr, rf=RF(flip=flip, phase=np.pi * (i % 2)), adc=ADC(at=AT + tr / 2))])
    return System(
        name="balanced SSFP",
        sequence=lambda: build(parts),
        phantom=lambda: spins(t1=t1, t2=t2, df=df),
        coils=one_coil_per_group(len(df)),
        exact=lambda: np.asarray(expected)[:, None],
        last=1,
    )


@dataclass(frozen=True)
class Shot:
    """A pulse, a wait in which whole cycles of dephasing pass, and the share of both after which a sample lies."""

    flip: float
    phase: float
    wait: float
    cycles: int
    sample: float | None = None  # 0: right after the pulse, 1: right before the next


def graph_system(name: str, shots: list[Shot], t1: np.ndarray, t2: np.ndarray, last: int = 0) -> System:
    """A train of pulses and whole cycles of dephasing over an ensemble, against a phase graph."""
    t1, t2 = np.atleast_1d(t1).astype(float), np.atleast_1d(t2).astype(float)
    positions = np.tile(row_of_spins(ENSEMBLE), (len(t1), 1))

    def sequence() -> Sequence:
        parts = []
        for shot in shots:
            early = None if shot.sample != 0 else ADC(at=AT + GAP)
            late = None if shot.sample != 1 else ADC(at=shot.wait - GAP + AT)
            gradient = lobe(shot.cycles, AT + 2 * GAP, shot.wait - 4 * GAP) if shot.cycles else None
            parts.append(
                Block(duration=shot.wait, rf=RF(flip=shot.flip, phase=shot.phase), gz=gradient, adc=early or late)
            )
        return build(parts)

    return System(
        name=name,
        sequence=sequence,
        phantom=lambda: spins(position=positions, t1=np.repeat(t1, ENSEMBLE), t2=np.repeat(t2, ENSEMBLE)),
        coils=one_coil_per_group(len(t1), ENSEMBLE),
        exact=lambda: np.array([list(graph_signal(shots, a, b, GAP))[-last:] for a, b in zip(t1, t2, strict=True)]),
        last=last,
    )  # fmt: skip


def graph_signal(shots: list[Shot], t1: float, t2: float, gap: float = 0.0) -> Iterator[complex]:
    """Samples of a train by a phase graph, `gap` after a pulse or before the next."""
    graph = PhaseGraph(min(sum(abs(s.cycles) for s in shots), ENSEMBLE // 2) + 1, t1, t2)
    for shot in shots:
        graph.pulse(shot.flip, shot.phase)
        if shot.sample == 0:
            yield graph.signal * np.exp(-gap / t2)
        graph.wait(shot.wait, shot.cycles)
        if shot.sample == 1:
            yield graph.signal * np.exp(gap / t2)


def cpmg(refocusing: float, phase: float = 90 * DEG, n: int = 8) -> list[Shot]:
    """90 degrees along x, then n refocusing pulses; echoes in the middle of 10 ms spacings."""
    half = 5 * MS
    shots = [Shot(90 * DEG, 0.0, half, 1)]
    for _ in range(n):
        shots += [Shot(refocusing, phase, half, 1, sample=1), Shot(0.0, 0.0, half, 1)]
    return shots


def three_pulses(flips: tuple[float, float, float]) -> list[Shot]:
    """Pulses 2 and 5 units apart, then a sample at every unit."""
    unit = 1 * MS
    return [
        Shot(flips[0], 0.0, 2 * unit, 2),
        Shot(flips[1], 0.0, 2 * unit, 2, sample=1),  # spin echo of the first two
        Shot(0.0, 0.0, 3 * unit, 3),
        Shot(flips[2], 0.0, unit, 1, sample=1),
        *[Shot(0.0, 0.0, unit, 1, sample=1)] * 9,
    ]


def rf_spoiled(flip: float, increment: float, tr: float = 5 * MS, n: int = 2000, constant: float = 1.0) -> list[Shot]:
    """Phase increment / 2 · n (n + constant): the increment of the phase grows linearly."""
    phases = np.mod(0.5 * increment * np.arange(n) * (np.arange(n) + constant), 2 * np.pi)
    return [Shot(flip, p, tr, 1, sample=0) for p in phases]


def ssfp(flip: float, tr: float, sample: float, n: int = 1200) -> list[Shot]:
    """Unbalanced SSFP with one cycle of dephasing; sampled after (FISP) or before (PSIF) a pulse."""
    return [Shot(flip, 0.0, tr, 1, sample=sample)] * n


def random_train(n: int = 24, seed: int = 1) -> list[Shot]:
    """Nothing special about flips, phases and waits."""
    generator = np.random.default_rng(seed)
    return [
        Shot(generator.uniform(0, np.pi), generator.uniform(0, 2 * np.pi), generator.uniform(2, 9) * MS,
             int(generator.integers(-3, 5)), sample=float(generator.integers(0, 2)))
        for _ in range(n)
    ]  # fmt: skip
