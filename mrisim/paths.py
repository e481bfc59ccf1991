"""Where the library's YAML files lie: in a checkout at the top of the repository, in a wheel inside the package."""

from __future__ import annotations

from pathlib import Path

from mrisim.errors import ResourceError

KINDS = ("sequences", "phantoms", "protocols")
_PACKAGE = Path(__file__).resolve().parent


def library_folder(kind: str) -> Path:
    """Folder of the library's files of one kind.

    Args:
        kind: "sequences", "phantoms" or "protocols".

    Raises:
        ResourceError: the installation lacks the folder.

    Example:
        >>> library_folder("sequences").name
        'sequences'
    """
    for root in (_PACKAGE / "_library", _PACKAGE.parent):
        folder = root / kind
        if kind in KINDS and folder.is_dir():
            return folder
    raise ResourceError(f"must find the library folder '{kind}', but it is not beside {_PACKAGE}. Reinstall mrisim")


def library_files(kind: str) -> dict[str, Path]:
    """Name → file of everything in one kind of library, sorted by name.

    Example:
        >>> all(path.suffix == ".yaml" for path in library_files("protocols").values())
        True
    """
    return {path.stem: path for path in sorted(library_folder(kind).glob("*.yaml"))}
