"""Who broke their word: the instrument (`RemoteProtocolError`) or our own code (`LocalProtocolError`)."""


class ProtocolError(Exception):
    """Root of every error of the wire."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what its protocol forbids. The bytes are kept; the caller flags and goes on."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something the protocol forbids (a frame acknowledged twice, a reply with no request)."""


class DriverOptionError(ProtocolError):
    """A link's own setting that its driver cannot take. `key` is dotted, seen from the link's options."""

    def __init__(self, key: str, what: str, cure: str) -> None:
        super().__init__(f"{key}: {what} ({cure})" if key else f"{what} ({cure})")
        self.key = key
        self.what = what
        self.cure = cure
