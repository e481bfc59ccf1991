"""What a run says before it begins."""

from __future__ import annotations

import mrisim as mr


def test_the_need_of_memory_is_stated_before_the_run():
    said: list[tuple[str, float]] = []
    mr.run("fid", phantom="points", progress=lambda what, share: said.append((what, share)))
    (note,) = [number for number, (what, _) in enumerate(said) if "isochromats need" in what]
    assert said[note][0].startswith("fid: ")
    assert " MiB, of " in said[note][0]
    assert "simulating" in said[note + 1][0]


def test_the_terminal_keeps_the_line(capsys):
    mr.run("fid", phantom="points", memory="1 GiB", progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if "isochromats need" in line]
    assert len(lines) == 1
    assert lines[0].endswith(", of 1 GiB")
