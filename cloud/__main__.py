"""``python -m cloud COMMAND``: the processes of the service, one command each.

Exit 2 with a sentence when the database or the broker is absent at start; 1 when the work itself found something wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cloud.config import settings

program = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ABSENT = REFUSED = 2
MetricsPort = Annotated[int | None, typer.Option(help="Answer a monitor at /metrics on this port.")]
MetricsHost = Annotated[
    str, typer.Option(help="Where it listens; the inside network's address for a monitor elsewhere.")
]
WorkerId = Annotated[str, typer.Option(help="Who this worker is in logs and leases.")]


def _default_worker_id() -> str:
    import socket

    return f"{socket.gethostname()}-{os.getpid()}"


def _prepare(process: str, *, migrated: bool = True, pages: bool = False) -> None:
    """Logs, the slices (routes and all only where `pages` are served), and a database that answers."""
    from cloud.app import load_slices
    from cloud.kit import logs
    from cloud.kit.db import engine
    from cloud.kit.presence import wait_for_database
    from cloud.web import secrets

    logs.configure(process)
    secrets.check(settings())
    wait_for_database(engine(), wait_s=settings().start_wait_s, migrated=migrated)
    load_slices(pages=pages)


def _broker() -> None:
    from cloud.kit.presence import wait_for_port

    cure = "Start the broker or correct XINGLIN_MQTT_HOST and XINGLIN_MQTT_PORT."
    wait_for_port(settings().mqtt_host, settings().mqtt_port, "The MQTT broker", cure, wait_s=settings().start_wait_s)


def _metrics(host: str, port: int | None) -> None:
    from cloud.kit import metrics

    if port is not None:
        metrics.serve(host, port)


@program.command()
def database() -> None:
    """Run the embedded PostgreSQL until told to end; prints its URL. For the demo, never in production."""
    import signal

    from cloud.kit.embedded import NoDatabase, start

    if settings().environment == "production":
        raise NoDatabase("The embedded PostgreSQL is for the demo and the tests. Set XINGLIN_DATABASE_URL.")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = start(settings())
    typer.echo(server.url)
    sys.stdout.flush()
    signal.sigwait(ends)
    server.stop()


@program.command()
def migrate() -> None:
    """Bring the database to this program's schema; safe to run by several at once."""
    from cloud.kit import migrate as migrations
    from cloud.kit.db import engine

    _prepare("migrate", migrated=False)
    migrations.upgrade(engine().url.render_as_string(hide_password=False))
    typer.echo(f"database is at migration {migrations.head()}")


