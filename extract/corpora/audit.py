"""What is wrong with a clip table's audio, found before anything is trained on it.

Judges facts that others have measured (content hash, length, peak); reads no audio itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Protocol

from mmmos.store import files
from mmmos.store.schema import Clip

SHORT_S = 1.0
"""Raters can say little about less, and the encoders' context is longer."""
SILENT_PEAK = 1e-4
"""-80 dB of full scale."""

LEFT_OUT = ("missing", "unreadable", "silent")
"""Kinds of findings whose clips cannot be trained on: a real label on no audio teaches a fault."""


class Facts(Protocol):
    """What was measured of one file: content hash, length in seconds, peak (full scale = 1)."""

    @property
    def audio(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def peak(self) -> float: ...


@dataclass(frozen=True)
class Finding:
    """One thing to know about one clip; `kind` is one of KINDS."""

    id: str
    path: str
    split: str
    kind: str
    detail: str


KINDS = {
    "missing": "there is no such file",
    "unreadable": "the file cannot be decoded",
    "silent": f"nothing in it is louder than {SILENT_PEAK:g} of full scale",
    "too short": f"under {SHORT_S:g} s of audio",
    "duplicate": "the same audio as another clip of the same split",
    "shared": "the same audio as a clip of another split",
    "leak": "its speaker, track, video or prompt stands in another split, too",
}


def audit(clips: Sequence[Clip], facts: Mapping[str, Facts], refused: Mapping[str, str]) -> list[Finding]:
    """All findings, clip by clip in the table's order.

    facts: clip id -> what was measured; refused: clip id -> reason, for files that are missing or cannot be
    read.  Every clip is in one of the two (KeyError otherwise).
    """
    same: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.id not in refused:
            same.setdefault(facts[clip.id].audio, []).append(clip)
    sides: dict[str, set[str]] = {}
    for clip in clips:
        if clip.group and clip.split != "none" and clip.id not in refused:
            sides.setdefault(clip.group, set()).add(clip.split)
    found = []
    for clip in clips:
        if clip.id in refused:
            reason = refused[clip.id]
            kind = "missing" if "no such file" in reason else "unreadable"
            found.append(Finding(clip.id, clip.path, clip.split, kind, reason))
            continue
        notes = _of_audio(clip, facts[clip.id], same)
        others = sorted(sides.get(clip.group, set()) - {clip.split})
        if "train" in {clip.split, *others} and others:
            notes.append(("leak", f"{clip.group} is also in {', '.join(others)}"))
        found += [Finding(clip.id, clip.path, clip.split, kind, detail) for kind, detail in notes]
    return found


def usable(clips: Sequence[Clip], findings: Iterable[Finding]) -> tuple[Clip, ...]:
    """The clips without a finding that leaves them out."""
    out = {finding.id for finding in findings if finding.kind in LEFT_OUT}
    return tuple(clip for clip in clips if clip.id not in out)


def merge_groups(clips: Sequence[Clip], facts: Mapping[str, Facts]) -> tuple[Clip, ...]:
    """Clips with the same audio in one group, so that a grouped split cannot part them."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.get(name, name) != name:
            name = leader[name]
        return name

    first: dict[str, str] = {}
    for clip in clips:
        if clip.id in facts:
            own = clip.group or f"clip:{clip.id}"
            other = first.setdefault(facts[clip.id].audio, own)
            one, two = sorted((find(own), find(other)))
            leader[two] = one
    shared = Counter(find(clip.group or f"clip:{clip.id}") for clip in clips)
    merged = []
    for clip in clips:
        name = find(clip.group or f"clip:{clip.id}")
        merged.append(replace(clip, group=name if clip.group or shared[name] > 1 else ""))
    return tuple(merged)


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """id,path,split,kind,detail as CSV."""
    files.write_csv(path, [field.name for field in fields(Finding)], map(astuple, findings))


def _of_audio(clip: Clip, facts: Facts, same: Mapping[str, Sequence[Clip]]) -> list[tuple[str, str]]:
    notes = []
    if facts.peak < SILENT_PEAK:
        notes.append(("silent", f"peak {facts.peak:.1e}"))
    elif facts.duration_s < SHORT_S:
        notes.append(("too short", f"{facts.duration_s:.2f} s"))
    twins = [other for other in same[facts.audio] if other.id != clip.id]
    near = [other.id for other in twins if other.split == clip.split]
    far = [f"{other.id} ({other.split})" for other in twins if other.split != clip.split]
    if near:
        notes.append(("duplicate", f"same audio as {', '.join(near)}"))
    if far:
        notes.append(("shared", f"same audio as {', '.join(far)}"))
    return notes
