"""Sealed JSON: every byte is covered, and a newer format is refused."""

import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore.errors import StateDamaged
from batchscore.store import seal, sealed, unseal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key not in ("format_version", "sha256")), JSON, max_size=5))
def test_content_survives(content):
    """What was sealed comes back, beside the format version and the digest."""
    back = unseal(seal(content), source="x.json")

    assert back == {**content, "format_version": 1, "sha256": back["sha256"]}


def test_same_content_is_the_same_bytes():
    """The order of keys does not matter."""
    assert seal({"b": 1, "a": {"y": 1, "x": 2}}) == seal({"a": {"x": 2, "y": 1}, "b": 1})


def test_digest_is_that_of_the_file_with_zeros():
    """Anybody can check the digest with sed and sha256sum."""
    data = seal({"rows": 3})
    blank = re.sub(rb'"sha256": "[0-9a-f]{64}"', b'"sha256": "' + b"0" * 64 + b'"', data, count=1)

    assert json.loads(data)["sha256"] == hashlib.sha256(blank).hexdigest()


def test_every_flipped_bit_is_found():
    """Each bit of each byte counts."""
    data = seal({"rows": 3, "list": [1, {"a": "ä"}]})
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(StateDamaged, match=r"x\.json is damaged"):
                unseal(bytes(flipped), source="x.json")


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\0" * 200, seal({"a": 1})[:-1], seal({"a": 1}) + b"\n"])
def test_other_bytes_are_damage(data):
    """What is no sealed file at all is damage, not a crash."""
    with pytest.raises(StateDamaged):
        unseal(data, source="x.json")


def test_newer_format_is_refused_with_a_sentence(monkeypatch):
    """A file of a newer batchscore is not misread."""
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 2)
    newer = seal({"rows": 3})
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 1)
    with pytest.raises(StateDamaged, match=r"x\.json has format version 2, this batchscore reads up to 1") as caught:
        unseal(newer, source="x.json")

    assert caught.value.id == "E-STATE-NEWER-FORMAT"


def test_numbers_that_json_does_not_know_are_refused():
    """NaN never gets into a file."""
    with pytest.raises(ValueError, match="JSON"):
        seal({"x": float("nan")})
