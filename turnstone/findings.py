"""What `turnstone doctor` looks at: each check sees, judges, and says what to do. Changes nothing."""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from models.settings import Settings, complaints
from turnstone import embedded_temporal
from turnstone.data_dir import running_facts
from turnstone.ports import PortTaken, Wish, choose
from turnstone.stack import answers_ready

PATIENCE = 5  # seconds for each connection


@dataclass(frozen=True)
class Finding:
    """One thing looked at: fine, not fine, or (None) not looked at; what was seen; what to do."""

    name: str
    fine: bool | None
    seen: str
    remedy: str = ""


async def examine(data_dir: Path) -> list[Finding]:
    """Look at everything; a check that needs a failed one is marked as not looked at."""
    wrong = complaints()
    if wrong:
        remedy = "correct or unset these environment variables; the others were not looked at"
        return [Finding("settings", False, "; ".join(wrong), remedy)]
    settings, source = settings_of(data_dir)
    findings = [Finding("settings", True, source)]
    findings.append(_keys(settings))
    database = await _database(settings)
    findings += database
    findings += await _temporal(settings)
    findings.append(await _api(settings, data_dir))
    connected = all(finding.fine for finding in database)
    findings.append(await _secrets(settings) if connected else Finding("stored secrets", None, "needs the database"))
    findings.append(await _providers(settings) if connected else Finding("providers", None, "needs the database"))
    return findings


def settings_of(data_dir: Path) -> tuple[Settings, str]:
    """Those of the environment, completed by the embedded stack that runs here."""
    settings = Settings()
    facts = running_facts(data_dir)
    if facts is None or "TURNSTONE_DATABASE_URL" in os.environ:
        names = sorted(name for name in os.environ if name.startswith("TURNSTONE_"))
        return settings, "from the environment: " + (", ".join(names) or "nothing is set, so the defaults hold")
    embedded = {
        "database_url": facts["database_url"],
        "temporal_address": facts["temporal_address"],
        "temporal_namespace": facts["temporal_namespace"],
    }
    kept = data_dir / "secret_key"
    if not settings.secret_keys.get_secret_value() and kept.exists():
        embedded["secret_keys"] = kept.read_text().strip()
    return Settings(**embedded), f"of the `turnstone dev` that runs on {data_dir}"


def _keys(settings: Settings) -> Finding:
    from cryptography.fernet import Fernet

    make = (
        'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())" makes one; '
        "put it into TURNSTONE_SECRET_KEYS of every process"
    )
    keys = [key.strip() for key in settings.secret_keys.get_secret_value().split(",") if key.strip()]
    if not keys:
        return Finding("secret keys", False, "none: provider keys cannot be stored", make)
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            return Finding("secret keys", False, f"key {number} of {len(keys)} is not a Fernet key", make)
    return Finding("secret keys", True, f"{len(keys)}, the first one encrypts")


