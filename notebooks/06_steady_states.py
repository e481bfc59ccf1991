# %% [markdown]
# # 6 · Gradient echoes and steady states
#
# **Question.** With a pulse every few milliseconds nothing has time to recover. What signal is left, and why do some
# sequences need spoiling, others show dark bands?
#
# What a pulse and a pause do to magnetisation is an affine map, $M \to AM + b$. Repeated, it comes to its fixed point: the **steady state**.
# With ideal spoiling this is Ernst's formula,
#
# $$S = \sin\alpha\,\frac{1 - E_1}{1 - E_1\cos\alpha},\qquad E_1 = e^{-TR/T_1},\qquad \cos\alpha_{Ernst} = E_1 .$$

# %%
import numpy as np
from knobs import slide

import mrisim as mr
from mrisim.physics import signals
from mrisim.physics.spoiling import rf_spoiled

T1, T2, TR = 0.9, 0.08, 0.012
angles = np.deg2rad(np.linspace(1, 60, 120))
curves = {f"T1 = {t1} s": np.asarray(signals.spoiled_gradient_echo(angles, TR, t1)) for t1 in (0.3, 0.9, 3.0)}
mr.plot.signal(
    np.rad2deg(angles),
    curves,
    xlabel="flip angle / °",
    ylabel="signal / M₀",
    title=f"Ernst's curves, TR = {TR * 1e3:.0f} ms",
)

# %%
best = angles[np.argmax(curves["T1 = 0.9 s"])]
assert abs(best - float(signals.ernst_angle(TR, 0.9))) < angles[1] - angles[0]
np.rad2deg(best)

# %% [markdown]
# ## The way there
#
# The library's FLASH with ideal spoiling, one line after the other. From equilibrium the signal falls to the steady state as $(E_1\cos\alpha)^n$.

# %%
water = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=T1, t2=T2)
flip, TE = np.deg2rad(15), 0.005
flash = mr.load_sequence("flash_2d", flip=flip, TR=TR, TE=TE, matrix=[8, 200], dummies=0)
raw = mr.simulate(flash, water, pulses="ideal", spoiling="ideal", dtype="float64")
pulse = np.arange(200)
approach = abs(raw.signal[0].reshape(200, 8)[:, 4]) / np.exp(-TE / T2)
formula = np.asarray(signals.spoiled_gradient_echo_approach(pulse, flip, TR, T1))
mr.plot.signal(
    pulse[::8], {"simulated": approach[::8]}, models={"simulated": (pulse, formula)},
    xlabel="pulse", ylabel="signal / M₀", title="Approach to the steady state",
)  # fmt: skip

# %%
assert np.allclose(approach, formula, rtol=1e-4)
approach[-1] / formula[-1]

# %% [markdown]
# ## Real spoiling
#
# Transverse magnetisation does not vanish by itself. RF spoiling turns the phase of pulse n by $\psi\,n(n+1)/2$, so that what is left over adds up to little, on average.
# How little depends on ψ. Scanners use 117° or 50°: there the signal is near Ernst's.

# %%
psi = np.arange(0, 181, 3.0)
spoiled = np.array([float(rf_spoiled(flip, TR, T1, T2, np.deg2rad(one), tolerance=1e-4)) for one in psi])
ernst = float(signals.spoiled_gradient_echo(flip, TR, T1))
mr.plot.signal(
    psi,
    {"RF-spoiled": spoiled, "ideal (Ernst)": np.full_like(psi, ernst)},
    xlabel="increment ψ / °",
    ylabel="signal / M₀",
    title="Signal against the increment",
)

# %%
at_117 = spoiled[psi == 117].item()
assert abs(at_117 / ernst - 1) < 0.1
assert spoiled[0] > 1.2 * ernst  # no RF spoiling: the transverse steady state adds up
at_117 / ernst

# %% [markdown]
# ## Balanced: nothing is spoiled
#
# If all gradients are balanced, transverse magnetisation is used again and again. The signal is large, T2/T1-weighted,
# and depends on how far a spin turns in a TR: where it is odd multiples of half a turn, it vanishes. These are the **bands**, 1/TR apart.

