"""Findings about a table's audio, each kind once, and groups merged by content."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mmmos.extract.corpora.audit import KINDS, LEFT_OUT, audit, merge_groups, usable, write_findings
from mmmos.store.schema import Clip


@dataclass(frozen=True)
class Measured:
    audio: str
    duration_s: float = 5.0
    peak: float = 0.5


def clip(name, split="train", group=""):
    return Clip(name, f"{name}.wav", split=split, group=group)


CLIPS = [
    clip("good"),
    clip("gone"),
    clip("broken", "dev"),
    clip("quiet"),
    clip("short"),
    clip("twin1"),
    clip("twin2"),
    clip("both1"),
    clip("both2", "test"),
    clip("speaker1", group="ears:p1"),
    clip("speaker2", "dev", group="ears:p1"),
    clip("heldout1", "dev", group="track"),
    clip("heldout2", "pam", group="track"),
]
REFUSED = {"gone": "gone.wav: no such file below /data", "broken": "it cannot be decoded"}
FACTS = {c.id: Measured(c.id) for c in CLIPS if c.id not in REFUSED} | {
    "quiet": Measured("quiet", peak=1e-6),
    "short": Measured("short", duration_s=0.3),
    "twin2": Measured("twin1"),
    "both2": Measured("both1"),
}


def test_each_kind_is_found_where_it_is_and_nowhere_else():
    found = {(f.id, f.kind) for f in audit(CLIPS, FACTS, REFUSED)}
    assert found == {
        ("gone", "missing"), ("broken", "unreadable"), ("quiet", "silent"), ("short", "too short"),
        ("twin1", "duplicate"), ("twin2", "duplicate"), ("both1", "shared"), ("both2", "shared"),
        ("speaker1", "leak"), ("speaker2", "leak"),
    }  # fmt: skip
    assert {kind for _, kind in found} == set(KINDS)


def test_only_clips_without_audio_are_left_out():
    findings = audit(CLIPS, FACTS, REFUSED)
    kept = usable(CLIPS, findings)
    assert {c.id for c in CLIPS} - {c.id for c in kept} == {"gone", "broken", "quiet"}
    assert set(LEFT_OUT) < set(KINDS)


def test_findings_are_written_one_a_row(tmp_path):
    write_findings(tmp_path / "findings.csv", audit(CLIPS, FACTS, REFUSED))
    header, first, *others = (tmp_path / "findings.csv").read_text().splitlines()
    assert header == "id,path,split,kind,detail"
    assert first == "gone,gone.wav,train,missing,gone.wav: no such file below /data"
    assert len(others) == 9


def test_a_clip_that_nobody_looked_at_is_an_error():
    with pytest.raises(KeyError):
        audit([clip("unseen")], {}, {})


def test_equal_audio_joins_groups_through_any_chain():
    clips = [
        clip("a", group="g1"),
        clip("b", group="g2"),
        clip("c", group="g2"),
        clip("d"),
        clip("e"),
        clip("f"),
    ]
    facts = {
        "a": Measured("x"),
        "b": Measured("x"),
        "c": Measured("y"),
        "d": Measured("y"),
        "e": Measured("z"),
    }
    groups = {c.id: c.group for c in merge_groups(clips, facts)}
    assert len({groups[name] for name in "abcd"}) == 1
    assert groups["a"]
    assert groups["e"] == groups["f"] == ""
