"""What the ready bundle `audiobox` predicts of a work folder's clips, for evaluations to stand beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmmos.heads.network.reading import Batch, weighted_mean
from mmmos.heads.results.experiment import Experiment, open_experiment
from mmmos.heads.results.published import predictions_path
from mmmos.heads.scoring.audiobox import AUDIOBOX
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.opening import reporting
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store import sealed
from mmmos.store.console import say
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip, EncoderSpec, Scale
from mmmos.store.specs import stored_specs

SCALES = (Scale(0.0, 10.0), Scale(1.0, 10.0))
"""Clip tables whose scores audiobox' 1 to 10 can be compared with."""
CHUNK = 256

Predict = Callable[[Sequence[Clip]], NDArray[np.float64]]
"""Clips to scores [N, A]."""


def predict_audiobox(
    work: Path, audio_root: Path | None = None, weights: Path | None = None, device: str = "auto"
) -> None:
    """Store what audiobox predicts of the rated splits of a work folder; what is stored stays.

    Parameters
    ----------
    audio_root
        Where the clips' audio is: it is heard in audiobox' own windows.  None: where `extract` found it, and
        where that folder is no longer there, the stored features of the encoder `aes` are read, if they come
        from the same weights.

    Raises
    ------
    ValueError
        Where the table has other axes or another scale, or neither audio nor features are at hand.
    """
    experiment = open_experiment(work)
    paths = {split: predictions_path(experiment, AUDIOBOX, split) for split in experiment.splits}
    todo = {split: path for split, path in paths.items() if not path.is_file()}
    if not todo:
        return
    if experiment.table.scale not in SCALES:
        scale = experiment.table.scale
        raise ValueError(
            f"audiobox answers from 1 to 10, the clips are rated from {scale.low} to {scale.high}"
        )
    scorer = load_bundle(AUDIOBOX, weights=weights, device=device)
    axes = tuple(axis for axis in scorer.axes if axis in experiment.table.axes.names)
    if not axes:
        rated = ", ".join(experiment.table.axes)
        raise ValueError(f"audiobox predicts {', '.join(scorer.axes)}, the clips are rated on {rated}")
    root = audio_root or _last_root(work)
    predict = _by_audio(scorer, root) if root else _by_features(scorer, experiment)
    columns = [scorer.axes.index(axis) for axis in axes]
    custom = scorer.bundle.about["published"].startswith("custom:")
    caveats = ("audiobox with weights that are not the published ones",) if custom else ()
    for split, path in todo.items():
        clips = experiment.table.of(split)
        say(f"{AUDIOBOX} on {split}: {len(clips)} clips")
        values = predict(clips)[:, columns]
        ids = tuple(clip.id for clip in clips)
        Predictions(AUDIOBOX, split, ids, values, axes, (*experiment.table.caveats, *caveats)).save(path)


def _last_root(work: Path) -> Path | None:
    """Where the last `extract` found the audio, None where that is not known or no longer there."""
    try:
        root = sealed.read_object(work / "extract.json")["audio_root"]
        return Path(root) if Path(root).is_dir() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _by_audio(scorer: Scorer, audio_root: Path) -> Predict:
    def predict(clips: Sequence[Clip]) -> NDArray[np.float64]:
        requests = [AudioRequest(clip.id, clip.path, audio_root / clip.path) for clip in clips]
        answers = list(reporting(scorer.stream(requests), len(requests)))
        for answer in answers:
            if "error" in answer:
                raise ValueError(f"{audio_root / answer['path']}: {answer['error']} (--audio-root)")
        return np.array([[answer[axis] for axis in scorer.axes] for answer in answers], dtype=np.float64)

    return predict


def _by_features(scorer: Scorer, experiment: Experiment) -> Predict:
    (head,), (ours,) = scorer.members.heads, scorer.front.specs
    stored = [spec for spec in stored_specs(experiment.work / "features") if _same_network(spec, ours)]
    if not stored:
        raise ValueError(
            "audiobox has to hear the clips: name their folder by --audio-root (or extract the encoder `aes` "
            "from the same weights; its stored features do as well)"
        )
    store = FeatureStore.open(experiment.work / "features" / stored[0].id)
    say(f"{AUDIOBOX} from stored features: last pieces under 1 s and silence at the end do not count")

    def predict(clips: Sequence[Clip]) -> NDArray[np.float64]:
        crops = [(number, crop) for number, clip in enumerate(clips) for crop in crops_of(clip)]
        seconds = torch.tensor([crop.valid_s for _, crop in crops])
        scores = []
        for at in range(0, len(crops), CHUNK):
            means = torch.from_numpy(store.means([crop.id for _, crop in crops[at : at + CHUNK]]))
            scores.append(
                head.scores(Batch((means,), seconds[at : at + CHUNK]).to(scorer.front.device)).cpu()
            )
        owner = torch.tensor([number for number, _ in crops])
        return weighted_mean(torch.cat(scores), owner, seconds, len(clips)).numpy()

    return predict


def _same_network(spec: EncoderSpec, other: EncoderSpec) -> bool:
    return (spec.name, spec.weights, spec.precision) == (other.name, other.weights, other.precision)
