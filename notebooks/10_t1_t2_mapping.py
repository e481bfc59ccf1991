# %% [markdown]
# # 10 · T1 and T2 mapping, and what biases it
#
# **Question.** Fits look perfect and give the wrong number. How does one notice, and what does one do?
#
# T1 from inversion recovery, T2 from echoes:
#
# $$S(TI) = a + b\,e^{-TI/T_1}, \qquad S(TE) = M_0\,e^{-TE/T_2}.$$
#
# Both are models. Where the sequence does something else (imperfect refocusing, a wrong flip angle), the fit puts it into T1 or T2.

# %%
import numpy as np
from knobs import slide

import mrisim as mr
from mrisim.physics import signals

T1, T2 = 1.0, 0.08
water = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=T1, t2=T2)


def as_image(values, **coordinates):
    """A series of one voxel, as `mr.fit_maps` takes it."""
    grid = mr.Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
    data = np.asarray(values, dtype=complex).reshape(-1, 1, 1, 1)
    return mr.Image(data=data, grid=grid, coordinates={name: np.asarray(c, float) for name, c in coordinates.items()})


def fitted(image, name, **spec):
    return mr.fit_maps(image, {name: spec})[name].data.item()


# %% [markdown]
# ## T1 by inversion recovery
#
# Seven inversion times, from the library's sequence.

# %%
TI = np.array([0.05, 0.2, 0.4, 0.8, 1.4, 2.2, 3.5])
TR = 5.0
signal = []
for ti in TI:
    seq = mr.load_sequence("inversion_recovery_se", TI=ti, TR=TR, TE="12 ms", matrix=[8, 4], dummies=2)
    raw = mr.simulate(seq, water, pulses="ideal", spoiling="ideal", dtype="float64")
    signal.append((raw.signal[0].reshape(4, 8)[-1, 4] / 1j).real)
signal = np.array(signal)
found = fitted(
    as_image(signal, ti=TI, te=0.012 + 0 * TI, tr=TR + 0 * TI), "T1", fit="inversion_recovery", data="complex"
)
line = np.linspace(0.02, 3.6, 200)
model = np.asarray(signals.inversion_recovery_spin_echo(line, 0.012, TR, T1)) * np.exp(-0.012 / T2)
mr.plot.signal(
    TI,
    {"simulated": signal},
    models={"simulated": (line, model)},
    xlabel="TI / s",
    ylabel="signal / M₀",
    title=f"Inversion recovery: T1 = {found * 1e3:.1f} ms",
)

# %%
assert abs(found / T1 - 1) < 1e-3
found

# %% [markdown]
# a and b are both free, so an inversion of 160° does no harm. A model with b = -2a would put the missing 20° into T1.

# %%
inverted = np.deg2rad(160)
poor = np.asarray(signals.inversion_recovery(TI, TR, T1, inverted))
three = fitted(as_image(poor, ti=TI, tr=TR + 0 * TI), "T1", fit="inversion_recovery", data="complex")
grid_t1 = np.linspace(0.5, 1.5, 2001)
ideal = 1 - 2 * np.exp(-TI / grid_t1[:, None])
amplitude = (ideal * poor).sum(1) / (ideal**2).sum(1)
two = grid_t1[np.argmin(((poor - amplitude[:, None] * ideal) ** 2).sum(1))]
assert abs(three / T1 - 1) < 1e-3 < 0.05 < abs(two / T1 - 1)
print(f"true {T1 * 1e3:.0f} ms; a + b exp: {three * 1e3:.0f} ms; a (1 - 2 exp): {two * 1e3:.0f} ms")

# %% [markdown]
# ## T2 from an echo train: a perfect fit, a wrong T2
#
# Refocusing pulses of less than 180° mix in stimulated echoes (notebook 5). One exponential still fits well. A slice of
# 5 mm holds 601 isochromats here: a single one would not notice the crushers.

# %%
spacing, echoes = 0.01, 16
TE = np.arange(1, echoes + 1) * spacing
z = ((np.arange(1202) + 0.5) / 1202 - 0.5) * 10e-3
slab = mr.Phantom.from_arrays(position=np.outer(z, [0, 0, 1]), t1=T1, t2=T2, weight=1 / 601)


