"""Commands from file to file: recon, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrisim.cli.exits import exits
from mrisim.cli.options import SetOption, StrictOption, SystemOption, UseOption, assignments, lengths, reading
from mrisim.cli.output import print_rows


@exits
def recon(
    file: Annotated[Path, typer.Argument(help="Raw data: an ISMRMRD file (.mrd, .h5), or a file of kspace/ of a run.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the images.")] = Path("out"),
    fov: Annotated[
        str | None, typer.Option(help="Read, phase, partition, where the file does not say: '240 mm, 200 mm, 5 mm'.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="none, hann, hamming or tukey.")] = None,
    combine: Annotated[str | None, typer.Option(help="Coils: adaptive or rss.")] = None,
) -> None:
    """Reconstruct raw data, and write images as HDF5, NIfTI and PNG."""
    from mrisim.pipeline.recon import image_rows, reconstruct_file

    sides = None if fov is None else lengths(fov, "--fov", 3)
    done = reconstruct_file(file, out, fov=sides, window=window, combine=combine)
    print_rows(("image", "contrasts", "matrix", "voxel"), image_rows(done.images))
    for finding in done.findings:
        typer.echo(f"note: {finding}")
    for path in done.written:
        typer.echo(f"wrote {path}")


@exits
def convert(
    source: Annotated[str, typer.Argument(help="File, or name in the library.")],
    target: Annotated[str, typer.Argument(help="File to write; its suffix names the format. A folder/ for DICOM.")],
    set_: SetOption = None,
    item: Annotated[str | None, typer.Option(help="Of several images or maps in a file, the one of this name.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the format, such as 1.4.1.")] = None,
    rotations: Annotated[str | None, typer.Option(help="Of .seq files: apply, or extension.")] = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Convert a file to another format."""
    from mrisim.pipeline.convert import convert as convert_file

    given = {"set": assignments(set_ or []), "item": item, "version": version, "rotations": rotations}
    done = convert_file(source, target, **given, **reading(system, use, strict))
    for finding in done.findings:
        typer.echo(f"note: {finding}")
    typer.echo(f"wrote {done.target}")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (recon, convert):
        app.command()(command)
