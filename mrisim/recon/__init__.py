"""k-space → image; forward and adjoint side by side."""

from __future__ import annotations

from mrisim.recon.image import reconstruct as reconstruct
from mrisim.recon.infer import infer_recon as infer_recon
from mrisim.recon.series import stack as stack
