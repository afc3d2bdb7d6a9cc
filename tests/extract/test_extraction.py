"""Extraction encodes what is missing, once, and the same whatever happened on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmmos.extract import extraction
from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.encoders.encoder import Loaded
from mmmos.extract.encoders.published import Origin
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip

SECONDS = (3.0, 23.5, 10.0, 0.4, 12.0)


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[ClipTable, Path]:
    """Five clips, eight crops: 3 s; 10 + 10 + 3.5 s; 10 s; 0.4 s; 10 + 2 s."""
    root = tmp_path / "audio"
    rng = np.random.default_rng(0)
    clips = []
    for index, seconds in enumerate(SECONDS):
        write_audio(root / f"{index}.flac", 0.1 * rng.standard_normal((round(seconds * 22050), 1)), 22050)
        clips.append(Clip(f"c{index}", f"{index}.flac", split="train"))
    return survey(ClipTable(tuple(clips)), root, quiet=True)[0], root


@pytest.fixture(scope="module")
def logmel() -> Encoder:
    return load_encoder("logmel", audio_recipe=AUDIO_RECIPE)


class Tones(torch.nn.Module):
    """A stand-in network: two states [B, 20, 3] of simple statistics, on 16 kHz."""

    def __init__(self, memory: int = 1000) -> None:
        super().__init__()
        self.memory, self.calls = memory, []

    def forward(self, waves: Tensor) -> list[Tensor]:
        self.calls.append(len(waves))
        if len(waves) > self.memory:
            raise torch.OutOfMemoryError("pretended")
        pieces = waves.reshape(len(waves), 20, -1)
        first = torch.stack([pieces.mean(2), pieces.square().mean(2), pieces.amax(2)], dim=2)
        return [first, first + 1]


def tones(logmel: Encoder, memory: int = 1000) -> Encoder:
    spec = replace(
        logmel.spec, name="tones", sample_rate_hz=16000, frame_rate_hz=2.0, frames=20, dim=3, layers=2
    )
    network = Loaded(Tones(memory), Origin("none", "none", ""), dim=3, layers=2)
    return Encoder(spec, network, torch.device("cpu"))


def stored(root: Path, encoder: Encoder, table: ClipTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    store = FeatureStore(root, encoder.spec)
    ids = [crop.id for clip in table.clips for crop in crops_of(clip)]
    return *store.frames(ids), store.means(ids)


def shards(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.h5"))}


def test_each_crop_is_stored_with_its_valid_frames(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path
) -> None:
    table, root = corpus
    summary = extract(table, root, [logmel, tones(logmel)], tmp_path / "f", quiet=True)
    assert (summary.clips, summary.crops, summary.encoded) == (5, 8, {"logmel": 8, "tones": 8})
    assert summary.audio_s == pytest.approx(sum(SECONDS))
    frames, valid, means = stored(tmp_path / "f", logmel, table)
    assert valid.tolist() == [75, 250, 250, 87, 250, 10, 250, 50]
    for row, count in enumerate(valid):
        inside = frames[row, :count].astype(np.float32).mean(axis=0)
        np.testing.assert_allclose(means[row, 0], inside, atol=2e-3)


def test_a_second_run_reads_no_audio(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, root = corpus
    extract(table, root, [logmel], tmp_path / "f", quiet=True)
    before = shards(tmp_path / "f")
    monkeypatch.setattr(extraction, "read_crop", lambda *_: pytest.fail("decoded again"))
    assert extract(table, root, [logmel], tmp_path / "f", quiet=True).encoded == {"logmel": 0}
    assert shards(tmp_path / "f") == before


def test_a_crop_is_decoded_once_for_all_encoders_and_again_for_a_later_one(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, root = corpus
    asked = []
    real = extraction.read_crop
    monkeypatch.setattr(extraction, "read_crop", lambda *a: asked.append(sorted(a[2])) or real(*a))
    extract(replace(table, clips=table.clips[:2]), root, [logmel], tmp_path / "f", quiet=True)
    assert asked == [[24000]] * 4
    asked.clear()
    summary = extract(table, root, [logmel, tones(logmel)], tmp_path / "f", quiet=True)
    assert summary.encoded == {"logmel": 4, "tones": 8}
    assert sorted(asked) == [[16000]] * 4 + [[16000, 24000]] * 4


def test_a_run_that_was_interrupted_goes_on_with_the_same_shards(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, root = corpus
    encoders = [logmel, tones(logmel)]
    extract(table, root, encoders, tmp_path / "unbroken", shard_crops=2, quiet=True)
    whole = shards(tmp_path / "unbroken")
    assert len(whole) == 8
    real = FeatureStore.append
    for stop in range(8):
        folder, written = tmp_path / f"broken{stop}", []

        def append(store: FeatureStore, *rest: object, written: list = written, stop: int = stop) -> Path:
            if len(written) == stop:
                raise OSError(28, "No space left on device")
            written.append(real(store, *rest))
            return written[-1]

        monkeypatch.setattr(FeatureStore, "append", append)
        with pytest.raises(OSError, match="No space left"):
            extract(table, root, encoders, folder, shard_crops=2, quiet=True)
        monkeypatch.setattr(FeatureStore, "append", real)
        assert shards(folder).items() <= whole.items()
        extract(table, root, encoders, folder, shard_crops=2, quiet=True)
        assert shards(folder) == whole


@pytest.mark.parametrize("memory", [1, 2, 3])
def test_out_of_memory_halves_the_batch_and_goes_on(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path, memory: int
) -> None:
    table, root = corpus
    extract(table, root, [tones(logmel)], tmp_path / "one", Compute(batch=1), quiet=True)
    tight = tones(logmel, memory)
    extract(table, root, [tight], tmp_path / "tight", Compute(batch=8), quiet=True)
    largest = 1 << (memory.bit_length() - 1)
    assert tight.network.calls == [8, 4, 2, 1][: 4 - largest.bit_length()] + [largest] * (8 // largest)
    for ours, theirs in zip(
        stored(tmp_path / "tight", tight, table), stored(tmp_path / "one", tight, table), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_out_of_memory_on_a_single_crop_is_an_error(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        extract(*corpus, [tones(logmel, 0)], tmp_path / "f", quiet=True)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_batch_changes_nothing(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path, batch: int
) -> None:
    table, root = corpus
    extract(table, root, [logmel], tmp_path / "f", Compute(batch=batch, workers=3), quiet=True)
    clip = table.clips[1]
    for crop, means in zip(crops_of(clip), stored(tmp_path / "f", logmel, table)[2][1:4], strict=True):
        wave = extraction.read_crop(root / clip.path, crop, [24000])[24000]
        alone = logmel.encode([wave], [crop.valid_s])[1]
        np.testing.assert_allclose(means, alone[0].numpy(), atol=1e-5)


def test_audio_that_vanished_rejects_its_clip_and_nothing_else(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path
) -> None:
    table, root = corpus
    (root / "1.flac").unlink()
    summary = extract(table, root, [logmel], tmp_path / "f", quiet=True)
    assert [reject.id for reject in summary.rejects] == ["c1"]
    assert "no such file" in summary.rejects[0].reason
    assert summary.encoded == {"logmel": 5}


def test_the_same_audio_in_two_clips_is_encoded_once(
    corpus: tuple[ClipTable, Path], logmel: Encoder, tmp_path: Path
) -> None:
    table, root = corpus
    twice = replace(table, clips=(*table.clips, replace(table.clips[1], id="again")))
    summary = extract(twice, root, [logmel], tmp_path / "f", quiet=True)
    assert (summary.clips, summary.crops, summary.encoded) == (6, 8, {"logmel": 8})


def test_nothing_to_do_is_fine(logmel: Encoder, tmp_path: Path) -> None:
    assert extract(ClipTable(()), tmp_path, [logmel], tmp_path / "f", quiet=True).crops == 0


def test_an_unsurveyed_table_is_refused(logmel: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has not been surveyed"):
        extract(ClipTable((Clip("a", "a.wav"),)), tmp_path, [logmel], tmp_path / "f", quiet=True)
