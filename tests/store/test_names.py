"""Signatures change with any setting and with nothing else; a wrong name is answered with the right ones."""

from __future__ import annotations

import hashlib

import pytest

from mmmos.store.names import beside_all, canonical_json, choose, differences, digest, signature


def test_equal_values_have_one_text_whatever_the_order() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_a_signature_is_the_name_and_twelve_digits_of_sha256() -> None:
    settings = {"weights": "none", "layers": 1}
    expected = hashlib.sha256(b'{"layers":1,"weights":"none"}').hexdigest()[:12]
    assert signature("logmel", settings) == f"logmel-{expected}"
    assert digest(settings) == expected


@pytest.mark.parametrize("change", [{"layers": 2}, {"weights": "None"}, {"layers": 1.5}, {"new": 0}])
def test_any_setting_changes_the_signature(change: dict[str, object]) -> None:
    settings = {"weights": "none", "layers": 1}
    assert signature("a", {**settings, **change}) != signature("a", settings)


def test_differences_name_each_field_with_both_values() -> None:
    ours, theirs = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": "2", "d": 4}
    assert differences(ours, theirs) == [
        "b: 2 here, '2' there",
        "c: 3 here, None there",
        "d: None here, 4 there",
    ]
    assert differences(ours, ours) == []


def test_a_wrong_name_is_answered_with_all_known_ones_and_the_nearest() -> None:
    known = ["wavlm", "muq", "m2d"]
    assert choose("encoder", "muq", known) == "muq"
    with pytest.raises(ValueError, match=r"unknown encoder 'wavml'; known: m2d, muq, wavlm\. Did you mean"):
        choose("encoder", "wavml", known)
    with pytest.raises(ValueError, match=r"known: m2d, muq, wavlm\.$"):
        choose("encoder", "xyz", known)


def test_a_domain_named_all_is_told_from_the_whole() -> None:
    names = ["all", "'all'", "''all", "speech", "All", ""]
    shown = [beside_all(name) for name in names]
    assert "all" not in shown
    assert len(set(shown)) == len(names)
    assert shown[3:] == names[3:]
