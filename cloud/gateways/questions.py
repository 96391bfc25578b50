"""Boxes ask about tubes while their instruments wait: answered from the laboratory at once, beside the inbox.

A question is read, answered and forgotten. What is late, unreadable or from nobody is dropped: the box answers its
instrument without us, and tells of the tube in a message of its own.
"""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cloud.gateways import metrics
from cloud.gateways.arrivals import Arrival, check_sender
from cloud.gateways.model import Gateway
from cloud.kit.jobs import Begin
from cloud.lis.worklists import asking
from protocols.uplink.asking import ANSWER, QUESTION, Answer, Question
from protocols.uplink.topics import UplinkError, down_topic, parse_topic

log = structlog.get_logger(__name__)

TOO_LATE_S = 10.0
"""No box waits for so long by default; an answer would only be counted as late there."""


def is_question(topic: str) -> bool:
    return topic.endswith(f"/{QUESTION}")


def answer(begin: Begin, arrival: Arrival) -> tuple[str, bytes] | None:
    """(topic, payload) of the answer; None where there is nobody to answer or the database is away."""
    try:
        topic = parse_topic(arrival.topic)
        question = Question.from_bytes(arrival.payload)
        if topic.kind != QUESTION or (question.gateway, question.link) != (topic.gateway, topic.name):
            raise UplinkError(f"a question of {question.gateway}/{question.link} on the topic {arrival.topic}")
        with begin() as session:
            check_sender(session.get(Gateway, topic.gateway), topic)
            found = asking.find(session, question.gateway, question.link, question.specimens)
    except UplinkError as error:
        metrics.QUESTIONS.labels("refused").inc()
        log.warning("question_refused", topic=arrival.topic[:200], reason=str(error)[:200])
        return None
    except SQLAlchemyError as error:
        metrics.QUESTIONS.labels("failed").inc()
        log.warning("question_not_answered", topic=arrival.topic, reason=type(error).__name__)
        return None
    for each in found:
        metrics.QUESTIONS.labels("ordered" if each.order is not None else each.reason).inc()
        if each.order is None:
            log.info("question_without_order", gateway=question.gateway, link=question.link, reason=each.reason)
    reply = Answer(question.link, question.id, tuple(found))
    return down_topic(topic.partition, topic.gateway, ANSWER), reply.to_bytes()
