"""How a work folder's ensemble is chosen where no rule is given: what `heads --preset` leaves in recipe.json.

So the steps of `train` can be repeated one by one, and mean the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmmos.heads.ensemble import choose_ensemble
from mmmos.store import sealed
from mmmos.store.shape import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmmos.heads.ensemble import Ensemble
    from mmmos.heads.pool import Pool
    from mmmos.heads.run_sets import RunSet

FILE = "recipe.json"
SHAPE = {"data": str, "rule": str, "only": [str], "per_axis": bool, "calibrate": bool}


@dataclass(frozen=True)
class Choice:
    """How to choose among runs.

    data:     id of the clip table that it is for.
    rule:     a rule of `selectors`; "" for the default one.
    only:     ids of the runs that may be members; () for all.
    per_axis, calibrate: see `ensemble.choose_ensemble`.
    """

    data: str
    rule: str = ""
    only: tuple[str, ...] = ()
    per_axis: bool = False
    calibrate: bool = False

    def save(self, work: Path) -> None:
        """Keep it in a work folder."""
        sealed.write_json(work / FILE, asdict(self))

    @staticmethod
    def of(work: Path, data: str) -> Choice:
        """That of a work folder, if it is for this table; else the plain default rule."""
        try:
            kept = sealed.read_object(work / FILE)
            require(kept, SHAPE, work / FILE)
            choice = Choice(**{**kept, "only": tuple(kept["only"])})
        except FileNotFoundError:
            return Choice(data)
        except (TypeError, KeyError, ValueError) as reason:
            raise ValueError(f"{work / FILE} is no recipe: {reason}; train again, or remove it") from None
        return choice if choice.data == data else Choice(data)

    def chooser(self, runs: set[str], among: RunSet | None = None) -> Callable[[Pool], Ensemble]:
        """What chooses among these runs: pool -> ensemble."""
        return partial(
            choose_ensemble,
            data=self.data,
            rule=self.rule,
            among=among,
            only={*self.only} & runs,
            per_axis=self.per_axis,
            calibrate=self.calibrate,
        )
