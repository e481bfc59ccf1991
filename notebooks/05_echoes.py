# %% [markdown]
# # 5 · Echoes and phase graphs
#
# **Question.** A second pulse makes an echo. A third makes up to five. Where do they come from, and when?
#
# A gradient winds magnetisation into a helix of order n. A pulse of flip α mixes three things: helices of order n and -n
# and stored (longitudinal) waves,
#
# $$F_n' = \cos^2\tfrac{\alpha}{2}\,F_n + \sin^2\tfrac{\alpha}{2}\,F_{-n}^* - \;i\sin\alpha\, Z_n .$$
#
# (Phases depend on the convention; the shares do not.) A helix that is unwound to order 0 is an echo. Bookkeeping of orders is a **phase graph**.

# %%
import tempfile
from pathlib import Path

import numpy as np
from knobs import slide
from matplotlib import pyplot as plt

import mrisim as mr

T1, T2 = 1.0, 0.1
z = ((np.arange(1202) + 0.5) / 1202 - 0.5) * 10e-3  # 601 isochromats in a slice of 5 mm
water = mr.Phantom.from_arrays(position=np.outer(z, [0, 0, 1]), t1=T1, t2=T2, weight=1 / 601)


def train(flip, echoes, spacing, t1=T1, t2=T2):
    """Phase graph of a CPMG train: 90°, then pulses of `flip` along the magnetisation. Echo amplitudes."""
    orders = 2 * echoes + 3
    f_plus, f_minus, z = np.zeros(orders), np.zeros(orders), np.zeros(orders)
    f_plus[0] = f_minus[0] = 1.0
    e1, e2 = np.exp(-spacing / 2 / t1), np.exp(-spacing / 2 / t2)
    c, s, half = np.cos(flip / 2) ** 2, np.sin(flip / 2) ** 2, np.sin(flip)

    def half_spacing(p, m, z):  # relax, then wind by one order
        p, m, z = p * e2, m * e2, z * e1
        p, m = np.concatenate([[m[1]], p[:-1]]), np.append(m[1:], 0.0)
        return p, m, z

    amplitudes, states = [], []
    for _ in range(echoes):
        p, m, z0 = half_spacing(f_plus, f_minus, z)
        p, m, z0 = c * p + s * m + half * z0, s * p + c * m - half * z0, -half / 2 * (p - m) + np.cos(flip) * z0
        f_plus, f_minus, z = half_spacing(p, m, z0)
        amplitudes.append(f_plus[0])
        states.append(abs(f_plus))
    return np.array(amplitudes), np.array(states)


# %% [markdown]
# Twenty lines. The simulator knows nothing of orders here: it follows 601 isochromats through the slice, which the
# crushers around each pulse wind up and down. Do the two agree, at 180° and below?

# %%
spacing, echoes = 0.01, 16
order = np.arange(1, echoes + 1)


def simulated(flip_deg):
    seq = mr.load_sequence(
        "multi_echo_se",
        spacing=spacing,
        echoes=echoes,
        refocusing=np.deg2rad(flip_deg),
        matrix=[8, 8],
        dummies=0,
        TR=12.0,
    )
    raw = mr.simulate(seq, water, pulses="ideal", spoiling="ideal", dtype="float64")
    return abs(raw.signal[0].reshape(8, echoes, 8)[-1, :, 4])


curves = {f"{flip}°": simulated(flip) for flip in (180, 120, 60)}
books = {f"{flip}°": (order * spacing * 1e3, train(np.deg2rad(flip), echoes, spacing)[0]) for flip in (180, 120, 60)}
mr.plot.signal(
    order * spacing * 1e3, curves, models=books, xlabel="time / ms", ylabel="echo / M₀",
    title="Points: simulator. Lines: the twenty lines above",
)  # fmt: skip

# %%
for name, points in curves.items():
    assert np.allclose(points, books[name][1], atol=5e-3), (
        name
    )  # crushers wind no whole number of cycles over a box-shaped slice
assert np.allclose(curves["180°"], np.exp(-order * spacing / T2), atol=2e-4)
curves["60°"][:4]

# %% [markdown]
# With 180° the echoes follow exp(-t/T2). Below, the first echo is weaker, sin²(α/2), and the later ones are *stronger than an exponential from it*: part of the
# magnetisation has rested along z, where it decays with T1 only, and comes back as **stimulated echoes**.
#
# ## The phase graph itself
#
# How much magnetisation is wound to which order, echo by echo:

