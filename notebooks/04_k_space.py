# %% [markdown]
# # 4 · k-space
#
# **Question.** The scanner measures no image. It measures waves. What does each of them do to the picture?
#
# $$s(\mathbf k) = \int m(\mathbf r)\,e^{-2\pi i\,\mathbf k\cdot\mathbf r}\,d\mathbf r, \qquad \mathbf k(t) = \gamma\int_0^t \mathbf G\,dt'.$$
#
# Gradients move $\mathbf k$. Each sample holds one wave of the object, and the image is the sum of all: an inverse Fourier transform.

# %%
import numpy as np
from knobs import slide
from matplotlib import pyplot as plt

import mrisim as mr

head = mr.load_phantom(
    "shepp_logan_mr", voxel=(0.22 / 64, 0.22 / 64, 1e-3), isochromats=1, slab="14 mm", scalp="muscle"
)
seq = mr.load_sequence("spin_echo", matrix=64, dummies=0, TE="15 ms", TR="3 s")
raw = mr.simulate(seq, head, pulses="ideal", spoiling="ideal")
mr.plot.trajectory(seq)

# %%
mr.plot.kspace(raw)

# %% [markdown]
# 64 lines of 64 samples. We put them into a matrix, centre in the middle, and transform back by hand. It is what `mr.reconstruct` does.


# %%
def image_of(k):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k)))


def k_of(image):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))


reference = mr.reconstruct(raw)
k = raw.signal[0].reshape(64, 64)  # (line, sample)
by_hand = image_of(k)
scale = np.vdot(by_hand, reference.data[0, 0]) / np.vdot(by_hand, by_hand)  # voxels, not samples
assert np.allclose(by_hand * scale, reference.data[0, 0], atol=1e-5 * abs(reference.data).max())
k = k * scale.real


def show(pictures, title):
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.6 * len(pictures), 3.0), layout="constrained")
    high = np.percentile(abs(by_hand * scale), 99.7)
    for panel, (name, picture) in zip(axes, pictures.items(), strict=True):
        panel.imshow(abs(picture), origin="lower", cmap="gray", vmin=0, vmax=high)
        panel.set_title(name, fontsize=9)
        panel.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


# %% [markdown]
# ## Centre and edge
#
# The centre holds the contrast and the large shapes, the edge the borders.

# %%
rows = np.arange(64) - 32
inner = (abs(rows[:, None]) < 8) & (abs(rows[None, :]) < 8)
show(
    {"all": image_of(k), "16 × 16 in the centre": image_of(k * inner), "the rest": image_of(k * ~inner)},
    "Centre and edge",
)

# %%
share = (abs(k * inner) ** 2).sum() / (abs(k) ** 2).sum()
assert share > 0.9
assert np.isclose((abs(k) ** 2).sum() / 64**2, (abs(image_of(k)) ** 2).sum(), rtol=1e-5)  # Parseval
print(f"{inner.mean():.1%} of the samples hold {share:.1%} of the energy")

# %% [markdown]
# ## One bad sample
#
# One sample is one wave. Make a single one wrong, and its wave lies over the whole image: its direction and its number of periods are those of the sample.

# %%
spike = k.copy()
spike[32 + 12, 32 + 5] += abs(k).max()
wave = image_of(spike) - image_of(k)
show(
    {"as measured": image_of(k), "with a spike": image_of(spike), "difference, real part": abs(wave.real) * 0.5},
    "A spike at kx = 5, ky = 12",
)
assert np.allclose(abs(wave), abs(k).max() / 64**2, rtol=1e-3)  # the same everywhere

# %% [markdown]
# ## Too few lines: aliasing
#
# Leave out every second line and the field of view halves. The head appears twice, half a field apart:
# the image is the mean of itself and itself moved by half.

# %%
half = k * (rows % 2 == 0)[:, None]
folded = (image_of(k) + np.roll(image_of(k), 32, axis=0)) / 2
show({"all lines": image_of(k), "every second line": image_of(half), "folded by hand": folded}, "Aliasing")
assert np.allclose(image_of(half), folded, atol=1e-6 * abs(k).max())

# %% [markdown]
# ## Too few waves: Gibbs
#
# A sharp edge needs infinitely many waves. With N of them it overshoots by 8.95 % of the jump, whatever N; only the ripple becomes narrower.

# %%
x = np.linspace(-0.5, 0.5, 4001)
curves = {}
for n in (8, 32, 128):
    order = np.arange(-n, n + 1)
    box = 0.5 * np.sinc(0.5 * order)  # the Fourier coefficients of a box of half the field
    curves[f"{2 * n + 1} waves"] = (box @ np.exp(2j * np.pi * order[:, None] * x)).real
mr.plot.signal(x, curves, xlabel="x / field of view", ylabel="image of a box", title="The overshoot does not go away")

# %%
overshoot = curves["257 waves"].max() - 1
assert abs(overshoot - 0.0895) < 0.001  # Si(π)/π - 1/2
overshoot

# %% [markdown]
# ## Random lines
#
# Lines left out at random make no second head but a haze. That is the door to compressed sensing: haze can be told from a head.

# %%
kept = np.random.default_rng(1).random(64) < 0.35
kept[26:38] = True
show(
    {"every second": image_of(half), f"random, {kept.mean():.0%} of lines": image_of(k * kept[:, None])},
    "Regular and random gaps",
)
assert np.linalg.norm(image_of(k * kept[:, None]) - image_of(k)) < np.linalg.norm(image_of(half) * 2 - image_of(k))

# %% [markdown]
# ## Turn the knobs: a window of lines and samples


# %%
def picture(lines=64.0, samples=64.0):
    window = (abs(rows[:, None]) < lines / 2) & (abs(rows[None, :]) < samples / 2)
    show({"k-space kept": window * 0.5, "image": image_of(k * window)}, f"{lines:.0f} lines of {samples:.0f} samples")


slide(picture, lines=(4, 64, 20), samples=(4, 64, 64))

# %% [markdown]
# ## Exercises
#
# 1. Keep only the lines with ky ≥ 0. *Expect a complex image with the right magnitude in flat parts and blurred borders. For a real object the other half is its mirror,
#    $s(-\mathbf k) = s(\mathbf k)^*$: partial Fourier.*
# 2. Multiply line n by $e^{2\pi i\,n/8}$. *Expect the head to move by an eighth of the field: a shift is a linear phase.*
# 3. Multiply every second line by -1. *Expect a shift by half the field.*
# 4. Load the sequence with `fov=[0.11, 0.22]`. *Expect no aliasing along read in a scanner with a filter before sampling; this one has none, and folds.*
