"""An append-only, immutable sequence: `add` takes constant time and returns a new log.

A tuple would be copied at each output of a cell, and a list inside a shared state could change. A log and the logs
made from it by `add` share one list, of which each reads only its own length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class AppendLog(Sequence[T], Generic[T]):
    """An immutable sequence with a cheap `add`."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)
        self._length = len(self._items)

    def add(self, item: T) -> AppendLog[T]:
        """This log with one more item."""
        new: AppendLog[T] = AppendLog.__new__(AppendLog)
        # Copy the shared list if another log has already added items to it.
        new._items = self._items if len(self._items) == self._length else self._items[: self._length]
        new._items.append(item)
        new._length = self._length + 1
        return new

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._items[i] for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index % self._length]

    def __iter__(self) -> Iterator[T]:
        for i in range(self._length):
            yield self._items[i]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AppendLog) and len(self) == len(other) and all(map(_same, self, other))

    def __hash__(self) -> int:
        return hash((self._length, self._items[0] if self._length else None))

    def __repr__(self) -> str:
        return f"AppendLog({self[:]!r})"


def _same(one: object, other: object) -> bool:
    return one == other
