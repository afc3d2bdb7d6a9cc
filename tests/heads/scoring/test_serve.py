"""The page for listening: what it shows and refuses, and once in a real browser."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.front import open_file
from mmmos.heads.scoring import serve
from mmmos.heads.scoring.bundle import save_bundle
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.serve import TooLargeError, envelope_of, score_upload
from tests.browser import Browser
from tests.heads.scoring.experiment import scoring_experiment
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_bundle(scoring_experiment().bundle, device="cpu")


@pytest.fixture(scope="module")
def audio() -> Path:
    return max(scoring_experiment().paths("test"), key=lambda path: soundfile.info(path).duration)


def test_a_file_becomes_a_table_and_a_drawing(scorer: Scorer, audio: Path) -> None:
    table, drawing = score_upload(scorer, audio)
    (answer,) = scorer.files([audio])
    assert f"<b>{answer['PQ']:.2f}</b>" in table
    assert "Production Quality" in table
    assert "<li>synthetic audio</li>" in table
    assert drawing.startswith("<svg")
    assert all(f">{axis}<" in drawing for axis in scorer.axes)


def test_the_table_names_other_axes_and_escapes_them(audio: Path, tmp_path: Path) -> None:
    bundle = replace(made_bundle([logmel()], SPEECH_AXES), caveats=("<b>loud</b>",))
    table, drawing = score_upload(load_bundle(save_bundle(bundle, tmp_path, ""), device="cpu"), audio)
    assert "MOS <small>Overall Quality</small>" in table
    assert "SIG <small>Quality of the &lt;Signal&gt; | alone</small>" in table
    assert "<li>&lt;b&gt;loud&lt;/b&gt;</li>" in table
    assert ">SIG</text>" in drawing


def test_the_envelope_holds_every_peak(scorer: Scorer, tmp_path: Path) -> None:
    wave = np.zeros((16000 * 70, 2))
    wave[1000, 0], wave[-1, 1], wave[16000 * 35, 1] = 0.5, -0.25, 0.75
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    envelope = envelope_of(open_file(tmp_path / "a.wav"))
    highest = [high for _, high in envelope]
    assert len(envelope) == serve.ENVELOPE_STEPS
    assert max(highest) == pytest.approx(0.75, abs=1e-4)
    assert highest.index(max(highest)) == serve.ENVELOPE_STEPS // 2
    assert envelope[-1][0] == pytest.approx(-0.25, abs=1e-4)


def test_what_is_too_large_or_not_audio_is_refused(
    scorer: Scorer, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.wav").write_bytes(b"x")
    with pytest.raises(ValueError, match="not audio in a container that is read"):
        score_upload(scorer, tmp_path / "x.wav")
    monkeypatch.setattr(serve, "MAX_DURATION_S", 1.0)
    with pytest.raises(TooLargeError, match="minutes"):
        score_upload(scorer, audio)
    monkeypatch.setattr(serve, "MAX_BYTES", 10)
    with pytest.raises(TooLargeError, match="MiB"):
        score_upload(scorer, audio)


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
def test_a_person_drops_a_file_and_sees_its_scores(scorer: Scorer, audio: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs gradio, the extra `serve`")
    with serve.serving(scorer) as address, Browser() as browser:
        assert address.startswith("http://127.0.0.1:")
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        urllib.request.urlopen(address, timeout=60).close()
        browser.open(address)
        browser.wait_for("!!document.querySelector('#audio input[type=file]')")
        browser.choose_file("#audio input[type=file]", audio)
        text = browser.wait_for("document.querySelector('#scores')?.innerText")
        (answer,) = scorer.files([audio])
        for axis in scorer.axes:
            assert f"{answer[axis]:.2f}" in text
        words = "[...document.querySelectorAll('#timeline svg text')].map(one => one.textContent).join(' ')"
        drawn = browser.wait_for(words)
        assert all(axis in drawn for axis in scorer.axes)
        assert browser.wait_for("document.querySelector('#timeline svg').clientWidth") > 300
        assert any(path.is_file() for path in uploads.rglob("*"))
        if folder := os.environ.get("SCREENSHOTS"):
            browser.screenshot(Path(folder) / "page.png")
    assert not uploads.exists(), "uploads go when the page does"
