"""A small experiment on the demonstration corpus with a bundle of it, made once for all tests of scoring."""

from __future__ import annotations

import atexit
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.demo_corpus import CAVEAT, synthesise
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.heads.grids import grid
from mmmos.heads.results.chosen import select_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.export import export_bundle
from mmmos.heads.training.parallel import train_grid
from mmmos.store.clips import ClipTable, read_clips, save_table
from mmmos.store.schema import Scale


@dataclass(frozen=True)
class Experiment:
    work: Path
    corpus: Path
    bundle: Path
    table: ClipTable

    def paths(self, split: str = "test") -> list[Path]:
        return [self.corpus / clip.path for clip in self.table.of(split)]


@lru_cache(maxsize=1)
def scoring_experiment() -> Experiment:
    """Log-mel and a tiny untrained WavLM under heads of four aggregators; some 15 s on two quiet cores."""
    root = Path(mkdtemp(prefix="scoring-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    corpus, work = root / "corpus", root / "work"
    read = read_clips(synthesise(corpus), scale=Scale(1, 10))
    table, rejects = survey(ClipTable(read.clips, read.scale, (CAVEAT,)), corpus, quiet=True)
    assert not rejects
    save_table(table, work / "clips.json")
    encoders = [
        load_encoder("logmel", audio_recipe=AUDIO_RECIPE),
        load_encoder("wavlm", audio_recipe=AUDIO_RECIPE, random_seed=0, size="tiny"),
    ]
    extract(table, corpus, encoders, work / "features", quiet=True)
    specs = [encoder.spec for encoder in encoders]
    values = {"learning_rate": 1e-3, "epochs": 30, "patience": 10}
    configs = [
        *grid("paper", specs[:1], table.id, aggregators=["mlp"], **values),
        *grid("beyond", specs[:1], table.id, aggregators=["statistics"], losses=["listeners"], **values),
        *grid("paper", specs, table.id, aggregators=["blstm_t"], losses=["ccc"], width=16, **values),
        *grid("paper", specs, table.id, aggregators=["blstm_h"], losses=["ut"], width=16, **values),
    ]
    outcome = train_grid(configs, work, jobs=1)
    assert not outcome.failed, outcome.failed
    select_ensemble(open_experiment(work), "all")
    export_bundle(work, root / "bundle")
    return Experiment(work, corpus, root / "bundle", table)
