# %% [markdown]
# # 12 · Optimise a sequence with gradients
#
# **Question.** Which flip angles should a turbo spin echo have, if 180° pulses heat too much? Nobody has to guess: the simulator can be differentiated.
#
# `mr.signal` is the pure function beneath `mr.simulate`: program and phantom in, samples out. JAX differentiates it. We write down what we want, a *loss*, and walk downhill:
#
# $$L(\alpha) = \sum_{n\ge 3}\bigl(S_n(\alpha) - S_{goal}\bigr)^2 + \lambda\,\overline{\alpha^2}, \qquad \alpha \leftarrow \alpha - \eta\,\nabla L.$$

# %%
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

import mrisim as mr

ECHOES = 8
seq = mr.load_sequence("t2_tse", matrix=[8, ECHOES], train=ECHOES, TE="48 ms", dummies=0)  # one train
program = mr.lower(seq, "ideal")
z = (np.arange(60) + 0.5) / 60 * 4e-3 - 2e-3
tissue = mr.Phantom.from_arrays(position=np.outer(z, [0, 0, 1]), t1=1.2, t2=0.09, weight=1 / 60)
mr.plot.sequence(seq)

# %% [markdown]
# All refocusing pulses share one entry in the program's table. To turn them one by one, each gets an entry of its own, and phase encoding is left out.

# %%
has_pulse = program.steps.pulse >= 0
played = program.steps.pulse[has_pulse]
pulses = jax.tree.map(lambda column: column[played], program.pulses)
pulses = replace(pulses, waveform=tuple(program.pulses.waveform[row] for row in played))
steps = replace(
    program.steps,
    pulse=np.where(has_pulse, np.cumsum(has_pulse) - 1, -1),
    moment=program.steps.moment * [0, 0, 1],
    readout_moment=program.steps.readout_moment * [0, 0, 1],
)
program = replace(program, pulses=pulses, steps=steps)


def echoes(flips):  # refocusing flip angles [rad] → magnitude of each echo
    amplitude = jnp.concatenate([program.pulses.amplitude[:1], flips / (2 * jnp.pi)])
    changed = replace(program, pulses=replace(program.pulses, amplitude=amplitude))
    return jnp.abs(mr.signal(changed, tissue)[0].reshape(ECHOES, 8)[:, 4])


# %% [markdown]
# ## Is it the right function?
#
# With 180° all over, the echoes must be exp(-t/T2). And the derivative must be that of finite differences.

# %%
t = 0.012 * np.arange(1, ECHOES + 1)
full = echoes(jnp.full(ECHOES, jnp.pi))
assert np.allclose(full, np.exp(-t / 0.09), atol=2e-3)


def loss(flips, goal):
    return jnp.sum((echoes(flips)[2:] - goal) ** 2) + 1e-3 * jnp.mean(flips**2)


slope = jax.jit(jax.grad(loss))
value = jax.jit(loss)
start, goal = jnp.full(ECHOES, jnp.deg2rad(120.0)), 0.5
exact = slope(start, goal)
step = 1e-2
shifted = [float(value(start.at[3].add(sign * step), goal)) for sign in (1, -1)]
finite = (shifted[0] - shifted[1]) / (2 * step)
assert abs(finite - float(exact[3])) < 0.02 * float(abs(exact).max())  # single precision, second order in the step
float(exact[3]), finite

# %% [markdown]
# ## Downhill


# %%
def descend(goal, steps=40):
    flips, history = start, []
    for _ in range(steps):
        flips = flips - 1.5 * slope(flips, goal)
        history.append(float(value(flips, goal)))
    return flips, np.array(history)


flips, history = descend(goal)
mr.plot.signal(np.arange(40), {"loss": history}, xlabel="step", ylabel="loss", title="Downhill")

# %%
number = np.arange(1, ECHOES + 1)
mr.plot.signal(
    number,
    {"120° throughout": np.full(ECHOES, 120.0), "optimised": np.rad2deg(flips)}, xlabel="pulse", ylabel="flip angle / °",
    title="Flip angles",
)  # fmt: skip

# %%
before, after = np.asarray(echoes(start)), np.asarray(echoes(flips))
mr.plot.signal(
    number, {"180°": np.asarray(full), "120°": before, "optimised": after, "goal": np.full(ECHOES, goal)},
    xlabel="echo", ylabel="echo / M₀", title="Echoes: a plateau",
)  # fmt: skip

# %%
assert history[-1] < 0.5 * float(value(start, goal))
assert after[2:].std() < 0.75 * before[2:].std()
power = np.mean(np.asarray(flips) ** 2) / np.pi**2
print(f"spread of the echoes {before[2:].std():.3f} → {after[2:].std():.3f}; power {power:.0%} of that of 180° pulses")

# %% [markdown]
# ## Turn the knob: the goal
#
# A low plateau is cheap and long, a high one takes power and falls at the end.

# %%
plateaus = {f"goal {g}": np.asarray(echoes(descend(g, 20)[0])) for g in (0.3, 0.4, 0.5)}
mr.plot.signal(number, plateaus, xlabel="echo", ylabel="echo / M₀", title="Three goals")

# %% [markdown]
# ## Exercises
#
# 1. Weigh power by 1e-2 in place of 1e-3. *Expect smaller angles and echoes below the goal.*
# 2. Optimise for two tissues at once (add the losses of two phantoms). *Expect a compromise, near that of the shorter T2.*
# 3. Differentiate with respect to T2: `jax.grad` of `echoes(…)[5]` over the phantom's `t2`. *Expect t/T2² · S for 180° pulses: the sensitivity that mapping lives on.*
# 4. Replace the descent by `scipy.optimize.minimize(…, jac=True)`. *Expect the same angles in fewer steps.*
