"""Every container gives the exact length, or a reason: cut, lengthened, put together or lying."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mmmos.extract import mpeg, ogg
from mmmos.extract.audio_info import AudioError
from mmmos.extract.decoding import open_file, read_crop, survey_file
from mmmos.store.crops import crop_grid
from tests.conftest import SHARED

RATE_HZ = 16000
WAVE = 0.1 * np.random.default_rng(0).standard_normal((16777, 2))
WAVE[-1] = 0.5


def coded(kind: str, subtype: str, wave: np.ndarray = WAVE, rate_hz: int = RATE_HZ, **settings: Any) -> bytes:
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", rate_hz, wave.shape[1], subtype, format=kind, **settings) as file:
        for start in range(0, len(wave), 4000):
            file.write(wave[start : start + 4000])
    return stream.getvalue()


FORMATS = {
    "wav16": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-ulaw": ("WAV", "ULAW"),
    "wav-ima": ("WAV", "IMA_ADPCM"),
    "wav-ms": ("WAV", "MS_ADPCM"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc-float": ("AIFF", "FLOAT"),
    "aifc-ulaw": ("AIFF", "ULAW"),
    "caf": ("CAF", "PCM_16"),
    "caf-alac": ("CAF", "ALAC_16"),
    "au": ("AU", "PCM_16"),
    "flac16": ("FLAC", "PCM_16"),
    "flac24": ("FLAC", "PCM_24"),
    "flac8": ("FLAC", "PCM_S8"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
MADE = {name: coded(*how) for name, how in FORMATS.items()}
VBR = coded("MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.5)
PADDED = {"wav-ima": 17289, "wav-ms": 17204}
"""What ADPCM comes to in whole blocks: libsndfile writes and reads nothing shorter."""


def heard(tmp_path: Path, content: bytes) -> int | str:
    """Frames that a survey and a scoring pass find, or the reason of both: the two must agree."""
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    answers: list[int | str] = []
    for ask in (
        lambda: round((info := survey_file(path)).duration_s * info.sample_rate_hz),
        lambda: sum(map(len, open_file(path).blocks)),
    ):
        try:
            answers.append(ask())
        except AudioError as reason:
            answers.append(str(reason))
    assert answers[0] == answers[1]
    assert "\n" not in str(answers[0])
    return answers[0]


@pytest.mark.parametrize("name", MADE)
def test_a_whole_file_has_its_length_and_a_cut_one_has_a_reason(tmp_path: Path, name: str) -> None:
    content = MADE[name]
    length = PADDED.get(name, len(WAVE))
    assert heard(tmp_path, content) == length
    rng = np.random.default_rng(1)
    cuts = {*rng.integers(1, len(content), 12).tolist(), 3, 12, 44, 60, len(content) - 1, len(content) - 8}
    for cut in cuts:
        answer = heard(tmp_path, content[:cut])
        assert isinstance(answer, str) or answer == length, cut


def test_a_byte_that_makes_a_chunk_even_may_be_counted(tmp_path: Path) -> None:
    content = coded("WAV", "PCM_24", WAVE[:999, :1])  # 2997 bytes of samples and one more
    at = content.index(b"data") + 4
    assert content[at : at + 4] == struct.pack("<I", 2997)
    assert len(content) == at + 4 + 2998
    assert heard(tmp_path, patched(content, at, struct.pack("<I", 2998))) == 999


@pytest.mark.parametrize("name", MADE)
def test_two_files_in_one_are_refused(tmp_path: Path, name: str) -> None:
    assert isinstance(heard(tmp_path, MADE[name] * 2), str)
    tag = b"ID3\x04\0\0\0\0\0\x64" + bytes(100)
    assert isinstance(heard(tmp_path, MADE[name] + tag + MADE[name]), str)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("tail", ["id3v1", "ape", "zeros", "garbage"])
def test_what_follows_the_audio_never_changes_its_length(tmp_path: Path, name: str, tail: str) -> None:
    more = {
        "id3v1": b"TAG" + bytes(125),
        "ape": b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 1 << 31) + bytes(8 + 32),
        "zeros": bytes(3000),
        "garbage": np.random.default_rng(2).bytes(3000),
    }[tail]
    answer = heard(tmp_path, MADE[name] + more)
    length = PADDED.get(name, len(WAVE))
    if tail != "garbage" and name != "w64":  # libsndfile reads on to the end of a W64 file
        assert answer == length
    assert isinstance(answer, str) or answer == length


@pytest.mark.parametrize("name", ["wav16", "aiff", "flac16", "mp3"])
def test_tags_before_the_audio_are_passed_over(tmp_path: Path, name: str) -> None:
    tag = b"ID3\x04\0\0\0\0\0\x64" + bytes(100)
    assert heard(tmp_path, tag + MADE[name]) == len(WAVE)


@pytest.mark.parametrize("chunk", [b"JUNK" + struct.pack("<I", 6) + b"sixsix"] * 1)
@pytest.mark.parametrize("count", [20, 200])
def test_chunks_before_the_samples_hide_no_cut(tmp_path: Path, chunk: bytes, count: int) -> None:
    """libsndfile's log of the header ends after 2 KB; the sizes are not taken from there."""
    content = MADE["wav16"]
    content = content[:12] + chunk * count + content[12:]
    assert heard(tmp_path, content) == len(WAVE)
    assert "cut short" in str(heard(tmp_path, content[:-2000]))


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def without_md5(content: bytes) -> bytes:
    return patched(content, 26, bytes(16))


