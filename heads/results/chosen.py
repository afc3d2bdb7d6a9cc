"""The ensemble of a work folder: chosen once, kept in ensemble.json, read from there."""

from __future__ import annotations

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.recipe_file import Choice
from mmmos.heads.results.experiment import ENSEMBLE_FILE, Experiment


def select_ensemble(experiment: Experiment, rule: str = "") -> Ensemble:
    """Choose the ensemble by `rule` and keep it as work/ensemble.json.

    Left out, the rule is that of work/recipe.json, else the default one.
    """
    data = experiment.table.id
    choice = Choice(data, rule) if rule else Choice.of(experiment.work, data)
    chosen = choice.chooser({run.id for run in experiment.runs}, experiment.run_set)(experiment.pool)
    chosen.save(experiment.work / ENSEMBLE_FILE)
    return chosen


def load_ensemble(experiment: Experiment) -> Ensemble:
    """The ensemble of a work folder, chosen by the default rule where there is none yet.

    Where it was chosen among another set of runs than the experiment's, its rule is followed among these,
    and what is kept stays as it is.
    """
    path = experiment.work / ENSEMBLE_FILE
    ensemble = Ensemble.load(path) if path.is_file() else select_ensemble(experiment)
    if ensemble.data != experiment.table.id:
        raise ValueError(
            f"{path} was chosen on {ensemble.data}, the clip table is {experiment.table.id}: "
            f"run `python pipeline.py ensemble --work {experiment.work}` again"
        )
    if ensemble.runs is not None and ensemble.runs.name != experiment.run_set.name:
        choice = Choice(experiment.table.id, ensemble.rule)
        runs = {run.id for run in experiment.runs}
        return choice.chooser(runs, experiment.run_set)(experiment.pool)
    return ensemble
