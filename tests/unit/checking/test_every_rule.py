"""Every rule of `mrisim check` is seen red, with its whole message."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrisim.checking import check_sequence, load_coil, measure
from mrisim.checking.coils import Band
from mrisim.checking.exposure import stimulation
from mrisim.checking.limits import QUANTITIES
from mrisim.checking.registry import RULES
from mrisim.constants import GAMMA_BAR
from mrisim.events.blocks import GradientShape
from mrisim.scanner import Scanner
from mrisim.sequence.library import sequence_from_source
from mrisim.source import parse_source

TEXT = """
mrisim: 1
name: small
parameters: {TE: 5 ms, TR: 12 ms, fov: [200 mm, 200 mm], matrix: [8, 8], thickness: 5 mm}
events:
  excite:
    rf: {shape: block, flip: 30 deg, duration: 0.5 ms, use: excitation}
  prephase: {gx: {area: -read.gx.area_to_center}, gy: {area: (n - 4) / fov.y}}
  read:
    gx: {flat_area: matrix.x / fov.x, flat_time: matrix.x * 0.1 ms}
    adc: {samples: matrix.x, dwell: 0.1 ms}
timeline:
  - loop: {n: 0 .. matrix.y - 1}
    label: {LIN: n}
    do: [excite, prephase, {wait: a}, read, {wait: b}]
timing:
  - {name: TE, from: excite.rf.center, to: read.adc.center, is: TE, solve: a}
  - {name: TR, from: excite.start, to: excite.start.next, is: TR, solve: b}
recon: {}
"""
TRAIN = """
mrisim: 1
name: train
parameters: {TI: 300 ms, spacing: 10 ms, fov: [200 mm, 200 mm, 80 mm], matrix: [8, 8, 4]}
events:
  invert: {rf: {shape: block, flip: 180 deg, duration: 1 ms, use: inversion}}
  excite: {rf: {shape: block, flip: 10 deg, duration: 0.5 ms, use: excitation}}
  prephase: {gx: {area: -read.gx.area_to_center}, gy: {area: (n - 4) / fov.y}, gz: {area: (p - 2) / fov.z}}
  read:
    gx: {flat_area: matrix.x / fov.x, flat_time: matrix.x * 0.1 ms}
    adc: {samples: matrix.x, dwell: 0.1 ms}
  rewind: {gz: {area: (2 - p) / fov.z}}
timeline:
  - loop: {n: 0 .. 7}
    label: {LIN: n}
    do:
      - invert
      - wait: early
      - loop: {p: 0 .. 3}
        label: {PAR: p}
        do: [excite, prephase, {wait: 1 ms}, read, rewind, {wait: b}]
      - wait: 100 ms
timing:
  - {name: spacing, from: excite.start, to: excite.start.next, is: spacing, solve: b}
  - {name: TI, from: invert.rf.center, to: excite.rf.center, at: {p: 2}, is: TI, solve: early}
recon: {}
"""
SPOKES = """
mrisim: 1
name: spokes
parameters: {fov: [200 mm, 200 mm], matrix: [16, 16], thickness: 5 mm, spokes: 26}
events:
  excite: {rf: {shape: block, flip: 30 deg, duration: 0.5 ms, use: excitation}}
  prephase: {gx: {area: -read.gx.area_to_center}}
  read:
    gx: {flat_area: matrix.x / fov.x, flat_time: 1.6 ms}
    adc: {samples: matrix.x, dwell: 0.1 ms}
timeline:
  - loop: {n: 0 .. spokes - 1}
    label: {LIN: n}
    do: [excite, {block: prephase, rotate: 180 deg * n / spokes}, {block: read, rotate: 180 deg * n / spokes}]
recon: {method: gridding}
"""
US = 1e-6


def sequence(text: str = TEXT, old: str = "", new: str = ""):
    assert not old or text.count(old) == 1
    return sequence_from_source(parse_source(text.replace(old, new) if old else text), {})


def of(seq, **options) -> dict[str, str]:
    return {message.id: str(message) for message in check_sequence(seq, **options)}


def scanner(**limits: float):
    return replace(sequence(), system=Scanner(**limits))


def stepped(inside: bool):
    """A lobe that begins at half of its peak: inside its block, or at the block's border."""
    seq = sequence()
    i = int(np.argmax([len(shape.times) for shape in seq.gradient_shapes]))
    shapes = list(seq.gradient_shapes)
    values = shapes[i].values.copy()
    values[0] = 0.5
    shapes[i] = GradientShape(times=shapes[i].times + (10 * US if inside else 0), values=values)
    return replace(seq, gradient_shapes=tuple(shapes))


