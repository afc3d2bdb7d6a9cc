"""Results go to stdout and everything else to stderr, whole and as they are written."""

from __future__ import annotations

import pytest

from mmmos.store import console
from mmmos.store.console import say, show, table
from mmmos.store.table import Table


def test_every_outcome_has_an_exit_code_of_its_own() -> None:
    codes = [value for name, value in vars(console).items() if name.isupper() and isinstance(value, int)]
    assert sorted(codes) == list(range(len(codes)))
    assert console.OK == 0


def test_advice_stays_out_of_piped_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("3 of 30 clips could not be read")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "3 of 30 clips could not be read\n")


def test_brackets_of_a_name_are_text_and_long_lines_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[bold]take[/x] [live] " + "a-long-name/" * 30
    say(line)
    table(line, ("system",), [("[live]",)])
    shown = capsys.readouterr()
    assert shown.err == f"{line}\n"
    assert f"{line}\n" in shown.out
    assert " [live] " in shown.out


def test_caveats_stand_in_the_title_of_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [Table(title, ("axis", "srcc"), (("PQ", 0.5),)) for title in ("first", "second")]
    show(tables, ("synthetic audio", "untrained muq"))
    out = capsys.readouterr().out
    assert "first (synthetic audio, untrained muq)\n" in out
    assert "second (synthetic audio, untrained muq)\n" in out


def test_notes_stand_below_their_table(capsys: pytest.CaptureFixture[str]) -> None:
    show([Table("scores", ("axis",), (("PQ",),), notes=("10 clips of 2 systems",))])
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("  10 clips of 2 systems") > next(i for i, line in enumerate(lines) if "PQ" in line)


def test_a_pipe_gets_a_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = [f"value-{number:02d}" for number in range(12)]
    table("wide", [f"c{number}" for number in range(12)], [row])
    assert any(all(cell in line for cell in row) for line in capsys.readouterr().out.splitlines())
