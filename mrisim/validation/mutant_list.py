"""Faults that validation must find: one change of a source text each, and the sequence that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change of one place in a module, or in the sequence's own file."""

    name: str
    fault: str  # in words
    sequence: str  # of the library, that is validated
    engine: Literal["bloch", "epg"] = "bloch"
    module: str = ""  # whose text is changed; the sequence's where empty
    old: str  # occurs once
    new: str


_KERNEL, _ENGINE = "mrisim.physics.bloch", "mrisim.engines.bloch"

MUTANTS = (
    Mutant(
        name="precession-sign", fault="Free precession turns the other way", sequence="spin_echo", module=_KERNEL,
        old="-(product(k, position) + _offset_phase(df, tau))", new="product(k, position) + _offset_phase(df, tau)",
    ),
    Mutant(
        name="readout-sign", fault="Precession up to the first sample turns the other way", sequence="flash_2d",
        module=_ENGINE, old="return phasor(-phase, bloch", new="return phasor(phase, bloch",
    ),
    Mutant(
        name="t1-t2-swapped", fault="T1 and T2 are exchanged", sequence="spin_echo", module=_ENGINE,
        old="1 / phantom.t1, 1 / phantom.t2", new="1 / phantom.t2, 1 / phantom.t1",
    ),
    Mutant(
        name="half-a-dwell", fault="Samples lie half a dwell time late", sequence="flash_2d",
        module="mrisim.events.moments", old="(within + 0.5)", new="(within + 1.0)",
    ),
    Mutant(
        name="b1-squared", fault="The transmit field counts twice", sequence="fid", module=_ENGINE,
        old="jnp.where(inside, spins.b1,", new="jnp.where(inside, spins.b1**2,",
    ),
    Mutant(
        name="flip-one-percent", fault="Flip angles are 1 % too large", sequence="flash_2d", module="mrisim.program",
        old="flip / _FULL_TURN if", new="1.01 * flip / _FULL_TURN if",
    ),
    Mutant(
        name="relaxation-to-zero", fault="Longitudinal magnetisation relaxes towards zero", sequence="spin_echo",
        module=_ENGINE, old="(1 - m[1]) * recovered", new="-m[1] * recovered",
    ),
    Mutant(
        name="recovery-doubled", fault="Longitudinal magnetisation recovers twice as much", sequence="spin_echo",
        module=_ENGINE, old="(1 - m[1]) * recovered", new="2 * (1 - m[1]) * recovered",
    ),
    Mutant(
        name="no-decay-to-sample", fault="No decay between the pulse and the first sample", sequence="flash_2d",
        module=_ENGINE, old="bloch.decay(delay * spins.r2) * spins.weight",
        new="bloch.decay(0.0 * spins.r2) * spins.weight",
    ),
    Mutant(
        name="readout-at-once", fault="No time passes between the samples of a readout", sequence="fid", engine="epg",
        module="mrisim.encoding.matrix", old="readout.delay[part].astype(dtype), split",
        new="0 * readout.delay[part].astype(dtype), split",
    ),
    Mutant(
        name="proton-density-lost", fault="The signal does not know the proton density", sequence="fid",
        module=_ENGINE, old="phantom.weight * phantom.pd)", new="phantom.weight)",
    ),
    Mutant(
        name="receiver-phase-lost", fault="The ADC's phase is not applied", sequence="flash_2d",
        module="mrisim.simulate._setting", old="np.exp(-1j * readout.phase)", new="np.exp(0j * readout.phase)",
    ),
    Mutant(
        name="pulse-phase-sign", fault="The phase of pulses has the wrong sign", sequence="flash_2d", module=_ENGINE,
        old="before, after = -turn - lead, turn - rest", new="before, after = turn - lead, -turn - rest",
    ),
    Mutant(
        name="slice-position-sign", fault="The slice is selected on the other side of the center",
        sequence="saturation_recovery", module="mrisim.program", old="seq.rf.position[event] + normal",
        new="-seq.rf.position[event] + normal",
    ),
    Mutant(
        name="slice-too-thin", fault="The slice is half as thick", sequence="se_epi", module="mrisim.program",
        old="seq.rf.thickness[event] / 2, np.inf", new="seq.rf.thickness[event] / 4, np.inf",
    ),
    Mutant(
        name="spoiling-halved", fault="Ideal spoiling leaves half of the transverse magnetisation",
        sequence="flash_2d", module=_ENGINE, old="(1.0 - steps.excitation * float(spoil))",
        new="(1.0 - 0.5 * steps.excitation * float(spoil))",
    ),
    Mutant(
        name="ramps-lost", fault="The moment of a gradient is taken at the end of each piece", sequence="flash_3d",
        module="mrisim.events.moments", old="pieces = 0.5 * (value[1:] + value[:-1]) * step",
        new="pieces = value[1:] * step",
    ),
    Mutant(
        name="refocusing-not-conjugated", fault="In the phase graph a pulse does not mirror states",
        sequence="multi_echo_se", engine="epg", module="mrisim.physics.phase_graph",
        old="pulse.a * f + pulse.b * g + pulse.c * z", new="pulse.a * f + pulse.b * f + pulse.c * z",
    ),
    Mutant(
        name="graph-without-t2", fault="In the phase graph transverse states do not decay", sequence="multi_echo_se",
        engine="epg", module="mrisim.engines.epg", old="return (decay(tau * kinds.r2) *",
        new="return (decay(0 * kinds.r2) *",
    ),
    Mutant(
        name="echo-order", fault="The center of k-space is acquired one echo late", sequence="t2_tse", engine="epg",
        module="mrisim.sequence.functions", old="center, middle = center_echo - 1,",
        new="center, middle = center_echo % train,",
    ),
    Mutant(
        name="rephaser-missing", fault="The slice is not rephased", sequence="flash_2d",
        old="rephase:  {gz: {area: -excite.gz.area_after_center}}", new="rephase:  {gz: {area: 0 * excite.gz.area}}",
    ),
    Mutant(
        name="spoil-increment", fault="RF spoiling by 50° instead of 117°", sequence="flash_2d", engine="epg",
        old="spoil:     {value: 117 deg", new="spoil:     {value: 50 deg",
    ),
    Mutant(
        name="te-anchor", fault="TE ends where sampling begins, not at its center", sequence="spin_echo",
        old="to: read.adc.center,   is: TE,", new="to: read.adc.start,   is: TE,",
    ),
    Mutant(
        name="refocusing-phase", fault="The refocusing pulse has the excitation's phase", sequence="spin_echo",
        old="phase: 90 deg, use: refocusing", new="phase: 0 deg, use: refocusing",
    ),
    Mutant(
        name="crusher-removed", fault="No crushers around the refocusing pulses", sequence="multi_echo_se",
        engine="epg", old=", crush: 12 / thickness", new="",
    ),
    Mutant(
        name="ti-anchor", fault="TI begins with the inversion pulse, not at its center",
        sequence="inversion_recovery_se", old="from: invert.rf.center,  to: excite.rf.center,",
        new="from: invert.rf.start,  to: excite.rf.center,",
    ),
    Mutant(
        name="saturation-flip", fault="Saturation by 80°", sequence="saturation_recovery",
        old="{shape: slr, flip: 90 deg, duration: 4 ms", new="{shape: slr, flip: 80 deg, duration: 4 ms",
    ),
    Mutant(
        name="no-alternation", fault="The pulses of balanced SSFP do not alternate", sequence="bssfp",
        old="phase: 180 deg * n, use: excitation", new="phase: 0 deg, use: excitation",
    ),
    Mutant(
        name="unbalanced", fault="Balanced SSFP does not rewind its slice gradient", sequence="bssfp",
        old="gz: {area: -excite.gz.area_to_center}", new="gz: {area: 0 * excite.gz.area}",
    ),
    Mutant(
        name="prephaser-short", fault="EPI begins one line away from where it should", sequence="gre_epi",
        old="gy: {area: -(matrix.y // 2) / fov.y}", new="gy: {area: (1 - matrix.y // 2) / fov.y}",
    ),
    Mutant(
        name="flyback-short", fault="Flyback takes back 95 % of the readout gradient", sequence="multi_echo_gre",
        old="gx: {area: -read.gx.area}", new="gx: {area: -0.95 * read.gx.area}",
    ),
    Mutant(
        name="train-late", fault="TI ends at the first pulse of the train, not at the central one", sequence="mprage",
        old="at: {p: matrix.z // 2}", new="at: {p: 0}",
    ),
)  # fmt: skip
"""All of them; every one must turn validation red."""
