"""Commands that simulate: run, sweep, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrisim.cli.exits import exits
from mrisim.cli.options import (
    Engine,
    HostsOption,
    PhantomSetOption,
    Precision,
    Pulses,
    ResumeOption,
    SetOption,
    Spoiling,
    StrictOption,
    SystemOption,
    UseOption,
    assignments,
    reading,
)
from mrisim.cli.output import print_result


@exits
def run(
    name: Annotated[str, typer.Argument(help="Sequence or protocol: name in the library, .yaml or .seq file.")],
    phantom: Annotated[
        str | None, typer.Option(help="Name in the library, or a .yaml, .h5, .phantom or .npz file.")
    ] = None,
    phantom_set: PhantomSetOption = None,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out"),
    engine: Annotated[Engine | None, typer.Option(help="State of the spins.")] = None,
    pulses: Annotated[Pulses | None, typer.Option(help="Pulses as played, or instantaneous.")] = None,
    spoiling: Annotated[Spoiling | None, typer.Option(help="Spoiling as played, or perfect.")] = None,
    noise: Annotated[str | None, typer.Option(help="Standard deviation of a sample, or 'snr 50'.")] = None,
    injection: Annotated[
        str | None, typer.Option(help="Time of the contrast agent since the start of each scan, such as '30 s'.")
    ] = None,
    coils: Annotated[int | None, typer.Option(min=1, max=256, help="Elements of the receive array.")] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision of the device.")] = Precision.float32,
    memory: Annotated[str | None, typer.Option(help="Budget, such as '4 GiB'.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    voxel: Annotated[str | None, typer.Option(help="Side of a voxel in the plane, such as '1 mm'.")] = None,
    isochromats: Annotated[int | None, typer.Option(min=1, help="Per voxel.")] = None,
    field: Annotated[str | None, typer.Option(help="Field that tissues are looked up at, such as '1.5 T'.")] = None,
    resume: ResumeOption = False,
    hosts: HostsOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Simulate, reconstruct, fit maps, and write files, figures and a report."""
    from mrisim.pipeline import run as run_pipeline

    if hosts is not None:
        from mrisim.simulate.hosts import join

        join(hosts)
    result = run_pipeline(
        name,
        phantom=phantom,
        phantom_set=assignments(phantom_set or [], "--phantom-set"),
        out=out,
        set=assignments(set_ or []),
        field=field,
        engine=None if engine is None else engine.value,
        pulses=None if pulses is None else pulses.value,
        spoiling=None if spoiling is None else spoiling.value,
        dtype=dtype.value,
        coils=coils,
        noise=noise,
        injection=injection,
        seed=seed,
        memory=memory,
        voxel=voxel,
        isochromats=isochromats,
        resume=resume,
        **reading(system, use, strict),
        progress=True,
    )
    if result.folder is not None:
        print_result(result)


@exits
def sweep(
    name: Annotated[str, typer.Argument(help="Sequence: name in the library, or a .yaml or .seq file.")],
    grid: Annotated[
        list[str], typer.Option("--grid", metavar="NAME=VALUE,VALUE", help="Values of a parameter; repeatable.")
    ],
    phantom: Annotated[str | None, typer.Option(help="Name in the library, or a file.")] = None,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out"),
    isochromats: Annotated[int | None, typer.Option(min=1, help="Per voxel.")] = None,
    spoiling: Annotated[Spoiling | None, typer.Option(help="Spoiling as played, or perfect.")] = None,
    memory: Annotated[str | None, typer.Option(help="Budget, such as '4 GiB'.")] = None,
    resume: ResumeOption = False,
) -> None:
    """Run a sequence with every combination of some parameters, into one report."""
    from mrisim.pipeline import sweep as run_sweep

    values = {key: [part.strip() for part in text.split(",")] for key, text in assignments(grid).items()}
    result = run_sweep(
        name,
        values,
        phantom=phantom,
        set=assignments(set_ or []),
        out=out,
        isochromats=isochromats,
        spoiling=None if spoiling is None else spoiling.value,
        memory=memory,
        resume=resume,
        progress=True,
    )
    print_result(result)


@exits
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out/demo"),
    resume: ResumeOption = False,
) -> None:
    """Run the brain exam: T1- and T2-weighted images; T1, T2, ADC and exchange maps against the truth."""
    from mrisim.pipeline import run as run_pipeline

    print_result(run_pipeline("brain_demo", out=out, resume=resume, progress=True))


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (run, sweep, demo):
        app.command()(command)
