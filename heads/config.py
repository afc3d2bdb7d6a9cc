"""What one head is made of.  No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any

from mmmos.store.names import choose, signature

AGGREGATOR_FIELDS: dict[str, frozenset[str]] = {
    "mlp": frozenset({"layer", "reads"}),
    "blstm_h": frozenset({"width", "layer"}),
    "blstm_t": frozenset({"width", "frame_rate_hz", "precision"}),
    "attention": frozenset({"frame_rate_hz"}),
    "statistics": frozenset(),
    "layermix": frozenset({"layer"}),
    "linear": frozenset({"layer", "reads"}),
    "ridge": frozenset({"layer", "reads"}),
    "kernel_ridge": frozenset({"layer", "reads"}),
    "svr": frozenset({"layer", "reads"}),
}
"""Each aggregator of `network.aggregators`, with those fields that only some aggregators depend on."""

CLOSED_FORM = ("ridge", "kernel_ridge", "svr")
"""Those that scikit-learn solves in one step: no epochs, no learning rate, and always squared error."""

BUNDLE = "bundle"
"""The encoder that features are of which are another bundle's scores, see `scoring.prior`."""

TRAINING_FIELDS = (
    "hidden", "learning_rate", "weight_decay", "dropout", "batch", "epochs", "patience", "stop_on"
)  # fmt: skip
"""What a head in closed form does not depend on."""

READS = ("means", "statistics", "profile")
"""What a head without frames may be told to read, see `network.reading`."""

STOP_ON = ("dev", "dev+pam")
"""Whose clips tell when training stops: the paper's development set is both."""

LATER_FIELDS = ("layer", "reads", "stop_on", "tau")
"""Fields that earlier configs lack: at their default they are not written into the id."""

LOSS_NAMES = (
    "con",
    "ut",
    "dcq",
    "ccc",
    "mse",
    "huber",
    "listeners",
    "listmle",
)
"""The losses of `network.losses`.  Names stand here because configs are made and read without torch."""


MAX_FRAME_RATE_HZ = 1000.0
"""Beyond this a config can only be a mistake, or be made to use up the memory."""


@dataclass(frozen=True)
class HeadConfig:
    """Everything that a trained head depends on; equal configs are the same run.

    Parameters
    ----------
    data
        Id of the clip table, which names clips, audio, splits and labels.
    encoders
        Spec ids of the features, in the order in which they are laid side by side.
    hidden
        Width of each axis' hidden layer.
    width
        Units per direction of a BLSTM; 0 for aggregators without one.
    frame_rate_hz
        Common rate of the frames; 0.0 for aggregators that read no frames.
    batch
        Clips per step; one stored crop of each is drawn.
    patience
        Epochs without a better dev loss before training stops.
    precision
        Arithmetic of the projection of frames, "fp32" or "bf16"; "fp32" where there is none.
    recipe
        Number raised whenever the training code changes its result.
    layer
        Which of the stored layer means this head reads: "mean", "last", "all", a layer's number, "layermix"
        (learnt weights, one set an axis), or "best" (in closed form only: the layer that cross-validation
        inside the training clips picks).  By encoder as "wavlm=layermix,muq=last".  "": as the spec says.
    reads
        "means", "statistics" or "profile"; "": what the aggregator reads by itself.
    stop_on
        One of STOP_ON.
    tau
        Errors up to this, in deviations of the scores, are free in the loss "ut", see `network.losses`.
    """

    data: str
    encoders: tuple[str, ...]
    aggregator: str = "mlp"
    loss: str = "ut"
    hidden: int = 64
    width: int = 0
    frame_rate_hz: float = 0.0
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.0
    batch: int = 32
    epochs: int = 10
    patience: int = 3
    precision: str = "fp32"
    seed: int = 0
    recipe: int = 1
    layer: str = ""
    reads: str = ""
    stop_on: str = "dev"
    tau: float = 0.5

    def __post_init__(self) -> None:
        self._check_types()
        if not self.encoders or len(set(self.encoders)) != len(self.encoders):
            raise ValueError(f"a head needs one or more different encoders, not {list(self.encoders)}")
        for name in ("hidden", "batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not (0.0 < self.learning_rate < math.inf and 0.0 <= self.weight_decay < math.inf):
            raise ValueError("learning_rate must be above 0 and weight_decay not below 0, both finite")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        choose("precision", self.precision, ("fp32", "bf16"))
        if self.reads:
            choose("reading", self.reads, READS)
        choose("split to stop on", self.stop_on, STOP_ON)
        if not 0.0 <= self.tau < math.inf:
            raise ValueError(f"tau is {self.tau}; it must not be below 0, and finite")

    @property
    def settings(self) -> dict[str, Any]:
        """Every field in the form that ids are made of."""
        silent = {field.name: field.default for field in fields(self) if field.name in LATER_FIELDS}
        return {name: value for name, value in asdict(self).items() if silent.get(name) != value}

    def check_sizes(self) -> None:
        """ValueError where no head can be built: for a width or rate that its aggregator cannot have."""
        needed = AGGREGATOR_FIELDS.get(self.aggregator, frozenset())
        if "width" in needed and self.width < 1:
            raise ValueError(f"width is {self.width}; a {self.aggregator} needs at least 1")
        if "frame_rate_hz" in needed and not 0.0 < self.frame_rate_hz <= MAX_FRAME_RATE_HZ:
            raise ValueError(f"frame_rate_hz is {self.frame_rate_hz}; above 0 and up to {MAX_FRAME_RATE_HZ}")

    def _check_types(self) -> None:
        """ValueError for a value that is not of its field's kind, or a whole number beyond any sense."""
        kinds = {"str": str, "int": Integral, "float": Real, "tuple[str, ...]": tuple}
        for field in fields(self):
            value, kind = getattr(self, field.name), kinds[str(field.type)]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{field.name} is {value!r:.60}, which is no {field.type}")
            if kind is Integral and not -(2**63) <= value < 2**63:
                raise ValueError(f"{field.name} is {value!r:.60}")
        if not all(isinstance(encoder, str) for encoder in self.encoders):
            raise ValueError(f"encoders are {list(self.encoders)!r:.60}, not names")

    @property
    def id(self) -> str:
        """The run: "mlp-ut-" and 12 hex digits over every field."""
        return signature(f"{self.aggregator}-{self.loss}", self.settings)

    @property
    def title(self) -> str:
        """What a table row is called: "wavlm+muq+m2d mlp ut", and what differs from the paper."""
        parts = ["+".join(map(encoder_name, self.encoders)), self.aggregator, self.loss]
        told = {"layer": self.layer, "stop on": self.stop_on, "tau": f"{self.tau:g}"}
        plain = {"layer": "", "stop on": "dev", "tau": "0.5"}
        parts += [self.reads] * bool(self.reads)
        return " ".join(parts + [f"{name} {value}" for name, value in told.items() if value != plain[name]])

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> HeadConfig:
        """The config that `asdict` was taken of; ValueError names unknown or missing fields."""
        known = {field.name for field in fields(HeadConfig)}
        if odd := sorted((set(values) - known) | (known - set(values) - {*LATER_FIELDS})):
            raise ValueError(f"not a head's config: fields missing or unknown: {', '.join(odd)}")
        return HeadConfig(**{**values, "encoders": tuple(values["encoders"])})


def encoder_name(spec_id: str) -> str:
    """ "wavlm" of "wavlm-0a1b2c3d4e5f"."""
    return spec_id.rpartition("-")[0] or spec_id
