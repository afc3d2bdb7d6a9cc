"""Readers of the public AES and AudioMOS label files: real clips with ten ratings on each of four axes.

AES-natural (2,950 recordings of speech, music and sound), AES-PAM (1,000 clips of eight generators and of
real recordings) and the AudioMOS 2025 track 2 test set (36 anonymous systems, 85 clips each), all from
https://github.com/facebookresearch/audiobox-aesthetics (CC BY 4.0).  The files hold labels only; their
paths begin with /your_path/, in place of the folder where the owner keeps the corpora.

Systems and groups come from paths and ids.  A group is what a clip shares with others besides its system:
the speaker, the music track, the source video or the text prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmmos.extract.corpora.downloads import MAX_BYTES
from mmmos.store.clips import ClipTable, score_array
from mmmos.store.names import choose
from mmmos.store.row_formats import CheckColumns, Row, RowError
from mmmos.store.rows import TableError, convert, read_rows, refusal
from mmmos.store.schema import AES_AXES, Clip
from mmmos.store.splits import split_clips

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


def read_aes(labels: Path, split: str = "paper", seed: int = 0) -> ClipTable:
    """All rated clips of the label files in `labels`, on the scale 0-10 (the raters' is 1-10, with zeros).

    The dev part of AES-PAM is split "pam"; systems of the test set get a domain by their mean ratings.

    Parameters
    ----------
    labels
        Folder with the label files.
    split
        "paper" is the official 2,700 / 250 of AES-natural and the paper's 800 / 200 of AES-PAM (drawn by
        `seed` where mmmos_split.csv is not there); "grouped" never divides a group, see `grouped_split`.

    Raises
    ------
    TableError
        Where a file is missing or is not what it should be, with every reason.
    """
    choose("split", split, ("paper", "grouped"))
    labels = Path(labels)
    clips = [clip for domain, file in NATURAL.items() for clip in _read(labels / file, domain)]
    clips += _read(labels / PAM, "")
    official = {path: name for name, file in LISTS.items() for (path,) in _cells(labels / file, "data_path")}
    clips = _paper_split(labels, clips, official, seed) if split == "paper" else grouped_split(clips, seed)
    test = [replace(clip, split="test") for clip in _read(labels / TEST, "")]
    return ClipTable((*clips, *_with_domains(test)))


def read_pam(path: Path) -> list[Clip]:
    """The clips of AES-PAM's label file, without a split."""
    return _read(Path(path), "")


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


def _read(path: Path, domain: str) -> list[Clip]:
    """The clips of one label file, without a split; domain "" means that the path or id tells it."""
    clips, reasons = convert(_rows(path), lambda values: _rated(values, domain))
    if reasons:
        raise TableError(refusal(str(path), reasons))
    return list(clips.values())


def _rated(values: Mapping[str, Any], domain: str) -> Clip:
    """One labelled clip with its single ratings and their means."""
    data_path = values.get("data_path")
    if not isinstance(data_path, str):
        raise ValueError(f"data_path is {data_path!r}, not a path")
    ratings = tuple(_ratings(values, title.replace(" ", "_")) for title in AES_AXES.titles)
    scores = tuple(math.fsum(single) / len(single) for single in ratings)
    return replace(_clip(data_path, domain), ratings=ratings, scores=scores)


def _ratings(values: Mapping[str, Any], name: str) -> tuple[float, ...]:
    single = values.get(name)
    numbers = single if isinstance(single, list) else []
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{name} is {single!r}, not a list of ratings")
    if not all(0.0 <= n <= 10.0 for n in numbers):
        raise ValueError(f"{name} {numbers} are not all within 0 and 10")
    return tuple(map(float, numbers))


def _clip(data_path: str, domain: str) -> Clip:
    """Path, source, system and group of a labelled path or test id."""
    if data_path.startswith(f"{TEST_CORPUS}-"):
        _, _, system, *rest = data_path.split("-", 3)
        if not rest:
            raise ValueError(f"test id {data_path!r} is not {TEST_CORPUS}-SYSTEM-UTTERANCE")
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
        official = {row[0]: row[1] for row in _cells(table, "data_path", "split")}
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
    systems: dict[str, list[Clip]] = {}
    for clip in clips:
        systems.setdefault(clip.system, []).append(clip)
    domains = {}
    for system, own in systems.items():
        enjoyment, complexity = score_array(own, ("CE", "PC")).mean(axis=0)
        quiet = "sound" if enjoyment < SOUND_BELOW_CE else "music"
        domains[system] = "speech" if complexity < SPEECH_BELOW_PC else quiet
    return [replace(clip, domain=domains[clip.system]) for clip in clips]


def _cells(path: Path, *names: str) -> list[tuple[str, ...]]:
    """The cells of these columns, row by row."""

    def check(columns: Sequence[str]) -> None:
        for name in names:
            if name not in columns:
                raise RowError(f"there is no column {name!r}, only {', '.join(columns)}")

    rows, reasons = convert(_rows(path, check), lambda values: tuple(values[name] for name in names))
    if reasons:
        raise TableError(refusal(str(path), reasons))
    return list(rows.values())


def _rows(path: Path, check: CheckColumns | None = None) -> Iterator[Row]:
    if not path.exists():
        raise TableError(
            f"{path} is not there: fetch the label files with `pipeline.py prepare labels --download`"
        )
    try:
        yield from read_rows(path, MAX_BYTES, check)
    except RowError as reason:
        raise TableError(str(reason)) from None