def shorter():
    """Blocks of pulses that end before their event."""
    seq = sequence()
    short = np.where(seq.blocks.rf >= 0, 500 * US, seq.blocks.duration)
    return replace(seq, blocks=replace(seq.blocks, duration=short))


HARDWARE = {
    "gradient-amplitude": (
        lambda: scanner(max_gradient=1e-3 * GAMMA_BAR),
        (
            "block 1 (prephase) at 680 us, y: gradient amplitude: must be at most 1 mT/m, but is 7.82887 mT/m. "
            "Lengthen the gradient. (23 times, this is the first)"
        ),
    ),
    "gradient-slew-rate": (
        lambda: scanner(max_slew=10 * GAMMA_BAR),
        (
            "block 1 (prephase) at 630 us, x: gradient slew rate: must be at most 10 T/m/s, but is 148.422 T/m/s. "
            "Lengthen the ramps. (23 times, this is the first)"
        ),
    ),
    "gradient-step-inside-the-block": (
        lambda: stepped(True),
        (
            "block 1 (prephase) at 630 us, y: gradient step inside the block: must be at most 170 T/m/s, but is "
            "391.443 T/m/s. Begin and end at zero, or at the block's borders. (5 times, this is the first)"
        ),
    ),
    "gradient-step-from-block-to-block": (
        lambda: stepped(False),
        (
            "block 1 (prephase) at 630 us, y: gradient step from block to block: must be at most 170 T/m/s, but is "
            "391.443 T/m/s. Let gradients begin and end at zero, or where the neighbour does. "
            "(5 times, this is the first)"
        ),
    ),
    "gradient-raster-of-corner-times": (
        lambda: scanner(gradient_raster=7e-6),
        (
            "block 1 (prephase) at 680 us, gy: gradient raster of corner times: must be a multiple of 7 us, but is "
            "50 us. Nearest: 49 us. (23 times, this is the first)"
        ),
    ),
    "rf-peak": (
        lambda: scanner(max_b1=2e-6 * GAMMA_BAR),
        (
            "block 0 (excite) at 350 us: RF peak: must be at most 2 uT, but is 3.91443 uT. "
            "Lengthen the pulse, or lower its flip angle or time-bandwidth product. (8 times, this is the first)"
        ),
    ),
    "rf-raster-of-samples": (
        lambda: scanner(rf_raster=7e-6),
        (
            "block 0 (excite) at 600 us: RF raster of samples: must be a multiple of 7 us, but is 500 us. "
            "Nearest: 497 us. (8 times, this is the first)"
        ),
    ),
    "rf-raster-of-the-delay": (
        lambda: scanner(rf_raster=7e-6),
        (
            "block 0 (excite) at 100 us: RF raster of the delay: must be a multiple of 7 us, but is 100 us. "
            "Nearest: 98 us. (8 times, this is the first)"
        ),
    ),
    "rf-dead-time": (
        lambda: scanner(rf_dead_time=200e-6),
        (
            "block 0 (excite) at 0 ms: RF dead time: must be at least 200 us, but is 100 us. Delay the pulse. "
            "(8 times, this is the first)"
        ),
    ),
    "rf-ringdown": (
        lambda: scanner(rf_ringdown_time=200e-6),
        (
            "block 0 (excite) at 600 us: RF ringdown: must be at least 200 us, but is 30 us. Lengthen the block. "
            "(8 times, this is the first)"
        ),
    ),
    "adc-raster-of-the-dwell-time": (
        lambda: scanner(adc_raster=7e-6),
        (
            "block 3 (read) at 4.9 ms: ADC raster of the dwell time: must be a multiple of 7 us, but is 100 us. "
            "Nearest: 98 us. (8 times, this is the first)"
        ),
    ),
    "adc-raster-of-the-delay": (
        lambda: scanner(adc_raster=7e-6),
        (
            "block 3 (read) at 4.9 ms: ADC raster of the delay: must be a multiple of 7 us, but is 10 us. "
            "Nearest: 7 us. (8 times, this is the first)"
        ),
    ),
    "adc-dead-time-before": (
        lambda: scanner(adc_dead_time=3e-3),
        (
            "block 3 (read) at 4.89 ms: ADC dead time before: must be at least 3 ms, but is 10 us. Delay the sampling. "
            "(8 times, this is the first)"
        ),
    ),
    "adc-dead-time-after": (
        lambda: scanner(adc_dead_time=3e-3),
        (
            "block 3 (read) at 5.7 ms: ADC dead time after: must be at least 3 ms, but is 10 us. Lengthen the block. "
            "(8 times, this is the first)"
        ),
    ),
    "adc-during-a-pulse": (
        lambda: sequence(TEXT, "use: excitation}", "use: excitation}\n    adc: {samples: 4, dwell: 0.1 ms}"),
        (
            "block 0 (excite) at 100 us: ADC during a pulse, overlap: must be 0 ms, but is 310 us. "
            "Sample after the pulse. (8 times, this is the first)"
        ),
    ),
    "end-of-the-event": (
        shorter,
        (
            "block 0 (excite) at 500 us, rf: end of the event, which the block must hold: must be at most 500 us, but "
            "is 600 us. Lengthen the block. (8 times, this is the first)"
        ),
    ),
    "block-raster": (
        lambda: scanner(block_raster=7e-6),
        (
            "block 1 (prephase) at 630 us: block raster: must be a multiple of 7 us, but is 120 us. Nearest: 119 us. "
            "(32 times, this is the first)"
        ),
    ),
}
_PULSES = "Check the anchors of the timing, and the use of the pulses."
FOUND = {
    "timing/TE": (
        (TEXT, "is: TE,", "is: TE + 1 ms,"),
        (
            "TE as found in pulses and gradients: must be 5 ms as the file says, but is 6 ms. "
            "Anchor the timing at the center of k-space."
        ),
    ),
    "timing/TR": (
        (TEXT, "is: TR,", "is: TR + 1 ms,"),
        f"TR as found in pulses and gradients: must be 12 ms as the file says, but is 13 ms. {_PULSES}",
    ),
    "timing/TI": (
        (TRAIN, "is: TI,", "is: TI + 2 ms,"),
        f"TI as found in pulses and gradients: must be 300 ms as the file says, but is 302 ms. {_PULSES}",
    ),
    "timing/echo-spacing": (
        (TRAIN, "is: spacing,", "is: spacing + 2 ms,"),
        f"spacing as found in pulses and gradients: must be 10 ms as the file says, but is 12 ms. {_PULSES}",
    ),
    "k-space/nyquist-read": (
        (TEXT, "adc: {samples: matrix.x, dwell: 0.1 ms}", "adc: {samples: matrix.x // 2, dwell: 0.2 ms}"),
        (
            "field of view along the readout, as sampled: must be at least 200 mm, but is 100 mm. "
            "Shorten the dwell time or lower the gradient."
        ),
    ),
    "k-space/nyquist-phase": (
        (TEXT, "gy: {area: (n - 4) / fov.y}", "gy: {area: 1.5 * (n - 4) / fov.y}"),
        (
            "field of view along the phase axis, as sampled: must be at least 200 mm, but is 133.3 mm. "
            "Sample every line, or reconstruct in parallel elsewhere."
        ),
    ),
    "k-space/nyquist-partition": (
        (TRAIN, "gz: {area: (p - 2) / fov.z}}", "gz: {area: 2 * (p - 2) / fov.z}}"),
        (
            "field of view along the partition axis, as sampled: must be at least 80 mm, but is 40 mm. "
            "Sample every partition, or reconstruct in parallel elsewhere."
        ),
    ),
    "k-space/gaps": (
        (SPOKES, "spokes: 26", "spokes: 9"),
        (
            "largest gap between spokes or arms: must be at most 7.071 1/m for the field of view, but is 12.04 1/m. "
            "Sample more of them, or expect streaks."
        ),
    ),
    "k-space/resolution-read": (
        (TEXT, "recon: {}", "recon: {matrix: [12, 8]}"),
        "voxel on the read axis, as sampled: must be 16.67 mm, but is 20.83 mm. Reach further out in k-space.",
    ),
    "k-space/resolution-phase": (
        (TEXT, "recon: {}", "recon: {matrix: [8, 12]}"),
        "voxel on the phase axis, as sampled: must be 16.67 mm, but is 20.83 mm. Reach further out in k-space.",
    ),
    "k-space/resolution-partition": (
        (TRAIN, "recon: {}", "recon: {matrix: [8, 8, 12]}"),
        "voxel on the partition axis, as sampled: must be 6.667 mm, but is 16.67 mm. Reach further out in k-space.",
    ),
    "k-space/center": (
        (TEXT, "gx: {area: -read.gx.area_to_center}", "gx: {area: -2.5 * read.gx.area_to_center}"),
        (
            "distance of the nearest sample from the center of k-space: must be at most 2.5 1/m, but is 19.125 1/m. "
            "Balance prephaser and readout."
        ),
    ),
}