# %%
TR_b, flip_b = 0.005, np.deg2rad(40)
df = np.linspace(-300, 300, 121)
spins = mr.Phantom.from_arrays(position=np.zeros((df.size, 3)), t1=T1, t2=T2, df=df)
seq = mr.load_sequence("bssfp", TR=TR_b, flip=flip_b, matrix=[8, 8], dummies=700)
echo_time = seq.kspace()[1].reshape(8, 8)[-1, 4]
m = mr.trace(seq, spins, [echo_time], pulses="ideal")[0]
profile = np.hypot(m[:, 0], m[:, 1])
closed = abs(np.asarray(signals.bssfp(flip_b, TR_b, T1, T2, df, TR_b / 2)))
mr.plot.signal(
    df[::3], {"simulated": profile[::3]}, models={"simulated": (df, closed)},
    xlabel="off-resonance / Hz", ylabel="signal / M₀", title=f"Balanced SSFP: bands {1 / TR_b:.0f} Hz apart",
)  # fmt: skip

# %%
assert np.allclose(
    profile, closed, atol=2e-3
)  # 700 pulses leave exp(-3.5 s/T1) = 2 % of the start off the bands' edges
assert profile[np.argmin(abs(df - 100))] < 0.2 * profile[np.argmin(abs(df))]
profile.max()

# %% [markdown]
# The same in space: a disc of water in a field that grows from left to right.

# %%
side = np.linspace(-0.1, 0.1, 96)
x, y = np.meshgrid(side, side)
disc = np.hypot(x, y) < 0.09
x, y = x[disc], y[disc]
layers = np.linspace(-6e-3, 6e-3, 3)
place = np.concatenate([np.stack([x, y, np.full_like(x, h)], axis=1) for h in layers])
phantom = mr.Phantom.from_arrays(position=place, t1=T1, t2=T2, df=place[:, 0] / 0.1 * 250)
image = mr.reconstruct(
    mr.simulate(mr.load_sequence("bssfp", TR=TR_b, flip=flip_b, matrix=64, dummies=400), phantom, pulses="ideal")
)
mr.plot.image(image, title="Bands in an image: -250 Hz to 250 Hz from left to right")

# %% [markdown]
# ## Turn the knobs


# %%
def picture(flip_deg=40.0, T2_over_T1=0.1):
    curves = {
        f"TR = {tr * 1e3:.0f} ms": abs(
            np.asarray(signals.bssfp(np.deg2rad(flip_deg), tr, T1, T2_over_T1 * T1, df, tr / 2))
        )
        for tr in (0.003, 0.005)
    }
    title = f"bSSFP, {flip_deg:.0f}°, T2/T1 = {T2_over_T1:.2f}"
    return mr.plot.signal(df, curves, xlabel="off-resonance / Hz", ylabel="signal / M₀", title=title)


slide(picture, flip_deg=(2, 90, 40), T2_over_T1=(0.02, 1.0, 0.1))

# %%
several = {f"{a}°": abs(np.asarray(signals.bssfp(np.deg2rad(a), TR_b, T1, T2, df, TR_b / 2))) for a in (5, 20, 40, 70)}
mr.plot.signal(
    df, several, xlabel="off-resonance / Hz", ylabel="signal / M₀", title="Small flips turn the bands inside out"
)

# %% [markdown]
# ## Exercises
#
# 1. Which is brighter at its best flip angle, FLASH at TR 12 ms or bSSFP at TR 5 ms, for T1 0.9 s, T2 80 ms? *Expect about 0.08 against 0.15: bSSFP wastes nothing.*
# 2. What is the largest bSSFP signal for T1 = T2? *Expect half of M₀, at 90°.*
# 3. Make TR of bSSFP 10 ms. *Expect twice as many bands.*
# 4. Why does ψ = 0 not give bSSFP in the third figure? *A gradient still dephases each TR: this is FISP (`signals.ssfp_fid`), the mean over a whole band.*
