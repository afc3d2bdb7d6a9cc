"""MMMOS predicts what listeners say about speech, music and sound, without a reference.

    from mmmos import load_bundle

    scorer = load_bundle("bundle")
    answers = scorer.files(["a.wav", "b.flac"])

The names below are the public interface; each is imported from its home when it is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not (Path(__file__).parent / "store").is_dir():
    # In a checkout the layers stand beside this folder, not in it: installed, they are below it.
    __path__.append(str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
    from mmmos.heads.scoring.loading import load_bundle
    from mmmos.heads.scoring.scorer import Scorer
    from mmmos.store.clips import load_table
    from mmmos.store.features import FeatureStore
    from mmmos.store.predictions import Predictions

__version__ = "0.2.0"

__all__ = ["FeatureStore", "Predictions", "Scorer", "__version__", "load_bundle", "load_table"]

_HOMES = {
    "FeatureStore": "mmmos.store.features",
    "Predictions": "mmmos.store.predictions",
    "Scorer": "mmmos.heads.scoring.scorer",
    "load_bundle": "mmmos.heads.scoring.loading",
    "load_table": "mmmos.store.clips",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmmos' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
