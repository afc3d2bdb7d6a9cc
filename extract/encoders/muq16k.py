"""MuQ fed with 16 kHz samples as if they were 24 kHz, as the paper's released code does.

A bug that we do not repeat in `muq`; kept under its own signature to reproduce the paper's numbers.
To the network, ten seconds are 6.67 s of audio a fifth too high: 167 frames.
"""

from __future__ import annotations

import math

from mmmos.extract.encoders import muq
from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples

SAMPLE_RATE_HZ = 16000
FRAME_RATE_HZ = SAMPLE_RATE_HZ / muq.FRAME_SAMPLES
FRAMES = math.ceil(crop_samples(SAMPLE_RATE_HZ) / muq.FRAME_SAMPLES)  # 167
RECIPE = muq.RECIPE
GFLOP_A_CROP = muq.GFLOP_A_CROP * SAMPLE_RATE_HZ / muq.SAMPLE_RATE_HZ
PUBLISHED = muq.PUBLISHED


def load(options: LoadOptions) -> Loaded:
    """The same network and the same weights as `muq`."""
    return muq.load(options, SAMPLE_RATE_HZ)
