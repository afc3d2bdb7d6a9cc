"""The exported file: plain arrays in the table's order, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmmos.store.clips import ClipTable
from mmmos.store.export import MissingCropsError, export
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip, Crop
from tests.store.made import SPEC, crop, features, fill


def test_rows_are_the_tables_crops_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmmos.store.export.READ_CROPS", 2)
    store = fill(tmp_path, 3)
    tail = Crop(crop(2).audio, 1, 10.0, 4.0)
    store.append([tail], *features([tail]))
    clips = (
        Clip(
            "long",
            "l.wav",
            system="s",
            split="dev",
            scores=(1.0, None, 2.0, 3.0),
            audio=tail.audio,
            duration_s=14,
        ),
        Clip("short", "s.wav", audio=crop(0).audio, duration_s=10.0),
    )
    done = export(store, ClipTable(clips, caveats=("synthetic audio",)), tmp_path / "out.npz", frames=True)
    assert (done.clips, done.crops, done.bytes) == (2, 3, (tmp_path / "out.npz").stat().st_size)
    frames, means = features([crop(2), tail, crop(0)])
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        np.testing.assert_array_equal(out["frames"], frames)
        np.testing.assert_array_equal(out["means"], means)
        assert out["clip_id"].tolist() == ["long", "long", "short"]
        assert out["crop_index"].tolist() == [0, 1, 0]
        assert out["start_s"].tolist() == [0.0, 10.0, 0.0]
        assert out["valid_s"].tolist() == [10.0, 4.0, 10.0]
        assert out["valid_frames"].tolist() == [10, 4, 10]
        np.testing.assert_array_equal(out["scores"], [[1, np.nan, 2, 3]] * 2 + [[np.nan] * 4])
        assert json.loads(out["spec"].item())["name"] == SPEC.name
        assert json.loads(out["caveats"].item()) == ["synthetic audio"]


def test_an_export_is_whole_or_not_at_all(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPEC)
    table = ClipTable((Clip("a", "a.wav", audio=crop(0).audio, duration_s=10.0),))
    with pytest.raises(MissingCropsError, match=f"lacks 1 of the table's crops, first {crop(0).id}"):
        export(store, table, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
