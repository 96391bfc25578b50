"""Checks of a channel's settings at start: mistakes that would only show when a patient pays."""

from __future__ import annotations

from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from cloud.config import Settings


class BadKeys(RuntimeError):
    """A payment channel's settings can't work; the message says which setting and what to do."""


def check_host(known: Settings, setting: str, url: str, official: frozenset[str]) -> None:
    """Refuse, in production, any host but the channel's own: a stand-in would be a way to pay without money."""
    if known.environment != "production":
        return
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname not in official or parts.port not in (None, 443):
        raise BadKeys(f"{setting}={url} is not the channel's own host; production speaks to no stand-in.")


def required(known: Settings, *names: str) -> None:
    """Refuse empty settings: an empty secret verifies what anybody can sign."""
    for name in names:
        value = getattr(known, name)
        if not (value.get_secret_value() if hasattr(value, "get_secret_value") else value):
            raise BadKeys(f"XINGLIN_{name.upper()} is empty; set it, or leave the channel out altogether.")


def private_key(setting: str, pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.strip().encode(), None)
    except (ValueError, TypeError) as error:
        raise BadKeys(f"{setting} is not a PEM private key.") from error
    if not isinstance(key, RSAPrivateKey):
        raise BadKeys(f"{setting} is not an RSA key.")
    return key


def public_key(setting: str, pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.strip().encode())
    except ValueError as error:
        raise BadKeys(f"{setting} is not a PEM public key.") from error
    if not isinstance(key, RSAPublicKey):
        raise BadKeys(f"{setting} is not an RSA key.")
    return key


def strangers(setting: str, own: RSAPrivateKey, theirs: RSAPublicKey) -> None:
    """The channel's public key must not be the one made from our own private key: the commonest mistake of all, and
    one that would let whoever has our key sign payments."""
    if own.public_key().public_numbers() == theirs.public_numbers():
        raise BadKeys(f"{setting} is our own public key; put in the one that the channel shows as its own.")
