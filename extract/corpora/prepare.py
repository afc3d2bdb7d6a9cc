"""From public labels and the owner's corpora to a clip table: what is there is kept, the rest is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mmmos.extract.audio_info import AudioInfo
from mmmos.extract.corpora.audit import Finding, audit, merge_groups, usable, write_findings
from mmmos.extract.corpora.labels import grouped_split, read_aes
from mmmos.extract.survey import Reject, look_at
from mmmos.store.clips import ClipTable, write_clips
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
    Where no clip is left, `output` is not written.
    With split "grouped", clips of equal audio count as one group.
    ValueError for a corpus that the labels do not name.
    """
    labelled = read_aes(labels, split, seed)
    for name in corpora or ():
        choose("corpus", name, {clip.path.partition("/")[0] for clip in labelled})
    placed = [_placed(clip, audio_root, corpora or {}) for clip in labelled]
    found = look_at(placed, audio_root, workers=workers, title="looking at the audio", quiet=quiet)
    seen = dict(zip((clip.id for clip in placed), found, strict=True))
    facts = {id: one for id, one in seen.items() if isinstance(one, AudioInfo)}
    refused = {id: one.reason for id, one in seen.items() if isinstance(one, Reject)}
    if split == "grouped":
        # The test clips keep their split, and clips without audio must not take places in dev.
        merged = merge_groups(placed, facts)
        free = [clip for clip in merged if clip.split != "test" and clip.id in facts]
        divided = {clip.id: clip for clip in grouped_split(free, seed)}
        placed = [divided.get(clip.id, clip) for clip in merged]
    findings = audit(placed, facts, refused)
    table = replace(labelled, clips=usable(placed, findings))
    findings_path = output.with_name(f"{output.stem}-findings.csv")
    write_findings(findings_path, findings)
    if len(table):  # a table without clips is of no use, and would take the place of one that is
        write_clips(table, output)
    return Prepared(table, len(labelled), tuple(findings), output, findings_path)


def _placed(clip: Clip, audio_root: Path, corpora: Mapping[str, str]) -> Clip:
    """The clip with its path below the root: corpus renamed, suffix as the file really has it."""
    corpus, _, rest = clip.path.partition("/")
    path = f"{corpora.get(corpus, corpus).rstrip('/')}/{rest}"
    if not (Path(audio_root) / path).exists():
        stem = path.rsplit(".", 1)[0]
        path = next((stem + end for end in SUFFIXES if (Path(audio_root) / (stem + end)).exists()), path)
    return replace(clip, path=path)
