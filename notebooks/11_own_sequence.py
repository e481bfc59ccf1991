# %% [markdown]
# # 11 · Write your own sequence, take it to Pulseq
#
# **Question.** How do I get from an idea to a file that a scanner plays?
#
# A sequence is a YAML file: parameters, events, a timeline, timing rules. mrisim resolves it into blocks, checks it against the
# scanner, simulates it and writes Pulseq. The same file, all the way. Here: a gradient echo with two echoes.

# %%
import tempfile
from pathlib import Path

import numpy as np
from knobs import slide

import mrisim as mr

folder = Path(tempfile.mkdtemp())
file = folder / "two_echoes.yaml"
TEXT = """
mrisim: 1
name: Two echoes
description: Spoiled gradient echo that reads every line twice.
reference: written in notebook 11

parameters:
  TE:        {value: 4 ms, doc: first echo}
  spacing:   {value: 5 ms, doc: to the second echo}
  TR:        {value: 20 ms}
  flip:      {value: 12 deg, max: 90 deg}
  fov:       {value: [220 mm, 220 mm]}
  matrix:    {value: [64, 64], min: 2}
  thickness: {value: 5 mm}
  bandwidth: {value: 50 kHz}

events:
  excite:
    rf: {shape: sinc, flip: flip, duration: 2 ms, time_bandwidth: 4, window: hann, use: excitation, phase: phase}
    gz: {select: thickness}
  prepare:
    gx: {area: -read.gx.area_to_center}
    gy: {area: ky}
    gz: {area: -excite.gz.area_after_center}
  read:
    gx:  {flat_area: matrix.x / fov.x, flat_time: matrix.x / bandwidth}
    adc: {samples: matrix.x, dwell: 1 / bandwidth, phase: phase}
  flyback: {gx: {area: -read.gx.area}}
  again:
    gx:  {flat_area: matrix.x / fov.x, flat_time: matrix.x / bandwidth}
    adc: {samples: matrix.x, dwell: 1 / bandwidth, phase: phase}
  spoil:
    gx: {area: 2 * matrix.x / fov.x - again.gx.area_after_center}
    gy: {area: -ky}

timeline:
  - loop: {line: 0 .. matrix.y - 1}
    let:
      ky:    (line - matrix.y // 2) / fov.y
      phase: 117 deg * line * (line + 1) / 2
    label: {LIN: line}
    do:
      - excite
      - prepare
      - wait: te_fill
      - {block: read, label: {ECO: 0}}
      - flyback
      - wait: echo_fill
      - {block: again, label: {ECO: 1}}
      - spoil
      - wait: tr_fill

timing:
  - {name: TE, from: excite.rf.center, to: read.adc.center, is: TE, solve: te_fill}
  - {name: spacing, from: read.adc.center, to: again.adc.center, is: spacing, solve: echo_fill}
  - {name: TR, from: excite.start, to: excite.start.next, is: TR, solve: tr_fill}

recon: {method: cartesian}
"""
file.write_text(TEXT)
seq = mr.load_sequence(file)
mr.plot.sequence(seq)

# %% [markdown]
# Nobody wrote down how long `te_fill` is. TE, spacing and TR are *rules*, and the waits follow. A rule that cannot be met is answered with the least that can:

# %%
try:
    mr.load_sequence(file, TE="1 ms")
except mr.TimingError as error:
    message = str(error)
print(message)
assert "TE" in message

# %% [markdown]
# ## Does the scanner allow it?

# %%
assert seq.check() == ()  # no violation of gradients, slew rates, rasters, dead times
times = seq.kspace()[1].reshape(64, 2, 64)  # line, echo, sample
between = times[:, 1, 32] - times[:, 0, 32]
repetition = np.diff(times[:, 0, 32])
assert np.allclose(between, 5e-3, atol=1e-9)
assert np.allclose(repetition, 20e-3, atol=1e-9)
f"{seq.duration:.2f} s, echoes {between[0] * 1e3:.1f} ms apart"

# %% [markdown]
# ## Does it do what it should?
#
# A phantom of one tissue, first lines aside: the ratio of the echoes is $e^{-\Delta TE/T_2}$, and off-resonance shows as phase between them, $-2\pi\Delta f\,\Delta TE$.

# %%
T2, df = 0.03, 20.0
water = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=0.8, t2=T2, df=df)
raw = mr.simulate(seq, water, pulses="ideal", spoiling="ideal", dtype="float64")
echoes = raw.signal[0].reshape(64, 2, 64)[:, :, 32]
ratio = echoes[-1, 1] / echoes[-1, 0]
expected = np.exp(-5e-3 / T2 - 2j * np.pi * df * 5e-3)
assert abs(ratio - expected) < 1e-4
ratio, expected

# %%
head = mr.load_phantom(
    "shepp_logan_mr", voxel=(0.22 / 64, 0.22 / 64, 1e-3), isochromats=1, slab="14 mm", scalp="muscle"
)
image = mr.reconstruct(mr.simulate(seq, head, pulses="ideal", spoiling="ideal"))
mr.plot.image(image, title="Two echoes")

# %%
assert image.data.shape[0] == 2
assert np.allclose(image.coordinates["te"], [4e-3, 9e-3], atol=1e-9)

# %% [markdown]
# ## Pulseq
#
# A text file that scanners of several makers play. We write it, read it back, and simulate both: the samples must be the same.

# %%
pulseq = folder / "two_echoes.seq"
mr.write_sequence(seq, pulseq, version="1.4.1")
print(pulseq.read_text()[:600])

# %%
again = mr.load_sequence(pulseq)
played = mr.simulate(again, water, pulses="ideal", spoiling="ideal", dtype="float64")
difference = abs(played.signal - raw.signal).max() / abs(raw.signal).max()
assert difference < 1e-5  # digits in the file
difference

# %% [markdown]
# ## Turn the knobs


# %%
def picture(TE_ms=4.0, spacing_ms=5.0):
    one = mr.load_sequence(file, TE=TE_ms * 1e-3, spacing=spacing_ms * 1e-3)
    return mr.plot.sequence(one, (0, 20e-3), title=f"TE {TE_ms:.1f} ms, spacing {spacing_ms:.1f} ms")


slide(picture, TE_ms=(3, 6, 4), spacing_ms=(4, 8, 6))

# %% [markdown]
# ## Exercises
#
# 1. Add a third echo. *Expect a `wait` for each spacing, and TR to be long enough, or an error that says how long it must be.*
# 2. Misspell an event in the timeline. *Expect line and column of the mistake, and a suggestion.*
# 3. Give `flip` a bare 12. *Expect a refusal: a unit is due.*
# 4. Make a B0 map: `recon: {method: cartesian, maps: {B0: {fit: dual_echo}}}`, then `mr.fit_maps(image)`. *Expect ±100 Hz without wrapping, 1/(2 · 5 ms).*
