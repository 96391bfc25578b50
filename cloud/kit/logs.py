"""Structured logs: one JSON object a line on standard error, ours and our libraries' alike.

One event per decision, constant message, fields apart; ids and never names or values of patients.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer

QUIETER = {
    "uvicorn.access": logging.WARNING,  # the middleware writes its own line: an address can name a patient
    "procrastinate": logging.WARNING,
    "httpx": logging.WARNING,
    "alembic": logging.WARNING,
}


def configure(process: str, level: int = logging.INFO) -> None:
    """Set up logging of this process; `process` (web, ingest, jobs ...) stands in every line."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),  # locals hold patients
    ]

    def name_process(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["process"] = process
        return event

    structlog.configure(
        processors=[*shared, name_process, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, name_process],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quieter in QUIETER.items():
        logging.getLogger(name).setLevel(quieter)
