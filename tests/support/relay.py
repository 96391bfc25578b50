"""A bad broker: two mosquittos and, between them, somebody who loses, repeats and reorders what passes.

The box is on the near broker, which acknowledges everything; the cloud on the far one. Both directions suffer.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.broker import Broker


class Relay:
    """`root`: the topics of one box. Counts of what it did are attributes."""

    def __init__(self, near: Broker, far: Broker, root: str, *, seed: int) -> None:
        self._chance = random.Random(seed)
        self._behaves = threading.Event()
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, bytes]] = {}
        self.lost = self.repeated = self.swapped = self.receipts_lost = 0
        self._near = self._client("relay-near", near, f"{root}/up/#", f"{root}/state")
        self._far = self._client("relay-far", far, f"{root}/down/#")
        self._near.on_message = lambda _client, _userdata, message: self._pass(self._far, message)
        self._far.on_message = lambda _client, _userdata, message: self._pass(self._near, message)

    def _client(self, name: str, broker: Broker, *filters: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        ready = threading.Event()
        client.on_connect = lambda client, *_: client.subscribe([(each, 1) for each in filters])
        client.on_subscribe = lambda *_: ready.set()
        client.connect(broker.host, broker.port)
        client.loop_start()
        assert ready.wait(10), "the relay could not subscribe"
        return client

    def behave(self) -> None:
        """From now on everything passes; what was held back too."""
        self._behaves.set()
        with self._lock:
            for direction, (topic, payload) in self._held.items():
                (self._far if direction == "up" else self._near).publish(topic, payload, qos=1)
            self._held.clear()

    def _pass(self, to: mqtt.Client, message: Any) -> None:
        topic, payload = message.topic, bytes(message.payload)
        up = "/down/" not in topic
        with self._lock:
            if self._behaves.is_set() or topic.endswith("/state"):
                to.publish(topic, payload, qos=1)
                return
            mood = self._chance.random()
            if mood < 0.2:
                self.lost += up
                self.receipts_lost += topic.endswith("/receipt")
                return
            direction = "up" if up else "down"
            if mood < 0.4 and direction not in self._held:
                self._held[direction] = topic, payload
                return
            to.publish(topic, payload, qos=1)
            if mood < 0.6:
                to.publish(topic, payload, qos=1)
                self.repeated += 1
            if direction in self._held:
                to.publish(*self._held.pop(direction), qos=1)
                self.swapped += 1

    def close(self) -> None:
        for each in (self._near, self._far):
            each.disconnect()
            each.loop_stop()
