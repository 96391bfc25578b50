"""The production broker's configuration: Mosquitto with mutual TLS, one topic tree per box, nothing else granted.

Why each line stands: a certificate's common name is the user name and the client id (a stolen client id cannot push its
owner off the broker); MQTT 3.1.1 acknowledges what its ACL then throws away, so boxes speak MQTT 5 and trust only
receipts.
"""

from __future__ import annotations

from protocols.uplink.envelope import ROOT, UplinkError, check_name
from provisioning.errors import ProvisioningError


def broker_configuration(*, port: int, ca_file: str, certificate_file: str, key_file: str, folder: str) -> str:
    """mosquitto.conf; `folder` holds acl and the persistent store."""
    return "\n".join(
        [
            "per_listener_settings false",
            f"listener {port}",
            f"cafile {ca_file}",
            f"certfile {certificate_file}",
            f"keyfile {key_file}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {folder}/acl",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 30",
            "max_queued_messages 100000",
            "max_packet_size 16777216",
            "",
        ]
    )


def access_list(*, ingest_users: list[str], publisher_users: list[str]) -> str:
    """The ACL: boxes by pattern on their own tree, ingest workers read upward and send receipts and gap requests."""
    lines = [
        f"pattern write {ROOT}/+/%u/up/#",
        f"pattern write {ROOT}/+/%u/state",
        f"pattern read {ROOT}/+/%u/down/#",
    ]
    try:
        for user in ingest_users:
            lines += ["", f"user {check_name(user)}", f"topic read {ROOT}/+/+/up/#", f"topic read {ROOT}/+/+/state"]
            lines += [f"topic write {ROOT}/+/+/down/#"]
        for user in publisher_users:
            lines += ["", f"user {check_name(user)}", f"topic write {ROOT}/+/+/down/#"]
    except UplinkError as error:
        raise ProvisioningError(str(error)) from error
    return "\n".join(lines) + "\n"
