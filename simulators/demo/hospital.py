"""The demo's hospital on this machine: which parts there are, how they are joined, how one is killed and comes back.

The parts are started as commands, nothing of them is imported. Everything lies in one folder; ports are free ones.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from simulators.demo import broker
from simulators.demo.programs import Program, Troupe
from simulators.demo.waiting import free_ports, page_answers, port_answers, until

BOX = "demo-box"
PARTITION = 0
PASSWORD = "apricot-grove-demo"
WECHAT_APP, WECHAT_SECRET, WECHAT_TEMPLATE = "wx0000simulated01", "simulated-wechat-secret", "report-ready"
SMS_KEY = "simulated-sms-key"
ANALYZERS = ("xn1", "xn2", "bs1")

EDGE_CONFIG = """\
# Written by the demo: one box with three analyzers.
[gateway]
id = "{box}"
campus = "main"
partition = {partition}

[store]
path = "{store}"

[cloud]
host = "127.0.0.1"
port = {mqtt}
receipt_timeout_s = 20

[[links]]
id = "xn1"
driver = "sysmex_xn"
port = {{ kind = "tcp_listen", host = "127.0.0.1", port = {xn1} }}

[[links]]
id = "xn2"
driver = "sysmex_xn"
port = {{ kind = "serial", device = "{tty}", baud_rate = 9600 }}

