"""Settings of the cloud, read once from the environment (prefix ``XINGLIN_``) and handed down as values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; every field can be set as ``XINGLIN_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="XINGLIN_", frozen=True, extra="ignore")

    environment: Literal["production", "demo", "test"] = "production"
    """Stand-ins (simulators, embedded services, fixed keys) refuse to start in production."""
    database_url: str = ""
    """SQLAlchemy URL, ``postgresql+psycopg://...``; empty: the embedded server (not in production)."""
    state_dir: Path = Path(".state")
    """Where the embedded server, sealed audit roots and keys live."""
    audit_dir: Path | None = None
    """Where signed audit roots are written, outside the database; default ``state_dir/audit``."""
    secret_key: SecretStr = SecretStr("")
    """Signs sessions and CSRF tokens, at least 32 characters; empty is refused in production."""
    hashing: Literal["full", "least"] = "full"
    """How much work the hash of a password costs; "least" is for tests that sign in hundreds of times."""
    public_url: str = "http://127.0.0.1:8000"
    """How a browser reaches us; links in messages start with it."""
    hospital_name: str = "杏林医院"
    hospital_timezone: str = "Asia/Shanghai"

    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    mqtt_username: str | None = None
    mqtt_password: SecretStr | None = None
    mqtt_ca_file: Path | None = None
    mqtt_certificate_file: Path | None = None
    mqtt_key_file: Path | None = None
    start_wait_s: float = Field(default=10.0, ge=0)
    """How long a starting program waits for the database or the broker before it gives up."""
    partitions: int = Field(default=4, ge=1, le=256)
    """How many partitions gateways are spread over; each is leased by one ingest worker."""

    his_listen_host: str = "127.0.0.1"
    his_listen_port: int = 2575
    """Where the HIS connects with MLLP (OML, ADT)."""
    his_host: str | None = None
    his_port: int = 2576
    """Where we send ORU to the HIS; no host: none are sent."""

    wechat_app_id: str = ""
    wechat_secret: SecretStr = SecretStr("")
    wechat_api_url: str = "https://api.weixin.qq.com"
    wechat_open_url: str = "https://open.weixin.qq.com"
    wechat_report_template_id: str = ""
    wechat_message_api: Literal["template", "subscribe"] = "template"
    """Which of WeChat's message calls the account has: template messages, or long-term subscription messages."""
    wechat_report_fields: dict[str, str] = {
        "thing1": "hospital",
        "thing2": "subject",
        "thing3": "patient",
        "time4": "released",
    }
    """The fields of the account's own message template, and what each carries."""
    wechat_pay_driver: Literal["v3", "v2", ""] = ""
    """``v3``: APIv3 (the one to choose); ``v2``: for a merchant that has only a v2 key; empty: not offered."""
    wechat_pay_url: str = "https://api.mch.weixin.qq.com"
    wechat_pay_merchant_id: str = ""
    wechat_pay_serial: str = ""
    """Serial number of the merchant's own API certificate (hexadecimal)."""
    wechat_pay_private_key: SecretStr = SecretStr("")
    """The merchant's private key, PEM."""
    wechat_pay_public_key: str = ""
    """WeChat Pay's public key, PEM, and its id (``PUB_KEY_ID_...``) below."""
    wechat_pay_public_key_id: str = ""
    wechat_pay_v3_key: SecretStr = SecretStr("")
    """The APIv3 key, 32 characters: notices are encrypted with it."""
    wechat_pay_v2_key: SecretStr = SecretStr("")
    wechat_pay_v2_signature: Literal["MD5", "HMAC-SHA256"] = "HMAC-SHA256"
    wechat_pay_certificate_file: Path | None = None
    wechat_pay_certificate_key_file: Path | None = None
    """The merchant's certificate and its key as files: v2 wants them for refunds."""

    alipay_url: str = "https://openapi.alipay.com/gateway.do"
    alipay_pay: Literal["create", "wap"] = "create"
    """``create``: inside Alipay's own web view; ``wap``: a signed page for any browser."""
    alipay_app_id: str = ""
    alipay_merchant_id: str = ""
    """The seller's id (2088...): a notice for another seller settles nothing."""
    alipay_private_key: SecretStr = SecretStr("")
    alipay_public_key: str = ""
    """Alipay's own public key (not the one made from our private key); empty in certificate mode."""
    alipay_app_certificate: str = ""
    alipay_certificate: str = ""
    alipay_root_certificate: str = ""
    """Certificate mode: PEM texts of the three certificates."""
    alipay_open_url: str = "https://openauth.alipay.com"
    """Where Alipay asks its user, for sign-in."""
    alipay_message_template_id: str = ""
    alipay_message_fields: dict[str, str] = {
        "keyword1": "hospital",
        "keyword2": "subject",
        "keyword3": "patient",
        "keyword4": "released",
    }
    """The fields of the life account's message template, and what each carries."""
    sms_driver: Literal["gateway", "aliyun"] = "gateway"
    """``gateway``: the hospital's own SMS gateway (JSON); ``aliyun``: an Aliyun-style endpoint with signed calls."""
    sms_url: str = ""
    """HTTP endpoint of the SMS gateway; empty: no SMS is sent and binding by code is refused with the reason."""
    sms_key: SecretStr = SecretStr("")
    """The gateway's key; for ``aliyun`` the access key's secret."""
    sms_access_key_id: str = ""
    sms_sign_name: str = ""
    """The approved signature (签名) that stands before every text."""
    sms_templates: dict[str, str] = {}
    """Our template's name to the code of the text approved at the carrier (``binding_code`` to ``SMS_123456``)."""

    real_name_url: str = ""
    """HTTP endpoint of a real-name service that compares a name with a citizen number; empty: not asked."""
    real_name_key: SecretStr = SecretStr("")


@cache
def settings() -> Settings:
    """The process's settings. Tests clear the cache with ``settings.cache_clear()``."""
    return Settings()
