"""MuQ fed with 16 kHz samples as if they were 24 kHz, as the paper's released code does.

A bug that we do not repeat in `muq`; kept under its own signature to reproduce the paper's numbers.
To the network, ten seconds are 6.67 s of audio a fifth too high: 167 frames.
"""

from __future__ import annotations

from mmmos.extract.encoders import muq
from mmmos.extract.encoders.encoder import Loaded, LoadOptions

SAMPLE_RATE_HZ = 16000
FRAME_RATE_HZ = 16000 / 960
FRAMES = 167
RECIPE = muq.RECIPE
PUBLISHED = muq.PUBLISHED


def load(options: LoadOptions) -> Loaded:
    """The same network and the same weights as `muq`."""
    return muq.load(options, SAMPLE_RATE_HZ)
