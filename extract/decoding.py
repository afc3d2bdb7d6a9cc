"""Open audio, a file or a waveform, and decode it once from its start to its end in constant memory.

libsndfile decodes (WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF).  A survey decodes a whole file, to learn its
true length and to refuse what cannot be trusted; `read_crop` decodes one crop of it.  Unreadable audio is
never replaced by silence: it is an AudioError with its reason.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import xxhash

from mmmos.extract import audio
from mmmos.extract.audio_info import AudioError, AudioInfo, Meter, Samples, check_shape
from mmmos.store.files import NOT_DECODED
from mmmos.store.schema import Crop

MAX_BYTES = 16 * 2**30
HEADER_TOLERANCE_S = 0.1
"""How much less than its header says a file may hold: MP3 encoders leave their delay in the count."""
LONG_HEADER = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""Matches libsndfile's log of a WAV, AIFF or AU header that claims another size than the file has.
libsndfile itself silently goes by the file's size."""
BLOCK_SAMPLES = 2**20
"""Samples decoded at a time (4 MiB), whatever the length of the file."""
OGG_RUNUP_FRAMES = 255 * 4096
"""The longest an Ogg page can be: 255 packets of the longest Vorbis block.  libsndfile 1.2.2, asked to seek
into the *last* page of a Vorbis file, lands up to half a block away; decoding on from before it is exact."""


@dataclass(frozen=True)
class Sound:
    """Audio that was opened for one pass.

    Attributes
    ----------
    rate_hz, channels : int
        As stored.
    blocks : iterator of float32 [n, channels]
        All of it, in order; AudioError at the place where it cannot be decoded.
    claimed_s : float
        The length that its header gives, before anything is decoded.
    gain_db : float or None
        With which its windows are to be heard; the blocks are as decoded.  None: as it is.
    """

    rate_hz: int
    channels: int
    blocks: Iterator[Samples]
    claimed_s: float
    gain_db: float | None = None


Listening = Callable[[], Sound]
"""Opens a sound when it is called; AudioError where it cannot be opened."""


def open_file(path: Path, start_s: float | None = None, end_s: float | None = None) -> Sound:
    """A file, or the seconds from `start_s` to `end_s` of it, opened for one pass.

    Raises
    ------
    AudioError
        The file is missing, empty, unreadable, cut short, beyond the limits of `audio_info`, or does not
        reach to `end_s`.
    """
    file = _trusted(path)
    rate_hz, length_s = file.samplerate, file.frames / file.samplerate
    first = round((start_s or 0.0) * rate_hz)
    last = file.frames if end_s is None else min(file.frames, round(end_s * rate_hz))
    if first >= file.frames or (end_s or 0.0) > length_s + HEADER_TOLERANCE_S:
        raise AudioError(
            f"the piece from {start_s or 0:g} s to {end_s or length_s:g} s is not in it: "
            f"it has {length_s:.3f} s"
        )
    return Sound(rate_hz, file.channels, _blocks(file, first, last), (last - first) / rate_hz)


