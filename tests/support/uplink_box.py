"""A box as the broker sees it: publishes envelopes over MQTT 5 and hears receipts, gap requests and worklists."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from protocols.uplink.envelope import Envelope, GapRequest, Receipt, Worklist, down_topic, parse_topic, up_topic


class Box:
    """One gateway's connection. What came down is in `receipts`, `gaps` and `worklists`, in order of arrival."""

    def __init__(self, gateway: str, partition: int, *, host: str, port: int) -> None:
        self.gateway = gateway
        self.partition = partition
        self.receipts: list[Receipt] = []
        self.gaps: list[GapRequest] = []
        self.worklists: list[Worklist] = []
        self._ready = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"box-{gateway}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(host, port, 20, clean_start=True)
        self._client.loop_start()
        assert self._ready.wait(10), "the box is connected"

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        client.subscribe(down_topic(self.partition, self.gateway, "#"), 1)

    def _on_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        kind = parse_topic(message.topic).name
        if kind == "receipt":
            self.receipts.append(Receipt.from_bytes(message.payload))
        elif kind == "gap":
            self.gaps.append(GapRequest.from_bytes(message.payload))
        else:
            self.worklists.append(Worklist.from_bytes(message.payload))

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def publish(self, envelopes: Iterable[Envelope]) -> None:
        """All of them; returns when the broker took the last."""
        sent = [
            self._client.publish(up_topic(self.partition, each.gateway, each.link), each.to_bytes(), qos=1)
            for each in envelopes
        ]
        for info in sent:
            info.wait_for_publish(30)

    def publish_raw(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(30)

    def covered(self, epoch: str, link: str, sequences: Iterable[int]) -> bool:
        """Whether receipts cover all of `sequences`."""
        of_link = [each for each in self.receipts if (each.epoch, each.link) == (epoch, link)]
        through = max((each.through for each in of_link), default=0)
        also = {number for each in of_link for number in each.also}
        return all(each <= through or each in also for each in sequences)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
