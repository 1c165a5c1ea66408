"""A client's methods, each written once as a program: a blocking client returns its result, another awaits it."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from turnstone.client.asking import Service
from turnstone.client.drivers import AsyncItems, Awaiting, Blocking, Items
from turnstone.client.steps import Program

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D", bound=Blocking | Awaiting)


class Resource(Generic[D]):
    """A group of methods on one service."""

    def __init__(self, service: Service, driver: D) -> None:
        self._service = service
        self.driver = driver


class method(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that asks for one thing."""

    def __init__(self, build: Callable[Concatenate[Any, P], Program[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, of: Resource[Blocking], kind: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, of: Resource[Awaiting], kind: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, of: Any, kind: Any = None) -> Any:
        if of is None:
            return self.build

        @wraps(self.build)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return of.driver.run(self.build(of, *args, **kwargs))

        return bound


class loop(Generic[P, T]):  # noqa: N801 - a decorator
    """A method to loop over; its program says with `emits` of what."""

    def __init__(self, build: Callable[Concatenate[Any, P], "emits[T]"]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, of: Resource[Blocking], kind: Any = None) -> Callable[P, Items[T]]: ...
    @overload
    def __get__(self, of: Resource[Awaiting], kind: Any = None) -> Callable[P, AsyncItems[T]]: ...
    def __get__(self, of: Any, kind: Any = None) -> Any:
        if of is None:
            return self.build

        @wraps(self.build)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return of.driver.items(self.build(of, *args, **kwargs).program)

        return bound


class emits(Generic[T]):  # noqa: N801 - reads as a word
    """A program that emits objects of one type."""

    def __init__(self, program: Program[None]) -> None:
        self.program = program
