"""The encoder that a bundle's scores are of, where other heads read them as features (see `prior`)."""

from __future__ import annotations

from mmmos.heads.config import BUNDLE
from mmmos.store.schema import CROP_SECONDS, TENSORS, EncoderSpec


def spec_of_scores(bundle_id: str, axes: int, first: EncoderSpec) -> EncoderSpec:
    """One "frame" a crop, with a number for each of the bundle's axes.

    Parameters
    ----------
    bundle_id
        Changes with anything that a score depends on.
    first
        One of the bundle's encoders: its audio is theirs.
    """
    return EncoderSpec(
        name=BUNDLE,
        checkpoint=bundle_id,
        weights=TENSORS + bundle_id,
        size="full",
        layer="mean",
        sample_rate_hz=first.sample_rate_hz,
        frame_rate_hz=1 / CROP_SECONDS,
        frames=1,
        dim=axes,
        layers=1,
        precision="fp32",
        recipe=1,
        audio=first.audio,
        partial_frames=True,
        gflop=0.0,
        licence="no weights",
    )
