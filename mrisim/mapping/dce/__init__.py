"""Dynamic contrast enhancement: signal → concentration → kinetic parameters. All times in s, rates in 1/s."""

from __future__ import annotations

from mrisim.mapping.dce.aif import disperse as disperse
from mrisim.mapping.dce.aif import read_aif as read_aif
from mrisim.mapping.dce.concentration import concentration_from_signal as concentration_from_signal
from mrisim.mapping.dce.curves import tissue_concentration as tissue_concentration
from mrisim.mapping.dce.fit import fit as fit
from mrisim.physics.input_functions import georgiou_aif as georgiou_aif
from mrisim.physics.input_functions import mcgrath_aif as mcgrath_aif
from mrisim.physics.input_functions import parker_aif as parker_aif
from mrisim.physics.input_functions import plasma as plasma
from mrisim.physics.input_functions import weinmann_aif as weinmann_aif
