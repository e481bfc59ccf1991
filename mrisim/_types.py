"""Axis words of the package, for shapes in annotations.

spins       isochromats, each species of a voxel its own
samples     ADC samples in acquisition order
readouts    ADC events in acquisition order
blocks      rows of a sequence's block table
steps       steps of a program
coils       receive coils
z y x       image axes, x along the read direction
"""

from __future__ import annotations

import numpy as np
from jax import Array
from jaxtyping import Bool, Complex, Float, Int

__all__ = ["Array", "Bool", "Complex", "Float", "Int", "NDArray"]

NDArray = np.ndarray
