"""Readers of the public AES and AudioMOS label files: real clips with ten ratings on each of four axes.

AES-natural (2,950 recordings of speech, music and sound), AES-PAM (1,000 clips of eight generators and of
real recordings) and the AudioMOS 2025 track 2 test set (36 anonymous systems, 85 clips each), all from
https://github.com/facebookresearch/audiobox-aesthetics (CC BY 4.0).  The files hold labels only; their
paths begin with /your_path/, in place of the folder where the owner keeps the corpora.

Systems and groups come from paths and ids.  A group is what a clip shares with others besides its system:
the speaker, the music track, the source video or the text prompt.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmmos.store import files
from mmmos.store.clip_rows import columns_of
from mmmos.store.clips import ClipTable, TableError, split_clips
from mmmos.store.names import choose
from mmmos.store.schema import AES_AXES, AXES, AXIS_TITLES, Clip

NATURAL = {domain: f"AES_natural_{domain}.jsonl" for domain in ("speech", "music", "sound")}
PAM = "AES_PAM.jsonl"
TEST = "audiomos2025_track2_human_annotations.jsonl"
LISTS = {split: f"audiomos2025-track2-{split}_list.csv" for split in ("train", "dev")}
PAPER_SPLIT = "mmmos_split.csv"
"""data_path,split rows of the paper's repository: its own division of AES-natural and AES-PAM."""

TEST_CORPUS = "audiomos2025-track2"
"""Folder of the AudioMOS test audio, whose labels name no path."""

PREFIX = "/your_path/"
PAM_TRAIN_FRACTION = 0.8
NATURAL_TRAIN_FRACTION = 2700 / 2950

SPEECH_BELOW_PC = 2.0
SOUND_BELOW_CE = 3.5
"""System means of the anonymous test systems fall apart there: hardly any complexity is speech, little
enjoyment is sound, the rest music.  A guess for within-domain figures, never seen in training."""


def read_aes(labels: Path, split: str = "paper", seed: int = 0, guess_domains: bool = True) -> ClipTable:
    """All rated clips of the label files in `labels`, on the scale 0-10 (the raters' is 1-10, with zeros).

    split: "paper" is the official 2,700 / 250 of AES-natural and the paper's 800 / 200 of AES-PAM (drawn by
    `seed` where mmmos_split.csv is not there); "grouped" never divides a group, see `grouped_split`.
    The dev part of AES-PAM is split "pam".  guess_domains: give the test systems a domain by their ratings.
    TableError where a file is missing or is not what it should be.
    """
    choose("split", split, ("paper", "grouped"))
    labels = Path(labels)
    clips = [clip for domain, file in NATURAL.items() for clip in _read(labels / file, domain)]
    clips += _read(labels / PAM, "")
    official = {path: name for name, file in LISTS.items() for path in _column(labels / file, "data_path")}
    clips = _paper_split(labels, clips, official, seed) if split == "paper" else grouped_split(clips, seed)
    test = [replace(clip, split="test") for clip in _read(labels / TEST, "")]
    return ClipTable((*clips, *(_with_domains(test) if guess_domains else test)))


def grouped_split(clips: Sequence[Clip], seed: int = 0) -> list[Clip]:
    """AES-natural and AES-PAM divided as the paper's sizes, stratified by system, no group on two sides.

    MusicCaps recordings whose video also prompted AES-PAM follow the side that AES-PAM took.  Of either
    corpus, clips too few to be divided (its audio is not there, say) all train.
    """
    pam = _divided([clip for clip in clips if clip.source == "PAM"], PAM_TRAIN_FRACTION, seed)
    side = {clip.group: clip.split for clip in pam if clip.group}
    natural = [clip for clip in clips if clip.source != "PAM"]
    free = _divided([clip for clip in natural if clip.group not in side], NATURAL_TRAIN_FRACTION, seed)
    bound = [replace(clip, split=side[clip.group]) for clip in natural if clip.group in side]
    chosen = {clip.id: clip.split for clip in (*free, *bound)}
    chosen |= {clip.id: "train" if clip.split == "train" else "pam" for clip in pam}
    return [replace(clip, split=chosen[clip.id]) for clip in clips]


def _divided(clips: Sequence[Clip], train_fraction: float, seed: int) -> tuple[Clip, ...]:
    try:
        return split_clips(clips, train_fraction, seed)
    except ValueError:  # one side would be empty
        return tuple(replace(clip, split="train") for clip in clips)


def leaks(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Group -> its splits, for every group that stands in more than one."""
    splits: dict[str, set[str]] = {}
    for clip in clips:
        if clip.group:
            splits.setdefault(clip.group, set()).add(clip.split)
    return {group: sorted(names) for group, names in sorted(splits.items()) if len(names) > 1}


def write_csv(table: ClipTable, path: Path) -> None:
    """Write a clip table as CSV with every single rating, as `read_clips` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns_of(AES_AXES))
    for clip in table:
        names = [clip.id, clip.path, clip.domain, clip.source, clip.system, clip.group, clip.split]
        scores = ["" if score is None else score for score in clip.scores]
        writer.writerow([*names, *scores, *(json.dumps(single) if single else "" for single in clip.ratings)])
    files.write_text(path, text.getvalue())