@pytest.mark.parametrize("rule", HARDWARE)
def test_hardware(rule):
    make, message = HARDWARE[rule]
    assert of(make())[f"hardware/{rule}"] == message


@pytest.mark.parametrize("rule", FOUND)
def test_times_and_samples(rule):
    arguments, message = FOUND[rule]
    assert of(sequence(*arguments))[rule] == message


@pytest.mark.parametrize("text", [TEXT, TRAIN, SPOKES], ids=["lines", "train", "spokes"])
def test_what_is_right_has_no_message(text):
    assert of(sequence(text), coil=load_coil()) == {}


def test_nerves_and_tones():
    coil = load_coil()
    weak = tuple(
        replace(axis, stim_limit=axis.stim_limit / 3, stim_threshold=axis.stim_threshold / 3) for axis in coil.axes
    )
    found = of(sequence(), coil=replace(coil, axes=weak))
    assert found["safety/pns"] == (
        "nerve stimulation at 680 us in the example coil: must be at most 100 %, but is 139 %. Ramp more slowly."
    )
    low = Band(low=50.0, high=120.0, at_most=0.1e-3 * GAMMA_BAR)
    coil = replace(coil, bands=(low,))
    found = of(sequence(), coil=coil)
    (tone,) = stimulation(sequence(), coil).tones  # held against a formula in test_exposure.py
    assert tone > low.at_most
    assert found["safety/acoustic"] == (
        "gradient at 50 Hz to 120 Hz, where the example coil rings: must be at most 0.1 mT/m, but is "
        f"{1e3 * tone / GAMMA_BAR:.3g} mT/m. "
        "Change the echo spacing or TR."
    )


