"""The cloud's end of the uplink, played by the test: it subscribes, remembers, and sends receipts when it is told to.

What it sends down is written by hand as JSON, so that a mistake in our own encoder cannot agree with itself.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.waiting import eventually


class StandInCloud:
    """`receipts` on: every message is confirmed as soon as it is seen, through the highest unbroken sequence."""

    def __init__(self, port: int, gateway: str, partition: int, *, receipts: bool = True) -> None:
        self._down = f"xinglin/v1/{partition}/{gateway}/down"
        self._filter = f"xinglin/v1/{partition}/{gateway}"
        self.receipts = receipts
        self.envelopes: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"cloud-{gateway}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"{self._filter}/up/+", 1), (f"{self._filter}/state", 1)]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = self._on_message
        self._client.connect_async("127.0.0.1", port, clean_start=False)
        self._client.loop_start()
        self.wait_until_listening()

    def wait_until_listening(self) -> None:
        assert self._subscribed.wait(20), "the stand-in cloud could not subscribe"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        data = json.loads(message.payload)
        with self._lock:
            if message.topic.endswith("/state"):
                self.states.append(data)
                return
            self.envelopes.append(data)
        if self.receipts:
            self.confirm(data["link"], wait=False)  # paho's own thread would wait for itself

    def confirm(self, link: str, *, wait: bool = True) -> None:
        """A receipt for everything seen of a link, as far as it is unbroken."""
        known = set(self.sequences(link))
        through = 0
        while through + 1 in known:
            through += 1
        self.send("receipt", {"epoch": self.epoch(link), "link": link, "through": through, "also": []}, wait=wait)

    def epoch(self, link: str) -> str:
        with self._lock:
            return str(next(each["epoch"] for each in self.envelopes if each["link"] == link))

    def sequences(self, link: str) -> list[int]:
        """Every sequence in the order it came, repeats included."""
        return [each["sequence"] for each in self.messages(link)]

    def messages(self, link: str) -> list[dict[str, Any]]:
        with self._lock:
            return [message for each in self.envelopes if each["link"] == link for message in each["messages"]]

    def send(self, kind: str, data: dict[str, Any], *, wait: bool = True) -> None:
        info = self._client.publish(f"{self._down}/{kind}", json.dumps({"v": 1, **data}).encode(), qos=1)
        if wait:
            info.wait_for_publish(20)

    def order(self, revision: int, specimen: str, link: str, codes: list[str], **more: Any) -> dict[str, Any]:
        """One entry of a worklist; no codes: cancelled."""
        orders = {link: {"specimen": specimen, "codes": codes, "priority": "R"}} if codes else {}
        return {
            "revision": revision,
            "specimen": specimen,
            "orders": orders,
            "expires_at": "2099-01-01T00:00:00+00:00",
            **more,
        }

    def send_worklist(self, gateway: str, entries: list[dict[str, Any]], after: int | None = None) -> None:
        self.send("worklist", {"gateway": gateway, "entries": entries, **({} if after is None else {"after": after})})

    def has_revision(self, revision: int) -> None:
        """Wait until the box says that it stands there."""
        eventually(
            lambda: any(each["worklist_revision"] == revision for each in self.states),
            within_s=20,
            what=f"the box stands at worklist revision {revision}",
        )
