"""What a field engineer can correct."""

from __future__ import annotations


class ProvisioningError(ValueError):
    """An answer that cannot work; the message says what is wrong and what to give instead."""
