"""From public labels and the owner's corpora to a clip table: what is there is kept, the rest is listed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mmmos.extract.audio import AudioError, AudioInfo, survey_file
from mmmos.extract.corpora.audit import Finding, audit, merge_groups, usable, write_findings
from mmmos.extract.corpora.labels import grouped_split, read_aes
from mmmos.extract.progress import Progress
from mmmos.store.clips import ClipTable, write_clips
from mmmos.store.crops import resolve_audio
from mmmos.store.names import choose
from mmmos.store.schema import Clip

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")
"""Tried in this order where a corpus is kept in another format than the labels name."""


@dataclass(frozen=True)
class Prepared:
    """The written table, and everything found on the way (also in `findings`, a CSV)."""

    table: ClipTable
    labelled: int
    findings: tuple[Finding, ...]
    output: Path
    findings_path: Path


def prepare_aes(
    labels: Path,
    audio_root: Path,
    output: Path,
    *,
    split: str = "paper",
    corpora: Mapping[str, str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    quiet: bool = False,
) -> Prepared:
    """Read the AES and AudioMOS labels, look at the audio below `audio_root`, write `output` (CSV).

    The labels' /your_path/ is `audio_root`; corpora maps a corpus' folder name in the labels (EARS, LibriTTS,
    MUSDB18, musiccaps, unbalanced_train_segments, cv-corpus-13.0-2023-03-09, PAM, audiomos2025-track2) to
    where it lies below the root instead.  Another audio format than the labels name is found by its stem.
    Clips whose audio is missing, unreadable or silent are left out; all findings go to OUTPUT-findings.csv.
    With split "grouped", clips of equal audio count as one group.
    ValueError for a corpus that the labels do not name.
    """
    labelled = read_aes(labels, split, seed)
    for name in corpora or ():
        choose("corpus", name, {clip.path.partition("/")[0] for clip in labelled})
    placed = [_placed(clip, audio_root, corpora or {}) for clip in labelled]
    facts: dict[str, AudioInfo] = {}
    refused: dict[str, str] = {}

    def look(clip: Clip) -> AudioInfo | str:
        try:
            return survey_file(resolve_audio(audio_root, clip.path))
        except (AudioError, ValueError, OSError) as error:
            return str(error)

    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        Progress("looking at the audio", "files", {clip.id: 1 for clip in placed}, quiet=quiet) as progress,
    ):
        for clip, found in zip(placed, pool.map(look, placed), strict=True):
            if isinstance(found, str):
                refused[clip.id] = found
            else:
                facts[clip.id] = found
            progress.advance(clip.id, 0.0 if isinstance(found, str) else found.duration_s)
    if split == "grouped":
        # The test clips keep their split, and clips without audio must not take places in dev.
        merged = merge_groups(placed, facts)
        free = [clip for clip in merged if clip.split != "test" and clip.id in facts]
        divided = {clip.id: clip for clip in grouped_split(free, seed)}
        placed = [divided.get(clip.id, clip) for clip in merged]
    findings = audit(placed, facts, refused)
    table = replace(labelled, clips=usable(placed, findings))
    findings_path = output.with_name(f"{output.stem}-findings.csv")
    write_clips(table, output)
    write_findings(findings_path, findings)
    return Prepared(table, len(labelled), tuple(findings), output, findings_path)


def _placed(clip: Clip, audio_root: Path, corpora: Mapping[str, str]) -> Clip:
    """The clip with its path below the root: corpus renamed, suffix as the file really has it."""
    corpus, _, rest = clip.path.partition("/")
    path = f"{corpora.get(corpus, corpus).rstrip('/')}/{rest}"
    if not (Path(audio_root) / path).exists():
        stem = path.rsplit(".", 1)[0]
        path = next((stem + end for end in SUFFIXES if (Path(audio_root) / (stem + end)).exists()), path)
    return replace(clip, path=path)
