"""A page that scores files that are dropped on it, and plays them from where their waveform is clicked.

Built with gradio (the extra `serve`).  It listens on this machine alone
unless an address is named, answers its own page alone (see `serve_guard`), takes files up to a size and a
length, and keeps what is uploaded in a folder of its own that is removed when the page ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from mmmos.extract.front import open_file
from mmmos.heads.scoring.answers import identity
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.serve_guard import LOCAL, Guard
from mmmos.heads.scoring.serve_view import Heard, envelope_of, results
from mmmos.store.escape import inert

HERE = Path(__file__).parent
MAX_BYTES = 200 * 2**20
MAX_DURATION_S = 30 * 60.0
HOPS_S = ((60.0, 1.0), (300.0, 5.0), (MAX_DURATION_S, 10.0))
"""(Up to so many seconds of audio, seconds from one window to the next): long files get fewer windows."""
MAX_FILES = 50
KEPT_S = 3600
"""Uploads are removed after an hour, and all of them when the page ends."""

WELCOME = """# How does it sound?
Drop audio files, and see what listeners would say of them. They stay on the machine that runs this
page, and are removed within an hour."""


def score_upload(scorer: Scorer, path: Path) -> Heard:
    """A file's answer with a timeline, or with the reason why it cannot be scored."""
    request = AudioRequest(path.name, path.name, path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{size / 2**20:.0f} MiB; at most {MAX_BYTES / 2**20:.0f} MiB are taken")
        sound = open_file(path)
        if (minutes := sound.claimed_s / 60) > MAX_DURATION_S / 60:
            raise ValueError(f"{minutes:.0f} minutes; at most {MAX_DURATION_S / 60:.0f} are taken")
        hop_s = next(hop for limit, hop in HOPS_S if sound.claimed_s <= limit)
        envelope = envelope_of(sound)
    except (OSError, ValueError) as reason:
        return Heard(path, identity(request) | {"error": str(reason), "bundle": scorer.id})
    (answer,) = scorer.stream([request], hop_s=hop_s)
    return Heard(path, answer) if "error" in answer else Heard(path, answer, envelope, sound.claimed_s)


def score_uploads(scorer: Scorer, paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(how far it is in words, results as HTML) again and again; the results come with the last."""
    if len(paths) > MAX_FILES:
        yield f"{len(paths)} files; this page takes {MAX_FILES} at a time. For more: mmmos predict FOLDER", ""
        return
    files = []
    for number, path in enumerate(paths, 1):
        yield f"Scoring {path.name} ({number} of {len(paths)}) ...", ""
        files.append(score_upload(scorer, path))
    scored = sum("error" not in file.answer for file in files)
    yield (f"{scored} of {len(files)} scored." if files else "", results(scorer, files) if files else "")


def build_page(scorer: Scorer) -> Any:
    """The page as gradio Blocks."""
    try:
        import gradio as gr
    except ImportError:
        raise RuntimeError("the page needs gradio: pip install '.[serve]'") from None

    def show(paths: list[str] | None) -> Iterator[tuple[str, str]]:
        for words, html in score_uploads(scorer, list(map(Path, paths or ()))):
            yield f"<p role='status'>{escape(inert(words))}</p>", html

    with gr.Blocks(title="MMMOS", delete_cache=(60, KEPT_S), analytics_enabled=False) as page:
        gr.Markdown(WELCOME)
        audio = gr.File(file_count="multiple", type="filepath", label="Audio files", elem_id="audio")
        status, found = gr.HTML(elem_id="status"), gr.HTML(elem_id="results", apply_default_css=False)
        audio.change(show, audio, [status, found], show_progress="hidden", trigger_mode="always_last")
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
            css_paths=HERE / "serve.css",
            head=f"<script>{(HERE / 'serve.js').read_text(encoding='utf-8')}</script>",
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
