"""ISMRMRD (MRD) raw data: written with a complete header, read from anywhere.

The format holds millimeters, milliseconds, microseconds and degrees, single precision, counters of 16 bits, and
positions in the patient frame LPS (x left, y posterior, z superior); mrisim's physical axes are x right, y anterior, z
superior, so x and y change their sign on the way. Nothing is conjugated: the image is the inverse transform.

Source: mrd_raw_data.md and ismrmrd.xsd of github.com/ismrmrd/ismrmrd.
"""

from __future__ import annotations

from mrisim.io.mrd.decode import load_mrd as load_mrd
from mrisim.io.mrd.read import is_mrd as is_mrd
from mrisim.io.mrd.write import save_mrd as save_mrd
