"""A bundle and the encoders that it needs, loaded together to score with."""

from __future__ import annotations

from pathlib import Path

from mmmos.extract.front import Compute, Front, rebuild
from mmmos.heads.scoring.bundle import read_bundle, require_same
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
        A bundle's folder (see `bundle`).
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
    bundle = read_bundle(Path(folder))
    compute = Compute(device, batch, workers, stock)
    encoders = rebuild(bundle.encoders, None if weights is None else Path(weights), compute)
    require_same([encoder.spec for encoder in encoders], bundle.encoders)
    return Scorer(bundle, Front(encoders, compute))
