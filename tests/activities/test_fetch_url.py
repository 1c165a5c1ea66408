"""The laws of `fetch_url`: it reads public text within bounds, and nothing leads it inside."""

import asyncio
import gzip
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from activities.tools import egress, readable
from activities.tools.endings import ToolFailed
from activities.tools.fetch_url import fetch_url
from activities.tools.tool import ToolContext
from models.egress import Refused, resolved
from models.rules.addresses import EVERYWHERE, is_public
from models.settings import Settings

Answer = Callable[[str], bytes]


def response(body: bytes, kind: str = "text/html; charset=utf-8", status: str = "200 OK", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def site(answer: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """A web site of this machine: its address, and the heads of the requests that it got."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        writer.write(answer(head.split()[1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}", heads


async def fetched(url: str, *, allow_private: bool = True) -> dict[str, Any]:
    settings = Settings(fetch_url_allow_private=allow_private)
    context = ToolContext(UUID(int=1), 1, UUID(int=2), "call", settings)
    found: dict[str, Any] = await fetch_url.run(fetch_url.arguments(url=url), context)
    return found


async def test_a_page_is_read_as_its_title_and_its_text() -> None:
    page = "<title>A page</title><h1>Hä</h1><script>no()</script><p>One <b>word</b>.</p>".encode()
    async with site(lambda _path: response(page)) as (address, heads):
        found = await fetched(f"{address}/there#part")
    assert (found["title"], found["text"], found["status"]) == ("A page", "# Hä\n\nOne word.", 200)
    assert found["url"] == f"{address}/there"
    assert heads[0].startswith("GET /there HTTP/1.1")
    assert f"Host: {address.removeprefix('http://')}" in heads[0]


async def test_json_and_plain_text_come_as_they_are_and_an_error_page_is_an_answer() -> None:
    answers = {
        "/json": response(b'{"a": 1}', "application/json"),
        "/latin": response("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1"),
        "/gone": response(b"nothing here", "text/plain", "404 Not Found"),
        "/packed": response(gzip.compress(b"small"), "text/plain", "200 OK", "Content-Encoding: gzip"),
    }
    async with site(answers.__getitem__) as (address, _):
        assert (await fetched(f"{address}/json"))["text"] == '{"a": 1}'
        assert (await fetched(f"{address}/latin"))["text"] == "Grüße"
        assert (await fetched(f"{address}/packed"))["text"] == "small"
        gone = await fetched(f"{address}/gone")
    assert (gone["status"], gone["text"]) == (404, "nothing here")


async def test_what_is_no_text_is_refused() -> None:
    async with site(lambda _path: response(b"\x89PNG", "image/png")) as (address, _):
        with pytest.raises(ToolFailed, match="image/png: only text"):
            await fetched(address)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_document_without_end_is_cut(packed: bool) -> None:
    body = b"x" * (egress.MOST_BYTES * 4)
    more = ["Content-Encoding: gzip"] if packed else []
    whole = response(gzip.compress(body) if packed else body, "text/plain", "200 OK", *more)
    async with site(lambda _path: whole) as (address, _):
        found = await fetched(address)
    assert len(found["text"]) == egress.MOST_BYTES
    assert "this is its beginning" in found["note"]


async def test_redirects_are_followed_and_are_not_endless() -> None:
    def answer(path: str) -> bytes:
        following = {"/a": "/b", "/b": "c?x=1", "/loop": "/loop", "/out": "ftp://example.com/"}.get(path)
        moved = (f"Location: {following}",) if following else ()
        return response(path.encode(), "text/plain", "302 Found" if following else "200 OK", *moved)

    async with site(answer) as (address, _):
        assert (await fetched(f"{address}/a"))["text"] == "/c?x=1"
        with pytest.raises(ToolFailed, match="more than 5 redirects"):
            await fetched(f"{address}/loop")
        with pytest.raises(ToolFailed, match="Only http and https"):
            await fetched(f"{address}/out")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://10.1.2.3/",
        "https://192.168.0.1/",
    ],
)
async def test_internal_addresses_are_refused_however_they_are_written(url: str) -> None:
    with pytest.raises(ToolFailed, match="not on the public internet"):
        await fetched(url, allow_private=False)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://example.com/", "http://", "nonsense", "http://u:p@x/"])
async def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(ToolFailed):
        await fetched(url)


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to() -> None:
    """A name that is resolved again between the look and the connection could mean something else by then."""
    async with site(lambda _path: response(b"here", "text/plain")) as (address, heads):
        port = int(address.rpartition(":")[2])
        [judged] = await resolved("127.0.0.1", port, EVERYWHERE)
        found = await egress.get(f"http://{judged}:{port}/", allow_private=True)
    assert found.body == b"here"
    with pytest.raises(Refused, match="public internet"):
        await resolved("localhost", port)
    assert len(heads) == 1


async def test_a_site_that_is_not_there_or_breaks_off_is_a_failure_in_words() -> None:
    with pytest.raises(ToolFailed, match="could not be fetched"):
        await fetched("http://127.0.0.1:1/")
    async with site(lambda _path: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx") as (address, _):
        with pytest.raises(ToolFailed, match="could not be fetched"):
            await fetched(address)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((each, True) for each in ("93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")),
        *((each, False) for each in ("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254")),
        *((each, False) for each in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "168.63.129.16")),
        *((each, False) for each in ("::", "::1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "ff02::1", "2001:db8::1")),
        *((each, False) for each in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe")),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_a_page_is_readable_however_broken_it_is() -> None:
    title, text = readable.read(
        "<html><head><title>The\n title</title><style>x{}</style><body>"
        "<ul><li>one<li><a href='/two'>two</a></ul><pre>a\n  b</pre>"
        "<table><tr><th>k</th><td>v</td></tr></table><p>un<i>closed &amp; odd</b></p><svg><text>no</text></svg> end"
    )
    assert title == "The title"
    assert text == "- one\n- two (/two)\na\n  b\nk v\nunclosed & odd\n\nend"
