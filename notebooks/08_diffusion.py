# %% [markdown]
# # 8 · Diffusion: from a random walk to an FA map
#
# **Question.** Water moves by some micrometres while we look. How does one see that in voxels of millimetres?
#
# Two gradients, one before and one after a 180° pulse. Who stands still is rephased, who has moved keeps a phase. Over many walkers
#
# $$S = e^{-bD},\qquad b = (2\pi\gamma G\delta)^2\,(\Delta - \delta/3)\quad(\gamma \text{ in Hz/T}),$$
#
# for free diffusion. Where water goes farther along a fibre than across it, D is a tensor, and its shape shows the fibre.

# %%
import numpy as np
from knobs import slide

import mrisim as mr
from mrisim.mapping import diffusion
from mrisim.physics.restricted import gpd

rng = np.random.default_rng(7)
D = 2.0e-9  # m²/s, water at body temperature is 3e-9
delta, separation, dt = 10e-3, 30e-3, 0.1e-3  # s

# %% [markdown]
# ## A random walk

# %%
count = int(round((separation + delta) / dt))
steps = rng.normal(0, np.sqrt(2 * D * dt), (count, 20_000))
x = np.cumsum(steps, axis=0)
t = np.arange(1, count + 1) * dt
mr.plot.signal(
    t * 1e3,
    {f"walker {i + 1}": x[:, i] * 1e6 for i in range(5)},
    xlabel="time / ms",
    ylabel="x / µm",
    title="Five of 20,000 walkers",
)

# %%
mean_square = (x**2).mean(axis=1)
assert np.allclose(mean_square[50:], 2 * D * t[50:], rtol=0.05)  # 1 % is the spread of 20,000 walkers
np.sqrt(mean_square[-1]) * 1e6, np.sqrt(2 * D * t[-1]) * 1e6

# %% [markdown]
# ## Phase of the walkers, signal of all
#
# The gradient acts from 0 to δ and, with the opposite sign (that is what the 180° pulse does), from Δ to Δ+δ.

# %%
sign = np.where(t <= delta + dt / 2, 1.0, np.where(t > separation + dt / 2, -1.0, 0.0))
turns = (sign[:, None] * x).sum(axis=0) * dt  # m·s, to be multiplied by the gradient in Hz/m
G = np.linspace(0, 60e-3, 9) * 42.577e6  # Hz/m
walked = np.array([np.exp(-2j * np.pi * g * turns).mean().real for g in G])
b = (2 * np.pi * G * delta) ** 2 * (separation - delta / 3)
fine = np.linspace(0, b[-1], 100)
mr.plot.decay(b, {"walkers": walked}, {"walkers": (fine, np.exp(-fine * D))}, title="exp(-bD)")

# %%
assert np.allclose(walked, np.exp(-b * D), atol=0.02)  # 20,000 walkers: 1/√20000 = 0.007
fit = -np.polyfit(b[:5], np.log(walked[:5]), 1)[0]
assert abs(fit / D - 1) < 0.04
fit

# %% [markdown]
# ## Walls
#
# Between walls water cannot leave, and the signal decays less than that of free water. Planes 10 µm apart, by the Gaussian-phase series:

# %%
width = 10e-6
restricted = np.array([1.0, *[float(gpd("planes", width, D, g, delta, separation)) for g in G[1:]]])
mr.plot.signal(
    b * 1e-6,
    {"free": np.exp(-b * D), "between walls": restricted},
    xlabel="b / (s/mm²)",
    ylabel="signal",
    title="Walls 10 µm apart",
)

# %%
assert np.all(restricted[1:] > np.exp(-b * D)[1:])
apparent = -np.log(restricted[2]) / b[2]
assert apparent < 0.5 * D
apparent / D

# %% [markdown]
# ## The tensor
#
# A fibre along x: 1.7 µm²/ms along, 0.3 across. The signal depends on the direction of the gradient, $S = e^{-b\,\mathbf g^T D\,\mathbf g}$.

# %%
u = rng.normal(size=(30, 3))
u /= np.linalg.norm(u, axis=1)[:, None]
values = np.concatenate([[0.0], np.full(30, 1e9)])  # 1000 s/mm²
directions = np.concatenate([[[0.0, 0.0, 1.0]], u])
fibre = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
tensor = 0.3e-9 * np.eye(3) + 1.4e-9 * np.outer(fibre, fibre)
clean = np.exp(-values * np.einsum("ni,ij,nj->n", directions, tensor, directions))
found = diffusion.fit_tensor(clean, values, directions)
md = np.trace(tensor) / 3
lengths = np.linalg.eigvalsh(tensor)
fa = np.sqrt(1.5 * ((lengths - md) ** 2).sum() / (lengths**2).sum())
assert abs(float(found["fa"]) - fa) < 1e-4
assert abs(abs(float(np.dot(found["v1"], fibre))) - 1) < 1e-6
float(found["fa"]), fa

# %% [markdown]
# ## An FA map, from a scan
#
# The phantom `fibres` holds a ring, a star, bundles in all directions and two crossings in gray matter. We scan it: spin-echo EPI, once without and twelve times with diffusion lobes of b = 1000 s/mm², along directions spread over the sphere. Pulses are ideal, so that a few isochromats per voxel suffice.

