"""The store against a dict, driven by random sequences of everything one can do to it."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mmmos.store import files
from mmmos.store.features import FeatureStore
from mmmos.store.maintenance import gc, merge, verify
from tests.store.made import SPEC, crop, features, shard_names

CROPS = [crop(number, valid_s) for number, valid_s in enumerate((10.0, 0.2, 3.5, 10.0, 9.99, 7.0, 1.0, 10.0))]
some = st.lists(st.sampled_from(range(len(CROPS))), min_size=1, max_size=6, unique=True)


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one folder; the model keeps, for each crop stored, the seed it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.handles = [FeatureStore(self.root, SPEC), FeatureStore(self.root, SPEC)]
        self.model: dict[int, int] = {}

    @rule(handle=st.integers(0, 1), numbers=some, seed=st.integers(0, 3), wide=st.booleans())
    def append(self, handle: int, numbers: list[int], seed: int, wide: bool) -> None:
        crops = [CROPS[number] for number in numbers]
        frames, means = features(crops, seed=seed)
        path = self.handles[handle].append(crops, frames.astype(np.float32) if wide else frames, means)
        assert path.is_file()
        for number in numbers:
            self.model.setdefault(number, seed)

    @rule(handle=st.integers(0, 1), numbers=some)
    def refuse(self, handle: int, numbers: list[int]) -> None:
        crops = [CROPS[number] for number in numbers]
        frames, means = features(crops)
        frames[-1, 0, 0] = np.nan
        with pytest.raises(ValueError, match=f"crop {crops[-1].id}"):
            self.handles[handle].append(crops, frames, means)

    @rule(handle=st.integers(0, 1), order=st.permutations(range(len(CROPS))))
    def read(self, handle: int, order: list[int]) -> None:
        stored = [number for number in order if number in self.model]
        if not stored:
            return
        expected = [features([CROPS[number]], seed=self.model[number]) for number in stored]
        ids = [CROPS[number].id for number in stored]
        frames, valid = self.handles[handle].frames(ids)
        np.testing.assert_array_equal(frames, np.concatenate([pair[0] for pair in expected]))
        np.testing.assert_array_equal(valid, [SPEC.valid_frames(CROPS[number].valid_s) for number in stored])
        means = self.handles[handle].means(ids)
        np.testing.assert_array_equal(means, np.concatenate([pair[1] for pair in expected]))

    @rule(handle=st.integers(0, 1), number=st.sampled_from(range(len(CROPS))))
    def read_what_is_not_there(self, handle: int, number: int) -> None:
        if number not in self.model:
            with pytest.raises(KeyError, match="has no crop"):
                self.handles[handle].means([CROPS[number].id])

    @rule(handle=st.integers(0, 1), pickled=st.booleans())
    def reopen(self, handle: int, pickled: bool) -> None:
        old = self.handles[handle]
        self.handles[handle] = pickle.loads(pickle.dumps(old)) if pickled else FeatureStore(self.root, SPEC)

    @rule(handle=st.integers(0, 1), which=st.integers(0, 5))
    def lose_a_shard(self, handle: int, which: int) -> None:
        store = self.handles[handle]
        store.refresh()
        names = shard_names(store)
        if names:
            name = names[which % len(names)]
            lost = set(store._index.ids[name])
            (store.folder / name).unlink()
            self.model = {n: seed for n, seed in self.model.items() if CROPS[n].id not in lost}
            for one in self.handles:
                one.refresh()

    @rule(numbers=some, seed=st.integers(0, 3))
    def merge(self, numbers: list[int], seed: int) -> None:
        there = self.root / "there"
        crops = [CROPS[number] for number in numbers]
        source = FeatureStore(there, SPEC)
        source.append(crops, *features(crops, seed=seed))
        merged = merge(source.folder, self.root)
        assert merged.added == len(set(numbers) - set(self.model))
        for number in numbers:
            self.model.setdefault(number, seed)
        shutil.rmtree(there)

    @rule()
    def die_and_collect(self) -> None:
        folder = self.handles[0].folder
        if folder.exists():
            files.Temporary(folder).close()
            assert len(gc(folder, min_age_s=0).removed) == 1

    @invariant()
    def agrees(self) -> None:
        for store in self.handles:
            missing = store.missing(CROPS)
            assert missing == [one for number, one in enumerate(CROPS) if number not in self.model]
            assert set(store.crop_ids()) == {CROPS[number].id for number in self.model}
            assert len(store) == len(self.model)

    def teardown(self) -> None:
        folder = self.handles[0].folder
        if folder.exists():
            found = verify(folder, fraction=1.0)
            assert (found.outcome, found.crops, found.duplicates) == ("clean", len(self.model), 0)
        shutil.rmtree(self.root)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
