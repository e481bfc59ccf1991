"""Program × phantom × engine → samples."""

from mrisim.simulate._simulate import signal, simulate, trace
from mrisim.simulate.receive import Noise

__all__ = ["Noise", "signal", "simulate", "trace"]
