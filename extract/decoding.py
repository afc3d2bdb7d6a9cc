"""Open audio, a file or a waveform, and decode it once from its start to its end in constant memory.

`container` walks a file's container and says how much it promises; libsndfile decodes; what it gives is
counted against the promise.  A survey decodes a whole file, and names it by the hash of its bytes;
`read_crop` decodes one crop of it, after it has seen that the bytes are still those.  Unreadable audio is
never replaced by silence: it is an AudioError with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from mmmos.extract import audio, content, flac, mpeg
from mmmos.extract.audio_info import AudioError, AudioInfo, Meter, Samples, check_shape
from mmmos.extract.container import promise_of
from mmmos.extract.promise import Promise
from mmmos.store.schema import Crop

MAX_PROMISES = 4096
END_TOLERANCE_S = 0.1
"""How far beyond the end of a file a piece of it may be asked for: tables round."""
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
    stamp : Stamp, optional
        The state of the file that was opened, see `content`.
    """

    rate_hz: int
    channels: int
    blocks: Iterator[Samples]
    claimed_s: float
    gain_db: float | None = None
    stamp: content.Stamp | None = None


Listening = Callable[[], Sound]
"""Opens a sound when it is called; AudioError where it cannot be opened."""


def open_file(path: Path, start_s: float | None = None, end_s: float | None = None) -> Sound:
    """A file, or the seconds from `start_s` to `end_s` of it, opened for one pass.

    Raises
    ------
    AudioError
        The file is missing, empty, unreadable, cut short, beyond the limits of `content` or `audio_info`, of
        a container that is not read, or does not reach to `end_s`.
    """
    opened = _open(path)
    rate_hz, frames = opened.rate_hz, opened.promise.frames
    first = round((start_s or 0.0) * rate_hz)
    last = frames if end_s is None else min(frames, round(end_s * rate_hz))
    if first >= frames or (end_s or 0.0) > frames / rate_hz + END_TOLERANCE_S:
        raise AudioError(
            f"the piece from {start_s or 0:g} s to {end_s or frames / rate_hz:g} s is not in it: "
            f"it has {frames / rate_hz:.3f} s"
        )
    blocks = _blocks(opened, first, last)
    return Sound(rate_hz, opened.channels, blocks, (last - first) / rate_hz, stamp=opened.stamp)


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
        As `open_file`, or the file is not as long as its container says, does not decode to what was coded,
        changes meanwhile, or holds samples that are not finite or far beyond full scale.
    """
    with content.open_regular(path) as stream:
        stamp = content.stamp_of(stream)
        content_id, old_id = content.content_ids(stream)
        opened = _decoder(stream, stamp)
        meter = Meter(opened.rate_hz, opened.channels)
        for block in _blocks(opened, 0, opened.promise.frames, seek=False):
            meter.take(block)
        return replace(meter.info(content_id), old_id=old_id)


def read_crop(path: Path, crop: Crop, sample_rates_hz: Iterable[int]) -> dict[int, Samples]:
    """One crop of a file, which alone is decoded, at each rate.

    Returns
    -------
    dict of int to array
        {rate: mono float32 [10 * rate]}, zeros beyond `crop.valid_s`.

    Raises
    ------
    AudioError
        The file is unreadable, or is no longer the one that `crop.audio` names.
    """
    opened = _open(path, crop.audio)
    rate_hz, frames = opened.rate_hz, opened.promise.frames
    start, count = (round(seconds * rate_hz) for seconds in (crop.start_s, crop.valid_s))
    if start + count > frames:
        end_s = crop.start_s + crop.valid_s
        raise AudioError(f"ends before {end_s:.2f} s: it changed since it was surveyed")
    return audio.at_rates(
        np.concatenate(list(_blocks(opened, start, start + count))), rate_hz, sample_rates_hz
    )


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


@dataclass(frozen=True)
class _Opened:
    """An open file, its state when it was opened, what its container promises, and its decoder."""

    stream: BinaryIO
    stamp: content.Stamp
    promise: Promise
    file: soundfile.SoundFile

    @property
    def rate_hz(self) -> int:
        return int(self.file.samplerate)

    @property
    def channels(self) -> int:
        return int(self.file.channels)


def _open(path: Path, content_id: str = "") -> _Opened:
    """A file, open for decoding; AudioError where it has not the bytes of `content_id`."""
    stream = content.open_regular(path)
    try:
        stamp = content.stamp_of(stream)
        content.check_content(stream, content_id)
        return _decoder(stream, stamp)
    except BaseException:
        stream.close()
        raise


def _decoder(stream: BinaryIO, stamp: content.Stamp) -> _Opened:
    """AudioError where the header is unreadable, beyond the limits, or not what libsndfile makes of it."""
    promise = _promise(stream, stamp)
    try:
        os.lseek(stream.fileno(), 0, os.SEEK_SET)
        file = soundfile.SoundFile(stream.fileno(), closefd=False)
        if promise.is_estimated and file.frames < promise.frames:
            file = soundfile.SoundFile(mpeg.Longer(stream))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        reason = getattr(error, "error_string", error)
        raise AudioError(f"{promise.container} that libsndfile cannot read: {reason}") from None
    if promise.rate_hz not in (None, file.samplerate):
        raise AudioError(f"the header says {promise.rate_hz} Hz, libsndfile {file.samplerate} Hz")
    check_shape(promise.frames, file.samplerate, file.channels)
    if file.frames != promise.frames and not promise.is_estimated:
        raise _short(promise.frames, file.frames, file.samplerate)
    return _Opened(stream, stamp, promise, file)


_promises: dict[content.Stamp, Promise] = {}


def _promise(stream: BinaryIO, stamp: content.Stamp) -> Promise:
    """What the container promises; walked once for each state of a file and process."""
    if (found := _promises.get(stamp)) is None:
        found = promise_of(stream)
        if len(_promises) >= MAX_PROMISES:
            _promises.clear()
        if content.is_settled(stamp[-1]):
            _promises[stamp] = found
    return found


def _blocks(opened: _Opened, first: int, last: int, *, seek: bool = True) -> Iterator[Samples]:
    """The frames from `first` to `last` as float32 [n, channels]; closes the file at the end.

    seek: False decodes from where the file was opened.  Some MP3 files decode differently there, by 1e-7,
    from after a seek to 0; a survey does not seek and crops do, so that stored results stay as they are.
    """
    file, promise = opened.file, opened.promise
    whole = (first, last) == (0, promise.frames)
    md5 = flac.Md5(promise) if whole and promise.md5 else None
    position = first
    if file.format == "OGG":
        position = max(0, first - OGG_RUNUP_FRAMES)
    elif isinstance(file.name, mpeg.Longer):
        position = 0  # libmpg123 seeks by its estimate
    size = max(1, BLOCK_SAMPLES // opened.channels)
    with opened.stream, file:
        try:
            if seek and (position or promise.container == "MP3"):
                file.seek(position)
            while position < last:
                block = file.read(min(size, last - position), dtype="float32", always_2d=True)
                if not len(block):
                    break
                position += len(block)
                if md5:
                    md5.take(block)
                if position > first:
                    yield block[max(0, len(block) - (position - first)) :]
            if whole and position == last:
                _check_end(opened, md5)
        except RuntimeError as error:  # soundfile's own errors are RuntimeErrors
            content.check_unchanged(opened.stream, opened.stamp)
            raise AudioError(f"cannot be decoded at {position / opened.rate_hz:.2f} s: {error}") from error
        content.check_unchanged(opened.stream, opened.stamp)
        if position < last:
            raise _short(promise.frames, position, opened.rate_hz)


def _check_end(opened: _Opened, md5: flac.Md5 | None) -> None:
    """AudioError where more can be decoded than was promised, or something else than was coded."""
    if opened.promise.is_estimated and len(opened.file.read(1, always_2d=True)):
        raise AudioError(f"more can be decoded than the {opened.promise.frames} frames of its container")
    if opened.promise.container == "FLAC":
        flac.check_end(opened.stream, os.lseek(opened.stream.fileno(), 0, os.SEEK_CUR))
    if md5:
        md5.check()


def _short(said: int, found: int, rate_hz: int) -> AudioError:
    what = "cut short" if found < said else "its header lies"
    return AudioError(
        f"{what}: the container says {said / rate_hz:.2f} s ({said} frames), "
        f"{found / rate_hz:.2f} s ({found} frames) can be decoded"
    )
