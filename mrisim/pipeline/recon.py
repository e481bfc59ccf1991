"""A file of raw data → images on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mrisim.data import Image, RawData
from mrisim.errors import ConsistencyError, Finding, MrisimError, Problem, ResourceError
from mrisim.io import files, nifti
from mrisim.pipeline.output import writable_folder
from mrisim.recon import reconstruct, stack


@dataclass(frozen=True, kw_only=True)
class Reconstructed:
    """Images by name, the files they went to, and what the user must hear."""

    images: Mapping[str, Image]
    written: tuple[Path, ...]
    findings: tuple[Finding, ...]


def reconstruct_file(
    source: str | Path, out: str | Path | None = None, *, fov: Sequence[float] | None = None, **options: Any
) -> Reconstructed:
    """Reconstruct an ISMRMRD file, whoever wrote it, or a raw-data file of mrisim, and write its images.

    Runs of one scan become one image with a contrast axis, where their voxels are the same. Each image is written as
    `NAME.h5`, `NAME.nii.gz` with `NAME.json`, and `NAME.png`; all are computed before the first is written.

    Args:
        source: `.mrd`, or `.h5` of either kind.
        out: Folder to add the files to; nothing is written without it.
        fov: Read, phase, partition [m], where the file does not say.
        **options: `window` and `combine` of `reconstruct`.

    Raises:
        ResourceError: the file is broken or holds no raw data, or the folder cannot be written.
        ConsistencyError: the samples do not make an image; the message says why.
    """
    source = Path(source)
    raws = {name: item for name, item in files.load_all(source).items() if isinstance(item, RawData)}
    if not raws:
        rule = "must hold raw data, but holds none"
        raise ResourceError(Problem(rule, "Name a file of kspace/, or an ISMRMRD file", file=str(source)))
    images = _images(source, raws, fov, options)
    written: list[Path] = []
    findings = [finding for image in images.values() for finding in image.findings]
    if out is not None:
        folder = writable_folder(out)
        for name, image in images.items():
            paths, more = _write(folder, name, image)
            written += paths
            findings += more
    return Reconstructed(images=images, written=tuple(written), findings=tuple(dict.fromkeys(findings)))


def image_rows(images: Mapping[str, Image]) -> list[tuple[str, ...]]:
    """Name, number of contrasts, matrix and voxel [mm] of each image, as text."""
    rows = []
    for name, image in images.items():
        matrix = " × ".join(str(n) for n in image.grid.shape)
        size = (*image.grid.spacing[:2], image.grid.thickness or image.grid.spacing[2])
        rows.append((name, str(len(image.data)), matrix, " × ".join(f"{1e3 * length:.4g}" for length in size) + " mm"))
    return rows


def _images(
    source: Path, raws: Mapping[str, RawData], fov: Sequence[float] | None, options: Mapping[str, Any]
) -> dict[str, Image]:
    images, problems = {}, []
    for name, raw in raws.items():
        own = name if len(raws) > 1 else source.stem
        try:
            images[own] = replace(reconstruct(raw, fov=fov, **options), name=own)
        except MrisimError as error:
            problems += [replace(problem, file=problem.file or str(source)) for problem in error.problems]
    if problems:
        raise ConsistencyError(problems)
    first = next(iter(images.values()))
    if len(images) > 1 and all(image.grid.matches(first.grid) for image in images.values()):
        return {source.stem: stack(list(images.values()), source.stem)}
    return images


def _write(folder: Path, name: str, image: Image) -> tuple[list[Path], list[Finding]]:
    from mrisim import plot

    written = [folder / f"{name}.h5", folder / f"{name}.png"]
    picture = plot.png(plot.image(image, title=name))
    files.save(written[0], image)
    nifti.write_bytes(written[1], picture)
    try:
        files.save(folder / f"{name}.nii.gz", image)
    except ConsistencyError as error:
        return written, [Finding("NIfTI", f"{name}.nii.gz is not written ({error.problems[0].rule})")]
    return [*written, folder / f"{name}.nii.gz"], []
