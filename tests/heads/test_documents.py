"""Documents from templates: whatever data holds, it stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from mmmos.heads.documents import render_html, render_markdown
from mmmos.store.table import Table

HOSTILE = "<script>*alert*|[x](y)\n# title</script>"


def template(folder: Path, text: str) -> Path:
    path = folder / "page.j2"
    path.write_text(text, encoding="utf-8")
    return path


def test_html_escapes_values_and_shows_tables(tmp_path: Path) -> None:
    path = template(tmp_path, "<p>{{ text }}</p>{{ table }}{{ made|safe }}\n")
    text = render_html(path, text=HOSTILE, table=Table(HOSTILE, ("a",), ((HOSTILE,),)), made="<br>")
    assert "<script" not in text
    assert text.startswith("<p>&lt;script&gt;")
    assert '<div class="table" tabindex="0" role="region"' in text
    assert text.endswith("<br>\n")


def test_markdown_escapes_values_keeps_them_on_one_line_and_shows_tables(tmp_path: Path) -> None:
    path = template(tmp_path, "# {{ text }}\n{{ table }}\n{{ made|verbatim }}\n{{ 0.5 }}")
    text = render_markdown(path, text=HOSTILE, table=Table("t", ("a",), ((HOSTILE,),)), made="**b**")
    escaped = r"&lt;script&gt;\*alert\*\|\[x\]\(y\) \# title&lt;/script&gt;"
    assert text.split("\n") == [f"# {escaped}", "| a |", "| --- |", f"| {escaped} |", "**b**", "0.5"]


def test_a_value_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = template(tmp_path, "{{ unheard_of }}")
    for render in (render_html, render_markdown):
        with pytest.raises(UndefinedError, match="unheard_of"):
            render(path)
