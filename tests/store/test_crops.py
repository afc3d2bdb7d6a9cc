"""The crop grid by hand-worked durations, and the containment of audio paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmmos.store.crops import crop_grid, crops_of, is_crop, resolve_audio
from mmmos.store.schema import Clip


@pytest.mark.parametrize(
    ("duration_s", "valid"),
    [
        (0.004, [0.004]),
        (0.9, [0.9]),
        (10.0, [10.0]),
        (10.9, [10.0]),
        (11.0, [10.0, 1.0]),
        (20.0, [10.0, 10.0]),
        (23.5, [10.0, 10.0, 3.5]),
    ],
)
def test_grid(duration_s: float, valid: list[float]) -> None:
    crops = crop_grid("ab", duration_s)
    assert [crop.valid_s for crop in crops] == valid
    assert [crop.start_s for crop in crops] == [10.0 * i for i in range(len(valid))]
    assert [crop.id for crop in crops] == [f"ab-{i:05d}" for i in range(len(valid))]


@pytest.mark.parametrize(
    ("start_s", "left_s", "step_s", "counts"),
    [
        (0.0, 0.001, 10.0, True),
        (0.0, 0.0, 10.0, False),
        (10.0, 1.0, 10.0, True),
        (10.0, 0.999, 10.0, False),
        (4.0, 7.0, 4.0, True),
        (4.0, 6.9, 4.0, False),
        (1.0, 10.0, 1.0, True),
        (1.0, 9.9, 1.0, False),
    ],
)
def test_a_later_crop_adds_a_second_that_earlier_ones_do_not_hold(
    start_s: float, left_s: float, step_s: float, counts: bool
) -> None:
    assert is_crop(start_s, left_s, step_s) == counts


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_no_grid_over_nothing(duration_s: float) -> None:
    with pytest.raises(ValueError, match="has no crops"):
        crop_grid("ab", duration_s)


def test_a_clip_has_crops_once_surveyed() -> None:
    assert len(crops_of(Clip("a", "a.wav", audio="ab", duration_s=12.0))) == 2
    with pytest.raises(ValueError, match="not been surveyed"):
        crops_of(Clip("a", "a.wav"))


def test_audio_stays_inside_its_root(tmp_path: Path) -> None:
    root = tmp_path / "audio"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.wav").write_bytes(b"x")
    (tmp_path / "secret.wav").write_bytes(b"x")
    (root / "inner.wav").symlink_to(root / "sub" / "a.wav")
    (root / "outer.wav").symlink_to(tmp_path / "secret.wav")
    (root / "circle.wav").symlink_to(root / "circle.wav")
    os.mkfifo(root / "pipe.wav")
    assert resolve_audio(root, "sub/a.wav") == (root / "sub" / "a.wav").resolve()
    assert resolve_audio(root, "sub/../sub/a.wav").name == "a.wav"
    assert resolve_audio(root, "inner.wav").name == "a.wav"
    assert resolve_audio(root, str(root / "sub" / "a.wav")).name == "a.wav"
    for path, reason in {
        "../secret.wav": "leads out",
        str(tmp_path / "secret.wav"): "leads out",
        "outer.wav": "leads out",
        "absent.wav": "no such file",
        "sub": "is a folder",
        "pipe.wav": "not a regular file",
        "": "empty",
        "a\0b": "NUL",
        "circle.wav": "circle|loop|Symlink|symbolic",
    }.items():
        with pytest.raises(ValueError, match=reason):
            resolve_audio(root, path)
