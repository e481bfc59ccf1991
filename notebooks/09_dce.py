# %% [markdown]
# # 9 · DCE: from injection to Ktrans
#
# **Question.** A contrast agent leaks from the blood into tissue. The scanner sees brightness. How does it come to know the leak?
#
# Four steps, each with an assumption: blood plasma $C_p(t)$ → tissue (Tofts) → relaxation rate → signal, and back.
#
# $$C(t) = K^{trans}\int_0^t C_p(t')\,e^{-k_{ep}(t-t')}dt',\quad k_{ep} = K^{trans}/v_e,\qquad R_1 = R_{10} + r_1 C,\qquad S = \sin\alpha\frac{1-E_1}{1-E_1\cos\alpha}.$$

# %%
import numpy as np
from knobs import slide

import mrisim as mr
from mrisim.mapping import dce
from mrisim.physics import signals

t = np.arange(0.0, 360.0, 3.0)  # s
arrival, hematocrit = 30.0, 0.42
blood = dce.parker_aif(t, delay=arrival)
plasma = dce.plasma(blood, hct=hematocrit)
mr.plot.signal(
    t,
    {"blood": blood, "plasma": plasma},
    xlabel="time / s",
    ylabel="concentration / mM",
    title="What the heart sends: Parker's input function",
)

# %% [markdown]
# ## Three tissues
#
# The agent leaks fast into the tumour, slowly into muscle; the third has a small space to leak into.

# %%
tissues = {"tumour": (0.30, 0.40), "muscle": (0.05, 0.12), "small space": (0.20, 0.08)}  # Ktrans / (1/min), ve
curves = {name: dce.tissue_concentration("tofts", t, plasma, ktrans=k / 60, ve=ve) for name, (k, ve) in tissues.items()}
mr.plot.signal(t, curves, xlabel="time / s", ylabel="concentration / mM", title="Tissue")

# %% [markdown]
# The initial slope is $K^{trans}$ times the plasma curve; what is left at the end tells $v_e$. The convolution by hand, with a fine step, as a check:

# %%
fine = np.arange(0.0, 360.0, 0.02)
cp = np.interp(fine, t, plasma)
k, ve = 0.30 / 60, 0.40
impulse = k * np.exp(-k / ve * (fine[-1] - fine))
by_hand = np.sum(cp * impulse) * 0.02
at_end = dce.tissue_concentration("tofts", fine, cp, ktrans=k, ve=ve)[-1]
assert abs(by_hand / at_end - 1) < 1e-3  # a sum with steps of 20 ms
by_hand

# %% [markdown]
# ## Signal
#
# A spoiled gradient echo, flip 15°, TR 4 ms. Concentration shortens T1; short T1 is bright. The curve bends: twice the agent is not twice the signal.

# %%
flip, TR, T10, r1 = np.deg2rad(15), 0.004, 1.4, 4.5  # rad, s, s, 1/s/mM


def signal_of(concentration, t10=T10):
    return np.asarray(signals.spoiled_gradient_echo(flip, TR, 1 / (1 / t10 + r1 * np.asarray(concentration))))


measured = {name: signal_of(c) for name, c in curves.items()}
mr.plot.signal(t, measured, xlabel="time / s", ylabel="signal / M₀", title="What the scanner sees")

# %%
c = np.linspace(0, 6, 100)
mr.plot.signal(
    c,
    {"signal": signal_of(c), "straight line": signal_of(0) + c * (signal_of(0.01) - signal_of(0)) / 0.01},
    xlabel="concentration / mM",
    ylabel="signal / M₀",
    title="Signal is no measure of concentration",
)

# %% [markdown]
# ## And back
#
# With noise this time. `concentration_from_signal` inverts the signal equation, `dce.fit` the model.

# %%
rng = np.random.default_rng(5)
noisy = {name: s + rng.normal(0, 2e-4, s.shape) for name, s in measured.items()}
before = slice(0, int(arrival / 3))
back = {name: dce.concentration_from_signal(s, flip, TR, T10, r1, baseline=before) for name, s in noisy.items()}
fits = {name: dce.fit("tofts", t, c, plasma) for name, c in back.items()}
lines = {
    name: dce.tissue_concentration("tofts", t, plasma, ktrans=float(f["ktrans"]), ve=float(f["ve"]))
    for name, f in fits.items()
}
mr.plot.concentration(t, back, lines)

# %%
for name, (k, ve) in tissues.items():
    assert abs(float(fits[name]["ktrans"]) * 60 / k - 1) < 0.05, name
    assert abs(float(fits[name]["ve"]) / ve - 1) < 0.05, name
{
    n: f"Ktrans {float(f['ktrans']) * 60:.3f}/min (true {tissues[n][0]}), ve {float(f['ve']):.3f} (true {tissues[n][1]})"
    for n, f in fits.items()
}

# %% [markdown]
# ## What goes wrong: a wrong T1 before the agent
#
# Take 1.0 s for the tumour's 1.4 s, which is what a transmit field 15 % low does to a T1 map. All concentrations scale, and Ktrans with them, nearly as the ratio T10/T10 wrong.

# %%
assumed = np.array([1.0, 1.2, 1.4, 1.6, 1.8])
wrong = np.array(
    [
        float(
            dce.fit(
                "tofts", t, dce.concentration_from_signal(measured["tumour"], flip, TR, a, r1, baseline=before), plasma
            )["ktrans"]
        )
        * 60
        for a in assumed
    ]
)
mr.plot.signal(
    assumed,
    {"Ktrans": wrong, "true": np.full(5, 0.30)},
    xlabel="assumed T10 / s",
    ylabel="Ktrans / (1/min)",
    title="A wrong T1 is a wrong Ktrans",
)

# %%
assert abs(wrong[2] / 0.30 - 1) < 1e-3
assert np.all(np.diff(wrong) < 0)
wrong / 0.30

# %% [markdown]
# ## Turn the knobs


# %%
def picture(Ktrans_per_min=0.2, ve=0.3):
    c = dce.tissue_concentration("tofts", t, plasma, ktrans=Ktrans_per_min / 60, ve=ve)
    title = f"Ktrans = {Ktrans_per_min:.2f}/min, ve = {ve:.2f}"
    return mr.plot.signal(
        t, {"plasma / 10": plasma / 10, "tissue": c}, xlabel="time / s", ylabel="concentration / mM", title=title
    )


slide(picture, Ktrans_per_min=(0.02, 1.0, 0.2), ve=(0.05, 0.8, 0.3))

# %% [markdown]
# ## Exercises
#
# 1. Measure every 15 s (`t[::5]`) for input and tissue. *Expect Ktrans off by many per cent: the first pass is missed.*
# 2. Fit `"extended_tofts"` to the tumour. *Expect vp near zero and the same Ktrans; with noise a larger standard error, because there is more to find.*
# 3. Forget the hematocrit (use `blood` for plasma). *Expect Ktrans and ve low by 1 - 0.42.*
# 4. Shift the input by 6 s against the tissue. *Expect a bad fit of the upslope; `fit_delay=True` mends it.*
