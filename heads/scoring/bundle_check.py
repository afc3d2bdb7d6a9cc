"""What bundle.json says, checked: it may come from anybody, and nothing is loaded because of it before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmmos.heads.network.model import Head
from mmmos.heads.scoring.golden import GOLDEN
from mmmos.heads.scoring.json_values import is_number, text, texts
from mmmos.heads.scoring.rank import check_ratings

ABOUT = "bundle.json"
FORMAT = "mmmos-bundle-1"
MAX_MEMBERS = 1000
WEIGHTS_TOLERANCE = 1e-6


def members_of(about: Any) -> dict[str, float]:
    """Member run id -> weight, before any head is looked at."""
    if not isinstance(about, dict):
        raise ValueError(f"{ABOUT} holds no JSON object")
    if about["format"] != FORMAT:
        raise ValueError(f"{ABOUT} has the format {about['format']!r:.60}, where {FORMAT!r} is known")
    listed = about["members"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_MEMBERS:
        raise ValueError(f"{len(listed)} members; 1 to {MAX_MEMBERS} are read")
    weights = {text(member["run"], "run"): member["weight"] for member in listed}
    if len(weights) != len(listed):
        raise ValueError(f"{len(listed)} members, {len(weights)} different ones")
    if not all(is_number(weight) and weight > 0 for weight in weights.values()):
        raise ValueError("the weights of its members are not all positive numbers")
    if abs(sum(weights.values()) - 1) > WEIGHTS_TOLERANCE:
        raise ValueError(f"the weights of its members sum to {sum(weights.values()):g}, not to 1")
    return {run: float(weight) for run, weight in weights.items()}


def check_heads(heads: Mapping[str, Head], about: Mapping[str, Any]) -> None:
    """ValueError where heads are not those of their names, or differ in axes or scale."""
    first = next(iter(heads.values()))
    for run, head in heads.items():
        if (head.config.id, head.axes, head.scale) != (run, first.axes, first.scale):
            raise ValueError(
                f"heads/{run}.safetensors holds another head, or one for other axes or another scale"
            )
    if list(first.axes) != about["axes"] or first.scale.to_json() != about["scale"]:
        raise ValueError("its axes or its scale are not those of its heads")


def check_rest(about: Mapping[str, Any], names: Sequence[str]) -> None:
    """ValueError for fields of bundle.json that no score depends on, where they are not what we write."""
    if not all(title.strip() for title in texts(about.get("titles", list(names)), "titles")):
        raise ValueError("an axis has an empty title")
    check_ratings(about.get("ratings", {}), names)
    golden = about.get("golden", {})
    if not isinstance(golden, dict) or not set(golden) <= set(GOLDEN):
        raise ValueError(f"its golden scores are not those of {', '.join(GOLDEN)}")
    for name, scores in golden.items():
        if not isinstance(scores, dict) or not set(scores) <= set(names):
            raise ValueError(f"its golden scores of {name} are not those of its axes, {', '.join(names)}")
        if not all(map(is_number, scores.values())):
            raise ValueError(f"its golden scores of {name} are not all numbers")
