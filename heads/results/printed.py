"""What the paper prints in Table III: sixteen configurations, the composite of the four axes.

dev and PAM are at utterance level, the test at system level.  Tables II and IV are not held here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mmmos.heads.grids import Cell


class Place(NamedTuple):
    """Where a figure belongs: "dev", "pam" or "test", and the metric's name."""

    split: str
    metric: str


Row = Mapping[Place, float]
"""The figures of one configuration or ensemble."""

PRINTED_METRICS = ("mse", "lcc", "srcc", "ktau")
PRINTED_LEVELS = {"dev": "utterance", "pam": "utterance", "test": "system"}
"""Split -> the level at which the paper gives its figures."""


_PRINTED = """
wavlm+m2d      mlp     ccc 0.346 0.834 0.846 0.662 0.339 0.900 0.906 0.731 1.366 0.918 0.879 0.737
wavlm+muq+m2d  mlp     ccc 0.399 0.814 0.830 0.652 0.284 0.907 0.913 0.741 1.146 0.938 0.912 0.779
wavlm+muq+m2d  blstm_t ccc 0.351 0.833 0.842 0.660 0.277 0.906 0.906 0.732 1.307 0.937 0.901 0.760
wavlm+muq+m2d  blstm_h ccc 0.406 0.810 0.815 0.638 0.301 0.903 0.909 0.739 1.360 0.919 0.888 0.746
wavlm+m2d      mlp     con 0.390 0.825 0.839 0.663 0.329 0.912 0.915 0.746 1.679 0.930 0.890 0.733
wavlm+muq+m2d  mlp     con 0.415 0.813 0.820 0.645 0.329 0.907 0.912 0.739 1.576 0.939 0.916 0.789
wavlm+muq+m2d  blstm_t con 0.389 0.817 0.828 0.651 0.223 0.914 0.914 0.742 0.670 0.938 0.909 0.774
wavlm+muq+m2d  blstm_h con 0.347 0.827 0.838 0.668 0.229 0.917 0.916 0.750 0.986 0.939 0.912 0.777
wavlm+m2d      mlp     dcq 0.421 0.817 0.832 0.650 0.329 0.907 0.911 0.741 1.617 0.921 0.887 0.744
wavlm+muq+m2d  mlp     dcq 0.448 0.818 0.824 0.645 0.279 0.918 0.921 0.754 1.466 0.944 0.919 0.796
wavlm+muq+m2d  blstm_t dcq 0.564 0.824 0.832 0.656 0.405 0.917 0.916 0.748 0.716 0.947 0.915 0.779
wavlm+muq+m2d  blstm_h dcq 0.515 0.822 0.831 0.650 0.427 0.903 0.900 0.724 0.974 0.939 0.909 0.773
wavlm+m2d      mlp     ut  0.361 0.822 0.849 0.672 0.298 0.910 0.911 0.745 1.163 0.919 0.872 0.726
wavlm+muq+m2d  mlp     ut  0.342 0.833 0.838 0.656 0.268 0.909 0.912 0.744 1.112 0.940 0.913 0.782
wavlm+muq+m2d  blstm_t ut  0.378 0.827 0.832 0.656 0.327 0.912 0.914 0.747 1.397 0.925 0.893 0.746
wavlm+muq+m2d  blstm_h ut  0.358 0.823 0.836 0.653 0.245 0.916 0.919 0.752 1.113 0.945 0.920 0.793
"""


def _table(text: str) -> dict[Cell, Row]:
    """A line's encoders, aggregator and loss -> its figures, in the order of splits and metrics above."""
    places = [Place(split, metric) for split in PRINTED_LEVELS for metric in PRINTED_METRICS]
    table: dict[Cell, Row] = {}
    for line in text.split("\n")[1:-1]:
        encoders, aggregator, loss, *values = line.split()
        table[tuple(encoders.split("+")), aggregator, loss] = dict(
            zip(places, map(float, values), strict=True)
        )
    return table


TABLE_III = _table(_PRINTED)
"""Encoders, aggregator and loss -> the printed figures."""