FLAC, WAV, AIFF = MADE["flac16"], MADE["wav16"], MADE["aiff"]
COMM, DATA = AIFF.index(b"COMM") + 8, WAV.index(b"data") + 4
STREAMINFO_TOTAL = int.from_bytes(FLAC[18:26], "big")
LIES = {
    "WAV: half the samples": (
        patched(WAV, DATA, struct.pack("<I", 33554)),
        "neither audio|contradicts|second",
    ),
    "WAV: rate": (patched(WAV, WAV.index(b"fmt ") + 12, struct.pack("<I", 8000)), "contradicts itself"),
    "WAV: channels": (patched(WAV, WAV.index(b"fmt ") + 10, struct.pack("<H", 1)), "contradicts itself"),
    "WAV: two data chunks": (WAV + b"data" + struct.pack("<I", 4) + bytes(4), "two chunks of samples"),
    "WAV: a part of a frame": (patched(WAV, DATA, struct.pack("<I", 67107)), "no whole number of blocks"),
    "IMA ADPCM: rate": (
        patched(MADE["wav-ima"], MADE["wav-ima"].index(b"fmt ") + 12, struct.pack("<I", 8000)),
        "contradicts itself",
    ),
    "CAF: a part of a frame": (
        patched(MADE["caf"], MADE["caf"].index(b"data") + 4, struct.pack(">q", 4 + 67107)),
        "no whole number of blocks",
    ),
    "AU: channels": (patched(MADE["au"], 20, struct.pack(">I", 3)), "no whole number of blocks"),
    "AIFF: fewer frames": (patched(AIFF, COMM + 2, struct.pack(">I", 9000)), "its header lies"),
    "AIFF: more frames": (patched(AIFF, COMM + 2, struct.pack(">I", 19000)), "cut short"),
    "FLAC: MD5": (patched(FLAC, 26, b"\x55"), "MD5"),
    "FLAC: fewer frames": (patched(FLAC, 18, (STREAMINFO_TOTAL - 5000).to_bytes(8, "big")), "MD5|follow"),
    "FLAC: half, no MD5": (
        without_md5(patched(FLAC, 18, (STREAMINFO_TOTAL - 12000).to_bytes(8, "big"))),
        "bytes follow",
    ),
    "FLAC: more frames": (
        patched(FLAC, 18, (STREAMINFO_TOTAL + 5000).to_bytes(8, "big")),
        "cut short|decoded",
    ),
    "FLAC: rate": (
        patched(FLAC, 18, (STREAMINFO_TOTAL + (6000 << 44)).to_bytes(8, "big")),
        "the first frame 16000 Hz",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(tmp_path: Path, lie: str) -> None:
    content, reason = LIES[lie]
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        survey_file(path)


def pages(content: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(content):
        segments = content[at + 27 : at + 27 + content[at + 26]]
        end = at + 27 + len(segments) + sum(segments)
        found.append(content[at:end])
        at = end
    return found


def sealed(page: bytes) -> bytes:
    """The page with the checksum that fits it."""
    return patched(page, 22, struct.pack("<I", ogg.crc(patched(page, 22, bytes(4)))))


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_every_page_of_an_ogg_file_counts(tmp_path: Path, name: str) -> None:
    whole = pages(coded(*FORMATS[name], wave=np.tile(WAVE, (9, 1))))
    assert len(whole) > 5
    for spoilt, reason in (
        (whole[:3] + whole[4:], "page 3 is lost"),
        (whole[:-1], "cut short"),
        ([*whole[:3], patched(whole[3], 100, b"\0\1\2\3"), *whole[4:]], "page 3 does not fit its checksum"),
        ([*whole[:3], whole[3], *whole[3:]], "page 4 is lost"),
        ([*whole[:-1], sealed(patched(whole[-1], 6, bytes(8)))], "goes back"),
        ([*whole[:-1], sealed(patched(whole[-1], 6, struct.pack("<q", 1 << 20)))], "cut short"),
        ([*whole[:-1], sealed(patched(whole[-1], 6, struct.pack("<q", -1)))], "without saying where"),
        ([sealed(patched(whole[0], 14, b"abcd")), *whole[1:]], "side by side"),
    ):
        assert reason in str(heard(tmp_path, b"".join(spoilt)))


def test_an_mp3_without_a_count_is_counted(tmp_path: Path) -> None:
    """libsndfile estimates its length, and hears a part of it; all frames are counted and heard."""
    quiet = WAVE.copy()
    quiet[:8000] *= 0.001
    content = coded("MP3", "MPEG_LAYER_III", quiet, bitrate_mode="VARIABLE", compression_level=0.5)
    header = mpeg.parse(content[:4])
    assert header is not None
    bare = content[header.length :]
    frames = struct.unpack_from(">I", content, 4 + header.side_bytes + 8)[0] * header.samples
    path = tmp_path / "a.mp3"
    path.write_bytes(bare)
    assert soundfile.info(path).frames != frames
    assert heard(tmp_path, bare) == frames
    whole = np.concatenate(list(open_file(path).blocks))
    info = survey_file(path)
    (crop,) = crop_grid(info.audio, info.duration_s)
    np.testing.assert_array_equal(
        read_crop(path, crop, (RATE_HZ,))[RATE_HZ][: len(whole)], whole.mean(axis=1, dtype=np.float32)
    )
    assert "cut short within a frame" in str(heard(tmp_path, bare[:-7]))


def test_an_mp3_with_a_lying_count_is_refused(tmp_path: Path) -> None:
    header = mpeg.parse(VBR[:4])
    assert header is not None
    at = 4 + header.side_bytes + 8
    (frames,) = struct.unpack_from(">I", VBR, at)
    for count, reason in ((frames // 2, "its header lies"), (frames + 9, "cut short")):
        assert reason in str(heard(tmp_path, patched(VBR, at, struct.pack(">I", count))))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(50), "MPEG-4 .m4a, mp4, mov. is not read; convert it first: ffmpeg"),
        (b"\x1aE\xdf\xa3" + bytes(50), "WebM or Matroska is not read"),
        (b"\xff\xf1\x50\x80" + bytes(50), "AAC is not read"),
        (coded("VOC", "PCM_16"), "VOC is not read"),
        (coded("NIST", "PCM_16"), "NIST Sphere is not read"),
        (coded("SVX", "PCM_16", WAVE[:, :1]), "IFF file of the kind b'16SV' is not read"),
        (coded("MAT5", "PCM_16"), "MATLAB is not read"),
        (coded("PAF", "PCM_16"), "PAF is not read"),
        (coded("IRCAM", "PCM_16"), "IRCAM is not read"),
        (coded("RAW", "PCM_16"), "not audio in a container that is read"),
    ],
)
@pytest.mark.parametrize("name", ["a.raw", "a.wav"])
def test_what_cannot_be_checked_is_refused_by_name(
    tmp_path: Path, content: bytes, reason: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        survey_file(tmp_path / name)


@pytest.mark.skipif(not (SHARED / "data/rated_audio").exists(), reason="needs the shared recordings")
def test_real_recordings_are_all_read() -> None:
    files = [
        p for p in sorted((SHARED / "data/rated_audio").rglob("*")) if p.suffix in (".mp3", ".ogg", ".flac")
    ]
    assert len(files) > 100
    for path in [p for p in files if p.suffix != ".flac"] + files[::9]:
        assert sum(map(len, open_file(path).blocks)) > 0
