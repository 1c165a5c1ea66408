"""What a person would read of a web page: its text, with headings, lists and the addresses of links."""

import re
from html.parser import HTMLParser

HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "head"})
BLOCK = re.compile(
    "p|div|section|article|header|footer|main|nav|aside|ul|ol|li|table|tr|h[1-6]|br|hr|pre|blockquote|form|dl|dt|dd|figure"
)
HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)


def decoded(body: bytes, content_type: str) -> str:
    """The body as text: in the charset that its header or its head names, else UTF-8 as far as it goes."""
    named = re.search(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", content_type, re.IGNORECASE)
    found = CHARSET.search(body[:4096])
    charset = named[1] if named else found[1].decode("ascii") if found else "utf-8"
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def read(html: str) -> tuple[str, str]:
    """The title and the text of a page, however broken its markup is."""
    page = _Page()
    page.feed(html)
    page.close()
    return " ".join(page.title.split()), page.text()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._pieces: list[str] = []
        self._hidden: list[str] = []
        self._links: list[str] = []
        self._in_title = False
        self._preformatted = 0

    def text(self) -> str:
        lines = (line.rstrip() for line in "".join(self._pieces).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = True
        elif tag in HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            self._hidden.clear()  # a head that was never closed
        elif not self._hidden:
            self._open(tag, dict(attrs))

    def _open(self, tag: str, attrs: dict[str, str | None]) -> None:
        if BLOCK.fullmatch(tag):
            self._break()
        if tag in HEADINGS:
            self._pieces.append(HEADINGS[tag])
        elif tag == "li":
            self._pieces.append("- ")
        elif tag in ("td", "th") and self._pieces and not self._pieces[-1].endswith(("\n", " ")):
            self._pieces.append(" ")
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "a":
            address = attrs.get("href") or ""
            self._links.append(address if address.startswith(("http://", "https://", "/")) else "")
        elif tag == "img" and attrs.get("alt"):
            self._pieces.append(f"[{attrs['alt']}]")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif not self._hidden:
            if tag == "a" and self._links and (address := self._links.pop()):
                self._pieces.append(f" ({address})")
            elif tag == "pre" and self._preformatted:
                self._preformatted -= 1
            if BLOCK.fullmatch(tag):
                self._break(after=tag in HEADINGS or tag == "p")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            if not self._preformatted:
                data = re.sub(r"\s+", " ", data)
                if not self._pieces or self._pieces[-1].endswith(("\n", " ")):
                    data = data.lstrip()
            if data:
                self._pieces.append(data)

    def _break(self, *, after: bool = False) -> None:
        if self._pieces and not self._pieces[-1].endswith("\n"):
            self._pieces.append("\n")
        if after:
            self._pieces.append("\n")
