"""What we answer a HIS is valid by the standard's own tables, as hl7apy judges them in its strict mode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cloud.his import answers
from protocols.messages.hl7 import read_messages
from tests.support.his import adt, oml, person
from tests.support.hl7_oracle import STRICT, assembled, plain

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
REQUESTS = {
    "a patient": adt("A04", "5", person()),
    "an order": oml("77", "ORC|NW|D1", "OBR|1|D1||CBC"),
    "an order in GB 18030": oml("78", "ORC|NW|D1", "OBR|1|D1||CBC", charset="GB 18030-2000"),
}
ACCEPTED = {"orders": [{"placer": "D1", "number": "L10000017", "order": "", "control": "NW"}]}
pytestmark = pytest.mark.req("GW-4")


@pytest.mark.parametrize("request_of", REQUESTS)
@pytest.mark.parametrize(
    ("code", "reason", "outcome"),
    [
        ("AA", None, None),
        ("AE", "没有这些检验项目：X。", None),
        ("AR", "此消息类型不受理。", None),
        ("AA", None, ACCEPTED),
    ],
)
def test_every_answer_to_a_his_is_valid(
    request_of: str, code: str, reason: str | None, outcome: dict[str, Any] | None
) -> None:
    message = read_messages(REQUESTS[request_of])[0]
    answer = answers.application(message, code, reason, outcome, NOW)
    text = read_messages(answer)[0]
    line = "\r".join(segment.line for segment in text.segments)
    assert plain(assembled(line, STRICT).to_er7()) == plain(line)
