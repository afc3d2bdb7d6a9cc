"""Files are decoded exactly, or refused with their reason."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.decoding import open_wave, read_crop, survey_file
from mmmos.extract.stream import Window, windows
from mmmos.store.crops import crop_grid
from mmmos.store.schema import Crop
from tests.conftest import shared

RATES_HZ = (16000, 24000)


def noise(seconds: float, rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate_hz), channels))


def written(path: Path, frames: np.ndarray, rate_hz: int, subtype: str | None = None) -> Path:
    kind = {".opus": "OGG"}.get(path.suffix)
    with soundfile.SoundFile(path, "w", rate_hz, frames.shape[1], subtype, format=kind) as file:
        for start in range(0, len(frames), 8000):  # libvorbis overflows its stack on large writes
            file.write(frames[start : start + 8000])
    return path


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_U8"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_24"),
        ("a.aiff", "PCM_16"),
        ("a.ogg", "VORBIS"),
        ("a.opus", "OPUS"),
        ("a.mp3", "MPEG_LAYER_III"),
    ],
)
def test_a_crop_read_alone_is_the_slice_of_the_whole_file(tmp_path: Path, name: str, subtype: str) -> None:
    path = written(tmp_path / name, noise(23.4, 48000, 2), 48000, subtype)
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    info = survey_file(path)
    assert info.duration_s == len(whole) / 48000
    crops = crop_grid(info.audio, info.duration_s)
    assert len(crops) == 3
    for crop in crops:
        piece = whole[round(crop.start_s * 48000) :][: round(crop.valid_s * 48000)].mean(axis=1)
        read = read_crop(path, crop, (48000,))[48000]
        np.testing.assert_array_equal(read[: len(piece)], piece)
        assert not read[len(piece) :].any()


def test_vorbis_is_exact_in_its_last_page(tmp_path: Path) -> None:
    """libsndfile's own seek is off by up to half a block there; a crop must not be."""
    for rate_hz, seconds in ((22050, 13.9), (8000, 40.3), (44100, 30.7)):
        path = written(tmp_path / f"{rate_hz}.ogg", noise(seconds, rate_hz), rate_hz, "VORBIS")
        whole = soundfile.read(path, dtype="float32")[0]
        for back_s in np.linspace(0.05, 3.0, 12):
            start = len(whole) - round(back_s * rate_hz)
            crop = Crop("", 0, start / rate_hz, (len(whole) - start) / rate_hz)
            read = read_crop(path, crop, (rate_hz,))[rate_hz]
            np.testing.assert_array_equal(read[: len(whole) - start], whole[start:])