def open_wave(wave: npt.ArrayLike, sample_rate_hz: int) -> Sound:
    """A waveform [n] or [channels, n] in memory, opened as a file would be; see `audio.as_frames`."""
    frames = audio.as_frames(wave)
    check_shape(len(frames), sample_rate_hz, frames.shape[1])
    size = max(1, BLOCK_SAMPLES // frames.shape[1])
    blocks = (frames[at : at + size] for at in range(0, len(frames), size))
    return Sound(sample_rate_hz, frames.shape[1], blocks, len(frames) / sample_rate_hz)


def survey_file(path: Path) -> AudioInfo:
    """What a whole file holds, under the hash of its bytes; decodes all of it.

    Raises
    ------
    AudioError
        As `open_file`, or the file has more than MAX_BYTES, is shorter than its header says, or holds
        samples that are not finite or far beyond full scale.
    """
    digest = _digest(path)
    file = _trusted(path)
    meter = Meter(file.samplerate, file.channels)
    for block in _blocks(file, 0, file.frames, seek=False):
        meter.take(block)
    return meter.info(digest)


def read_crop(path: Path, crop: Crop, sample_rates_hz: Iterable[int]) -> dict[int, Samples]:
    """One crop of a file, which alone is decoded, at each rate.

    Returns
    -------
    dict of int to array
        {rate: mono float32 [10 * rate]}, zeros beyond `crop.valid_s`.

    Raises
    ------
    AudioError
        The file is unreadable, or no longer holds the crop.
    """
    file = _trusted(path)
    start, count = (round(seconds * file.samplerate) for seconds in (crop.start_s, crop.valid_s))
    blocks = list(_blocks(file, start, start + count)) if start + count <= file.frames else []
    if sum(map(len, blocks)) < count:
        raise AudioError(f"ends before {crop.start_s + crop.valid_s:.2f} s: it changed since it was surveyed")
    return audio.at_rates(np.concatenate(blocks), file.samplerate, sample_rates_hz)


def audible(sound: Sound, meter: Meter, *, whole: bool = False) -> Iterator[Samples]:
    """Mono blocks [n] up to the last non-zero sample, or all of it where there is none or `whole`.

    Every block goes through `meter` first.  Silence is held back, as a count, until sound follows it.
    """
    zeros = np.zeros(BLOCK_SAMPLES, np.float32)
    held = 0

    def silence(count: int) -> Iterator[Samples]:
        for at in range(0, count, len(zeros)):
            yield zeros[: count - at]

    for block in sound.blocks:
        reach = meter.take(block)
        if whole:
            reach = len(block)
        if reach:
            yield from silence(held)
            yield np.ascontiguousarray(audio.mono(block[:reach]))
            held = 0
        held += len(block) - reach
    if not meter.audible:
        yield from silence(held)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise AudioError("not a regular file" if path.exists() else "no such file")
    if path.stat().st_size == 0:
        raise AudioError("empty file")


def _way_out(path: Path) -> str:
    """What to do with audio in a form that libsndfile has no decoder for; "" for other files."""
    if path.suffix.lower() not in NOT_DECODED:
        return ""
    return f"; make a WAV of it, as by: ffmpeg -i {shlex.quote(path.name)} {shlex.quote(path.stem + '.wav')}"


def _trusted(path: Path) -> soundfile.SoundFile:
    """The file, open for decoding; AudioError where its header is unreadable, beyond the limits or untrue."""
    _check_file(path)
    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(f"not audio that libsndfile can read: {reason}{_way_out(path)}") from error
    if (sizes := LONG_HEADER.search(file.extra_info)) and int(sizes[1]) > int(sizes[2]):
        raise AudioError(f"cut short: the header says {sizes[1]} bytes of samples, there are {sizes[2]}")
    check_shape(file.frames, file.samplerate, file.channels)
    return file


def _blocks(file: soundfile.SoundFile, first: int, last: int, *, seek: bool = True) -> Iterator[Samples]:
    """The frames from `first` to `last` as float32 [n, channels]; closes the file at the end.

    seek: False decodes from where the file was opened.  Some MP3 files decode differently there, by 1e-7,
    from after a seek to 0; a survey does not seek and crops do, so that stored results stay as they are.
    """
    rate_hz, size = file.samplerate, max(1, BLOCK_SAMPLES // file.channels)
    position = max(0, first - OGG_RUNUP_FRAMES) if file.format == "OGG" else first
    with file:
        try:
            if seek:
                file.seek(position)
            while position < last:
                block = file.read(min(size, last - position), dtype="float32", always_2d=True)
                if not len(block):
                    break
                position += len(block)
                if position > first:
                    yield block[max(0, len(block) - (position - first)) :]
        except RuntimeError as error:  # soundfile's own errors are RuntimeErrors
            raise AudioError(f"cannot be decoded at {position / rate_hz:.2f} s: {error}") from error
        if position < last - HEADER_TOLERANCE_S * rate_hz:
            claimed_s, found_s = file.frames / rate_hz, position / rate_hz
            raise AudioError(f"cut short: the header says {claimed_s:.2f} s, {found_s:.2f} s can be decoded")


def _digest(path: Path) -> str:
    """xxh3-128 of the file's bytes, hex."""
    try:
        _check_file(path)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise AudioError(f"{size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read")
        state = xxhash.xxh3_128()
        with path.open("rb") as stream:
            while chunk := stream.read(4 * BLOCK_SAMPLES):
                state.update(chunk)
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}") from error
    return state.hexdigest()
