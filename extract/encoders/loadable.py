"""`transformers` beside a torchaudio or a torchvision that does not load.

`muq` declares torchaudio and, by x_clip, torchvision, so `pip install` brings both; nothing here uses
them.  `transformers` imports them wherever they are installed.  The package index's builds are for
CUDA and do not load beside a CPU build of torch, and torchaudio 2.11, its last release, does not load
beside torch from 2.15 on: then no model of `transformers` can be imported.

Ends with a release of muq that declares neither, or one of `transformers` that passes over packages
that do not load (5.24 does not).
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

NOT_USED_HERE = ("torchaudio", "torchvision")


@functools.cache
def transformers() -> Any:
    """The package, imported when an encoder first needs it: that takes seconds, and not every one does."""
    hide_what_does_not_load()
    return importlib.import_module("transformers")


def hide_what_does_not_load() -> None:
    """Make `transformers` take those of the two packages that do not load for absent ones.

    A package that loads stays in sight, as other code of this process may want it.
    """
    hidden = [name for name in NOT_USED_HERE if not _loads_or_is_absent(name)]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it now says "not found"
    if hidden:
        # `transformers` remembers what it found; it may have looked before us.
        for check in vars(importlib.import_module("transformers.utils.import_utils")).values():
            if hasattr(check, "cache_clear"):
                check.cache_clear()


def _loads_or_is_absent(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name == name
    except Exception:  # OSError, RuntimeError and ImportError have all been seen
        return False
    return True
