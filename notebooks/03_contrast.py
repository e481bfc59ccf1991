# %% [markdown]
# # 3 · Relaxation curves and contrast
#
# **Question.** One scanner, one head: why is cerebrospinal fluid black in one image and bright in the next?
#
# A spin echo waits TR for magnetisation to recover and TE for it to decay,
#
# $$S = \rho\,\bigl(1 - 2e^{-(TR - TE/2)/T_1} + e^{-TR/T_1}\bigr)\,e^{-TE/T_2} \;\approx\; \rho\,(1 - e^{-TR/T_1})\,e^{-TE/T_2}.$$
#
# (The exact form has a 180° pulse in it, which inverts what has recovered before it.) TR chooses how much T1 counts, TE how much T2.

# %%
import numpy as np
from knobs import slide

import mrisim as mr
from mrisim.physics import signals

names = {"white matter": "white_matter", "gray matter": "gray_matter", "CSF": "csf"}
tissues = {name: mr.phantom.tissue(key, 3.0).species[0] for name, key in names.items()}
{name: f"T1 {t.t1 * 1e3:.0f} ms, T2 {t.t2 * 1e3:.0f} ms, PD {t.pd:.2f}" for name, t in tissues.items()}

# %% [markdown]
# ## Recovery and decay

# %%
tr = np.linspace(0.05, 6, 200)
recovery = {name: t.pd * np.asarray(signals.saturation_recovery(tr, t.t1)) for name, t in tissues.items()}
mr.plot.signal(tr, recovery, xlabel="TR / s", ylabel="signal at TE = 0", title="Recovery with T1")

# %%
te = np.linspace(0, 0.3, 200)
decay = {name: t.pd * np.asarray(signals.monoexponential(te, t.t2)) for name, t in tissues.items()}
mr.plot.signal(te * 1e3, decay, xlabel="TE / ms", ylabel="signal at TR = ∞", title="Decay with T2")

# %% [markdown]
# ## Does the simulator agree?
#
# The library's spin echo, played with perfect pulses over one isochromat of each tissue, at four settings of (TE, TR).

# %%
column = np.zeros((1, 3))


def spin_echo(tissue, TE, TR):
    seq = mr.load_sequence("spin_echo", TE=TE, TR=TR, matrix=[8, 8], dummies=3)
    spin = mr.Phantom.from_arrays(position=column, t1=tissue.t1, t2=tissue.t2, pd=tissue.pd)
    raw = mr.simulate(seq, spin, pulses="ideal", spoiling="ideal", dtype="float64")
    return abs(raw.signal[0].reshape(8, 8)[-1, 4])  # the last line, at the centre of k-space


settings = [(0.015, 0.5), (0.015, 3.0), (0.09, 3.0), (0.09, 6.0)]
worst = 0.0
for tissue in tissues.values():
    for TE, TR in settings:
        formula = tissue.pd * float(signals.spin_echo(TE, TR, tissue.t1, tissue.t2))
        worst = max(worst, abs(spin_echo(tissue, TE, TR) / formula - 1))
assert worst < 1e-4  # rounding, and the three repetitions before the steady state
worst

# %% [markdown]
# ## Three weightings of a brain
#
# | weighting | TR | TE | bright is |
# | --- | --- | --- | --- |
# | T1 | short | short | short T1: white matter |
# | PD | long | short | much water |
# | T2 | long | long | long T2: CSF |

# %%
brain = mr.load_phantom("brain", voxel=(0.22 / 64, 0.22 / 64, 1e-3), isochromats=1, slab="14 mm", scalp="muscle")
weightings = {"T1-weighted": (0.015, 0.5), "PD-weighted": (0.015, 6.0), "T2-weighted": (0.1, 6.0)}
images = {}
for name, (TE, TR) in weightings.items():
    seq = mr.load_sequence("spin_echo", TE=TE, TR=TR, matrix=64, dummies=2)
    images[name] = mr.reconstruct(mr.simulate(seq, brain, pulses="ideal", spoiling="ideal"))
mr.plot.image(images["T1-weighted"], title="T1-weighted: TR 500 ms, TE 15 ms")

# %%
mr.plot.image(images["PD-weighted"], title="PD-weighted: TR 6 s, TE 15 ms")

# %%
mr.plot.image(images["T2-weighted"], title="T2-weighted: TR 6 s, TE 100 ms")

# %% [markdown]
# The mean over voxels that hold one tissue alone, next to the formula:

# %%
truth = brain.model.truth(images["T1-weighted"].grid)
table = {}
for weighting, (TE, TR) in weightings.items():
    for name, tissue in tissues.items():
        where = truth.mask(names[name], purity=0.999)
        found = images[weighting].magnitude[0][where].mean()
        table[weighting, name] = found, tissue.pd * float(signals.spin_echo(TE, TR, tissue.t1, tissue.t2))
{key: f"image {found:.3f}, formula {formula:.3f}" for key, (found, formula) in table.items()}

# %%
white, gray, csf = "white matter", "gray matter", "CSF"
value = {key: found for key, (found, _) in table.items()}
assert value["T1-weighted", white] > value["T1-weighted", gray] > value["T1-weighted", csf]
assert value["T2-weighted", csf] > value["T2-weighted", gray] > value["T2-weighted", white]
for found, formula in table.values():
    assert abs(found - formula) < 0.08  # a voxel of 3.4 mm takes in some of its neighbours' signal

# %% [markdown]
# ## Turn the knobs: contrast between gray and white matter


# %%
def picture(TR_s=2.0):
    curves = {name: t.pd * np.asarray(signals.spin_echo(te, TR_s, t.t1, t.t2)) for name, t in tissues.items()}
    return mr.plot.signal(te * 1e3, curves, xlabel="TE / ms", ylabel="signal", title=f"Spin echo, TR = {TR_s:.2f} s")


slide(picture, TR_s=(0.4, 6, 2.0))

# %%
contrast = {}
for TR in (0.5, 1.5, 3.0, 6.0):
    both = [tissues[n].pd * np.asarray(signals.spin_echo(te, TR, tissues[n].t1, tissues[n].t2)) for n in (gray, white)]
    contrast[f"TR = {TR} s"] = both[0] - both[1]
mr.plot.signal(te * 1e3, contrast, xlabel="TE / ms", ylabel="gray - white", title="Contrast changes its sign")

# %%
assert contrast["TR = 0.5 s"][10] < 0 < contrast["TR = 6.0 s"][60]

# %% [markdown]
# ## Exercises
#
# 1. Find from the curves the TE at which gray and white matter are equal at TR = 0.5 s. Is there one? *Expect at most a weak crossing at
#    long TE, where little signal is left.*
# 2. Which TI makes CSF black? *Expect `signals.null_inversion_time(TR, T1)`, near T1 ln 2 for long TR; FLAIR is built on it.*
# 3. Repeat at 1.5 T (`mr.phantom.tissue("gray_matter", 1.5)`). *Expect shorter T1, so more signal and less T1 contrast at the same TR.*
# 4. Drop `spoiling="ideal"` and `pulses="ideal"`. *Expect the same images within some per cent: the slice profile and imperfect refocusing.*
