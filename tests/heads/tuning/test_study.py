"""Plans and results of sweeps, without Optuna."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmmos.heads.grids import configure
from mmmos.heads.metrics import METRICS
from mmmos.heads.tuning.objective import Objective, held_back
from mmmos.heads.tuning.study import TrialRow, best_of, plans, summarise
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

OBJECTIVE = Objective.parse("pam:srcc")
BASES = [configure("d", ["wavlm-1"], "mlp", loss) for loss in ("ut", "con")]


def row(number: int, state: str = "complete", value: float | None = None) -> TrialRow:
    return TrialRow(number, state, value, {}, f"run{number}", "it exploded" if state == "fail" else "")


def test_a_cell_is_a_study_and_its_seed_does_not_count() -> None:
    found = plans([*BASES, replace(BASES[0], seed=7)], OBJECTIVE, "cell", 0, 5)
    assert [plan.bases for plan in found] == [(BASES[0],), (BASES[1],)]
    (whole,) = plans(BASES, OBJECTIVE, "grid", 0, 5)
    assert whole.bases == tuple(BASES)
    with pytest.raises(ValueError, match="two cells of one title"):
        plans([BASES[0], replace(BASES[0], hidden=32)], OBJECTIVE, "cell", 0, 5)


def test_the_name_changes_with_whatever_changes_the_result() -> None:
    (base,) = plans(BASES[:1], OBJECTIVE, "cell", 0, 5)
    others = [
        plans([replace(BASES[0], data="e")], OBJECTIVE, "cell", 0, 5)[0],
        plans(BASES[:1], OBJECTIVE, "cell", 1, 5)[0],
        plans(BASES[:1], Objective.parse("pam:mse"), "cell", 0, 5)[0],
        plans(BASES[:1], Objective.parse("oof:srcc"), "cell", 0, 5)[0],
        plans(BASES[:1], Objective.parse("oof:srcc"), "cell", 0, 6)[0],
    ]
    names = {base.name, *(other.name for other in others)}
    assert len(names) == 6
    assert base.name.startswith("wavlm-mlp-ut-pam-srcc-")
    # Folds do not matter where nothing is folded.
    assert plans(BASES[:1], OBJECTIVE, "cell", 0, 9)[0].name == base.name


def test_trial_seeds_come_from_the_study_and_the_number() -> None:
    first, second = (plans(BASES[:1], OBJECTIVE, "cell", seed, 5)[0] for seed in (0, 1))
    seeds = [plan.trial_seed(n) for plan in (first, second) for n in range(50)]
    assert len(set(seeds)) == 100
    assert first.trial_seed(3) == plans(BASES[:1], OBJECTIVE, "cell", 0, 5)[0].trial_seed(3)


def test_the_best_is_complete_and_the_earlier_of_equals() -> None:
    rows = [row(0, value=0.5), row(1, "pruned", None), row(2, value=0.7), row(3, value=0.7), row(4, "fail")]
    assert best_of(rows, OBJECTIVE) == rows[2]
    assert best_of(rows, Objective.parse("pam:mse")) == rows[0]
    assert best_of(rows[4:], OBJECTIVE) is None


def test_the_best_against_the_first_on_clips_that_were_held_back() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 1, 60)
    clips = [
        Clip(f"c{n:02d}", "", system=f"s{n % 24}", scores=(t, None, None, None)) for n, t in enumerate(truth)
    ]
    said = {
        name: Predictions(name, "pam", tuple(c.id for c in clips), (truth + noise)[:, None], ("CE",))
        for name, noise in (("run0", rng.normal(0, 2, 60)), ("run1", rng.normal(0, 0.1, 60)))
    }
    values = {name: OBJECTIVE.value(predictions, clips) for name, predictions in said.items()}
    rows = [row(0, value=values["run0"]), row(1, value=values["run1"])]
    (plan,) = plans(BASES[:1], OBJECTIVE, "cell", 0, 5)
    found = summarise(plan, rows, said, clips)
    hidden = held_back(clips)
    unseen = [
        METRICS["srcc"](*(side[[c.id in hidden for c in clips]] for side in OBJECTIVE.items(one, clips)))
        for one in said.values()
    ]
    assert found.difference == pytest.approx(unseen[1] - unseen[0])
    assert found.low is not None
    assert found.high is not None
    assert found.difference is not None
    assert 0 < found.low < found.difference < found.high
    assert (found.n, found.clusters) == (len(hidden), "system")
    assert "never saw" in found.reason
    same = summarise(plan, rows[:1], said, clips)
    assert (same.difference, same.reason) == (0.0, "no trial is better than the first")
    lost = summarise(plan, [row(0, "fail"), rows[1]], said, clips)
    assert (lost.difference, lost.reason) == (None, "the first trial is not complete: it exploded")


def test_too_few_clips_to_hold_any_back_claim_no_gain() -> None:
    clips = [Clip(f"c{n}", "", scores=(float(n), None, None, None)) for n in range(12)]
    ids = tuple(clip.id for clip in clips)
    said = {
        run: Predictions(run, "pam", ids, np.random.default_rng(n).normal(5, 1, (12, 1)), ("CE",))
        for n, run in enumerate(("run0", "run1"))
    }
    (plan,) = plans(BASES[:1], OBJECTIVE, "cell", 0, 5)
    found = summarise(plan, [row(0, value=0.1), row(1, value=0.9)], said, clips)
    assert (found.difference, found.low) == (None, None)
    assert "no gain is claimed" in found.reason


def test_all_trials_are_trained_with_one_seed() -> None:
    (plan,) = plans(BASES[:1], OBJECTIVE, "cell", 0, 5)
    assert plan.training_seed == plan.trial_seed(0)