@pytest.mark.parametrize(
    "path",
    [
        "data/rated_audio/sound_soundscapes_affect/audio/stimulus1.mp3",
        "data/rated_audio/unrated/librosa_examples/5703-47212-0000.ogg",
        "data/rated_audio/unrated/librosa_examples/sorohanro_-_solo-trumpet-06.ogg",
        "data/rated_audio/unrated/librosa_examples/admiralbob77_-_Choice_-_Drum-bass.ogg",
    ],
)
def test_real_compressed_files_are_read_exactly_at_any_place(path: str, rng: np.random.Generator) -> None:
    file = shared(path)
    whole, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    for start in [*rng.integers(0, len(whole) - rate_hz // 10, 8), len(whole) - rate_hz // 2]:
        count = min(len(whole) - start, rate_hz // 5)
        crop = Crop("", 0, start / rate_hz, count / rate_hz)
        piece = whole[start : start + count].mean(axis=1, dtype=np.float32)
        np.testing.assert_array_equal(read_crop(file, crop, (rate_hz,))[rate_hz][:count], piece)


def test_an_array_gives_the_numbers_of_its_file(tmp_path: Path) -> None:
    frames = (noise(12.3, 44100, 9) * 2**15).round().astype(np.int16)
    path = written(tmp_path / "a.wav", frames, 44100, "PCM_16")
    info, (*found, same) = survey_file(path), windows(open_wave(frames.T, 44100), RATES_HZ)
    assert isinstance(same, AudioInfo)
    assert (info.duration_s, info.peak, info.rms) == (same.duration_s, same.peak, same.rms)
    for window, crop in zip(found, crop_grid(info.audio, info.duration_s), strict=True):
        assert isinstance(window, Window)
        theirs = read_crop(path, crop, RATES_HZ)
        for rate_hz in RATES_HZ:
            np.testing.assert_array_equal(window.waves[rate_hz], theirs[rate_hz])
            assert theirs[rate_hz].dtype == np.float32


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_trailing_digital_silence_changes_no_crop(tmp_path: Path, name: str) -> None:
    frames = noise(11.5, 24000, 2)
    frames[-1] = 0.5
    padded = np.concatenate([frames, np.zeros((24000 * 25, 2))])
    plain, long = written(tmp_path / name, frames, 24000), written(tmp_path / f"b{name}", padded, 24000)
    info, same = survey_file(plain), survey_file(long)
    assert same.duration_s == info.duration_s == 11.5
    assert (same.peak, same.rms, same.clipped) == (info.peak, info.rms, info.clipped)
    for ours, theirs in zip(crop_grid("", same.duration_s), crop_grid("", info.duration_s), strict=True):
        np.testing.assert_array_equal(
            read_crop(long, ours, RATES_HZ)[16000], read_crop(plain, theirs, RATES_HZ)[16000]
        )


def test_an_all_zero_file_keeps_its_length(tmp_path: Path) -> None:
    info = survey_file(written(tmp_path / "a.wav", np.zeros((36000, 1)), 24000))
    assert (info.duration_s, info.peak, info.rms) == (1.5, 0.0, 0.0)


def test_odd_but_honest_files_are_read(tmp_path: Path) -> None:
    for name, frames, rate_hz in (
        ("one_sample", noise(1 / 24000, 24000), 24000),
        ("eight_channels", noise(0.5, 48000, 8), 48000),
        ("fast", noise(0.5, 192000), 192000),
        ("slow", noise(0.5, 4000), 4000),
    ):
        path = written(tmp_path / f"{name}.wav", frames, rate_hz)
        info = survey_file(path)
        assert (info.duration_s, info.channels) == (len(frames) / rate_hz, frames.shape[1])
        (crop,) = crop_grid(info.audio, info.duration_s)
        for wave in read_crop(path, crop, RATES_HZ).values():
            assert np.isfinite(wave).all()
            assert wave.any()


def wav_header(frames: int, rate_hz: int = 24000, channels: int = 1, claimed: int | None = None) -> bytes:
    """A 16-bit WAV of zeros with one sample at 0.5, whose sizes may lie."""
    data = np.zeros((frames, channels), "<i2")
    if frames:
        data[0] = 2**14
    size = claimed if claimed is not None else data.nbytes
    block = 2 * channels
    shape = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * block, block, 16)
    riff = b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVEfmt " + shape
    return riff + b"data" + struct.pack("<I", size) + data.tobytes()


def sparse_wav(path: Path, hours: int, rate_hz: int) -> Path:
    """Hours of digital silence that take no room on the disk, and one sample of 0.5 at the very end."""
    size = hours * 3600 * rate_hz * 2
    header = wav_header(0, rate_hz, claimed=size)
    with path.open("wb") as file:
        file.write(header)
        file.seek(len(header) + size - 2)
        file.write(struct.pack("<h", 2**14))
    return path


def test_hours_of_audio_are_surveyed_and_their_last_crop_is_read(tmp_path: Path) -> None:
    path = sparse_wav(tmp_path / "a.wav", 3, 4000)
    info = survey_file(path)
    assert (info.duration_s, info.peak) == (3 * 3600.0, 0.5)
    last = crop_grid(info.audio, info.duration_s)[-1]
    assert last.start_s == 3 * 3600 - 10
    assert read_crop(path, last, (4000,))[4000].nonzero()[0].tolist() == [39999]


def test_more_hours_than_the_cap_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="at most 12 hours"):
        survey_file(sparse_wav(tmp_path / "a.wav", 13, 4000))


def encoded(frames: np.ndarray, rate_hz: int, kind: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, frames, rate_hz, format=kind, subtype=subtype)
    return stream.getvalue()


def bad_float(value: float) -> bytes:
    frames = noise(1.0, 24000)
    frames[12000] = value
    return encoded(frames, 24000, "WAV", "FLOAT")


def streamed_flac() -> bytes:
    """A FLAC whose header says "length unknown", as written to a pipe: 36 bits of zeros."""
    data = bytearray(encoded(noise(1.0, 24000), 24000, "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


BAD = {
    "empty": (b"", "empty file"),
    "text": (b"not audio at all\n" * 50, "not audio in a container that is read"),
    "header only": (wav_header(0), "without a single sample"),
    "nan": (bad_float(np.nan), "not a number, at 0.500 s"),
    "infinite": (bad_float(-np.inf), "not a number, at 0.500 s"),
    "integers as floats": (bad_float(20000.0), "where full scale is 1"),
    "cut FLAC": (encoded(noise(4.0, 24000), 24000, "FLAC", "PCM_16")[:40000], "cannot be decoded|cut short"),
    "cut MP3": (
        encoded(noise(4.0, 24000), 24000, "MP3", "MPEG_LAYER_III")[:9000],
        r"cut short: the header says \d+ frames \(\S+ s\), there are",
    ),
    "cut Vorbis": (encoded(noise(0.3, 24000), 24000, "OGG", "VORBIS")[:60], "cut short"),
    "no length": (streamed_flac(), "FLAC whose header gives no length"),
    "long header": (
        wav_header(1000, claimed=10**6),
        "the header says 1000000 bytes of samples, there are 2000",
    ),
    "streamed WAV": (wav_header(1000, claimed=2**32 - 1), "cut short"),
    "cut AIFF": (encoded(noise(1.0, 24000), 24000, "AIFF", "PCM_16")[:20000], "cut short"),
    "cut AU": (encoded(noise(1.0, 24000), 24000, "AU", "PCM_16")[:20000], "cut short"),
    "rate": (wav_header(100, rate_hz=1_000_000), "sample rate"),
    "low rate": (wav_header(100, rate_hz=10), "sample rate 10 Hz"),
    "channels": (wav_header(10, channels=500), "500 channels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_trusted_is_refused_with_its_reason(tmp_path: Path, kind: str) -> None:
    content, reason = BAD[kind]
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as refused:
        survey_file(path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        survey_file(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        survey_file(tmp_path)


def test_a_file_that_shrank_is_refused_when_a_crop_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(3.0, 24000), 24000)
    with pytest.raises(AudioError, match="it changed since"):
        read_crop(path, Crop("", 0, 0.0, 4.0), RATES_HZ)
    with pytest.raises(AudioError, match="it changed since"):
        read_crop(path, Crop("", 1, 10.0, 1.0), RATES_HZ)
