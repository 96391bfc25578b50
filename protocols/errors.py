"""Who broke their word: the instrument (`RemoteProtocolError`) or our own code (`LocalProtocolError`)."""


class ProtocolError(Exception):
    """Root of every error of the wire."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what its protocol forbids. The bytes are kept; the caller flags and goes on."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something the protocol forbids (a frame acknowledged twice, a reply with no request)."""
