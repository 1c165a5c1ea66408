"""Liveness, readiness and the facts about the build."""

from tests.api.conftest import Api


async def test_a_living_process_says_so_without_looking_at_anything_else(api: Api) -> None:
    response = await api.stranger.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_readiness_names_the_component_that_is_away(api: Api) -> None:
    response = await api.stranger.get("/readyz")
    assert response.status_code == 503
    components = response.json()["components"]
    assert components["database"] == components["migrations"] == {"ok": True}
    assert components["temporal"] == {"ok": False, "detail": "not reachable"}
    assert not response.json()["ready"]


async def test_readiness_notices_a_schema_that_is_behind(api: Api) -> None:
    async with await api.resources.database.connect() as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
    components = (await api.stranger.get("/readyz")).json()["components"]
    assert not components["migrations"]["ok"]
    assert "turnstone migrate" in components["migrations"]["detail"]


async def test_the_build_is_public(api: Api) -> None:
    response = await api.stranger.get("/api/v2/buildinfo")
    assert response.status_code == 200
    assert response.json()["version"]
