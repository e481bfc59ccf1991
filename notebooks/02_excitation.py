# %% [markdown]
# # 2 · Excitation and slice profile
#
# **Question.** How can one pulse excite a slice of 5 mm and leave the rest of the body alone?
#
# A gradient along z makes the frequency depend on the place, $f = \gamma G z$. A pulse with a limited band of
# frequencies then reaches a limited range of z. For small flip angles the profile is the Fourier transform of the pulse,
#
# $$M^+(z) \approx i\,\alpha\,\frac{\int B_1(t)\, e^{2\pi i \gamma G z t}\,dt}{\int B_1(t)\,dt},$$
#
# and a sinc has a box for its transform. For large angles this fails, and how it fails is what we look at.

# %%
import tempfile
from pathlib import Path

import numpy as np
from knobs import slide

import mrisim as mr

folder = Path(tempfile.mkdtemp())


def slice_selection(window="none"):
    """A pulse with its gradient, and a second gradient that takes away the phase across the slice."""
    file = folder / f"{window}.yaml"
    file.write_text(f"""
mrisim: 1
name: Slice selection, window {window}
description: A sinc pulse under a gradient, rephased.
reference: Hoult, J Magn Reson 35:69 (1979)
parameters:
  flip:      {{value: 90 deg, max: 180 deg}}
  thickness: {{value: 5 mm}}
  duration:  {{value: 3 ms}}
  lobes:     {{value: 6, doc: time-bandwidth product}}
events:
  excite:
    rf: {{shape: sinc, flip: flip, duration: duration, time_bandwidth: lobes, window: {window}, use: excitation}}
    gz: {{select: thickness}}
  rephase: {{gz: {{area: -excite.gz.area_after_center}}}}
  acquire: {{adc: {{samples: 2, dwell: 10 us}}}}
timeline: [excite, rephase, acquire]
recon: {{method: none}}
""")
    return file


pulse = slice_selection()
seq = mr.load_sequence(pulse)
mr.plot.sequence(seq, title="A slice-selective pulse")

# %% [markdown]
# A column of isochromats along z, followed to the first sample. Nothing relaxes, so what we see is the pulse alone.

# %%
z = np.linspace(-8e-3, 8e-3, 321)
column = mr.Phantom.from_arrays(position=np.outer(z, [0, 0, 1]), t1=np.inf, t2=np.inf)


def profile(file, **parameters):
    played = mr.load_sequence(file, **parameters)
    x, y, mz = mr.trace(played, column, played.kspace()[1][:1])[0].T
    return x + 1j * y, mz


mxy, mz = profile(pulse)
mr.plot.slice_profile(z, mxy, mz, thickness=5e-3, title="90°, sinc without window")

# %% [markdown]
# The magnetisation lies along y, as a 90° pulse about x should leave it. The edges ripple because the sinc was cut off.

# %% [markdown]
# ## Small flip angles: Fourier is right
#
# The transform of the cut sinc, by adding up its cosines, next to the simulation of a 10° pulse.

# %%
tau = np.linspace(-0.5, 0.5, 3001)  # time over duration
shape = np.sinc(6 * tau)
turns = seq.gradients.amplitude[0] * 3e-3 * z  # of each place during the pulse, about its middle
fourier = np.array([np.sum(shape * np.cos(2 * np.pi * n * tau)) for n in turns]) / shape.sum()
small, _ = profile(pulse, flip="10 deg")
large, _ = profile(pulse, flip="90 deg")
mr.plot.signal(
    z * 1e3,
    {"10°, simulated": small.imag / np.sin(np.deg2rad(10)), "Fourier": fourier, "90°, simulated": large.imag},
    xlabel="z / mm", ylabel="My / sin(flip)", title="The small-tip approximation",
)  # fmt: skip

# %%
error_small = abs(small.imag / np.sin(np.deg2rad(10)) - fourier).max()
error_large = abs(large.imag - fourier).max()
assert error_small < 0.015  # of second order in 10°, 0.5 %, and the raster of the pulse
assert error_large > 5 * error_small
centre = np.argmin(abs(z))
error_small, error_large

# %% [markdown]
# ## Windows and lobes
#
# A window takes the ripple away and costs sharpness. More lobes give steeper edges, at the price of power: the peak of
# $B_1$ grows with the number of lobes, and the scanner's limit is some 20 µT.

# %%
hann = slice_selection("hann")
curves = {
    "6 lobes, no window": abs(profile(pulse)[0]),
    "6 lobes, Hann": abs(profile(hann)[0]),
    "3 lobes, no window": abs(profile(pulse, lobes=3)[0]),
}
mr.plot.signal(z * 1e3, curves, xlabel="z / mm", ylabel="|Mxy| / M₀", title="Ripple against sharpness")

# %%
outside = abs(z) > 4.5e-3
ripple = {name: curve[outside].max() for name, curve in curves.items()}
assert ripple["6 lobes, Hann"] < ripple["6 lobes, no window"] / 1.5
ripple

# %% [markdown]
# ## Turn the knobs


# %%
def picture(flip_deg=90.0, lobes=6.0):
    found, along = profile(pulse, flip=np.deg2rad(flip_deg), lobes=lobes)
    return mr.plot.slice_profile(z, found, along, thickness=5e-3, title=f"{flip_deg:.0f}°, {lobes:.1f} lobes")


slide(picture, flip_deg=(5, 150, 90), lobes=(2, 8, 6))

# %%
angles = (30, 60, 90, 120)
mr.plot.signal(
    z * 1e3,
    {f"{angle}°": abs(profile(pulse, flip=np.deg2rad(angle))[0]) for angle in angles},
    xlabel="z / mm", ylabel="|Mxy| / M₀", title="The profile changes with the flip angle",
)  # fmt: skip

# %% [markdown]
# ## Why the second gradient?
#
# Spins at the two edges have turned against each other since the middle of the pulse. Without the second gradient, whose area
# is minus half of the first, they cancel. The sum over the slice tells:

# %%
played = mr.load_sequence(pulse)
end_of_pulse = np.linspace(0, played.kspace()[1][0], 400)
m = mr.trace(played, column, end_of_pulse)
total = abs(np.mean(m[..., 0] + 1j * m[..., 1], axis=1)) * 16 / 5  # per slice of 5 mm
mr.plot.signal(
    end_of_pulse * 1e3, {"sum over the slice": total}, xlabel="time / ms", ylabel="|signal| / slice",
    title="The signal appears with the rephasing gradient",
)  # fmt: skip

# %%
assert total[-1] > 0.9
assert total[end_of_pulse < 3.2e-3].max() < 0.75 * total[-1]
assert abs(abs(mxy[centre]) ** 2 + mz[centre] ** 2 - 1) < 1e-9  # a pulse only rotates
total[-1]

# %% [markdown]
# ## Exercises
#
# 1. Halve `duration`. What happens to the gradient and to the peak of B1? *Expect both to double; the profile stays.*
# 2. Move the slice: give the gradient `at: 3 mm`. *Expect the same profile 3 mm higher, and a pulse with a frequency offset.*
# 3. Add `df=200` to the column. *Expect the slice to move by -200 Hz over the gradient, which is about $6/(3\,\mathrm{ms})/5\,\mathrm{mm}$ = 400 Hz/mm: half a
#    millimetre. This is the chemical shift of slices.*
# 4. Use `shape: slr` in place of the sinc (leave out `window`). *Expect a flat 90° slice: SLR designs for the true rotation.*
