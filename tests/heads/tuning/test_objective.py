"""Objectives by name, and never the test split."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.metrics import METRICS
from mmmos.heads.tuning.objective import Objective, held_back
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

CLIPS = [
    Clip("a", "", scores=(1.0, 2.0, None, None)),
    Clip("b", "", scores=(3.0, None, None, None)),
    Clip("c", "", scores=(None, 6.0, None, None)),
    Clip("d", "", scores=(None, None, None, None)),
]
SAID = Predictions(
    "r", "pam", ("d", "c", "b", "a"), np.array([[9, 9], [9, 5], [3, 9], [1, 1.0]]), ("CE", "CU")
)


def test_hand_worked_composite_and_axis() -> None:
    # composites: a (1.0 of 1.5), b (3 of 3), c (5 of 6); d is not rated and does not count.
    assert Objective.parse("pam:mse").value(SAID, CLIPS) == pytest.approx((0.25 + 0 + 1) / 3)
    assert Objective.parse("pam:srcc").value(SAID, CLIPS) == pytest.approx(1.0)
    assert Objective.parse("pam:mse:CU").value(SAID, CLIPS) == pytest.approx((1 + 1) / 2)
    assert Objective.parse("pam:mse:CE").value(SAID, CLIPS) == pytest.approx(0.0)


def test_names_directions_and_round_trip() -> None:
    for text, direction, split in (
        ("pam:srcc", "maximize", "pam"),
        ("dev:mse", "minimize", "dev"),
        ("oof:ktau:PQ", "maximize", "train"),
        ("oof:ktau:a:b", "maximize", "train"),
    ):
        found = Objective.parse(text)
        assert (str(found), found.direction, found.clip_split) == (text, direction, split)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test:srcc", "the test split never chooses"),
        ("pam", "for example pam:srcc"),
        ("pam:scrr", f"known: {', '.join(sorted(METRICS))}"),
        ("train:srcc", "known: dev, oof, pam"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective.parse(text)


def test_too_few_rated_clips_are_refused_before_anything_is_trained() -> None:
    pam = [Clip(str(n), "", split="pam", scores=(5.0, None, None, 1.0 if n else None)) for n in range(3)]
    Objective.parse("pam:srcc").require(pam)
    with pytest.raises(ValueError, match="only 2 clips of split 'pam' are rated"):
        Objective.parse("pam:srcc:PQ").require(pam)
    with pytest.raises(ValueError, match="unknown axis 'QQ'"):
        Objective.parse("pam:srcc:QQ").require(pam)
    with pytest.raises(ValueError, match="only 0 clips of split 'dev'"):
        Objective.parse("dev:mse").require(pam)


def test_undefined_is_none() -> None:
    flat = Predictions("r", "pam", ("a", "b", "c"), np.ones((3, 2)), ("CE", "CU"))
    assert Objective.parse("pam:srcc").value(flat, CLIPS) is None


def test_half_of_the_systems_is_held_back_whole_and_in_any_order() -> None:
    clips = [Clip(f"c{n:02d}", "", system=f"s{n % 20:02d}") for n in range(80)]
    hidden = held_back(clips)
    assert len(hidden) == 40
    assert len({clip.system for clip in clips if clip.id in hidden}) == 10
    assert held_back(clips[::-1]) == hidden
    assert held_back([Clip(f"c{n}", "") for n in range(19)]) == frozenset()


def test_the_objective_does_not_see_what_is_held_back(rng: np.random.Generator) -> None:
    truth = rng.normal(5, 1, 60)
    clips = [Clip(f"c{n:02d}", "", scores=(t, None, None, None)) for n, t in enumerate(truth)]
    hidden = np.array([clip.id in held_back(clips) for clip in clips])
    ids = tuple(clip.id for clip in clips)
    wild = np.where(hidden, -truth, truth)
    spoilt, good = (Predictions("r", "pam", ids, v[:, None], ("CE",)) for v in (wild, truth))
    one = Objective.parse("pam:srcc:CE")
    assert one.value(spoilt, clips) == one.value(good, clips) == 1.0
