"""A bundle and the encoders that it needs, loaded together to score with."""

from __future__ import annotations

from pathlib import Path

from mmmos.extract.front import Compute, Front, rebuild
from mmmos.heads.scoring.audiobox import AUDIOBOX, ready_bundle
from mmmos.heads.scoring.bundle import ABOUT, read_bundle, require_same
from mmmos.heads.scoring.scorer import Scorer


def load_bundle(
    folder: str | Path,
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    batch: int | None = None,
    workers: int | None = None,
    stock: bool = False,
) -> Scorer:
    """A bundle with its encoders, ready to score; only the encoders that its members need are loaded.

    Parameters
    ----------
    folder
        A bundle's folder (see `bundle`), or "audiobox" for the ready bundle of that name (see `audiobox`).
    device
        "auto", "cpu", "cuda" or "cuda:K".
    weights
        Folder with the encoders' pretrained weights; without it they come from the hub or its cache.
    batch
        Windows through the encoders at a time; left out, it depends on the device.
    workers
        Files that are decoded ahead; left out, two.
    stock
        Use the encoders' published implementations.

    Raises
    ------
    BundleError
        Where the folder is not a bundle.
    SignatureMismatch
        Where the encoders at hand differ from those that the heads were trained with.
    WeightsMissing
        Where pretrained weights are not found; it says which file to put where.
    """
    compute = Compute(device, batch, workers, stock)
    given = None if weights is None else Path(weights)
    if is_ready(folder):
        ready, encoder = ready_bundle(given, compute)
        return Scorer(ready, Front([encoder], compute))
    bundle = read_bundle(Path(folder))
    encoders = rebuild(bundle.encoders, given, compute)
    require_same([encoder.spec for encoder in encoders], bundle.encoders)
    return Scorer(bundle, Front(encoders, compute))


def is_ready(name: str | Path) -> bool:
    """Whether a ready bundle is meant, and not a folder of a bundle that happens to have its name."""
    return str(name) == AUDIOBOX and not (Path(name) / ABOUT).exists()