# %%
sequence = mr.load_sequence("dti_se_epi", matrix=64, directions=12, zeros=1, dummies=0, fat="0 deg")
mr.plot.sequence(sequence, tr=1, kspace=True, title="One direction: lobes before and after the refocusing pulse")

# %%
phantom = mr.load_phantom("fibres", voxel="2 mm", isochromats=3, thickness="8 mm")
raw = mr.simulate(sequence, phantom, pulses="ideal", spoiling="ideal")
image = mr.reconstruct(raw)
few = [0, 1, 3, 8, 11]
chosen = {name: values[few] for name, values in image.coordinates.items() if name in ("b_matrix", "te")}
mr.plot.image(mr.Image(data=image.data[few], grid=image.grid, coordinates=chosen), title="Dark is where water went far along the gradient")

# %% [markdown]
# The gradients of the image weigh by diffusion, too: b is not 1000 but up to 1012 s/mm², and the fit uses the b-matrix of the gradients as they were played.

# %%
wanted = {name: {"fit": "tensor", "threshold": 0.3} for name in ("FA", "MD", "V1", "AD", "RD")}
maps = mr.fit_maps(image, wanted)
truth = phantom.model.truth(image.grid).maps
true_fa = mr.ParameterMap(name="FA", unit="1", data=truth["FA"], grid=image.grid)
mr.plot.map_comparison(true_fa, maps["FA"])

# %%
mr.plot.glyphs(maps["V1"], maps["FA"], maps["AD"], maps["RD"])

# %% [markdown]
# Where two bundles cross, one tensor has to do for both: at 90° the glyph is flat, a disc in the plane, and FA is low although every fibre there is as ordered as elsewhere. That is a limit of the model, not of the scan.

# %%
fibres, gray = truth["FA"] > 0.7, truth["FA"] < 0.05
error = np.nanmedian((maps["FA"].data - truth["FA"])[fibres])
turn = mr.plot.between(maps["V1"].data, truth["V1"])[fibres]
diffusivity = np.nanmedian(maps["MD"].data[fibres] / truth["MD"][fibres]) - 1
assert abs(error) < 0.03
assert np.nanmedian(turn) < 3  # degrees
assert abs(diffusivity) < 0.03
print(f"FA in fibres {error:+.3f}, direction off by {np.nanmedian(turn):.1f}°, MD {100 * diffusivity:+.1f} %")

# %% [markdown]
# And with noise? It only ever adds to FA where diffusion is the same in all directions: of three equal numbers with errors, one is always largest.

# %%
peak = np.percentile(abs(image.data[0]), 99)
noise = rng.normal(0, peak / 20, (2, *image.data.shape))
noisy = mr.Image(data=image.data + noise[0] + 1j * noise[1], grid=image.grid, coordinates=image.coordinates)
again = mr.fit_maps(noisy, {"FA": wanted["FA"]})["FA"].data
before, after = (np.nanmedian(fa[gray]) for fa in (maps["FA"].data, again))
assert after > 1.5 * before
print(f"FA of gray matter: true 0, from the scan {before:.2f} (ringing at the edges), with noise of one in twenty {after:.2f}")

# %% [markdown]
# ## Turn the knobs


# %%
def picture(G_mT=40.0, Delta_ms=30.0):
    strength = np.linspace(0, G_mT * 1e-3, 60) * 42.577e6
    weight = (2 * np.pi * strength * delta) ** 2 * (Delta_ms * 1e-3 - delta / 3)
    curves = {f"D = {d} µm²/ms": np.exp(-weight * d * 1e-9) for d in (0.7, 2.0, 3.0)}
    return mr.plot.signal(
        weight * 1e-6,
        curves,
        xlabel="b / (s/mm²)",
        ylabel="signal",
        title=f"up to {G_mT:.0f} mT/m, Δ = {Delta_ms:.0f} ms",
    )


slide(picture, G_mT=(5, 80, 40), Delta_ms=(15, 80, 30))

# %% [markdown]
# ## Exercises
#
# 1. Walls 3 µm apart. *Expect hardly any decay: no walker gets far.*
# 2. Scan with `b="3000 s/mm^2"` and the noise. *Expect noise to take over along the fibres: magnitudes stop decaying at the noise floor, FA comes out too small.*
# 3. Six directions in place of twelve, `directions=6`. *Expect the same FA without noise, and one that depends on the fibre's direction with it.*
# 4. Let the pulses be real: `pulses="shaped"`, no `spoiling`. *Expect a finding that three isochromats are far too few for the crushers, and an FA map of salt and pepper; `mrisim run dti_se_epi --phantom fibres` takes as many as it needs, and some minutes.*
# 5. Walk in the voxel: `mr.simulate(sequence, water, engine=mr.Walk(compartments=mr.phantom.Cylinders(radius="3 um", diffusion="2e-3 mm^2/s", axis=(1, 0, 0)), walkers=10_000))`. *Expect hardly any decay across, and free diffusion along.*
