"""Phantoms: YAML → shapes with tissues → isochromats, truth on an image grid, exact k-space.

The names are loaded when they are asked for, so that listing phantoms waits for neither JAX nor SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrisim.phantom.catalogue import PhantomInfo as PhantomInfo
    from mrisim.phantom.catalogue import list_phantoms as list_phantoms
    from mrisim.phantom.compartments import Cylinders as Cylinders
    from mrisim.phantom.compartments import Free as Free
    from mrisim.phantom.compartments import Labels as Labels
    from mrisim.phantom.compartments import Medium as Medium
    from mrisim.phantom.compartments import Mixture as Mixture
    from mrisim.phantom.compartments import Planes as Planes
    from mrisim.phantom.compartments import Spheres as Spheres
    from mrisim.phantom.interface import Model as Model
    from mrisim.phantom.library import json_schema as json_schema
    from mrisim.phantom.library import load_model as load_model
    from mrisim.phantom.library import load_phantom as load_phantom
    from mrisim.phantom.mesh import Mesh as Mesh
    from mrisim.phantom.mesh import sphere_surface as sphere_surface
    from mrisim.phantom.model import PhantomModel as PhantomModel
    from mrisim.phantom.model import Truth as Truth
    from mrisim.phantom.sampling import Sampling as Sampling
    from mrisim.phantom.tissues import Tissue as Tissue
    from mrisim.phantom.tissues import tissue as tissue
    from mrisim.phantom.voxels import Layer as Layer
    from mrisim.phantom.voxels import VoxelModel as VoxelModel

_HOME = {
    "Cylinders": "compartments",
    "Free": "compartments",
    "Labels": "compartments",
    "Medium": "compartments",
    "Mesh": "mesh",
    "sphere_surface": "mesh",
    "Mixture": "compartments",
    "Planes": "compartments",
    "Spheres": "compartments",
    "PhantomInfo": "catalogue",
    "Layer": "voxels",
    "Model": "interface",
    "VoxelModel": "voxels",
    "json_schema": "library",
    "list_phantoms": "catalogue",
    "load_model": "library",
    "load_phantom": "library",
    "PhantomModel": "model",
    "Truth": "model",
    "Sampling": "sampling",
    "Tissue": "tissues",
    "tissue": "tissues",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mrisim.phantom' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mrisim.phantom.{_HOME[name]}"), name)
