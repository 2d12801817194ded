"""What an archive says of each object is read object by object."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hilum.pacs.receipt import receipt

SENT = ["1.1", "1.2", "1.3"]


def answer(tools: SimpleNamespace, stored: dict[str, int], failed: dict[str, int]) -> bytes:
    sequences = {"00081199": stored, "00081198": failed}
    said = {
        tag: {"vr": "SQ", "Value": [tools.item(*pair) for pair in of.items()]}
        for tag, of in sequences.items()
    }
    return json.dumps(said).encode()


def test_stored_refused_and_unknown_are_told_apart(tools: SimpleNamespace) -> None:
    said = receipt(answer(tools, {"1.1": 0}, {"1.2": 0xA900}), SENT)
    assert (said.stored, said.refused, said.unknown) == ({"1.1"}, {"1.2": 0xA900}, {"1.3"})


@pytest.mark.parametrize("reason", [0x0110, 0xA700, 0xA7FF, 0])
def test_a_failure_that_may_pass_is_no_refusal(tools: SimpleNamespace, reason: int) -> None:
    said = receipt(answer(tools, {}, {"1.2": reason}), ["1.2"])
    assert (said.refused, said.unknown) == ({}, {"1.2"})


def test_an_object_that_is_there_already_is_stored(tools: SimpleNamespace) -> None:
    assert receipt(answer(tools, {}, {"1.2": 0x0111}), ["1.2"]).stored == {"1.2"}


def test_objects_that_were_not_sent_count_for_nothing(tools: SimpleNamespace) -> None:
    said = receipt(answer(tools, {"9.9": 0}, {"8.8": 0xA900}), SENT)
    assert (said.stored, said.refused, said.unknown) == (frozenset(), {}, set(SENT))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"00081199": {"Value": {"00081155": 1}}}',
        b'{"00081199": {"Value": [1, {}]}}',
    ],
)
def test_an_answer_of_another_form_tells_nothing(content: bytes) -> None:
    said = receipt(content, SENT)
    assert said.unknown == set(SENT)