def _read(path: Path, domain: str) -> list[Clip]:
    """The clips of one label file, without a split; domain "" means that the path or id tells it."""
    clips, reasons = [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            values = json.loads(line)
            clip = _clip(values["data_path"], domain)
            ratings = tuple(_single(values[AXIS_TITLES[axis].replace(" ", "_")]) for axis in AXES)
            scores = tuple(math.fsum(single) / len(single) for single in ratings)
            clips.append(replace(clip, ratings=ratings, scores=scores))
        except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError) as reason:
            reasons.append(f"row {number}: {reason!r}")
    if reasons:
        raise TableError("\n  ".join([f"{path} is refused, {len(reasons)} reason(s):", *reasons[:50]]))
    return clips


def _single(values: Sequence[float]) -> tuple[float, ...]:
    single = tuple(float(value) for value in values)
    if not all(0.0 <= value <= 10.0 for value in single):
        raise ValueError(f"ratings {single} are not all within 0 and 10")
    return single


def _clip(data_path: str, domain: str) -> Clip:
    """Path, source, system and group of a labelled path or test id."""
    if data_path.startswith(f"{TEST_CORPUS}-"):
        _, _, system, _ = data_path.split("-", 3)
        path = f"{TEST_CORPUS}/{data_path}.wav"
        return Clip(data_path, path, "", TEST_CORPUS, system.removeprefix("sys"))
    if not data_path.startswith(PREFIX):
        raise ValueError(f"path {data_path!r} does not begin with {PREFIX}")
    path = data_path.removeprefix(PREFIX)
    parts = path.split("/")
    stem = parts[-1].rsplit(".", 1)[0]
    source, system, group = parts[0], "", ""
    match parts:
        case ["PAM", _, kind, generator, _]:
            domain = "sound" if kind == "audio" else "music"
            system = f"{generator}-{kind}" if generator == "real" else generator
            group = f"audiocaps:{stem.rsplit('_', 1)[-1]}" if kind == "audio" else f"youtube:{stem}"
        case ["EARS", speaker, _]:
            group = f"ears:{speaker}"
        case ["LibriTTS", _, speaker, *_]:
            group = f"libritts:{speaker}"
        case ["MUSDB18", _, track, _]:
            group = f"musdb18:{track}"
        case ["musiccaps", _]:
            group = f"youtube:{stem}"
        case ["unbalanced_train_segments", *_]:
            source, group = "AudioSet", f"youtube:{stem.rsplit('_', 2)[0]}"
        case [corpus, *_] if corpus.startswith("cv-corpus"):
            source = "CommonVoice"  # its paths do not tell the speaker: a clip stands alone
        case _:
            raise ValueError(f"path {data_path!r} belongs to no known corpus")
    return Clip(path.rsplit(".", 1)[0], path, domain, source, system or source, group)


def _paper_split(labels: Path, clips: Sequence[Clip], official: dict[str, str], seed: int) -> list[Clip]:
    table = labels / PAPER_SPLIT
    if table.is_file():
        official = dict(zip(_column(table, "data_path"), _column(table, "split"), strict=True))
    else:
        pam = [replace(clip, group="") for clip in clips if clip.source == "PAM"]
        official |= {PREFIX + c.path: c.split for c in split_clips(pam, PAM_TRAIN_FRACTION, seed)}
    missing = [clip.path for clip in clips if official.get(PREFIX + clip.path) not in ("train", "dev")]
    if missing:
        raise TableError(f"{len(missing)} clips stand in no split list of {labels}, the first {missing[0]!r}")
    names = {clip.id: official[PREFIX + clip.path] for clip in clips}
    return [
        replace(clip, split="pam" if clip.source == "PAM" and names[clip.id] == "dev" else names[clip.id])
        for clip in clips
    ]


def _with_domains(clips: Sequence[Clip]) -> list[Clip]:
    """The test clips with the domain that their system's mean ratings suggest."""
    scores: dict[str, list[tuple[float | None, ...]]] = {}
    for clip in clips:
        scores.setdefault(clip.system, []).append(clip.scores)
    domains = {}
    for system, rows in scores.items():
        mean = {axis: math.fsum(row[i] or 0.0 for row in rows) / len(rows) for i, axis in enumerate(AXES)}
        quiet = "sound" if mean["CE"] < SOUND_BELOW_CE else "music"
        domains[system] = "speech" if mean["PC"] < SPEECH_BELOW_PC else quiet
    return [replace(clip, domain=domains[clip.system]) for clip in clips]


def _column(path: Path, name: str) -> list[str]:
    rows = list(csv.DictReader(io.StringIO(_text(path))))
    if not rows or name not in rows[0]:
        raise TableError(f"{path} has no column {name!r}")
    return [row[name] for row in rows]


def _text(path: Path) -> str:
    try:
        return files.read_bytes(path).decode()
    except FileNotFoundError:
        raise TableError(
            f"{path} is not there: fetch the label files with `pipeline.py prepare labels --download`"
        ) from None
