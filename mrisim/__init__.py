"""MRI pulse-sequence and Bloch simulator.

Public names are loaded when they are asked for: importing mrisim is quick, changes no setting of JAX, and imports no
matplotlib.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrisim import mapping as mapping
    from mrisim import phantom as phantom
    from mrisim import physics as physics
    from mrisim import plot as plot
    from mrisim.data import Geometry as Geometry
    from mrisim.data import Grid as Grid
    from mrisim.data import Image as Image
    from mrisim.data import ParameterMap as ParameterMap
    from mrisim.data import Phantom as Phantom
    from mrisim.data import RawData as RawData
    from mrisim.errors import ConsistencyError as ConsistencyError
    from mrisim.errors import MrisimError as MrisimError
    from mrisim.errors import ResourceError as ResourceError
    from mrisim.errors import SpecError as SpecError
    from mrisim.errors import TimingError as TimingError
    from mrisim.events.blocks import Sequence as Sequence
    from mrisim.io.files import load as load
    from mrisim.io.files import load_all as load_all
    from mrisim.io.files import save as save
    from mrisim.io.meshes import load_surface as load_surface
    from mrisim.io.phantoms import load_phantom as load_phantom
    from mrisim.io.pulseq import write_sequence as write_sequence
    from mrisim.io.sequences import load_sequence as load_sequence
    from mrisim.mapping import fit_maps as fit_maps
    from mrisim.phantom import list_phantoms as list_phantoms
    from mrisim.physics.coils import CoilArray as CoilArray
    from mrisim.pipeline import run as run
    from mrisim.pipeline import sweep as sweep
    from mrisim.program import Program as Program
    from mrisim.program import lower as lower
    from mrisim.recon import reconstruct as reconstruct
    from mrisim.recon import stack as stack
    from mrisim.sequence import list_sequences as list_sequences
    from mrisim.simulate import Noise as Noise
    from mrisim.simulate import Walk as Walk
    from mrisim.simulate import signal as signal
    from mrisim.simulate import simulate as simulate
    from mrisim.simulate import trace as trace
    from mrisim.validation import validate as validate

__version__ = "0.1.0"

_HOME = {
    "CoilArray": "physics.coils",
    "ConsistencyError": "errors",
    "Geometry": "data",
    "Grid": "data",
    "Image": "data",
    "MrisimError": "errors",
    "Noise": "simulate",
    "ParameterMap": "data",
    "Phantom": "data",
    "Program": "program",
    "RawData": "data",
    "ResourceError": "errors",
    "Sequence": "events.blocks",
    "SpecError": "errors",
    "TimingError": "errors",
    "Walk": "simulate",
    "fit_maps": "mapping",
    "list_phantoms": "phantom",
    "list_sequences": "sequence",
    "load": "io.files",
    "load_all": "io.files",
    "load_phantom": "io.phantoms",
    "load_sequence": "io.sequences",
    "load_surface": "io.meshes",
    "lower": "program",
    "reconstruct": "recon",
    "run": "pipeline",
    "save": "io.files",
    "signal": "simulate",
    "simulate": "simulate",
    "stack": "recon",
    "sweep": "pipeline",
    "trace": "simulate",
    "validate": "validation",
    "write_sequence": "io.pulseq",
}
_MODULES = ("mapping", "phantom", "physics", "plot", "recon")
__all__ = [*_HOME, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"mrisim.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'mrisim' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"mrisim.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(types.ModuleType):
    """A package in which `mrisim.simulate` is the function, whichever of function and submodule is loaded first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def _show_in_notebooks() -> None:
    """Tell a running IPython how to show these types; matplotlib is loaded when the first of them is shown."""
    if "IPython" not in sys.modules:
        return
    shell: Any = sys.modules["IPython"].get_ipython()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["text/html"]
    for home, name in (("events.blocks", "Sequence"), *(("data", name) for name in _SHOWN)):
        formatter.for_type_by_name(f"mrisim.{home}", name, lambda thing: _module("plot").html_of(thing))


def _module(name: str) -> Any:
    return importlib.import_module(f"mrisim.{name}")


_SHOWN = ("Phantom", "RawData", "Image", "ParameterMap")
_show_in_notebooks()
