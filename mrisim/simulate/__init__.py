"""Program × phantom × engine → samples."""

from mrisim.simulate._simulate import signal, simulate, trace
from mrisim.simulate._walk import Walk
from mrisim.simulate.receive import Noise

__all__ = ["Noise", "Walk", "signal", "simulate", "trace"]