@program.command()
def web(host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the pages and the API."""
    import uvicorn

    _prepare("web", pages=True)
    uvicorn.run(
        "cloud.app:create_service",
        factory=True,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )


@program.command()
def ingest(
    worker_id: WorkerId = "",
    lease_seconds: int = 15,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Take the boxes' messages from the broker into the inbox, and apply them."""
    _prepare("ingest")
    _metrics(metrics_host, metrics_port)
    _broker()
    from cloud.gateways import ingest as ingesting

    ingesting.run(worker_id=worker_id or _default_worker_id(), lease_seconds=lease_seconds)


@program.command()
def jobs(
    worker_id: WorkerId = "",
    concurrency: int = 4,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Run durable jobs: reactions to facts, messages, periodic work."""
    _prepare("jobs")
    _metrics(metrics_host, metrics_port)
    from cloud.kit import worker

    worker.run(worker_id or _default_worker_id(), concurrency=concurrency)


@program.command()
def his() -> None:
    """Listen for the HIS over MLLP."""
    _prepare("his")
    from cloud.his import server

    server.run()


@program.command("print-agent")
def print_agent(
    url: Annotated[str, typer.Option(help="The server, as a browser in the ward reaches it.")],
    to: Annotated[str, typer.Option(help="The printer or the CUPS queue, ipp://host:631/path.")],
    token: Annotated[str, typer.Option(envvar="XINGLIN_PRINT_TOKEN", help="From the printer's page.")],
    journal: Annotated[Path, typer.Option(help="Where it keeps what came out.")] = Path("print-agent.journal"),
) -> None:
    """Fetch the jobs of one printer over HTTPS and print them: for wards that the server cannot reach."""
    from cloud.lis.printing import agent

    agent.Agent(agent.connect(url, token), to, agent.Journal(journal), typer.echo).run()


@program.command("backtest-rules")
def backtest_rules(
    code: Annotated[str, typer.Argument(help="The rule set's code (chemistry, hematology ...).")],
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Specimens received in the last so many days.")] = 90,
    most: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 2000,
) -> None:
    """Try a rule set on the laboratory's own history beside what people did; stores nothing."""
    _prepare("backtest-rules")
    from cloud.kit.db import begin
    from cloud.lis.autoverify import command

    with begin() as session:
        try:
            command.backtest(session, code, version=version, days=days, most=most, say=typer.echo)
        except command.NoRuleSet as unknown:
            typer.echo(unknown, err=True)
            raise typer.Exit(REFUSED) from None
        session.rollback()


@program.command("seed-rules")
def seed_rules() -> None:
    """Add the starting rule sets of the automatic verification: drafts, in shadow only."""
    _prepare("seed-rules")
    from cloud.lis.autoverify import starting

    typer.echo(f"{starting.run()} rule sets added")


@program.command("seed-catalog")
def seed_catalog() -> None:
    """Load the starting test catalogue (drafts stay drafts)."""
    _prepare("seed-catalog")
    from cloud.lis.calculation import load as formulas
    from cloud.lis.catalog import load
    from cloud.lis.infectious import load as infectious
    from cloud.lis.results import choices

    load.run()
    formulas.run()
    choices.run()
    infectious.run()


@program.command("lint-catalog")
def lint_catalog(everything: Annotated[bool, typer.Option("--all", help="Also what is only missing.")] = False) -> None:
    """Check the catalogue: gaps, overlaps, units, formulas, channels; exit 1 where a result would be wrong."""
    _prepare("lint-catalog")
    from cloud.kit import clock
    from cloud.kit.db import begin
    from cloud.lis.catalog import checking

    with begin() as session:
        found = checking.problems(session, on=clock.today())
    errors = [each for each in found if each.serious]
    for each in found if everything else errors:
        typer.echo(f"{'error' if each.serious else 'hint '} {each.subject}: {each.code} {each.detail}".rstrip())
    typer.echo(f"{len(errors)} errors, {len(found) - len(errors)} hints")
    if errors:
        raise typer.Exit(1)


@program.command("seed-demo")
def seed_demo(
    clinic_days: Annotated[int, typer.Option(min=0, help="For how many days clinic sessions are published.")] = 21,
) -> None:
    """Load the demonstration's people, accounts and boxes. Refuses in production."""
    _prepare("seed-demo")
    from cloud import demo
    from cloud.demo import clinics
    from cloud.kit.db import begin

    try:
        demo.run()
        clinics.seed(begin, days=clinic_days)
    except demo.NotInProduction as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(REFUSED) from None


@program.command("seed-crowd")
def seed_crowd(
    out: Annotated[Path, typer.Option(help="Where the phones' cookies are written.")],
    patients: Annotated[int, typer.Option(min=1)] = 5000,
    numbers: Annotated[int, typer.Option(min=1)] = 300,
    hold_seconds: Annotated[int, typer.Option(min=1, help="How long an unpaid number is kept.")] = 180,
) -> None:
    """Sign a crowd in before the numbers of one morning, for a load test. Refuses in production."""
    _prepare("seed-crowd")
    from cloud import demo
    from cloud.demo import crowd
    from cloud.kit.db import begin

    try:
        clinics = crowd.seed(begin, patients=patients, sold=numbers, hold_s=hold_seconds, out=out)
    except demo.NotInProduction as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(REFUSED) from None
    typer.echo(f"{patients} phones signed in, {numbers} numbers in {len(clinics)} sessions")


@program.command("seed-payers")
def seed_payers(
    payments: Annotated[int, typer.Option(min=1, help="How many bills.")],
    accounts: Annotated[int, typer.Option(min=2, help="Of how many patients.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed draws the same amounts.")] = 1,
) -> None:
    """Make patients with bills and phones signed in, for a trial of the money; prints them. Refuses in production."""
    _prepare("seed-payers")
    import json

    from cloud.demo import NotInProduction, payers

    try:
        typer.echo(json.dumps(payers.run(payments, accounts=accounts, seed=seed)))
    except NotInProduction as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(REFUSED) from None


@program.command("load-history")
def load_history(
    specimens: Annotated[int, typer.Option(min=1, help="How many tubes, each with at least 12 values.")],
    seed: Annotated[int, typer.Option(help="The same seed draws the same history.")] = 1,
    days: Annotated[int | None, typer.Option(min=1, help="Over how many days; default: 2,700 tubes a day.")] = None,
) -> None:
    """Fill a demonstration's database with a made-up past of a big hospital. Refuses in production."""
    _prepare("load-history")
    from cloud.history import load

    try:
        loaded = load.run(specimens, seed=seed, days=days, say=typer.echo)
    except (load.NotInProduction, load.AlreadyThere) as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(REFUSED) from None
    typer.echo(", ".join(f"{count} {name}" for name, count in loaded.counts.items()))
    typer.echo(", ".join(f"{name} {seconds:.1f} s" for name, seconds in loaded.seconds.items()))


@program.command()
def explain(report: Annotated[str, typer.Argument(help="The report's id or number, or the tube's barcode.")]) -> None:
    """Work every step of a report out again from what is stored; exit 1 when one comes out otherwise."""
    _prepare("explain", pages=True)
    from cloud.explain import finding, telling
    from cloud.kit.db import begin

    with begin() as session:
        try:
            told = telling.explain(session, report, typer.echo)
        except finding.NoReport as unknown:
            typer.echo(unknown, err=True)
            raise typer.Exit(REFUSED) from None
        session.rollback()
    if not told.reproducible:
        raise typer.Exit(1)


@program.command("seal-audit")
def seal_audit() -> None:
    """Sign what the audit trail holds now into the file outside the database."""
    _prepare("seal-audit")
    from cloud.kit import seal
    from cloud.kit.db import begin

    sealed = seal.seal(begin)
    typer.echo("nothing new to seal" if sealed is None else f"seal {sealed.number}: {sealed.heads} chains")


@program.command("verify-audit")
def verify_audit() -> None:
    """Read the whole audit trail and its seals back; exit 1 and name what was changed, deleted or cut."""
    _prepare("verify-audit")
    from cloud.kit import verify
    from cloud.kit.db import begin

    verdict = verify.verify(begin)
    for finding in verdict.findings:
        typer.echo(finding.sentence(), err=True)
    typer.echo(
        f"{verdict.entries} entries in {verdict.chains} chains, {verdict.seals} seals,"
        f" {verdict.unsealed} entries not sealed yet,"
        f" key {verdict.key_fingerprint}: {'intact' if verdict.intact else 'TAMPERED'}"
    )
    if not verdict.intact:
        raise typer.Exit(1)


def main() -> None:
    from cloud.kit.embedded import NoDatabase
    from cloud.kit.presence import NotThere
    from cloud.web.secrets import NoSecret

    try:
        program()
    except (NotThere, NoDatabase, NoSecret) as absent:
        print(absent, file=sys.stderr)  # noqa: T201
        sys.exit(ABSENT)


if __name__ == "__main__":
    main()
