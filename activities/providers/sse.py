"""Server-sent events out of bytes that are cut anywhere."""

BOM = b"\xef\xbb\xbf"


class Splitter:
    """Finds the payloads of events in a stream; comments and every field but `data` are passed over."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line whose end has not come
        self._data: list[bytes] = []  # the lines of an event whose end has not come
        self._begun = False

    def split(self, data: bytes, *, last: bool = False) -> list[bytes]:
        """The payloads that `data` completes. At the last, one that lacks its blank line counts too."""
        if not last and b"\n" not in data:
            self._rest.append(data)
            return []
        if self._rest:
            data = b"".join([*self._rest, data])
        if not self._begun:
            self._begun, data = True, data.removeprefix(BOM)
        lines = data.split(b"\n")
        self._rest = [lines.pop()]
        if last:
            lines += [*self._rest, b""]
            self._rest = []
        payloads: list[bytes] = []
        held = self._data
        for line in lines:
            if line.startswith(b"data:"):
                held.append(line[5:].strip())
            elif held and not line.strip(b"\r"):
                payloads.append(held[0] if len(held) == 1 else b"\n".join(held))
                held.clear()
        return payloads
