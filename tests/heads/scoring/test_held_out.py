"""Errors on clips that were not trained on, and intervals on the demonstration corpus."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mmmos.heads.ensemble import Ensemble, from_weights
from mmmos.heads.mixing import cautious_lines
from mmmos.heads.results.chosen import load_ensemble
from mmmos.heads.results.experiment import Experiment, open_experiment
from mmmos.heads.scoring.held_out import errors_of, intervals_of, origin_of, panel_noise
from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS, cross_check
from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AES_AXES, Axes, Clip
from tests.heads.scoring.experiment import scoring_experiment


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return open_experiment(scoring_experiment().work)


@pytest.fixture(scope="module")
def ensemble(experiment: Experiment) -> Ensemble:
    """Two members of unequal weight."""
    first, second = experiment.runs[:2]
    return from_weights("two", {first.id: 0.75, second.id: 0.25}, experiment.table.id)


def test_errors_and_spread_clip_by_clip(experiment: Experiment, ensemble: Ensemble) -> None:
    held_out, clips = errors_of(experiment, ensemble, ["pam", "dev"], AES_AXES.names)
    assert {clip.id for clip in clips} == {
        c.id for c in (*experiment.table.of("dev"), *experiment.table.of("pam"))
    }
    first, second = experiment.runs[:2]
    row = 0
    for split in ("pam", "dev"):
        ones, others = first.predictions(split), second.predictions(split)
        for clip_id, one in zip(ones.clip_ids, ones.values, strict=True):
            clip = clips[row]
            assert clip.id == clip_id
            assert (held_out.domains[row], held_out.groups[row]) == (clip.domain, clip.group)
            other = others.values[others.clip_ids.index(clip_id)]
            mean = 0.75 * one + 0.25 * other
            np.testing.assert_allclose(held_out.errors[row], mean - np.array(clip.scores), atol=1e-12)
            np.testing.assert_allclose(held_out.spread[row], np.sqrt(3) / 4 * abs(one - other), atol=1e-12)
            row += 1


def test_intervals_say_which_clips_they_rest_on(experiment: Experiment, ensemble: Ensemble) -> None:
    plain = intervals_of(experiment, ensemble, AES_AXES.names)
    assert plain.source == "dev, PAM"
    assert {row.on for row in plain.coverage} == {"dev, PAM, cross-checked over left-out fifths"}
    seen: list[Clip] = []

    def nobody_knows(clips: list[Clip]) -> list[str]:
        seen.extend(clips)
        return [""] * len(clips)

    found = intervals_of(experiment, ensemble, AES_AXES.names, nobody_knows)
    on_test = [row for row in found.coverage if row.on.startswith("test")]
    assert {row.domain for row in on_test} == {"all", *(clip.domain for clip in experiment.table.of("test"))}
    assert {clip.id for clip in seen} == {clip.id for clip in experiment.table.of("test")}
    assert found.quantiles == plain.quantiles, "test changes no interval"


def test_out_of_fold_errors_know_nothing_of_the_clips_own_ratings() -> None:
    """The ensemble's line was fitted on all of them: three clips of one axis, each a group of its own."""
    clips = [
        Clip(str(n), "a.wav", group=str(n), scores=(score,), axes=("PQ",))
        for n, score in enumerate((1.0, 2.0, 6.0))
    ]
    table = ClipTable(tuple(clips), axes=Axes(("PQ",)))
    values = np.array([[2.0], [3.0], [4.0]])
    stored = Predictions("r", "oof", ("0", "1", "2"), values, ("PQ",), ())
    run = SimpleNamespace(id="r", predictions=lambda split: stored)
    experiment = cast(Experiment, SimpleNamespace(everything=[run], table=table))
    ensemble = Ensemble("all", ("r",), (1.0,), table.id, calibration=((1.0, 0.0),))
    held_out, _ = errors_of(experiment, ensemble, ["oof"], ("PQ",))
    # Two clips are too few for a slope: each other pair leaves the predictions as they are.
    np.testing.assert_allclose(held_out.errors[:, 0], [1.0, 1.0, -2.0])
    four = replace(clips[0], id="3", group="3", scores=(3.0,))
    stored = Predictions(
        "r", "oof", ("0", "1", "2", "3"), np.array([[1.0], [2.0], [3.0], [4.0]]), ("PQ",), ()
    )
    experiment.table = ClipTable((*clips, four), axes=Axes(("PQ",)))  # type: ignore[misc]
    held_out, _ = errors_of(experiment, ensemble, ["oof"], ("PQ",))
    line = cautious_lines(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [6.0]]))
    assert held_out.errors[3, 0] == pytest.approx(line[0][0] * 4.0 + line[0][1] - 3.0)


def test_the_noise_of_a_panel_by_hand() -> None:
    axes = ("MOS", "SIG")
    clips = [
        Clip("a", "a.wav", ratings=((1.0, 3.0), ()), scores=(2.0, None), axes=axes),
        Clip("b", "b.wav", ratings=((1.0, 2.0, 3.0), (4.0,)), scores=(2.0, 4.0), axes=axes),
    ]
    # Variance of the mean: 2 / 2 of the first panel, 1 / 3 of the second; one rating tells nothing.
    assert panel_noise(clips, axes) == pytest.approx([np.sqrt((1 + 1 / 3) / 2), 0.0])
    assert panel_noise(clips, ("SIG",)) == pytest.approx([0.0])


@pytest.mark.parametrize(
    ("system", "source", "origin"),
    [
        ("", "", "real"),
        ("LibriTTS", "LibriTTS", "real"),
        ("real-audio", "PAM", "real"),
        ("Ground_Truth", "", "real"),
        ("audiogen_m", "PAM", "synthetic"),
        ("realistic-tts", "", "synthetic"),
    ],
)
def test_the_system_tells_recordings_from_synthetic_audio(system: str, source: str, origin: str) -> None:
    assert origin_of(Clip("a", "a.wav", system=system, source=source)) == origin


@pytest.mark.slow
def test_intervals_hold_on_the_demonstration_corpus(experiment: Experiment) -> None:
    held_out, _ = errors_of(experiment, load_ensemble(experiment), ["dev", "pam", "test"], AES_AXES.names)
    rows = cross_check(
        AES_AXES.names, held_out, panel_noise(experiment.table.clips, AES_AXES.names), "held out"
    )
    for level in CONFIDENCE_LEVELS:
        share = np.mean([row.share for row in rows if row.level == level and row.domain == "all"])
        assert abs(share - level) < 0.05
    for row in rows:
        if row.domain == "all":
            assert abs(row.share - row.level) < 0.05, row
