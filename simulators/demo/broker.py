"""The demo's broker: mosquitto where it is installed, else the one from the wheel; on loopback, without accounts."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path

MOSQUITTO_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")

MOSQUITTO = """\
# Written by the demo. Loopback only: there are no accounts here.
listener {port} 127.0.0.1
allow_anonymous true
user {user}
persistence true
persistence_location {folder}/
autosave_interval 5
max_queued_messages 100000
"""

RUMQTTD = """\
# Written by the demo. Loopback only: this broker has no accounts and forgets at restart.
id = 0
[router]
id = 0
max_connections = 200
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 268435455
max_inflight_count = 500
dynamic_filters = true
"""


def mosquitto() -> str | None:
    """Where mosquitto lies; Debian keeps it where an ordinary user's PATH does not look."""
    return shutil.which("mosquitto") or next((each for each in MOSQUITTO_PLACES if Path(each).exists()), None)


def command(folder: Path, port: int, *, wheel: bool = False) -> list[str]:
    """The command that serves MQTT 5 on 127.0.0.1:`port`; its configuration is written into `folder`.

    `wheel`: the one from the wheel even where mosquitto is installed.
    """
    program = None if wheel else mosquitto()
    if program is not None:
        file = folder / "mosquitto.conf"
        file.write_text(MOSQUITTO.format(port=port, folder=folder.absolute(), user=getpass.getuser()), encoding="utf-8")
        return [program, "-c", str(file)]
    file = folder / "rumqttd.toml"
    file.write_text(RUMQTTD.format(port=port), encoding="utf-8")
    return [sys.executable, "-m", "simulators.demo.wheel_broker", str(file)]
