# %% [markdown]
# # 1 · A spin
#
# **Question.** A magnet holds magnetisation along z. A pulse tips it into the plane. What does it do next, and what does
# a coil hear of it?
#
# The Bloch equations answer. In a frame that turns with the scanner's frequency, with $M^+ = M_x + i M_y$ and $\Delta f$
# the distance from that frequency,
#
# $$M^+(t) = M^+(0)\, e^{-t/T_2}\, e^{-2\pi i\,\Delta f\, t}, \qquad M_z(t) = 1 + (M_z(0) - 1)\, e^{-t/T_1}.$$
#
# Transverse magnetisation turns and dies; longitudinal magnetisation grows back. The two go on side by side, each at its own pace.

# %%
import numpy as np
from knobs import slide

import mrisim as mr

T1, T2, df = 0.8, 0.1, 12.0  # s, s, Hz
water = mr.Phantom.from_arrays(position=[[0, 0, 0]], t1=T1, t2=T2, df=df)
fid = mr.load_sequence("fid")  # one hard 90° pulse, then sampling
mr.plot.sequence(fid)

# %% [markdown]
# `mr.trace` follows each isochromat (a packet of spins in step) through a sequence. We ask for 600 moments after the pulse.

# %%
t = np.linspace(1e-3, 0.5, 600)
m = mr.trace(fid, water, t)[:, 0]  # (time, 3)
mxy, mz = m[:, 0] + 1j * m[:, 1], m[:, 2]
mr.plot.signal(
    t * 1e3,
    {"Mx": mxy.real, "My": mxy.imag, "|Mxy|": abs(mxy), "Mz": mz},
    xlabel="time / ms", ylabel="magnetisation / M₀", title="After a 90° pulse, in the rotating frame",
)  # fmt: skip

# %% [markdown]
# The same numbers from the two formulas, starting at the first moment:

# %%
since = t - t[0]
formula_xy = mxy[0] * np.exp(-since / T2 - 2j * np.pi * df * since)
formula_z = 1 + (mz[0] - 1) * np.exp(-since / T1)
worst = max(abs(mxy - formula_xy).max(), abs(mz - formula_z).max())
assert worst < 1e-9  # rounding of double precision over the steps
worst

# %% [markdown]
# ## The rotating frame
#
# In the laboratory the spin turns at $f_0 + \Delta f$, 128 million times a second at 3 T. Nobody wants to draw that, so we
# pretend that $f_0$ is 60 Hz. Multiplying by $e^{-2\pi i f_0 t}$ leads from the rotating frame back to the laboratory.

# %%
f0 = 60.0
laboratory = mxy * np.exp(-2j * np.pi * f0 * t)
near = t < 0.15
mr.plot.signal(
    t[near] * 1e3,
    {"laboratory": laboratory.real[near], "rotating frame": mxy.real[near], "envelope": abs(mxy)[near]},
    xlabel="time / ms", ylabel="Mx / M₀", title="One spin, seen from two frames",
)  # fmt: skip

# %% [markdown]
# ## Turn the knobs
#
# T2 sets how long the signal lives, $\Delta f$ how fast it turns.


# %%
def picture(T2_ms=100.0, df_Hz=12.0):
    spin = mr.Phantom.from_arrays(position=[[0, 0, 0]], t1=T1, t2=T2_ms * 1e-3, df=df_Hz)
    x, y, z = mr.trace(fid, spin, t)[:, 0].T
    title = f"T2 = {T2_ms:.0f} ms, Δf = {df_Hz:.0f} Hz"
    return mr.plot.signal(t * 1e3, {"Mx": x, "My": y, "Mz": z}, xlabel="time / ms", ylabel="M / M₀", title=title)


slide(picture, T2_ms=(20, 300, 100), df_Hz=(-40, 40, 12))

# %% [markdown]
# Without sliders, three settings side by side:

# %%
settings = {f"T2 = {value * 1e3:.0f} ms": value for value in (0.03, 0.1, 0.3)}
several = mr.Phantom.from_arrays(position=np.zeros((3, 3)), t1=T1, t2=list(settings.values()), df=df)
tracks = mr.trace(fid, several, t)
mr.plot.signal(
    t * 1e3,
    {name: tracks[:, row, 0] for row, name in enumerate(settings)},
    xlabel="time / ms", ylabel="Mx / M₀", title=f"Δf = {df:.0f} Hz, three values of T2",
)  # fmt: skip

# %% [markdown]
# ## Many spins: T2*
#
# In a voxel the field is not the same everywhere. If the frequencies are spread like a Lorentzian line, their sum
# dies faster than each of them: $1/T_2^* = 1/T_2 + 1/T_2'$. No spin has lost anything; they have only lost step.

# %%
T2_prime = 0.05
voxel = mr.Phantom.from_arrays(position=np.zeros((400, 3)), t1=T1, t2=T2, t2_prime=T2_prime, weight=1 / 400)
each = mr.trace(fid, voxel, t)
total = np.mean(each[..., 0] + 1j * each[..., 1], axis=1)
T2_star = 1 / (1 / T2 + 1 / T2_prime)
expected = np.exp(-t / T2_star)
mr.plot.signal(
    t * 1e3,
    {"one spin": np.hypot(each[:, 0, 0], each[:, 0, 1]), "400 spins": abs(total), "exp(-t/T2*)": expected},
    xlabel="time / ms", ylabel="|Mxy| / M₀", title=f"T2 = {T2 * 1e3:.0f} ms, T2* = {T2_star * 1e3:.0f} ms",
)  # fmt: skip

# %%
assert abs(abs(total) - expected)[t < 0.2].max() < 0.03  # 400 draws of a line, and the length of the pulse
round(T2_star * 1e3, 1)

# %% [markdown]
# ## What the coil hears: a spectrum
#
# Two kinds of water, 40 Hz apart. The signal beats; its Fourier transform shows both lines, each as wide as
# $1/(\pi T_2)$. Here magnetisation turns as $e^{-2\pi i \Delta f t}$, so the transform takes the plus sign.

# %%
pair = mr.Phantom.from_arrays(position=np.zeros((2, 3)), t1=T1, t2=T2, df=[-15.0, 25.0], pd=[1.0, 0.5])
raw = mr.simulate(fid, pair)
heard, when = raw.signal[0], raw.time - raw.time[0]
f = np.linspace(-60, 60, 481)
spectrum = np.exp(2j * np.pi * f[:, None] * when) @ heard * (when[1] - when[0]) / 1j
mr.plot.signal(f, {"spectrum": spectrum.real}, xlabel="Δf / Hz", ylabel="real part / s", title="Two lines")

# %%
peak = f[np.argmax(spectrum.real)]
assert abs(peak + 15) <= 0.5  # two steps of the axis
half = f[spectrum.real > spectrum.real.max() / 2]
width = half[half < 5].max() - half[half < 5].min()
assert abs(width - 1 / (np.pi * T2)) < 0.7  # the tail of the other line, and the steps of the axis
peak, width, 1 / (np.pi * T2)

# %% [markdown]
# ## Exercises
#
# 1. Load `fid` with `flip="45 deg"`. How large is the signal, and how much Mz is left? *Expect sin 45° = 0.71 and cos 45° = 0.71.*
# 2. What flip angle leaves no signal? *Expect 180°: all magnetisation points to -z, and recovers through zero at T1 ln 2.*
# 3. Take T2 > 2·T1. *Expect a refusal: nature keeps T2 ≤ 2·T1.*
# 4. Bring the two lines to 2 Hz apart. *Expect one line: they are closer than their width of 3.2 Hz.*
