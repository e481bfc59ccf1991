"""What a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Versions of mrisim and what it stands on, and the device.

    Example:
        >>> sorted(versions())[:2]
        ['device', 'jax']
    """
    import jax

    names = ("mrisim", "jax", "numpy", "scipy")
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["device"] = ", ".join(str(device) for device in jax.devices()[:1])
    return found
