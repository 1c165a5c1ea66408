"""Whose key a call is made with: each cell of the table in admin.md 9.3, as it is decided and as it is asked in SQL."""

from contextlib import AbstractContextManager, nullcontext
from itertools import product
from uuid import UUID, uuid4

import psycopg
import pytest

from models.rules.credentials import FIELDS, Lack, Policy, Source
from models.store import providers, user_keys
from models.store.database import Database, fetch
from models.store.user_keys import HAS_KEY, keys_of
from tests.places import CIPHER
from tests.seeds import World

BOOLS = (False, True)
# central, user, fallback | own key: with a central key, without one | no own key: with a central key, without one
TABLE = """
    C - -  central KEY      central KEY
    - U -  user    user     USER    USER
    C U -  user    user     USER    USER
    C U F  user    user     central USER
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
WORDS: dict[str, Source | Lack] = {
    "central": Source.CENTRAL, "user": Source.USER, "USER": Lack.USER_KEY, "KEY": Lack.KEY
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "".join(row[:3]))
def test_every_cell_of_the_policy_table(row: list[str]) -> None:
    policy = Policy(*(letter != "-" for letter in row[:3]))
    assert policy.complaints() == {}
    for cell, (has_own, has_central) in zip(row[3:], product((True, False), (True, False)), strict=True):
        assert policy.source(byok=True, has_own=has_own, has_central=has_central) is WORDS[cell]


def test_where_the_deployment_allows_no_own_keys_every_policy_is_the_central_one() -> None:
    for flags, has_own, has_central in product(product(BOOLS, repeat=3), BOOLS, BOOLS):
        found = Policy(*flags).source(byok=False, has_own=has_own, has_central=has_central)
        assert found is (Source.CENTRAL if flags[0] and has_central else Lack.KEY)


async def test_the_database_refuses_the_policies_that_the_rule_refuses(database: Database, seed: World) -> None:
    for flags in product(BOOLS, repeat=3):
        policy = Policy(*flags)
        refused: AbstractContextManager[object] = nullcontext()
        if policy.complaints():
            refused = pytest.raises(psycopg.errors.CheckViolation)
        with refused:
            async with database.begin() as session:
                await providers.update(session, seed.provider_id, policy=policy)
        async with database.read() as session:
            row = await providers.get(session, seed.provider_id)
        assert (tuple(row[name] for name in FIELDS) == flags) == (not policy.complaints())


async def test_the_question_in_sql_is_answered_by_the_rule(database: Database, seed: World) -> None:
    """Every policy there may be, with and without each key, of a type that needs one and of one that does not."""
    asked: dict[UUID, tuple[Policy, bool, bool, bool]] = {}
    async with database.begin() as session:
        for number, (flags, kind, has_own, has_key) in enumerate(
            product(product(BOOLS, repeat=3), ("openai", "bedrock"), BOOLS, BOOLS)
        ):
            policy = Policy(*flags)
            if policy.complaints():
                continue
            made = await providers.create(
                session,
                CIPHER,
                kind=kind,
                name=f"p{number}",
                display_name="",
                enabled=True,
                base_url="http://127.0.0.1:1",
                api_keys=["sk"] if has_key else [],
                policy=policy,
            )
            if has_own:
                await user_keys.put(session, CIPHER, seed.owner_id, made, "sk-own", by=seed.owner_id)
            asked[made["id"]] = (policy, kind == "bedrock", has_own, has_key)
    assert len(asked) == 4 * 8
    async with database.read() as session:
        for byok, owner in product(BOOLS, (seed.owner_id, uuid4())):
            question = f"SELECT p.id, {HAS_KEY} AS has FROM ai_providers p WHERE p.name LIKE 'p%%'"
            for row in await fetch(session, question, keys_of(owner, byok)):
                policy, keyless, has_own, has_key = asked[row["id"]]
                own = has_own and owner == seed.owner_id
                source = policy.source(byok=byok, has_own=own, has_central=keyless or has_key)
                assert row["has"] == isinstance(source, Source), (policy, keyless, has_own, has_key, byok)
