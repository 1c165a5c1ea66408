"""Web push in the API: whose browsers they are, what is taken for one, and what is said of it afterwards."""

from typing import Any

import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person

POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
BROWSER = {
    "endpoint": "https://push.example.com/a-secret-place",
    "auth_key": "BTBZMqHH6r4Tts7J_aSIgg",
    "p256dh_key": POINT,
}
AT = "/api/v2/users/{}/webpush/{}"


async def stored(api: Api, query: Any) -> list[dict[str, Any]]:
    async with api.resources.database.read() as session:
        return await fetch(session, query)


async def test_one_subscribes_with_the_key_of_the_deployment_tests_and_leaves(api: Api, member: Person) -> None:
    key = (await member.client.get("/api/v2/notifications/webpush/public-key")).json()["public_key"]
    assert (await api.stranger.get("/api/v2/buildinfo")).json()["webpush_public_key"] == key
    here, test = AT.format("me", "subscription"), AT.format(member.username, "test")
    for _ in range(2):
        assert (await member.client.post(here, json=BROWSER)).status_code == 204
    assert (await member.client.post(test)).status_code == 204
    [delivery] = await stored(api, "SELECT kind FROM webpush_deliveries")
    assert delivery["kind"] == "test"
    gone = [await member.client.request("DELETE", here, json={"endpoint": BROWSER["endpoint"]}) for _ in range(2)]
    assert [each.status_code for each in gone] == [204, 404]
    told = await stored(api, "SELECT * FROM audit_logs WHERE resource_type = 'webpush_subscription' ORDER BY time")
    assert [(each["action"], each["user_id"]) for each in told] == [
        ("create", member.id), ("create", member.id), ("delete", member.id)
    ]  # fmt: skip
    assert len({each["resource_id"] for each in told}) == 1
    for secret in ("a-secret-place", BROWSER["auth_key"], POINT):
        assert secret not in str(told)


async def test_nobody_has_browsers_in_somebody_elses_name(member: Person, owner: Person, outsider: Person) -> None:
    for other in (owner, outsider):
        for whom in (str(member.id), member.username):
            for what, body in (("subscription", BROWSER), ("test", None)):
                response = await other.client.post(AT.format(whom, what), json=body)
                assert response.status_code == 404
    assert (await member.client.post(AT.format(member.id, "subscription"), json=BROWSER)).status_code == 204
    leaving = await owner.client.request("DELETE", AT.format("me", "subscription"), json=BROWSER)
    assert leaving.status_code == 404


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (
            "endpoint",
            ["", "http://push.example.com/x", "https://", "https://u:p@push.example.com", "https://x/" + "y" * 2048],
        ),
        ("auth_key", ["", "BTBZMqHH6r4Tts7J_aSI", "BTBZMqHH6r4Tts7J!aSIgg"]),
        ("p256dh_key", ["", POINT[:-4], "A" * 87, POINT[:-1] + "A"]),
    ],
)
async def test_what_no_browser_gives_is_refused_by_its_field(member: Person, field: str, values: list[str]) -> None:
    for value in values:
        response = await member.client.post(AT.format("me", "subscription"), json={**BROWSER, field: value})
        told = response.json()
        assert (response.status_code, [each["field"] for each in told["validations"]]) == (400, [field]), value
