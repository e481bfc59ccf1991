"""`mrisim check --phantom`: isochromats that are too few for the spoilers are seen red."""

from typer.testing import CliRunner

from mrisim.cli import app

SEQUENCE = ["check", "flash_2d", "--set", "matrix=8", "--set", "dummies=4"]


def check(*more):
    return CliRunner().invoke(app, [*SEQUENCE, *more])


def test_too_few_isochromats_are_named_with_what_would_do():
    result = check("--phantom", "vials", "--isochromats", "1")
    assert result.exit_code == 0  # a warning
    assert result.output == (
        "flash_2d: 1 warning\n"
        "  flash_2d: warning [density/isochromats] isochromats per voxel of vials: must be at least 5 for spurious "
        "echoes below 5 %, but is 1, which leaves 30 %. Run with --isochromats 5.\n"
    )
    assert check("--phantom", "vials", "--isochromats", "31").output == "flash_2d: fine\n"


def test_what_does_not_fit():
    alone = check("--isochromats", "3")
    assert alone.exit_code == 2
    assert "--isochromats: must come with --phantom, but comes alone." in alone.output
    other = CliRunner().invoke(app, ["check", "brain", "--phantom", "brain"])
    assert "--phantom: must be left out for what is no sequence, but is given." in other.output
