"""Intervals for a bundle from a user's own rated clips, in place of those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmmos.heads.scoring.answers import Answer
from mmmos.heads.scoring.bundle import Bundle, save_bundle
from mmmos.heads.scoring.conformal import HeldOut
from mmmos.heads.scoring.held_out import origin_of, panel_noise
from mmmos.heads.scoring.intervals import calibrate, cross_check
from mmmos.heads.scoring.model_card import model_card
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.clips import score_array
from mmmos.store.schema import Clip

FEWEST = 4
"""Clips below which not even an 80 % interval can be given."""


def rated_requests(clips: Iterable[Clip], audio_root: Path) -> list[AudioRequest]:
    """Requests for the clips that are rated on some axis, under the clips' ids."""
    return [
        AudioRequest(clip.id, clip.path, audio_root / clip.path, domain=clip.domain)
        for clip in clips
        if any(score is not None for score in clip.scores)
    ]


def calibrate_bundle(
    bundle: Bundle, clips: Iterable[Clip], answers: Iterable[Answer], source: str = "clips rated by the user"
) -> Bundle:
    """The bundle with intervals from clips that it was not trained on, and their cross-checked coverage.

    Parameters
    ----------
    clips
        With scores on axes of the bundle, and on its scale.
    answers
        The bundle's answers for them, by their ids; those with an error are left out.
    source
        Which clips they are, in words.

    Raises
    ------
    ValueError
        Where too few clips are rated for any interval.
    """
    by_id = {clip.id: clip for clip in clips}
    usable = [answer for answer in answers if "error" not in answer]
    rated = [by_id[answer["id"]] for answer in usable]
    axes = bundle.axes.names
    errors = _columns(usable, axes) - score_array(rated, axes)
    most = int(np.isfinite(errors).sum(axis=0).max(initial=0))
    if most < FEWEST:
        raise ValueError(
            f"{most} clips are rated on {' or '.join(axes)}; an interval needs {FEWEST} or more (80 %), "
            "or 19 (95 %)"
        )
    held_out = HeldOut(
        errors,
        _columns(usable, [f"{axis}_spread" for axis in axes]),
        np.array([clip.domain for clip in rated], dtype=str),
        np.array([clip.group or clip.system for clip in rated], dtype=str),
        np.array([origin_of(clip) for clip in rated], dtype=str),
    )
    noise = panel_noise(rated, axes)
    coverage = cross_check(axes, held_out, noise, f"{source}, cross-checked over left-out fifths")
    return replace(bundle, intervals=replace(calibrate(axes, held_out, noise, source), coverage=coverage))


def save_calibrated(bundle: Bundle, folder: Path) -> None:
    """Write a bundle with its card to a new folder, an empty one, or over the bundle that is there."""
    save_bundle(bundle, folder, model_card(bundle))


def _columns(answers: Sequence[Answer], names: Sequence[str]) -> np.ndarray:
    """[N, A] numbers of the answers under these names."""
    values = [[answer[name] for name in names] for answer in answers]
    return np.array(values, dtype=np.float64).reshape(len(answers), len(names))