[[links]]
id = "bs1"
driver = "mindray_bs"
port = {{ kind = "tcp_listen", host = "127.0.0.1", port = {bs1} }}
"""


@dataclass(frozen=True, slots=True)
class Ports:
    web: int
    mqtt: int
    his_in: int
    his_out: int
    wechat: int
    sms: int
    wechat_pay: int
    alipay: int
    his_control: int
    xn1: int
    bs1: int
    bs1_spoilt: int
    """Where the saboteur sits between the chemistry analyzer and the box."""

    @classmethod
    def free(cls, web: int | None = None) -> Ports:
        """`web` if nobody has it, else a free one as all the others."""
        found = free_ports(12)
        return cls(web if web and not port_answers(web) else found[0], *found[1:])


class Hospital:
    """All parts. `start()` brings them up in order; `stop()` ends every one of them and nothing else."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        web_port: int | None = None,
        wheel_broker: bool = False,
        spoil: int | None = None,
        past: int = 0,
        clinic_days: int = 1,
    ) -> None:
        """`spoil`: number of the chemistry result that a stranger on the line swallows (to test the count). `past`: how
        many specimens the hospital had before today. `clinic_days`: how far ahead patients find clinic sessions.
        """
        self.past = past
        self.clinic_days = clinic_days
        self.wheel_broker = wheel_broker
        self.folder = folder.absolute()
        self.seed = seed
        self.spoil = spoil
        self.ports = Ports.free(web_port)
        self.troupe = Troupe(self.folder / "logs")
        self.tty = self.folder / "box" / "tty-xn2"
        self.edge_config = self.folder / "box" / "box.toml"
        for name in ("logs", "box", "ledgers", "broker", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._environment: dict[str, str] = {}

    # -- addresses ---------------------------------------------------------------------------------------------------

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.web}"

    @property
    def wechat_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.wechat}"

    @property
    def wechat_pay_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.wechat_pay}"

    @property
    def alipay_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.alipay}"

    @property
    def his_control_url(self) -> str:
        """The HIS's counters, where it was started with them."""
        return f"http://127.0.0.1:{self.ports.his_control}"

    @property
    def sms_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.sms}"

    @property
    def store(self) -> Path:
        return self.folder / "box" / "store.sqlite"

    def ledger(self, name: str) -> Path:
        return self.folder / "ledgers" / f"{name}.jsonl"

    # -- start -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Up to the point where orders may come and tubes may be put on."""
        database = self._start_database()
        self._start_simulated_services()
        self._start_broker()
        self._environment = self._cloud_environment(self._database_url(database))
        self._command("migrate")
        for name in ("web", "jobs", "lis-his"):
            self.start_cloud(name)
        self.start_analyzers()
        self._command("seed-catalog")
        self._command("seed-demo", "--clinic-days", str(self.clinic_days))
        if self.past:
            drawn = ("--specimens", str(self.past), "--seed", str(self.seed))
            self._command("load-history", *drawn, wait_s=120 + self.past / 20)
        # Not before the box is registered: what an unknown box says is put aside.
        self.start_cloud("ingest")
        self.start_edge()
        self.wait_for_web()

    def _command(self, name: str, *arguments: str, wait_s: float = 120) -> None:
        command = [sys.executable, "-m", "cloud", name, *arguments]
        self.troupe.run(name, command, environment=self._environment, wait_s=wait_s)

    def _start_simulated_services(self) -> None:
        me = [sys.executable, "-m", "simulators"]
        wechat = ["--app-id", WECHAT_APP, "--secret", WECHAT_SECRET, "--template", WECHAT_TEMPLATE]
        self.troupe.add(
            "wechat",
            [*me, "wechat", "--port", str(self.ports.wechat), "--ledger", self.ledger("wechat"), *wechat],
        )
        self.troupe.add(
            "sms", [*me, "sms", "--port", str(self.ports.sms), "--key", SMS_KEY, "--ledger", self.ledger("sms")]
        )

        channels: tuple[tuple[str, int, list[str]], ...] = (
            ("wechat-pay", self.ports.wechat_pay, ["--app-id", WECHAT_APP]),
            ("alipay", self.ports.alipay, []),
        )
        for name, port, app in channels:
            common = ["--port", str(port), "--keys", str(self.folder / "keys"), "--ledger", str(self.ledger(name))]
            self.troupe.add(name, [*me, name, *common, *app])

    def _papers(self, name: str) -> dict[str, str]:
        """What a payment channel tells its merchant: the settings that its program has written."""
        file = self.folder / "keys" / f"{name}.json"
        until(file.exists, what=name, within_s=60, program=self.troupe.programs[name])
        papers: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return papers

    def _start_database(self) -> Program:
        environment = {
            "XINGLIN_ENVIRONMENT": "demo",
            "XINGLIN_DATABASE_URL": "",
            "XINGLIN_STATE_DIR": str(self.folder / "state"),
        }
        return self.troupe.add("database", [sys.executable, "-m", "cloud", "database"], environment=environment)

    @staticmethod
    def _database_url(database: Program) -> str:
        def url() -> str | None:
            lines = [each for each in database.last_words().splitlines() if each.startswith("postgresql")]
            return lines[-1] if lines else None

        return until(url, what="the database", within_s=90, program=database)

    def _start_broker(self) -> None:
        program = self.troupe.add(
            "broker", broker.command(self.folder / "broker", self.ports.mqtt, wheel=self.wheel_broker)
        )
        until(lambda: port_answers(self.ports.mqtt), what="the broker", within_s=20, program=program)

    def _cloud_environment(self, database_url: str) -> dict[str, str]:
        return {
            "XINGLIN_ENVIRONMENT": "demo",
            "XINGLIN_DATABASE_URL": database_url,
            "XINGLIN_STATE_DIR": str(self.folder / "state"),
            "XINGLIN_SECRET_KEY": secrets.token_urlsafe(48),
            "XINGLIN_PUBLIC_URL": self.web_url,
            "XINGLIN_MQTT_HOST": "127.0.0.1",
            "XINGLIN_MQTT_PORT": str(self.ports.mqtt),
            "XINGLIN_HIS_LISTEN_PORT": str(self.ports.his_in),
            "XINGLIN_HIS_HOST": "127.0.0.1",
            "XINGLIN_HIS_PORT": str(self.ports.his_out),
            "XINGLIN_WECHAT_APP_ID": WECHAT_APP,
            "XINGLIN_WECHAT_SECRET": WECHAT_SECRET,
            "XINGLIN_WECHAT_API_URL": self.wechat_url,
            "XINGLIN_WECHAT_OPEN_URL": self.wechat_url,
            "XINGLIN_WECHAT_REPORT_TEMPLATE_ID": WECHAT_TEMPLATE,
            "XINGLIN_SMS_URL": f"{self.sms_url}/sms",
            "XINGLIN_SMS_KEY": SMS_KEY,
            **self._papers("wechat-pay"),
            **self._papers("alipay"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def start_cloud(self, name: str) -> Program:
        """One process of the service: web, ingest, jobs or lis-his (where the HIS calls)."""
        arguments = {
            "web": ["web", "--host", "127.0.0.1", "--port", str(self.ports.web)],
            "ingest": ["ingest", "--worker-id", f"ingest-{os.urandom(3).hex()}", "--lease-seconds", "5"],
            "jobs": ["jobs", "--worker-id", f"jobs-{os.urandom(3).hex()}"],
            "lis-his": ["his"],
        }[name]
        return self.troupe.add(name, [sys.executable, "-m", "cloud", *arguments], environment=self._environment)

    def start_analyzers(self) -> None:
        me = [sys.executable, "-m", "simulators", "analyzer"]
        chemistry_port = self.ports.bs1 if self.spoil is None else self._start_saboteur(self.spoil)
        lines = {
            "xn1": ["sysmex_xn", "--connect", f"127.0.0.1:{self.ports.xn1}", "--framing", "message"],
            "xn2": ["sysmex_xn", "--pty", str(self.tty), "--serial-number", "20418"],
            "bs1": ["mindray_bs", "--connect", f"127.0.0.1:{chemistry_port}"],
        }
        for name, line in lines.items():
            common = ["--name", name, "--ledger", str(self.ledger(name)), "--seed", str(self.seed)]
            self.troupe.add(name, [*me, *line, *common], takes_input=True)
        program = self.troupe.programs["xn2"]
        until(self.tty.is_symlink, what="the serial line", within_s=20, program=program)

    def _start_saboteur(self, victim: int) -> int:
        command = [sys.executable, "-m", "simulators.demo.saboteur", "--port", str(self.ports.bs1_spoilt)]
        self.troupe.add("saboteur", [*command, "--box-port", str(self.ports.bs1), "--victim", str(victim)])
        return self.ports.bs1_spoilt

    def start_edge(self) -> Program:
        ports = self.ports
        self.edge_config.write_text(
            EDGE_CONFIG.format(
                box=BOX,
                partition=PARTITION,
                store=self.store,
                mqtt=ports.mqtt,
                xn1=ports.xn1,
                bs1=ports.bs1,
                tty=self.tty,
            ),
            encoding="utf-8",
        )
        program = self.troupe.add("edge", [sys.executable, "-m", "edge", "run", self.edge_config])
        until(lambda: port_answers(ports.xn1), what="the box", within_s=30, program=program)
        return program

    def start_his(self, *arguments: str, takes_input: bool = False) -> Program:
        """The hospital information system; without it no order comes."""
        command = [sys.executable, "-m", "simulators", "his", "--connect", f"127.0.0.1:{self.ports.his_in}"]
        command += ["--listen", f"127.0.0.1:{self.ports.his_out}", "--ledger", str(self.ledger("his"))]
        command += ["--seed", str(self.seed), *arguments]
        return self.troupe.add("his", command, takes_input=takes_input)

    def wait_for_web(self) -> None:
        program = self.troupe.programs["web"]
        until(lambda: page_answers(f"{self.web_url}/healthz"), what="the pages", within_s=60, program=program)

    # -- kill and come back ------------------------------------------------------------------------------------------

    def killed_by(self, what: str) -> list[str]:
        """The processes that `--kill` means."""
        return {"cloud": ["ingest", "web", "jobs"], "broker": ["broker"], "edge": ["edge"]}[what]

    def kill(self, what: str) -> None:
        """kill -9, all of them at once."""
        for name in self.killed_by(what):
            self.troupe.programs[name].kill()

    def revive(self, what: str) -> None:
        for name in self.killed_by(what):
            if name == "broker":
                self._start_broker()
            elif name == "edge":
                self.start_edge()
            else:
                self.start_cloud(name)
        if what == "cloud":
            self.wait_for_web()

    def stop(self) -> None:
        self.troupe.stop(last=("edge", "broker", "database"))
