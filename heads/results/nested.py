"""An ensemble's out-of-fold figures without the flattery of choosing it on the clips that are scored.

What is chosen and calibrated by out-of-fold predictions has seen their ratings.  Here it is chosen once more
for each fold, on the other folds alone, and only then predicts the fold.  No torch.

Level and spread are set by the ensemble's own line for all folds together: a line for each fold would shift
the folds against each other and so cost rank correlation that no user loses.  Errors are flattered by these
two numbers an axis, ranks by nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.mixing import through
from mmmos.heads.pool import Pool, agreement
from mmmos.heads.recipe_file import Choice
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.runs import OOF_RECORD
from mmmos.store import sealed
from mmmos.store.predictions import Predictions
from mmmos.store.schema import OOF
from mmmos.store.shape import require
from mmmos.store.splits import group_folds


def predict(ensemble: Ensemble, experiment: Experiment, split: str) -> Predictions:
    """What an ensemble predicts on a split; on "oof" nested, as said above.

    Where the choice cannot be repeated without a fold (a rule that looks at more than the out-of-fold
    predictions), the ensemble predicts as it is.
    """
    if split != OOF:
        return ensemble.predict(experiment.everything, split)
    kept = Choice.of(experiment.work, experiment.table.id)
    choice = replace(
        kept,
        rule=ensemble.rule,
        only=kept.only if ensemble.rule == kept.rule else (),
        per_axis=bool(ensemble.by_axis),
        calibrate=bool(ensemble.calibration),
    )
    choose = choice.chooser({run.id for run in experiment.runs}, experiment.run_set)
    # Read first: what is wrong with a file is told, and never the reason for other figures.
    pool, fold = experiment.pool, _folds(experiment, ensemble.members[0])
    try:
        if fold is None or choose(pool).id != ensemble.id:
            raise ValueError("the ensemble was chosen among other runs")
        return _nested(ensemble, experiment, choice, fold)
    except ValueError:
        return ensemble.predict(experiment.everything, split)


def _folds(experiment: Experiment, member: str) -> NDArray[np.int64] | None:
    """[N] the fold of each clip with out-of-fold predictions; None where nothing is kept of a run's folds."""
    stored = next((run for run in experiment.runs if run.has(OOF)), None)
    run = next((run for run in experiment.runs if run.id == member), None)
    if stored is None or run is None or not (path := run.folder / OOF_RECORD).is_file():
        return None
    record = sealed.read_object(path)
    require(record, {"folds": int}, path)
    by_id = {clip.id: clip for clip in experiment.table}
    try:
        return group_folds([by_id[clip_id] for clip_id in stored.predictions(OOF).clip_ids], record["folds"])
    except ValueError as reason:
        raise ValueError(f"{path}: {reason}") from None


def _nested(
    ensemble: Ensemble, experiment: Experiment, choice: Choice, fold: NDArray[np.int64]
) -> Predictions:
    pool = experiment.pool
    stored = next(run for run in experiment.runs if run.has(OOF)).predictions(OOF)
    values = np.full((len(stored.clip_ids), len(stored.axes)), np.nan)
    runs = {run.id for run in experiment.runs}
    choose = replace(choice, calibrate=False).chooser(runs, experiment.run_set)
    for number in range(fold.max() + 1):
        held = fold == number
        chosen = choose(_without(pool, held))
        members = np.stack([pool.predictions[OOF][member][held] for member in chosen.members])
        values[held], _ = chosen.mixture.mean_and_spread(members)
    values = through(ensemble.calibration, values)
    caveats = ensemble.predict(experiment.everything, OOF).caveats
    return Predictions(ensemble.id, OOF, stored.clip_ids, values, stored.axes, caveats)


def _without(pool: Pool, held: np.ndarray) -> Pool:
    """The pool as if these clips [N] had no ratings and no predictions."""
    truth = {**pool.truth, OOF: np.asfortranarray(pool.truth[OOF][~held])}
    predictions = {**pool.predictions, OOF: {r: v[~held] for r, v in pool.predictions[OOF].items()}}
    scores = {
        run: agreement(values, truth[OOF], together=pool.together) for run, values in predictions[OOF].items()
    }
    return replace(pool, truth=truth, predictions=predictions, scores={**pool.scores, OOF: scores})