# %%
figure, panels = plt.subplots(1, 3, figsize=(7.5, 2.8), layout="constrained", sharey=True)
for panel, flip in zip(panels, (180, 120, 60), strict=True):
    states = train(np.deg2rad(flip), echoes, spacing)[1][:, :16]
    shown = panel.imshow(
        states.T, origin="lower", aspect="auto", cmap="viridis", vmin=0, vmax=0.5, extent=(0.5, 16.5, -0.5, 15.5)
    )
    panel.set_title(f"{flip}°", fontsize=9)
    panel.set_xlabel("echo")
panels[0].set_yticks(range(0, 16, 2))
panels[0].set_ylabel("order of dephasing")
figure.colorbar(shown, ax=panels, label="|F| / M₀")
# %% [markdown]
# ## Three pulses: the stimulated echo
#
# 90° – τ – 90° – T – 90°. Half of the magnetisation is stored by the second pulse, and half of that comes back: at τ after the third pulse
#
# $$S = \tfrac12\, e^{-2\tau/T_2}\, e^{-T/T_1}.$$
#
# T can be seconds: the echo remembers as long as T1.

# %%
file = Path(tempfile.mkdtemp()) / "stimulated.yaml"
file.write_text("""
mrisim: 1
name: Stimulated echo
description: Three hard pulses under dephasing gradients.
reference: Hahn, Phys Rev 80:580 (1950)
parameters:
  tau: {value: 10 ms}
  T:   {value: 100 ms}
events:
  first:  {rf: {shape: block, flip: 90 deg, duration: 100 us, use: excitation}}
  store:  {rf: {shape: block, flip: 90 deg, duration: 100 us, use: storage}}
  recall: {rf: {shape: block, flip: 90 deg, duration: 100 us, use: recall}}
  wind:   {gz: {area: 1000 1/m}}
  spoil:  {gx: {area: 3700 1/m}}
  listen: {adc: {samples: 3, dwell: 10 us}}
timeline: [first, wind, {wait: a}, store, spoil, {wait: b}, recall, wind, {wait: c}, listen]
timing:
  - {name: tau, from: first.rf.center, to: store.rf.center, is: tau, solve: a}
  - {name: T,   from: store.rf.center, to: recall.rf.center, is: T, solve: b}
  - {name: TE,  from: recall.rf.center, to: listen.adc.center, is: tau, solve: c}
recon: {method: none}
""")
mr.plot.sequence(mr.load_sequence(file))

# %% [markdown]
# A voxel of 16 × 16 points, so that each winding averages to nothing:

# %%
side = (np.arange(16) + 0.5) / 16 * 1e-2
x, z = np.meshgrid(side, side)
voxel = mr.Phantom.from_arrays(
    position=np.stack([x.ravel(), 0 * x.ravel(), z.ravel()], axis=1), t1=T1, t2=T2, weight=1 / x.size
)
waits = np.array([0.05, 0.1, 0.3, 0.6, 1.0])
tau = 0.01
found = [
    abs(mr.simulate(mr.load_sequence(file, T=T), voxel, pulses="ideal", dtype="float64").signal[0, 1]) for T in waits
]
line = np.linspace(0.03, 1.1, 100)
formula = lambda T: 0.5 * np.exp(-2 * tau / T2 - T / T1)  # noqa: E731
mr.plot.signal(
    waits, {"stimulated echo": found}, models={"stimulated echo": (line, formula(line))},
    xlabel="T / s", ylabel="echo / M₀", title="The stimulated echo decays with T1",
)  # fmt: skip

# %%
assert np.allclose(found, formula(waits), rtol=1e-4)
found / formula(waits)

# %% [markdown]
# ## Turn the knobs


# %%
def picture(flip_deg=120.0, T2_ms=100.0):
    echo, _ = train(np.deg2rad(flip_deg), 32, spacing, t2=T2_ms * 1e-3)
    t = np.arange(1, 33) * spacing
    curves = {"echo train": echo, "exp(-t/T2)": np.exp(-t / (T2_ms * 1e-3))}
    return mr.plot.signal(t * 1e3, curves, xlabel="time / ms", ylabel="echo / M₀", title=f"{flip_deg:.0f}° pulses")


slide(picture, flip_deg=(20, 180, 120), T2_ms=(30, 300, 100))

# %% [markdown]
# ## Exercises
#
# 1. What is the first echo of a train of 90° pulses? *Expect sin²(45°) = 1/2 of exp(-TE/T2).*
# 2. And the second? *Expect it larger than the first when relaxation is slow: 3/4 in all, 1/4 spin echo and 1/2 stimulated. Check with `train`.*
# 3. Set T1 = T2 in `train`. *Expect that stimulated echoes no longer stand out: resting along z is no rest any more.*
# 4. Fit one exponential to the 120° train. *Expect T2 some per cent too long. Notebook 10 measures it.*