SLICES = """
mrisim: 1
name: dynamics
parameters: {fov: [200 mm, 200 mm], matrix: [4, 4], thickness: 5 mm, slices: [-8 mm, 0 mm]}
events:
  invert: {rf: {shape: block, flip: 180 deg, duration: 1 ms, use: inversion}}
  excite:
    rf: {shape: sinc, flip: 30 deg, duration: 1 ms, time_bandwidth: 4, use: excitation}
    gz: {select: thickness, at: position}
  read:
    gx: {flat_area: matrix.x / fov.x, flat_time: 0.4 ms}
    adc: {samples: matrix.x, dwell: 0.1 ms}
  prephase: {gx: {area: -read.gx.area_to_center}, gy: {area: (n - 2) / fov.y}}
  rewind: {gx: {area: -read.gx.area}}
timeline:
  - loop: {repetition: 0 .. 1}
    label: {REP: repetition}
    do:
      - loop: {n: 0 .. 3}
        label: {LIN: n}
        do:
          - loop: {position: slices, index: s}
            label: {SLC: s}
            do:
              - invert
              - wait: 5 ms
              - excite
              - prephase
              - loop: {e: 0 .. 1}
                label: {ECO: e}
                do: [read, rewind]
              - wait: 5 ms
recon: {slices: slices}
"""


@pytest.mark.parametrize("name", QUANTITIES)
def test_limits(name):
    seq = sequence(SLICES)
    found = measure(seq, load_coil())[name]
    worst = max(found.values)
    assert worst > 0
    half = found.show(worst / 2)
    (message,) = [str(one) for one in check_sequence(seq, limits={name: f"at most {half}"})]
    count = sum(value > 0.5001 * worst for value in found.values)
    others = f" ({count} times, this is the first)" if count > 1 else ""
    assert message == f"{name}: must be at most {half}, but is {found.show(worst)}.{others}"


def test_all_rules_are_here():
    here = {f"hardware/{rule}" for rule in HARDWARE} | set(FOUND) | {f"limit/{name}" for name in QUANTITIES}
    elsewhere = {"safety/pns", "safety/acoustic", "density/isochromats"}  # above; tests/unit/cli/test_check_density.py
    assert here | elsewhere == set(RULES)


def test_the_page_shows_every_message():
    page = (Path(__file__).resolve().parents[3] / "docs" / "checking.md").read_text("utf-8")
    rules = ("| `hardware/", "| `timing/", "| `k-space/")
    shown = [line.split(" | ")[2].removesuffix(" |") for line in page.splitlines() if line.startswith(rules)]
    messages = [message for _, message in (*HARDWARE.values(), *FOUND.values())]
    assert len(shown) == 21
    for text in shown:
        assert any(message.startswith(text) for message in messages), text
