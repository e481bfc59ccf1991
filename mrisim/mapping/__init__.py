"""Image series → parameter maps."""

from __future__ import annotations

from mrisim.mapping import t1 as t1
from mrisim.mapping import t2 as t2
from mrisim.mapping.fit import fit_maps as fit_maps
