"""The stage of a pay day: the hospital's service as processes, both channels and a HIS beside them in this one."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from simulators.demo.programs import Program, Troupe
from simulators.demo.waiting import free_ports, page_answers, until
from simulators.his.receiver import HisReceiver
from simulators.ledger import Ledger
from simulators.money import signing
from simulators.money.alipay import AlipayService, App
from simulators.money.wechat_pay import WechatPayService
from simulators.money.wechat_pay_v2 import Merchant
from simulators.sms.service import SmsService
from simulators.wechat.service import Account, WechatService

WECHAT_SECRET, TEMPLATE, SMS_KEY = "simulated-wechat-secret", "told", "simulated-sms-key"
WECHAT_APP, WECHAT_MERCHANT = "wx0000simulated01", "1900000001"
ALIPAY_APP, ALIPAY_SELLER = "2021000000000001", "2088000000000001"


class Stage:
    """`start()` brings everything up; `stop()` ends it and nothing else."""

    def __init__(self, folder: Path, *, webs: int = 2, workers: int = 2) -> None:
        self.folder = folder.absolute()
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        self.troupe = Troupe(self.folder / "logs")
        self.web_ports = free_ports(webs)
        self.workers = workers
        self._secret = secrets.token_urlsafe(48)
        keys = [signing.new_key() for _ in range(4)]
        merchant_key, platform_key, app_key, alipay_key = keys
        v3_key, v2_key = secrets.token_hex(16), secrets.token_hex(16)
        merchant = Merchant(
            WECHAT_APP, WECHAT_MERCHANT, "5A" * 20, signing.public_pem(merchant_key), v3_key, v2_key, platform_key
        )
        self.wechat = WechatPayService(Ledger(None, "wechat-pay"), merchant)
        app = App(ALIPAY_APP, ALIPAY_SELLER, signing.public_pem(app_key), alipay_key)
        self.alipay = AlipayService(Ledger(None, "alipay"), app)
        self.his = HisReceiver(Ledger(None, "his"), "127.0.0.1", 0)
        self.wechat_platform = WechatService(Ledger(None, "wechat"), Account(WECHAT_APP, WECHAT_SECRET, [TEMPLATE]))
        self.sms = SmsService(Ledger(None, "sms"), SMS_KEY)
        self._servers: list[Any] = []
        self._settings = {
            "WECHAT_APP_ID": WECHAT_APP,
            "WECHAT_SECRET": WECHAT_SECRET,
            "WECHAT_REPORT_TEMPLATE_ID": TEMPLATE,
            "WECHAT_PAY_DRIVER": "v3",
            "WECHAT_PAY_MERCHANT_ID": WECHAT_MERCHANT,
            "WECHAT_PAY_SERIAL": merchant.serial,
            "WECHAT_PAY_PRIVATE_KEY": signing.private_pem(merchant_key),
            "WECHAT_PAY_PUBLIC_KEY": signing.public_pem(platform_key),
            "WECHAT_PAY_PUBLIC_KEY_ID": merchant.platform_key_id,
            "WECHAT_PAY_V3_KEY": v3_key,
            "WECHAT_PAY_V2_KEY": v2_key,
            "ALIPAY_APP_ID": ALIPAY_APP,
            "ALIPAY_MERCHANT_ID": ALIPAY_SELLER,
            "ALIPAY_PRIVATE_KEY": signing.private_pem(app_key),
            "ALIPAY_PUBLIC_KEY": signing.public_pem(alipay_key),
        }

    @property
    def webs(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.web_ports]

    def start(self) -> None:
        self._servers = [
            each.start("127.0.0.1", 0) for each in (self.wechat, self.alipay, self.wechat_platform, self.sms)
        ]
        platform, sms = (f"http://127.0.0.1:{each.server_port}" for each in self._servers[2:])
        self.his.start()
        database = self.troupe.add("database", [sys.executable, "-m", "cloud", "database"], environment=self._base(""))
        url = until(lambda: _url(database), what="the database", within_s=90, program=database)
        self.environment = self._base(url) | {f"XINGLIN_{name}": value for name, value in self._settings.items()}
        self.environment |= {
            "XINGLIN_WECHAT_PAY_URL": self.wechat.base,
            "XINGLIN_ALIPAY_URL": f"{self.alipay.base}/gateway.do",
            "XINGLIN_WECHAT_API_URL": platform,
            "XINGLIN_WECHAT_OPEN_URL": platform,
            "XINGLIN_SMS_URL": f"{sms}/sms",
            "XINGLIN_SMS_KEY": SMS_KEY,
            "XINGLIN_HIS_HOST": "127.0.0.1",
            "XINGLIN_HIS_PORT": str(self.his.port),
        }
        self.run("migrate")
        for at, port in enumerate(self.web_ports):
            self._cloud(f"web{at}", "web", "--host", "127.0.0.1", "--port", str(port))
        for at in range(self.workers):
            self._cloud(f"jobs{at}", "jobs", "--worker-id", f"jobs-{at}-{os.urandom(3).hex()}")
        for at, web in enumerate(self.webs):
            program = self.troupe.programs[f"web{at}"]
            until(lambda web=web: page_answers(f"{web}/healthz"), what="the pages", within_s=90, program=program)  # type: ignore[misc]

    def _base(self, url: str) -> dict[str, str]:
        return {
            "XINGLIN_ENVIRONMENT": "demo",
            "XINGLIN_DATABASE_URL": url,
            "XINGLIN_STATE_DIR": str(self.folder / "state"),
            "XINGLIN_SECRET_KEY": self._secret,
            "XINGLIN_PUBLIC_URL": self.webs[0],
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def _cloud(self, name: str, *arguments: str) -> Program:
        return self.troupe.add(name, [sys.executable, "-m", "cloud", *arguments], environment=self.environment)

    def run(self, name: str, *arguments: str, wait_s: float = 120) -> None:
        self.troupe.run(
            name, [sys.executable, "-m", "cloud", name, *arguments], environment=self.environment, wait_s=wait_s
        )

    def seed(self, payments: int, accounts: int, seed: int) -> dict[str, Any]:
        """Patients with bills, their phones signed in."""
        options = ("--payments", str(payments), "--accounts", str(accounts), "--seed", str(seed))
        self.run("seed-payers", *options, wait_s=120 + payments / 20)
        said = (self.folder / "logs" / "seed-payers.log").read_text(encoding="utf-8")
        line = next(each for each in reversed(said.splitlines()) if each.startswith('{"accountant"'))
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        self.troupe.stop(("database",))
        for each in self._servers:
            each.shutdown()
            each.server_close()
        self.his.close()


def _url(database: Program) -> str | None:
    lines = [each for each in database.last_words().splitlines() if each.startswith("postgresql")]
    return lines[-1] if lines else None
