"""What the service says, as frozen objects: known keys become typed attributes, unknown ones stay in `raw`."""

import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import (
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from turnstone.client.errors import UnexpectedAnswer

NEVER = datetime(1, 1, 1, tzinfo=UTC)
NOTHING: Mapping[str, Any] = types.MappingProxyType({})

Convert = Callable[[Any], Any]
O = TypeVar("O", bound="Object")  # noqa: E741


# Not dataclasses: those compile code for each class, which a command line would wait for at every start.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Object:
    """A JSON object of the service. A key that is absent or null leaves its attribute at the class's default."""

    raw: Mapping[str, Any] = NOTHING
    _inside: ClassVar[str] = ""  # the key whose object's keys are ours as well

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - _plan(type(self)).keys() - {"raw"}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self.__dict__.update(values)

    @classmethod
    def read(cls, raw: Any) -> Self:
        """The object that this JSON is; raises UnexpectedAnswer if it is no object at all."""
        if not isinstance(raw, Mapping):
            raise UnexpectedAnswer(f"{cls.__name__} should be a JSON object, and is {raw!r:.80}")
        given: Mapping[str, Any] = raw
        if cls._inside and isinstance(inner := raw.get(cls._inside), Mapping):
            given = {**raw, **inner}
        made = cls.__new__(cls)
        values = made.__dict__
        values["raw"] = raw
        for name, convert in _plan(cls).items():
            if (value := given.get(name)) is not None:
                values[name] = convert(value) if convert is not None else value
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: this is what the service said")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _plan(type(self)))

    def __repr__(self) -> str:
        told = (f"{name}={self.__dict__[name]!r}" for name in _plan(type(self)) if name in self.__dict__)
        return f"{type(self).__name__}({', '.join(told)})"


def listed(kind: type[O], raw: Any) -> list[O]:
    """The objects of a list; raises UnexpectedAnswer if it is none."""
    if not isinstance(raw, list):
        raise UnexpectedAnswer(f"a list was expected instead of {raw!r:.80}")
    return [kind.read(each) for each in raw]


_PLANS: dict[Any, Mapping[str, Convert | None]] = {}


def _plan(cls: Any) -> Mapping[str, Convert | None]:
    """How each attribute is made from its JSON value; None takes the value as it is."""
    if cls not in _PLANS:
        _PLANS[cls] = _planned(get_type_hints(cls))
    return _PLANS[cls]


def _planned(hints: Mapping[str, Any]) -> Mapping[str, Convert | None]:
    return {
        name: _converter(hint)
        for name, hint in hints.items()
        if name not in ("raw", "_inside") and get_origin(hint) is not ClassVar
    }


def _converter(hint: Any) -> Convert | None:
    if hint is datetime:
        return _moment
    if isinstance(hint, type) and issubclass(hint, Object):
        return hint.read
    if get_origin(hint) is tuple:
        return _sequence(_converter(get_args(hint)[0]))
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [each for each in get_args(hint) if each is not types.NoneType]
        return _converter(kinds[0]) if len(kinds) == 1 else union(*kinds)
    return None


def union(*kinds: Any) -> Convert | None:
    """How an object is made that its `type` tells apart; the kind whose type is any text takes what is unknown."""
    named: dict[str, type[Object]] = {}
    fallback: type[Object] | None = None
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Object)):
            return None
        hint = get_type_hints(kind)["type"]
        if get_origin(hint) is Literal:
            named[get_args(hint)[0]] = kind
        else:
            fallback = kind

    def choose(raw: Any) -> Any:
        word = raw.get("type") if isinstance(raw, Mapping) else None
        kind = named.get(word, fallback) if isinstance(word, str) else fallback
        if kind is None:
            raise UnexpectedAnswer(f"nothing is known of the type {word!r}")
        return kind.read(raw)

    return choose


def _sequence(convert: Convert | None) -> Convert:
    def each(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise UnexpectedAnswer(f"a list was expected instead of {raw!r:.80}")
        return tuple(raw) if convert is None else tuple(convert(item) for item in raw)

    return each


def _moment(raw: Any) -> datetime:
    try:
        return datetime.fromisoformat(raw)
    except (TypeError, ValueError):
        raise UnexpectedAnswer(f"a time was expected instead of {raw!r:.80}") from None
