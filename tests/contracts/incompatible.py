"""What a change of the OpenAPI document breaks for clients that were made from the old one, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
# A bound that moves this way refuses what was taken: (key, is the new one tighter?).
_BOUNDS = {"maxLength": -1, "maximum": -1, "maxItems": -1, "minLength": 1, "minimum": 1, "minItems": 1}


def broken(old: Schema, new: Schema) -> list[str]:
    """Each thing that a client of the old document may trip over; empty when nothing breaks."""
    return list(dict.fromkeys(_Comparison(old, new).paths()))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._compared: set[tuple[str, str, bool]] = set()

    def paths(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                where = f"{method.upper()} {path}"
                now = self._new["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{where}: removed"
                    continue
                if operation.get("operationId") != now.get("operationId"):
                    yield f"{where}: operation id is now {now.get('operationId')}, was {operation.get('operationId')}"
                yield from self._parameters(where, operation, now)
                yield from self._bodies(where, operation, now)
                yield from self._answers(where, operation, now)

    def _parameters(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before = {(each["in"], each["name"]): each for each in old.get("parameters", ())}
        after = {(each["in"], each["name"]): each for each in new.get("parameters", ())}
        for (place, name), each in before.items():
            if (place, name) not in after:
                yield f"{where}: {place} parameter {name} was removed"
            else:
                yield from self._schemas(f"{where} ?{name}", each["schema"], after[place, name]["schema"], asked=True)
        for (place, name), each in after.items():
            if each.get("required") and not before.get((place, name), {}).get("required"):
                yield f"{where}: {place} parameter {name} is now required"

    def _bodies(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("requestBody"), new.get("requestBody")
        if after is not None and after.get("required") and not (before or {}).get("required"):
            yield f"{where}: a body is now required"
        if before is not None and after is not None:
            yield from self._contents(f"{where} body", before, after, asked=True)

    def _answers(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        for status, answer in old["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in new["responses"]:
                yield f"{where}: no longer answers {status}"
            else:
                yield from self._contents(f"{where} {status}", answer, new["responses"][status], asked=False)

    def _contents(self, where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{where}: {media_type} was removed"
            else:
                yield from self._schemas(where, content["schema"], new["content"][media_type]["schema"], asked=asked)

    def _schemas(self, where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
        if "$ref" in old and "$ref" in new:
            pair = (old["$ref"], new["$ref"], asked)
            if pair in self._compared:
                return
            self._compared.add(pair)
            where = old["$ref"].rpartition("/")[2] + (" (asked)" if asked else "")
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        yield from _types(where, old, new, asked=asked)
        yield from _values(where, old, new, asked=asked)
        yield from self._variants(where, old, new, asked=asked)
        yield from self._properties(where, old, new, asked=asked)
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
                yield from self._schemas(f"{where}[]", old[key], new[key], asked=asked)

    def _variants(self, where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
        before = old.get("discriminator", {}).get("mapping", {})
        after = new.get("discriminator", {}).get("mapping", {})
        for name, reference in before.items():
            if name not in after:
                yield f"{where}: variant {name} was removed"
            else:
                yield from self._schemas(f"{where} {name}", {"$ref": reference}, {"$ref": after[name]}, asked=asked)
        optional = [[each for each in side.get("anyOf", ()) if each.get("type") != "null"] for side in (old, new)]
        if len(optional[0]) == len(optional[1]) == 1:
            yield from self._schemas(where, optional[0][0], optional[1][0], asked=asked)

    def _properties(self, where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, each in before.items():
            if name not in after:
                yield f"{where}.{name} was removed"
            else:
                yield from self._schemas(f"{where}.{name}", each, after[name], asked=asked)
        if asked:
            for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
                yield f"{where}.{name} is now required"
        else:
            for name in sorted(set(old.get("required", ())) & set(after) - set(new.get("required", ()))):
                yield f"{where}.{name} may now be absent"


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kinds(schema: Schema) -> frozenset[str]:
    """The JSON types that a schema allows; empty where it does not say, as any."""
    if "anyOf" in schema:
        every = [_kinds(each) for each in schema["anyOf"] if "$ref" not in each]
        return frozenset().union(*every, *([{"object"}] if len(every) < len(schema["anyOf"]) else []))
    kind = schema.get("type", ())
    return frozenset({kind} if isinstance(kind, str) else kind)


def _types(where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
    before, after = _kinds(old), _kinds(new)
    if asked and after and (lost := sorted(before - after or ({"anything"} if not before else set()))):
        yield f"{where} no longer takes {', '.join(lost)}"
    if not asked and before and (gained := sorted(after - before or ({"anything"} if not after else set()))):
        yield f"{where} may now be {', '.join(gained)}"
    if old.get("format") != new.get("format") and new.get("format") and asked:
        yield f"{where} must now be a {new['format']}"


def _values(where: str, old: Schema, new: Schema, *, asked: bool) -> Iterator[str]:
    before, after = _allowed(old), _allowed(new)
    if before is not None and after is not None:
        for value in [each for each in before if each not in after]:
            yield f"{where}: the value {value!r} was removed"
    elif asked and after is not None:
        yield f"{where} takes only {', '.join(map(repr, after))} now"
    if asked:
        for key, tighter in _BOUNDS.items():
            if key in new and (key not in old or (new[key] - old[key]) * tighter > 0):
                yield f"{where}: {key} is now {new[key]}, was {old.get(key, 'open')}"


def _allowed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values
