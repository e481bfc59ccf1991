"""Image series → parameter maps."""

from __future__ import annotations

from mrisim.mapping import dce as dce
from mrisim.mapping import dsc as dsc
from mrisim.mapping import t1 as t1
from mrisim.mapping import t2 as t2
from mrisim.mapping.fit import fit_maps as fit_maps
