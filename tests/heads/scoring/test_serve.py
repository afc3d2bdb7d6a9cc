"""The page for listening: what it scores and refuses, and once in a real browser."""

from __future__ import annotations

import csv
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from mmmos.extract.front import Sound
from mmmos.heads.scoring import serve
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.serve import score_upload, score_uploads
from mmmos.heads.scoring.serve_view import Envelope
from tests.browser import Browser
from tests.conftest import Outcome
from tests.heads.scoring.experiment import scoring_experiment


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_bundle(scoring_experiment().bundle, device="cpu")


@pytest.fixture(scope="module")
def audio() -> Path:
    return max(scoring_experiment().paths("test"), key=lambda path: soundfile.info(path).duration)


def test_a_file_gets_the_answer_that_predict_gives(scorer: Scorer, audio: Path) -> None:
    heard = score_upload(scorer, audio)
    (answer,) = scorer.files([audio], hop_s=1.0)
    assert heard.answer | {"id": "", "path": ""} == answer | {"id": "", "path": ""}
    assert heard.duration_s == pytest.approx(soundfile.info(audio).duration)
    assert heard.envelope is not None


def test_what_is_too_large_or_not_audio_is_refused(
    scorer: Scorer, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.wav").write_bytes(b"x")
    heard = score_upload(scorer, tmp_path / "x.wav")
    assert "not audio in a container that is read" in heard.answer["error"]
    assert heard.answer["bundle"] == scorer.id
    assert heard.envelope is None
    monkeypatch.setattr(serve, "MAX_DURATION_S", 1.0)
    assert "minutes; at most" in score_upload(scorer, audio).answer["error"]
    monkeypatch.setattr(serve, "MAX_BYTES", 10)
    assert "MiB; at most" in score_upload(scorer, audio).answer["error"]


def test_an_upload_that_has_vanished_is_told_and_the_others_are_scored(
    scorer: Scorer, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vanishing, measure = tmp_path / "vanishing.wav", serve.envelope_of
    vanishing.write_bytes(audio.read_bytes())

    def envelope_of(sound: Sound) -> Envelope:
        ends = measure(sound)
        vanishing.unlink(missing_ok=True)  # as the page's own tidying up may, between two looks at a file
        return ends

    monkeypatch.setattr(serve, "envelope_of", envelope_of)
    *_, (words, html) = score_uploads(scorer, [vanishing, tmp_path / "gone.wav", audio])
    assert words == "1 of 3 scored."
    assert html.count("No such file") + html.count("no such file") == 2


def test_several_files_are_told_one_by_one_and_shown_together(
    scorer: Scorer, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.wav").write_bytes(b"x")
    said = list(score_uploads(scorer, [audio, tmp_path / "x.wav"]))
    assert [words for words, _ in said] == [
        f"Scoring {audio.name} (1 of 2) ...",
        "Scoring x.wav (2 of 2) ...",
        "1 of 2 scored.",
    ]
    assert [bool(html) for _, html in said] == [False, False, True]
    assert list(score_uploads(scorer, [])) == [("", "")], "what was there is cleared"
    monkeypatch.setattr(serve, "MAX_FILES", 1)
    ((words, html),) = score_uploads(scorer, [audio, audio])
    assert "2 files; this page takes 1 at a time" in words
    assert html == ""


def test_a_port_that_none_is_is_refused_before_a_model_is_loaded(cli: Callable[..., Outcome]) -> None:
    done = cli("serve", "--bundle", "nowhere", "--port", "99999")
    assert done.code == 2
    assert "--port" in done.err


def test_a_page_leaves_the_environment_as_it_was(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Page:
        def launch(self, **options: object) -> tuple[None, str, None]:
            return None, os.environ["GRADIO_TEMP_DIR"], None

        def close(self) -> None:
            pass

    monkeypatch.setattr(serve, "build_page", lambda scorer: Page())
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    monkeypatch.delenv("GRADIO_ANALYTICS_ENABLED", raising=False)
    with serve.serving(scorer) as folder:
        assert Path(folder).is_dir()
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    assert "GRADIO_ANALYTICS_ENABLED" not in os.environ
    assert not Path(folder).exists()


@pytest.mark.browser
def test_a_person_drops_files_sees_their_scores_and_listens(
    scorer: Scorer, audio: Path, tmp_path: Path
) -> None:
    pytest.importorskip("gradio", reason="needs gradio, the extra `serve`")
    (tmp_path / "x.wav").write_bytes(b"x")
    with serve.serving(scorer) as address, Browser(390, 844) as browser:
        assert address.startswith("http://127.0.0.1:")
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        urllib.request.urlopen(address, timeout=60).close()
        browser.open(address)
        browser.wait_for("!!document.querySelector('#audio input[type=file]')")
        browser.choose_files("#audio input[type=file]", audio, tmp_path / "x.wav")
        text = browser.wait_for(
            "document.querySelector('#results .clip') && document.querySelector('#results').innerText"
        )
        (answer,) = scorer.files([audio])
        for axis in scorer.axes:
            assert f"{answer[axis]:.2f}" in text
        assert "Not scored: not audio" in text
        assert "Above" in text or "Below" in text
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits on a phone"
        listens(browser)
        assert any(path.is_file() for path in uploads.rglob("*"))
        rows = browser.evaluate("atob(document.querySelector('#results .download').href.split(',')[1])")
        assert [row["error"] == "" for row in csv.DictReader(rows.splitlines()) if row["row"] == "file"] == [
            True, False,
        ]  # fmt: skip
        outside = "performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin))"
        assert browser.evaluate(f"{outside}.length") == 0, "nobody else is told"
        if folder := os.environ.get("SCREENSHOTS"):
            browser.screenshot(Path(folder) / "page.png")
    assert not uploads.exists(), "uploads go when the page does"


def listens(browser: Browser) -> None:
    """A click in the middle of the waveform plays from there; keys move on and stop."""
    browser.wait_for("document.querySelector('#results audio').duration > 0")
    browser.evaluate("""(() => {
        const wave = document.querySelector('#results .wave'), box = wave.getBoundingClientRect();
        wave.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: box.x + box.width / 2}));
    })()""")
    half = "document.querySelector('#results .clip').dataset.seconds / 2"
    player = "document.querySelector('#results audio')"
    browser.wait_for(f"{player}.currentTime >= {half} - 0.05")
    event = "new KeyboardEvent('keydown', {{bubbles: true, key: '{}'}})"
    key = f"document.querySelector('#results .wave').dispatchEvent({event})"
    if not browser.evaluate(f"{player}.paused"):
        browser.evaluate(key.format("Enter"))
        browser.wait_for(f"{player}.paused")
    browser.evaluate(key.format("Home"))
    browser.wait_for(f"{player}.currentTime === 0")
    browser.evaluate(key.format("ArrowRight"))
    browser.wait_for("document.querySelector('#results .wave').getAttribute('aria-valuetext') === '0:01'")
    assert browser.evaluate("document.querySelector('#results .strip .head').style.left") != "0%"
