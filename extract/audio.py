"""Audio in: what a file holds, and ten seconds of it at the rates the encoders want (paper III-A).

A file is decoded whole once, by windows, to learn its true length and to refuse what cannot be trusted;
after that only the crops that are needed are read.  libsndfile decodes (WAV, FLAC, Ogg Vorbis, Opus, MP3,
AIFF), soxr resamples.  Nothing unreadable is ever replaced by silence: it is an AudioError with its reason.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import xxhash

from mmmos.extract.measure import AudioError, AudioInfo, Samples, check_shape, measure
from mmmos.store.crops import MIN_TAIL_S
from mmmos.store.files import write_atomic
from mmmos.store.schema import CROP_SECONDS, Crop

__all__ = [
    "AUDIO_RECIPE",
    "AudioError",
    "AudioInfo",
    "prepare_wave",
    "read_crop",
    "survey_file",
    "survey_wave",
    "write_audio",
]

RESAMPLER_QUALITY = "HQ"
"""soxr's 20-bit setting: its images lie below the noise of 16-bit audio."""

AUDIO_RECIPE = (
    "1: libsndfile to float32; mean of the channels; "
    f"{CROP_SECONDS:g} s grid from the start, a last piece under {MIN_TAIL_S:g} s dropped unless alone; "
    "trailing digital silence is not audio, except in a file of nothing else; "
    f"each crop by itself through soxr {RESAMPLER_QUALITY} to the encoder's rate; zeros to {CROP_SECONDS:g} s"
)
"""All that a crop's samples depend on beside the file's bytes; part of every feature signature."""

MAX_BYTES = 16 * 2**30
HEADER_TOLERANCE_S = 0.1
"""How much less than its header says a file may hold: MP3 encoders leave their delay in the count."""
LONG_HEADER = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile quietly believes the file's size instead; only its log of WAV, AIFF and AU headers tells."""
WINDOW_SAMPLES = 2**20
"""Samples decoded at a time (4 MiB), whatever the length of the file."""
OGG_RUNUP_FRAMES = 255 * 4096
"""The longest an Ogg page can be: 255 packets of the longest Vorbis block.  libsndfile 1.2.2, asked to seek
into the *last* page of a Vorbis file, lands up to half a block away; decoding on from before it is exact."""


def survey_file(path: Path) -> AudioInfo:
    """Decode the whole file by windows.  AudioError where it is missing, empty, unreadable, shorter than its
    header says, not finite, or beyond the caps above."""
    digest = _digest(path)
    with open_audio(path) as file:
        if lie := LONG_HEADER.search(file.extra_info):
            claimed, found = int(lie[1]), int(lie[2])
            if claimed > found:
                raise AudioError(f"cut short: the header says {claimed} bytes of samples, there are {found}")
        check_shape(file.frames, file.samplerate, file.channels)
        info, frames = measure(digest, file.samplerate, windows(file))
        if frames < file.frames - HEADER_TOLERANCE_S * file.samplerate:
            claimed_s, found_s = file.frames / file.samplerate, frames / file.samplerate
            raise AudioError(f"cut short: the header says {claimed_s:.2f} s, {found_s:.2f} s can be decoded")
    return info


