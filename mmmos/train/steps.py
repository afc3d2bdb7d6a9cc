"""The steps of `train` after the table is understood: extract, train, choose, calibrate, export, report.

Each is what a verb does that can be called by hand.  What is there is not made again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mmmos.extract.compute import Compute
from mmmos.extract.request import ExtractRequest
from mmmos.store import folders, names, noted
from mmmos.store.console import COVERAGE, say
from mmmos.train.verdict import Verdict, verdict

if TYPE_CHECKING:
    from mmmos.heads.results.experiment import Experiment
    from mmmos.heads.scoring.bundle import Bundle
    from mmmos.store.clips import ClipTable

RESERVED = 0.15
"""Share of --minutes that is kept for choosing, exporting and reporting."""


KEPT = "what was made is kept, and the same command goes on from there"


class TimeUpError(KeyboardInterrupt):
    """The minutes are over.  Like Ctrl-C it passes every handler of errors, and what is finished is kept."""


@dataclass(frozen=True)
class Deadline:
    """Seconds of `time.monotonic` at which training ends; 0 for never."""

    at_s: float = 0.0

    @staticmethod
    def of(minutes: float | None) -> Deadline:
        return Deadline(time.monotonic() + 60.0 * minutes * (1 - RESERVED)) if minutes else Deadline()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise TimeUpError inside the block when the time is over (where the system has such an alarm)."""
        if not self.at_s or not hasattr(signal, "SIGALRM"):
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:
            raise TimeUpError

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, self.at_s - time.monotonic()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


CLIP_COLUMNS = "id,path,domain,source,system,group,split,"
"""How a clip table begins that was written by us."""


def refuse_others(clips: Path, bundle: Path, work: Path) -> None:
    """ValueError, before anything is done, where a table or bundle of others would be written over."""
    from mmmos.extract.corpora.table_command import refuse_beside
    from mmmos.heads.scoring.bundle_folder import refuse_other
    from mmmos.heads.scoring.prior import FOLDER

    folders.refuse_foreign_file(clips, [CLIP_COLUMNS], "clip table")
    if clips.exists():
        noted.check(clips)
    refuse_beside(clips)
    refuse_other(bundle)
    refuse_other(work / FOLDER)


def refuse_unknown(preset: str, request: ExtractRequest) -> None:
    """ValueError for names of a preset, of encoders or of terms that there are not."""
    from mmmos.extract.request import encoder_names
    from mmmos.heads.training.recipe import PRESETS

    names.choose("preset", preset, PRESETS)
    encoder_names(request)


def refuse_too_few(table: ClipTable) -> None:
    """ValueError, before hours of features, where nothing could tell what a predictor is worth."""
    from mmmos.heads.training.recipe import folds_of

    folds_of(table)


def extract(request: ExtractRequest, work: Path, compute: Compute, deadline: Deadline) -> None:
    """Features of every clip; RuntimeError where the time is over first, or too few can be read."""
    from mmmos.extract.run import run

    try:
        with deadline.held():
            code = run(request, work, compute)
    except TimeUpError:
        raise RuntimeError(f"the minutes were over before all features were made; {KEPT}") from None
    if code == COVERAGE:
        raise RuntimeError(f"too few clips could be read; the reasons are in {work / 'rejects.csv'}")


def source(name: str, preset: str, weights: Path | None) -> Bundle | None:
    """The bundle to start from; None where none is named."""
    from mmmos.heads.scoring.prior import open_source

    if not name:
        return None
    if preset != "size":
        raise ValueError(f"--preset {preset} has no heads that start from a bundle: leave it or --from out")
    return open_source(name, weights)


def encoders_for(encoders: str, source: Bundle | None) -> str:
    """The names of the encoders, with those that the bundle to start from needs."""
    from mmmos.heads.scoring.prior import encoders_with

    return encoders if source is None else encoders_with(encoders, source)


def start_from(work: Path, source: Bundle | None) -> None:
    """Keep what a bundle says of the clips as features; without one, forget what was kept before."""
    from mmmos.heads.scoring.prior import adopt, forget

    if source is None:
        forget(work)
        return
    adopt(work, source)
    say(f"starting from {source.id}: its {', '.join(source.axes)} of every clip are features, too")


def train_heads(work: Path, preset: str, deadline: Deadline, **settings: Any) -> None:
    """Train the heads that suit the number of clips, and a ridge regression, as far as the time allows."""
    from mmmos.heads.runs import runs_folder
    from mmmos.heads.stage_two import train_recipe

    try:
        with deadline.held():
            train_recipe(work, preset, **settings)
    except TimeUpError:
        if not any(runs_folder(work).glob("*/predictions-*.parquet")):
            raise RuntimeError(f"the minutes were over before any head was trained; {KEPT}") from None
        say("the minutes are over: the heads that are trained by now are used")


def choose(work: Path) -> Experiment:
    """Choose and calibrate the ensemble as the recipe says, and keep it as ensemble.json."""
    from mmmos.heads.results.commands import choose_ensemble
    from mmmos.heads.results.experiment import open_experiment

    choose_ensemble(work)
    return open_experiment(work)


def judge(experiment: Experiment) -> Verdict:
    """How well held-out clips are predicted: on the test split, else dev, else out of fold."""
    from mmmos.heads.results.chosen import load_ensemble
    from mmmos.heads.results.evaluation import rows
    from mmmos.heads.results.scores import score

    split = "test" if "test" in experiment.held_out() else experiment.splits[-1]
    clips = experiment.table.of(split)
    found = score(load_ensemble(experiment), experiment, split).rows
    ridge = experiment.ridge
    plain = rows(ridge.predictions(split), clips, intervals=False) if ridge and ridge.has(split) else []
    return verdict(found, plain, clips, experiment.table.axes.names)


def export(work: Path, destination: Path, said: Verdict, weights: Path | None) -> None:
    """The bundle, its card with the verdict, and the report."""
    from mmmos.heads.results.report import write_report
    from mmmos.heads.scoring.export import add_to_bundle, export_bundle

    export_bundle(work, destination, weights=weights)
    add_to_bundle(destination, "verdict", [*said.lines, *said.warnings])
    say(f"bundle: {destination}; report: {write_report(work)}")
