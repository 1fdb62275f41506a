"""The answers of one commit: whose error it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcast.consumers.committing import Answers
from streamcast.consumers.transport import Outgoing

RECORDS = Outgoing("out", [0], [1], [None], [b"v"])


def test_records_come_as_the_handler_made_them() -> None:
    answers = Answers([RECORDS, RECORDS])
    assert list(answers) == [RECORDS, RECORDS]
    assert answers.error is None


def test_an_error_of_the_handler_is_remembered() -> None:
    ours = ValueError("not finite")

    def pieces() -> Iterator[Outgoing]:
        yield RECORDS
        raise ours

    answers = Answers(pieces())
    with pytest.raises(ValueError, match="not finite"):
        list(answers)
    assert answers.error is ours


def test_an_error_of_the_client_between_two_records_is_not_the_handlers() -> None:
    answers = Answers(iter([RECORDS, RECORDS]))

    def send() -> None:
        for _ in answers:
            raise TimeoutError("the broker did not answer")

    with pytest.raises(TimeoutError):
        send()
    assert answers.error is None
