"""What one link counts since the daemon started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    messages: int = 0
    undecoded: int = 0
    refused_frames: int = 0
    """Bytes that failed their check, and frames the store could not keep."""
    queries: int = 0
    answered_queries: int = 0
    queries_without_order: int = 0
    """Tubes that were answered "no order"."""
    asked_cloud: int = 0
    """Tubes the box did not know and asked the cloud about."""
    orders_from_cloud: int = 0
    """... and the cloud had an order, in time."""
    failed_answers: int = 0
    sent_orders: int = 0
    """Tubes whose orders the instrument took without having asked, cancellations included."""
    failed_orders: int = 0
    refused_orders: int = 0
    faults: int = 0