def train(flip_deg):
    seq = mr.load_sequence(
        "multi_echo_se",
        spacing=spacing,
        echoes=echoes,
        refocusing=np.deg2rad(flip_deg),
        matrix=[8, 8],
        dummies=0,
        TR=12.0,
    )
    raw = mr.simulate(seq, slab, pulses="ideal", spoiling="ideal", dtype="float64")
    return abs(raw.signal[0].reshape(8, echoes, 8)[-1, :, 4])


flips = (180, 150, 120, 90)
trains = {f"{flip}°": train(flip) for flip in flips}
one_exponential = {
    name: fitted(as_image(echo, te=TE, tr=np.inf + 0 * TE), "T2", fit="monoexponential")
    for name, echo in trains.items()
}
mr.plot.signal(TE * 1e3, trains, xlabel="TE / ms", ylabel="echo / M₀", title=f"Echo trains, T2 = {T2 * 1e3:.0f} ms")

# %%
assert abs(one_exponential["180°"] / T2 - 1) < 2e-3
assert one_exponential["120°"] > 1.05 * T2  # stimulated echoes, which live as long as T1
{name: f"{value * 1e3:.1f} ms" for name, value in one_exponential.items()}

# %% [markdown]
# The remedy is to fit what was played: `fit: epg` takes the phase graph of the train (docs/maps.md). Leaving out the first echo is the folk remedy. How far does it go?

# %%
later = {
    name: fitted(as_image(echo[1:], te=TE[1:], tr=np.inf + 0 * TE[1:]), "T2", fit="monoexponential")
    for name, echo in trains.items()
}
assert later["120°"] < one_exponential["120°"]  # better, not right
assert later["120°"] > 1.02 * T2
{name: f"{value * 1e3:.1f} ms" for name, value in later.items()}

# %% [markdown]
# ## T1 by variable flip angles: B1 squared
#
# Two gradient echoes at 3° and 15°. If the transmit field is 10 % low, the true angles are 2.7° and 13.5°, but the fit believes in 3° and 15°.
# For small angles the apparent T1 is $B_1^2\,T_1$.

# %%
nominal, short_TR = np.deg2rad([3.0, 15.0]), 0.005
fields = np.linspace(0.7, 1.3, 13)
apparent = []
for b1 in fields:
    values = np.asarray(signals.spoiled_gradient_echo(nominal * b1, short_TR, T1))
    image = as_image(values, flip=nominal, tr=[short_TR, short_TR], te=[0.0, 0.0])
    apparent.append(fitted(image, "T1", fit="variable_flip"))
mr.plot.signal(
    fields, {"fit with nominal angles": np.array(apparent)}, models={"fit with nominal angles": (fields, fields**2 * T1)},
    xlabel="B1 relative to nominal", ylabel="apparent T1 / s", title="Line: T1 · B1²",
)  # fmt: skip

# %%
assert np.allclose(apparent, fields**2 * T1, rtol=0.03)  # of second order in the flip angle
apparent[0], apparent[-1]

# %% [markdown]
# ## Turn the knobs: how noise and the choice of TE decide


# %%
def spread(last_TE_ms=160.0, snr=50.0):
    te = np.linspace(0.01, last_TE_ms * 1e-3, 8)
    noise = np.random.default_rng(3).normal(0, 1 / snr, (2, 400, 8))
    values = abs(np.exp(-te / T2) + noise[0] + 1j * noise[1])
    slope = np.polyfit(te, np.log(values).T, 1)[0]
    figure = mr.plot.signal(
        te * 1e3, {"one of 400": values[0]}, models={"one of 400": (te * 1e3, np.exp(-te / T2))}, xlabel="TE / ms", ylabel="magnitude",
        title=f"T2 = {-1e3 / slope.mean():.1f} ± {1e3 * np.std(1 / slope):.1f} ms from log-linear fits (true {T2 * 1e3:.0f} ms)",
    )  # fmt: skip
    return figure


slide(spread, last_TE_ms=(30, 400, 160), snr=(10, 200, 50))

# %% [markdown]
# ## Exercises
#
# 1. `spread(400, 20)`: what happens to the mean? *Expect T2 too long: magnitudes do not decay below the noise.*
# 2. Repeat the inversion recovery with TR = 2 s. *Expect the same T1: a and b take the incomplete recovery.*
# 3. Set T1 = 100 ms for the 120° train. *Expect less bias: stimulated echoes decay too.*
# 4. Give `variable_flip` a map `b1`. *Expect T1 back at 1 s for every field.*
