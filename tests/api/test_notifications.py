"""The laws of a person's inbox."""

from uuid import uuid4

from models.store import inbox
from models.store.inbox import Notice
from tests.api.conftest import Api, Person

INBOX = "/api/v2/notifications/inbox"


def notice(person: Person, occasion: str) -> Notice:
    return Notice(person.id, "a-template", occasion, f"about {occasion}", "text \x00", {"chats": ["\x00"]})


async def post(api: Api, *notices: Notice) -> int:
    async with api.resources.database.begin() as session:
        return await inbox.post(session, notices)


async def test_one_sees_ones_own_notices_newest_first(api: Api, member: Person, outsider: Person) -> None:
    for occasion in ("one", "two"):
        await post(api, notice(member, occasion))
    seen = (await member.client.get(INBOX)).json()
    assert [each["title"] for each in seen["notifications"]] == ["about two", "about one"]
    assert seen["unread_count"] == 2
    assert seen["notifications"][0]["details"] == {"chats": ["\x00"]}
    assert (await outsider.client.get(INBOX)).json() == {"notifications": [], "unread_count": 0}


async def test_one_occasion_makes_one_notice(api: Api, member: Person, outsider: Person) -> None:
    assert await post(api, notice(member, "one"), notice(outsider, "one")) == 2
    assert await post(api, notice(member, "one"), notice(member, "two")) == 1


async def test_a_notice_is_ticked_off_and_on_again_by_its_person_only(
    api: Api, member: Person, outsider: Person
) -> None:
    await post(api, notice(member, "one"), notice(member, "two"))
    [newer, _] = (await member.client.get(INBOX)).json()["notifications"]
    url = f"{INBOX}/{newer['id']}/read-status"
    assert (await outsider.client.put(url, json={"is_read": True})).status_code == 404
    assert (await member.client.put(f"{INBOX}/{uuid4()}/read-status", json={"is_read": True})).status_code == 404
    done = (await member.client.put(url, json={"is_read": True})).json()
    assert (done["notification"]["read_at"] is not None, done["unread_count"]) == (True, 1)
    for status, count in (("read", 1), ("unread", 1), ("all", 2)):
        found = (await member.client.get(INBOX, params={"read_status": status})).json()["notifications"]
        assert len(found) == count
    again = (await member.client.put(url, json={"is_read": False})).json()
    assert (again["notification"]["read_at"], again["unread_count"]) == (None, 2)


async def test_pages_go_back_in_time_without_gap_or_repeat(api: Api, member: Person) -> None:
    await post(api, *(notice(member, f"no. {number}") for number in range(60)))
    seen: list[str] = []
    while True:
        query = {"starting_before": seen[-1]} if seen else {}
        page = (await member.client.get(INBOX, params=query)).json()["notifications"]
        if not page:
            break
        seen += [each["id"] for each in page]
    assert (len(seen), len(set(seen))) == (60, 60)
