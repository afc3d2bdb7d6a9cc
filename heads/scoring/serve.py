"""A page that scores a file that is dropped on it: scores, intervals, and a timeline over the waveform.

Built with gradio (the extra `serve`).  It listens on this machine alone
unless an address is named, answers its own page alone (see `serve_guard`), takes files up to a size and a
length, and keeps what is uploaded in a folder of its own that is removed when the page ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.extract.front import Sound, open_file
from mmmos.heads.documents import render_html
from mmmos.heads.plotting import standalone_svg
from mmmos.heads.scoring.answers import FLAGS, Answer, interval_columns
from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS
from mmmos.heads.scoring.plots import timeline
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.serve_guard import LOCAL, Guard

TEMPLATE = Path(__file__).parent / "scores.html.j2"
MAX_BYTES = 200 * 2**20
MAX_DURATION_S = 30 * 60.0
HOPS_S = ((60.0, 1.0), (300.0, 5.0), (MAX_DURATION_S, 10.0))
"""(Up to so many seconds of audio, seconds from one window to the next): long files get fewer windows."""
ENVELOPE_STEPS = 600
KEPT_S = 3600
"""Uploads are removed after an hour, and all of them when the page ends."""


class TooLargeError(ValueError):
    """An upload that is larger or longer than the page takes."""


def score_upload(scorer: Scorer, path: Path) -> tuple[str, str]:
    """(table as HTML, timeline as SVG) of a file; ValueError with the reason where it cannot be scored."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise TooLargeError(f"{size / 2**20:.0f} MiB; at most {MAX_BYTES / 2**20:.0f} MiB are taken")
    sound = open_file(path)
    if sound.claimed_s > MAX_DURATION_S:
        raise TooLargeError(
            f"{sound.claimed_s / 60:.0f} minutes; at most {MAX_DURATION_S / 60:.0f} are taken"
        )
    hop_s = next(hop for limit, hop in HOPS_S if sound.claimed_s <= limit)
    envelope = envelope_of(sound)
    (answer,) = scorer.stream([AudioRequest(path.name, path.name, path)], hop_s=hop_s)
    if "error" in answer:
        raise ValueError(answer["error"])
    series = {
        axis: [((w["start_s"] + w["end_s"]) / 2, w[axis]) for w in answer["windows"]] for axis in scorer.axes
    }
    scale = scorer.bundle.scale
    drawing = timeline(envelope, sound.claimed_s, series, scale.low, scale.high)
    return table_of(answer, scorer), standalone_svg(drawing, f"Scores of {path.name} over time")


def envelope_of(sound: Sound) -> list[tuple[float, float]]:
    """(lowest, highest) sample of ENVELOPE_STEPS equal steps of a piece of audio, in one pass."""
    total = max(1, round(sound.claimed_s * sound.rate_hz))
    low, high = np.zeros(ENVELOPE_STEPS), np.zeros(ENVELOPE_STEPS)
    position = 0
    for block in sound.blocks:
        steps = (np.arange(position, position + len(block)) * ENVELOPE_STEPS // total).clip(
            max=ENVELOPE_STEPS - 1
        )
        np.minimum.at(low, steps, block.min(axis=1))
        np.maximum.at(high, steps, block.max(axis=1))
        position += len(block)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def table_of(answer: Answer, scorer: Scorer) -> str:
    """Scores, intervals and flags of one answer as HTML."""
    rows = []
    for axis in scorer.axes:
        limits = [
            " to ".join(_shown(answer[name]) for name in interval_columns(axis, level))
            for level in CONFIDENCE_LEVELS
        ]
        rows.append(
            {
                "axis": axis,
                "title": scorer.bundle.axes.title(axis),
                "score": _shown(answer[axis]),
                "cells": [*limits, _shown(answer[f"{axis}_spread"])],
            }
        )
    return render_html(
        TEMPLATE,
        columns=("score", *(f"{level:.0%} interval" for level in CONFIDENCE_LEVELS), "members' spread"),
        rows=rows,
        scale=scorer.bundle.scale,
        seconds=answer["seconds"],
        domain=answer["domain"],
        bundle_id=scorer.id,
        notes=[*(f"{name.replace('_', ' ')}: {FLAGS[name]}" for name in answer["flags"]), *scorer.caveats],
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def build_page(scorer: Scorer) -> Any:
    """The page as gradio Blocks."""
    try:
        import gradio as gr
    except ImportError:
        raise RuntimeError("the page needs gradio: pip install '.[serve]'") from None

    def show(path: str | None) -> tuple[str, str]:
        if path is None:
            return "", ""
        try:
            return score_upload(scorer, Path(path))
        except ValueError as reason:
            return f"<p id='refused'>cannot be scored: {escape(str(reason))}</p>", ""

    with gr.Blocks(title="MMMOS", delete_cache=(60, KEPT_S), analytics_enabled=False) as page:
        gr.Markdown("# How does it sound?\nDrop an audio file. Nothing leaves this machine.")
        audio = gr.Audio(sources=["upload"], type="filepath", label="Audio", elem_id="audio", buttons=[])
        table = gr.HTML(elem_id="table")
        timeline = gr.HTML(elem_id="timeline")
        audio.change(show, audio, [table, timeline], show_progress="full")
    return page


@contextmanager
def serving(scorer: Scorer, port: int | None = None, address: str = LOCAL) -> Iterator[str]:
    """The page at its address, as long as the block lasts; uploads are removed at its end."""
    with (
        tempfile.TemporaryDirectory(prefix="mmmos-page-") as folder,
        _environment(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False"),
    ):
        page = build_page(scorer)
        guarded = {"middleware": [(Guard, (), {"folder": Path(folder), "address": address})]}
        app, url, _ = page.launch(
            app_kwargs=guarded,
            server_name=address,
            server_port=port,
            share=False,
            footer_links=[],
            max_file_size=MAX_BYTES,
            prevent_thread_lock=True,
            quiet=True,
        )
        if app is not None:
            # Around everything, also what gradio itself put around the page: its answers to other origins.
            app.middleware_stack = Guard(app.middleware_stack, Path(folder), address)
        try:
            yield url
        finally:
            page.close()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables, which gradio reads, for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
