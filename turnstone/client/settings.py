"""`client.settings`: what administrators and people may set, without overwriting each other."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from turnstone.client.asking import ask, fetched, path, spoken
from turnstone.client.errors import UnexpectedAnswer
from turnstone.client.methods import D, Resource, method
from turnstone.client.parts import JsonObject
from turnstone.client.steps import Program, Request


class Setting(NamedTuple):
    """A setting as it was shown; `etag` names that state of it."""

    name: str
    value: JsonObject
    etag: str


class Settings(Resource[D]):
    """`client.settings`: each is named as in its route `/config/…`, such as "user-prompt" or "system-prompt"."""

    @method
    def get(self, name: str) -> Program[Setting]:
        """What a setting is now, and the etag of that."""
        answer = yield from ask(self._service, Request("GET", _path(name)))
        value = spoken(self._service, answer)
        if not isinstance(value, dict):
            raise UnexpectedAnswer(f"a setting should be a JSON object, and is {value!r:.80}")
        return Setting(name, value, answer.headers.get("etag", ""))

    @method
    def set(self, name: str, value: Mapping[str, Any], *, seen: Setting | None = None) -> Program[None]:
        """Change a setting; with `seen` only if it is still so, else it raises PreconditionFailed.

        After an answer that was lost that may mean one's own change: look at it again.
        """
        yield from fetched(self._service, Request("PUT", _path(name), json=dict(value), headers=_if(seen)))

    @method
    def reset(self, name: str, *, seen: Setting | None = None) -> Program[None]:
        """Take back one of "user-compaction-thresholds/…"; `seen` as for `set`."""
        yield from fetched(self._service, Request("DELETE", _path(name), headers=_if(seen)))


def _path(name: str) -> str:
    return path("config", *name.split("/"))


def _if(seen: Setting | None) -> dict[str, str]:
    return {} if seen is None else {"If-Match": seen.etag}
