# %% [markdown]
# # 7 · EPI and its artefacts
#
# **Question.** One excitation, all of k-space, an image in 50 ms. What is the price?
#
# Lines follow each other in one train, so along the phase direction time goes on slowly: one line every *echo spacing* $t_{esp}$.
# A spin that is $\Delta f$ off resonance gains the phase $2\pi\Delta f\,t_{esp}$ from line to line, which is what a spin at another place does. It appears at another place,
#
# $$\Delta y = \Delta f\; t_{esp}\; FOV_y \qquad (\text{in voxels: } \Delta f\, t_{esp}\, N_y).$$

# %%
import numpy as np
from knobs import slide
from matplotlib import pyplot as plt

import mrisim as mr

seq = mr.load_sequence("gre_epi", dummies=0, matrix=[64, 64])
mr.plot.sequence(seq)

# %%
mr.plot.trajectory(seq)

# %% [markdown]
# Back and forth, line by line. The echo spacing, from the times of the samples:

# %%
k, time = seq.kspace()
lines = time.reshape(64, 64)
echo_spacing = float(np.diff(lines.mean(axis=1)).mean())
print(f"echo spacing {echo_spacing * 1e3:.3f} ms, train {(time[-1] - time[0]) * 1e3:.1f} ms")

# %% [markdown]
# ## Distortion
#
# A disc of water with a grid of dark lines; the same, all of it 40 Hz off resonance; and in a field that grows across the disc.

# %%
side = (np.arange(128) - 63.5) / 128 * 0.22
x, y = np.meshgrid(side, side)
grid = (np.hypot(x, y) < 0.075) & (np.mod(x, 0.03) > 0.0035) & (np.mod(y, 0.03) > 0.0035)
place = np.stack([x[grid], y[grid], 0 * x[grid]], axis=1)


def epi(df, t2=0.08):
    phantom = mr.Phantom.from_arrays(position=place, t1=1.0, t2=t2, df=df)
    raw = mr.simulate(seq, phantom, pulses="ideal")
    return raw, mr.reconstruct(raw).magnitude[0, 0]


def show(pictures, title):
    figure, axes = plt.subplots(
        1, len(pictures), figsize=(2.6 * len(pictures), 3.0), layout="constrained", squeeze=False
    )
    for panel, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        panel.imshow(picture, origin="lower", cmap="gray", vmin=0)
        panel.set_title(name, fontsize=9)
        panel.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


raw, straight = epi(0.0)
offset = 40.0
_, moved = epi(offset)
_, bent = epi(place[:, 0] / 0.075 * 60)
show(
    {"on resonance": straight, f"{offset:.0f} Hz off": moved, "-60 to 60 Hz, left to right": bent},
    "Phase direction upwards",
)

# %% [markdown]
# How far has it moved? The shift that fits best, to a tenth of a voxel, by the phase of the transform along y:


# %%
def shift_between(first, second):
    one, two = np.fft.fft(first.sum(axis=1))[1], np.fft.fft(second.sum(axis=1))[1]
    return -np.angle(two / one) / (2 * np.pi) * 64


found = shift_between(straight, moved)
expected = offset * echo_spacing * 64
assert abs(abs(found) - expected) < 0.3  # a third of a voxel: ringing and aliasing of a coarse image
found, expected

# %% [markdown]
# ## Chemical shift: fat goes elsewhere
#
# Fat is 3.4 ppm below water, 434 Hz at 3 T. In a spin-warp image it moves by Δf over the bandwidth of a sample; in EPI by many voxels:

# %%
fat = -3.4e-6 * 42.577e6 * 3.0
voxels = fat * echo_spacing * 64
assert abs(voxels) > 10
print(f"fat at {fat:.0f} Hz moves by {voxels:.1f} voxels of {220 / 64:.1f} mm. So EPI suppresses fat.")

# %% [markdown]
# ## The N/2 ghost
#
# Every second line runs backwards. If the sampling is late by a little against the gradient, odd and even lines shift in opposite ways, and
# a second image appears half a field away. Delay τ of one sample of $\Delta x$ phase: line by line a factor $e^{\pm 2\pi i k_x \Delta x}$.
# Here we turn the phase of the backward lines by φ, the simplest case: image $\cos(\varphi/2)$, ghost $\sin(\varphi/2)$.

# %%
rows = raw.signal[0].reshape(64, 64).copy()
rows[1::2] = rows[1::2, ::-1]  # backward lines, along k
cells = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(rows)))
scale = straight.max() / abs(cells).max()


def ghosted(phi):
    turned = rows.copy()
    turned[1::2] *= np.exp(1j * phi)
    return abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(turned)))) * scale


pictures = {f"φ = {deg}°": ghosted(np.deg2rad(deg)) for deg in (0, 20, 60)}
show(pictures, "The N/2 ghost")

# %%
field = np.zeros((64, 64), bool)
field[:10] = field[-10:] = True  # rows that the disc does not reach
ghost = np.linalg.norm(ghosted(np.deg2rad(60))[field]) / np.linalg.norm(ghosted(np.deg2rad(120))[field])
assert abs(ghost - np.sin(np.pi / 6) / np.sin(np.pi / 3)) < 0.05  # and the ringing of the disc
ghost

# %% [markdown]
# ## T2*: blur
#
# During the train the signal decays, so the edge of k-space is weaker than the middle. With a T2* of 20 ms the image has lost signal, and sharpness along y.

# %%
_, short = epi(0.0, t2=0.02)
show(
    {"T2 80 ms": straight, "T2 20 ms": short, "T2 20 ms, brighter": short * straight.max() / short.max()},
    "Decay during the train",
)
ratio = short.sum() / straight.sum()
assert ratio < 0.5
ratio, np.exp(-0.03 / 0.02 + 0.03 / 0.08)

# %% [markdown]
# ## Turn the knobs


# %%
def picture(df_Hz=30.0, ghost_deg=0.0):
    image = ghosted(np.deg2rad(ghost_deg)) if df_Hz == 0 else epi(df_Hz)[1]
    show({f"Δf = {df_Hz:.0f} Hz": image, f"φ = {ghost_deg:.0f}°": ghosted(np.deg2rad(ghost_deg))}, "EPI")


slide(picture, df_Hz=(-100, 100, 30), ghost_deg=(0, 180, 20))

# %% [markdown]
# ## Exercises
#
# 1. Double `bandwidth`. *Expect half the echo spacing if the gradients allow it, half the distortion, and more noise by √2.*
# 2. Acquire every second line (parallel imaging). *Expect half the distortion; the image folds and coils must unfold it.*
# 3. Reverse the blips. *Expect the distortion to point the other way: two images with opposite blips tell the field map.*
# 4. What does a delay of the ADC by one sample do? *Expect a phase that grows along read: the ghost has stripes.*
