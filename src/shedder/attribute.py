"""How is a part made at its first use, once for all threads, and without a lock?

`functools.cached_property` of Python 3.11 holds a lock meanwhile, which a fork of another thread
then holds for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class attribute(Generic[T]):  # noqa: N801 - used as a decorator, like `property`
    """A method that is called once, and whose result is an attribute from then on."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> attribute[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | attribute[T]:
        if instance is None:
            return self
        # of two threads that make it at once, the first one's is kept
        made: T = vars(instance).setdefault(self._name, self._make(instance))
        return made
