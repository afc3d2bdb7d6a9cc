"""What the commands of scoring share: the bundle that is meant, opened, and word of how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmmos.store.console import say

if TYPE_CHECKING:
    from mmmos.heads.scoring.answers import Answer
    from mmmos.heads.scoring.scorer import Scorer

REPORT_EVERY_S = 10.0
USUAL_WORK = Path("work")
"""The work folder where none is named."""

BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle",
        help="A bundle's folder, or owner/name on the Hugging Face hub. Left out: the "
        "ensemble of --work, or, without that folder, audiobox: the published audiobox-aesthetics.",
    ),
]


def open_scorer(bundle: str, work: Path, **options: Any) -> Scorer:
    """The scorer of a bundle's folder, of one on the hub, of `audiobox`, or of a work folder's ensemble."""
    scorer = load_scorer(bundle_meant(bundle, work), **options)
    say_opened(any(scorer.bundle.intervals.clips.values()), scorer.caveats)
    return scorer


def load_scorer(name: str, **options: Any) -> Scorer:
    """`load_bundle`, also of a bundle on the Hugging Face hub, by its owner/name."""
    from mmmos.heads.scoring.loading import is_ready, load_bundle

    if not is_ready(name) and not Path(name).exists() and name.count("/") == 1:
        from mmmos.heads.scoring.hub import download

        return load_bundle(download(name), **options)
    return load_bundle(name, **options)


def bundle_meant(bundle: str, work: Path) -> str:
    """A bundle as `load_scorer` takes it: the named one, else that of a work folder's ensemble.

    Where neither a bundle nor a work folder is given, and the usual one is not there, it is audiobox's.
    """
    from mmmos.heads.scoring.audiobox import AUDIOBOX

    if not bundle and work == USUAL_WORK and not work.exists():
        say(f"no --bundle, no folder {work}: scoring with {AUDIOBOX} (audiobox-aesthetics, the baseline)")
        return AUDIOBOX
    if bundle:
        return bundle
    from mmmos.heads.scoring.export import bundle_of_work

    folder = bundle_of_work(work)
    say(f"scoring with {folder}, the ensemble of {work}")
    return str(folder)


def say_opened(with_intervals: bool, caveats: Sequence[str]) -> None:
    """What is to be known of a bundle before it is used."""
    if not with_intervals:
        say("without intervals: `mmmos calibrate` adds them from clips that you have rated")
    for caveat in caveats:
        say(f"beware: {caveat}")


def known_id(bundle: str) -> str:
    """The id of a bundle's folder as its file says it; "" for what has to be loaded to know it."""
    from mmmos.heads.scoring.bundle import ABOUT, MAX_ABOUT_BYTES
    from mmmos.store import sealed

    path = Path(bundle) / ABOUT
    if not bundle or not path.is_file():
        return ""
    about = sealed.read_object(path.resolve(), MAX_ABOUT_BYTES)
    return str(about.get("id", ""))


def folder_of(bundle: str, work: Path) -> Path:
    """Where a bundle that is changed is kept: its own folder, or ./audiobox for the ready one."""
    from mmmos.heads.scoring.audiobox import AUDIOBOX
    from mmmos.heads.scoring.loading import is_ready

    if is_ready(bundle) or (not bundle and not work.exists()):
        return Path(AUDIOBOX)
    if bundle and not Path(bundle).is_dir():
        raise ValueError(f"{bundle} is not a folder here: name one for the calibrated bundle by -o")
    return Path(bundle) if bundle else work / "bundle"


def reporting(answers: Iterable[Answer], of: int) -> Iterator[Answer]:
    """The same answers; says on stderr every ten seconds how far they have come."""
    started_s = spoken_s = time.monotonic()
    audio_s = 0.0
    for done, answer in enumerate(answers, 1):
        yield answer
        audio_s += answer.get("seconds", 0.0)
        now_s = time.monotonic()
        if now_s - spoken_s >= REPORT_EVERY_S:
            spoken_s = now_s
            say(f"{done}/{of} files, {audio_s / (now_s - started_s):.1f} times real time")
