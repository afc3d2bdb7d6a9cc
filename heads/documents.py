"""HTML and Markdown documents from Jinja2 templates; everything that comes from data is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmmos.store.escape import inert, markdown_text
from mmmos.store.table import Table


class _Verbatim(str):
    """Text that is Markdown already."""


def render_html(template: Path, **values: Any) -> str:
    """The document that an HTML template gives.

    Every value is escaped, a `Table` becomes an HTML table, and `{{ value|safe }}` inserts HTML that was
    made by code of ours.

    Parameters
    ----------
    template
        Path of the template; it may include others of its folder.
    values
        What the template names; one that is missing is an error.
    """
    return _environment(template, autoescape=True, finalize=_inert).get_template(template.name).render(values)


def render_markdown(template: Path, **values: Any) -> str:
    """The document that a Markdown template gives.

    Every value is escaped for Markdown and put on one line, a `Table` becomes a Markdown table, and
    `{{ value|verbatim }}` inserts text that is Markdown already.  Parameters as of `render_html`.
    """
    environment = _environment(template, autoescape=False, finalize=_markdown)
    environment.filters["verbatim"] = _Verbatim
    return environment.get_template(template.name).render(values)


def _inert(value: Any) -> Any:
    # What has __html__ is HTML already; autoescape escapes the rest.
    return inert(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _markdown(value: Any) -> str:
    if isinstance(value, Table):
        return value.markdown()
    return value if isinstance(value, _Verbatim) else markdown_text(str(value))


def _environment(template: Path, **settings: Any) -> Environment:
    return Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **settings,
    )