async def _database(settings: Settings) -> list[Finding]:
    import psycopg

    from models.store.migrate import head

    try:
        async with await psycopg.AsyncConnection.connect(
            settings.database_url, autocommit=True, connect_timeout=PATIENCE
        ) as connection:
            row = await (await connection.execute("SELECT current_setting('server_version')")).fetchone()
            version = row[0] if row else "?"
            row = await (await connection.execute("SELECT to_regclass('alembic_version')::text")).fetchone()
            found = None
            if row and row[0]:
                row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
                found = row[0] if row else None
    except (psycopg.Error, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no answer"])[0].removeprefix("connection failed: ")
        remedy = "start PostgreSQL (`turnstone dev` brings its own) or correct TURNSTONE_DATABASE_URL"
        return [
            Finding("database", False, f"{_place(settings.database_url)}: {reason}", remedy),
            Finding("migrations", None, "needs the database"),
        ]
    reached = Finding("database", True, f"PostgreSQL {version} at {_place(settings.database_url)}")
    if int(version.split(".")[0]) < 14:
        reached = Finding("database", False, reached.seen, "PostgreSQL 14 or newer is needed")
    if found == head():
        return [reached, Finding("migrations", True, f"at revision {found}")]
    seen = f"at revision {found}, this code needs {head()}" if found else "the database is empty"
    return [reached, Finding("migrations", False, seen, "run `turnstone migrate`")]


async def _temporal(settings: Settings) -> list[Finding]:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode

    address, namespace = settings.temporal_address, settings.temporal_namespace
    try:
        async with asyncio.timeout(PATIENCE):
            client = await Client.connect(address, namespace=namespace)
    except (RuntimeError, RPCError, OSError) as error:
        told = re.search(r'message: "([^"]+)"', str(error))  # the SDK prints its innards around it
        reason = told[1] if told else str(error).strip() or "no answer"
        remedy = "start Temporal (`turnstone dev` brings its own) or correct TURNSTONE_TEMPORAL_ADDRESS"
        return [
            Finding("temporal", False, f"{address}: {reason}", remedy),
            Finding("namespace", None, "needs Temporal"),
            Finding("search attributes", None, "needs Temporal"),
        ]
    reached = Finding("temporal", True, address)
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            remedy = f"temporal operator namespace create --namespace {namespace} --retention 72h --address {address}"
        else:
            remedy = "see the Temporal server's log"
        seen = f"{namespace}: {error.message}"
        return [reached, Finding("namespace", False, seen, remedy), Finding("search attributes", None, "needs both")]
    known = Finding("namespace", True, namespace)
    try:
        answer = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    except RPCError as error:  # a hosted Temporal may keep this from its tenants
        return [reached, known, Finding("search attributes", None, f"cannot be listed: {error.message}")]
    missing = [name for name in embedded_temporal.SEARCH_ATTRIBUTES if name not in answer.custom_attributes]
    if not missing:
        return [reached, known, Finding("search attributes", True, ", ".join(embedded_temporal.SEARCH_ATTRIBUTES))]
    create = " ".join(f"--name {name} --type Keyword" for name in missing)
    remedy = f"temporal operator search-attribute create --namespace {namespace} --address {address} {create}"
    return [reached, known, Finding("search attributes", False, f"missing: {', '.join(missing)}", remedy)]


async def _api(settings: Settings, data_dir: Path) -> Finding:
    facts = running_facts(data_dir)
    url = str(facts["api_url"]) if facts else f"http://{settings.host}:{settings.port}"
    place = urlsplit(url)
    host, port = place.hostname or settings.host, place.port or 80
    if await answers_ready(host, port):
        return Finding("api", True, f"ready at {url}")
    try:
        await choose([Wish("TURNSTONE_PORT", settings.host, port)], patience=0)
    except PortTaken:
        remedy = "if it is Turnstone, look at its log; else stop it or choose another TURNSTONE_PORT"
        return Finding("api", False, f"something listens on port {port}, but is not a ready Turnstone API", remedy)
    return Finding("api", True, f"port {port} is free; no API runs there now")


async def _secrets(settings: Settings) -> Finding:
    from models.store import sealed
    from models.store.database import Database
    from models.store.secrets import Cipher

    try:
        cipher = Cipher(settings.secret_keys.get_secret_value())
    except ValueError:
        return Finding("stored secrets", None, "needs the secret keys")
    database = Database(settings.database_url, 1)
    try:
        async with database.read() as session:
            counts = await sealed.by_key(session)
    finally:
        await database.close()
    lost = sorted(counts.keys() - {*cipher.key_ids, sealed.UNNAMED})
    if lost:
        remedy = "put these keys back into TURNSTONE_SECRET_KEYS, then run `turnstone keys rotate`"
        return Finding("stored secrets", False, f"some are under keys that are not set: {', '.join(lost)}", remedy)
    older = sum(count for name, count in counts.items() if name != next(iter(cipher.key_ids), ""))
    seen = f"{sum(counts.values())}, {older} of them not under the first key (`turnstone keys rotate`)"
    return Finding("stored secrets", True, seen if older else f"{sum(counts.values())}")


async def _providers(settings: Settings) -> Finding:
    import psycopg

    remedy = "add one with `turnstone providers add`; until then the demo provider answers"
    try:
        async with await psycopg.AsyncConnection.connect(
            settings.database_url, autocommit=True, connect_timeout=PATIENCE
        ) as connection:
            cursor = await connection.execute(
                "SELECT p.name, p.enabled FROM ai_providers p WHERE NOT p.deleted ORDER BY p.name"
            )
            rows = await cursor.fetchall()
            cursor = await connection.execute(
                "SELECT count(*) FROM chat_model_configs WHERE is_default AND enabled AND NOT deleted"
            )
            default = await cursor.fetchone()
    except psycopg.Error as error:
        return Finding("providers", None, f"cannot be read: {str(error).splitlines()[0]}")
    names = [f"{name}{'' if enabled else ' (disabled)'}" for name, enabled in rows]
    if not any(enabled for _, enabled in rows):
        return Finding("providers", False, ", ".join(names) or "none", remedy)
    if not default or not default[0]:
        return Finding(
            "providers", False, f"{', '.join(names)}; no default model", "add one with `turnstone models add`"
        )
    return Finding("providers", True, ", ".join(names))


def _place(url: str) -> str:
    """A connection URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}").geturl()
