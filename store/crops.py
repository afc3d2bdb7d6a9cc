"""The ten-second grid over a clip, and where its audio may lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path

from mmmos.store.schema import CROP_SECONDS, Clip, Crop

MIN_TAIL_S = 1.0
"""A last piece shorter than this is dropped, unless it is all there is: a fraction of a second of a
longer clip says little, and its features would be mostly padding."""


def is_crop(start_s: float, left_s: float, step_s: float = CROP_SECONDS) -> bool:
    """Whether a crop from `start_s`, with `left_s` seconds of audio from there on, is one of the series.

    The first of a series is one whatever it holds; a later one needs MIN_TAIL_S of audio that the crops
    before it, every `step_s` seconds, do not hold.
    """
    return left_s > 0 and (start_s == 0 or left_s >= CROP_SECONDS - step_s + MIN_TAIL_S)


def crop_grid(audio: str, duration_s: float) -> tuple[Crop, ...]:
    """The crops of an audio file: every 10 s from the start, the last one as long as the audio lasts.

    ValueError for a duration that is not positive: such a file is to be rejected when it is surveyed.

    >>> [(crop.start_s, crop.valid_s) for crop in crop_grid("0a1b", 23.5)]
    [(0.0, 10.0), (10.0, 10.0), (20.0, 3.5)]
    >>> len(crop_grid("0a1b", 20.9))  # 0.9 s are too little for a crop of their own
    2
    """
    if not 0.0 < duration_s < float("inf"):
        raise ValueError(f"audio {audio}: a duration of {duration_s} s has no crops")
    crops: list[Crop] = []
    while is_crop(start_s := len(crops) * CROP_SECONDS, left_s := duration_s - start_s):
        crops.append(Crop(audio, len(crops), start_s, min(left_s, CROP_SECONDS)))
    return tuple(crops)


def crops_of(clip: Clip) -> tuple[Crop, ...]:
    """The crops of a surveyed clip; ValueError for one whose audio has not been looked at."""
    if not clip.audio:
        raise ValueError(f"clip {clip.id} has not been surveyed: its audio's hash and duration are unknown")
    return crop_grid(clip.audio, clip.duration_s)


class UnusableNameError(ValueError):
    """A path that no file can have; it leads nowhere, so nowhere wrong either."""


def contain(root: Path, path: str) -> Path:
    """`path` below `root`, links followed; ValueError where it leads out, whether it exists or not.

    UnusableNameError for what no file can be named, and for links in a circle.
    """
    if not path or "\0" in path:
        raise ValueError("the path is empty" if not path else "the path holds a NUL byte")
    base = Path(root).resolve()
    try:
        full = (base / path).resolve()
    except UnicodeEncodeError:
        raise UnusableNameError(f"{path!r} is not text that a file can be named by") from None
    except (OSError, RuntimeError) as reason:  # RuntimeError: links in a circle
        raise UnusableNameError(f"{path}: {reason}") from None
    if not full.is_relative_to(base):
        raise ValueError(f"{path} leads out of the audio root {base}")
    return full


def containing(root: Path) -> Callable[[str], Path]:
    """`contain` for the many paths of a table: the links of each folder are followed once."""
    folder = cache(lambda path: os.fspath(contain(root, path or ".")))

    def contained(path: str) -> Path:
        above, name = os.path.split(path)
        try:
            full = f"{folder(above)}/{name}"
            full.encode()
        except ValueError:
            return contain(root, path)  # which says what is wrong with the path itself
        if name in ("", ".", "..") or "\0" in name or os.path.islink(full):  # noqa: PTH114 - a Path is slow
            return contain(root, path)
        return Path(full)

    return contained


def resolve_audio(root: Path, path: str) -> Path:
    """The regular file that `path` names below `root`.

    ValueError with the reason: it leads out of the root (also by a link), is missing, or is a folder,
    pipe or device.
    """
    return _regular(contain(root, path), root, path)[0]


def resolving(root: Path) -> Callable[[str], tuple[Path, os.stat_result]]:
    """`resolve_audio` for the many paths of a table, with what the system says of each file."""
    below = containing(root)
    return lambda path: _regular(below(path), root, path)


def _regular(full: Path, root: Path, path: str) -> tuple[Path, os.stat_result]:
    try:
        status = full.stat()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file below {Path(root).resolve()}") from None
    except OSError as reason:
        raise ValueError(f"{path}: {reason.strerror or reason}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ValueError(f"{path} is {kind}")
    return full, status