def survey_wave(wave: npt.ArrayLike, sample_rate_hz: int) -> AudioInfo:
    """The same for a waveform [n] or [channels, n] in memory; see `as_frames`."""
    frames = as_frames(wave)
    check_shape(len(frames), sample_rate_hz, frames.shape[1])
    digest = xxhash.xxh3_128(mono(frames).tobytes(), seed=sample_rate_hz).hexdigest()
    size = max(1, WINDOW_SAMPLES // frames.shape[1])
    return measure(digest, sample_rate_hz, (frames[i : i + size] for i in range(0, len(frames), size)))[0]


def read_crop(path: Path, crop: Crop, sample_rates_hz: Iterable[int]) -> dict[int, Samples]:
    """One crop of a file at each rate: {rate: float32 [10 * rate]}, zeros beyond `crop.valid_s`.

    Seeks, and decodes the crop only.  AudioError where the file no longer holds it.
    """
    with open_audio(path) as file:
        rate = file.samplerate
        start, count = round(crop.start_s * rate), round(crop.valid_s * rate)
        try:
            block = (
                _read_at(file, start, count) if start + count <= file.frames else np.empty((0, 1), np.float32)
            )
        except soundfile.SoundFileError as error:
            raise AudioError(f"cannot be decoded at {crop.start_s:.2f} s: {error}") from error
    if len(block) < count:
        raise AudioError(f"ends before {crop.start_s + crop.valid_s:.2f} s: it changed since it was surveyed")
    return at_rates(block, rate, sample_rates_hz)


def prepare_wave(
    wave: npt.ArrayLike, sample_rate_hz: int, crop: Crop, sample_rates_hz: Iterable[int]
) -> dict[int, Samples]:
    """The same numbers as `read_crop`, from a waveform [n] or [channels, n] in memory."""
    frames = as_frames(wave)
    start, count = round(crop.start_s * sample_rate_hz), round(crop.valid_s * sample_rate_hz)
    if start + count > len(frames):
        raise AudioError(f"ends before {crop.start_s + crop.valid_s:.2f} s")
    return at_rates(frames[start : start + count], sample_rate_hz, sample_rates_hz)


def write_audio(path: Path, frames: npt.ArrayLike, sample_rate_hz: int) -> None:
    """Write [n, channels] (full scale = 1) as 16-bit audio, in the format that the path's suffix names."""
    stream = io.BytesIO()
    soundfile.write(stream, frames, sample_rate_hz, "PCM_16", format=path.suffix[1:].upper())
    write_atomic(path, stream.getbuffer())


def as_frames(wave: npt.ArrayLike) -> Samples:
    """A waveform [n] or [channels, n] as contiguous float32 [n, channels], the layout that files decode to.

    int16 and int32 are scaled to full scale = 1 as libsndfile does; other integers are an AudioError.
    """
    array = np.asarray(wave)
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(f"a waveform has the shape [n] or [channels, n], n > 0, not {list(array.shape)}")
    if array.dtype in (np.int16, np.int32):
        array = array / np.float64(2 ** (8 * array.dtype.itemsize - 1))
    elif not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"samples are floats (full scale 1.0), int16 or int32, not {array.dtype}")
    return np.ascontiguousarray(np.atleast_2d(array).T, dtype=np.float32)


def mono(frames: Samples) -> Samples:
    """[n, channels] to [n]: the mean of the channels."""
    return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)


def resample(samples: Samples, rate_hz: int, target_hz: int) -> Samples:
    """[n] or [n, channels] at another rate, by the recipe's resampler; itself where the rates are equal."""
    if target_hz == rate_hz:
        return samples
    resampled: Samples = soxr.resample(samples, rate_hz, target_hz, RESAMPLER_QUALITY)
    return resampled


def through_codec(frames: Samples, rate_hz: int, **settings: Any) -> Samples:
    """[n, channels] coded in memory and decoded again; `settings` are soundfile.write's."""
    coded = io.BytesIO()
    soundfile.write(coded, frames, rate_hz, **settings)
    coded.seek(0)
    decoded: Samples = soundfile.read(coded, dtype="float32", always_2d=True)[0]
    return decoded


def at_rates(frames: Samples, rate_hz: int, sample_rates_hz: Iterable[int]) -> dict[int, Samples]:
    """At most 10 s, [n, channels], as a crop at each rate: {rate: mono float32 [10 * rate]}."""
    wave = np.ascontiguousarray(mono(frames))
    crops = {}
    for target_hz in set(sample_rates_hz):
        samples = resample(wave, rate_hz, target_hz)
        crop = np.zeros(round(CROP_SECONDS * target_hz), np.float32)
        crop[: len(samples)] = samples[: len(crop)]
        crops[target_hz] = crop
    return crops


def open_audio(path: Path) -> soundfile.SoundFile:
    """The file, open for decoding; AudioError where libsndfile makes nothing of it."""
    try:
        return soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", error)
        raise AudioError(f"not audio that libsndfile can read: {reason}") from error


def windows(file: soundfile.SoundFile) -> Iterator[Samples]:
    """The rest of an open file, in pieces float32 [n, channels] of WINDOW_SAMPLES samples."""
    size = max(1, WINDOW_SAMPLES // file.channels)
    try:
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            yield block
    except soundfile.SoundFileError as error:
        raise AudioError(f"cannot be decoded to its end: {error}") from error


def _read_at(file: soundfile.SoundFile, start: int, count: int) -> Samples:
    """`count` frames from `start`, or fewer where the file ends: float32 [n, channels]."""
    runup = min(start, OGG_RUNUP_FRAMES) if file.format == "OGG" else 0
    size = max(1, WINDOW_SAMPLES // file.channels)
    file.seek(start - runup)
    while runup:
        runup -= len(file.read(min(size, runup), dtype="float32", always_2d=True)) or runup
    return file.read(count, dtype="float32", always_2d=True)


def _digest(path: Path) -> str:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise AudioError("not a regular file")
        if size == 0:
            raise AudioError("empty file")
        if size > MAX_BYTES:
            raise AudioError(f"{size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read")
        state = xxhash.xxh3_128()
        with path.open("rb") as stream:
            while chunk := stream.read(4 * WINDOW_SAMPLES):
                state.update(chunk)
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}") from error
    return state.hexdigest()
