"""The types of the rules' values: how each is parsed from TOML, merged if several policies set it, and shown."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from uv_argo_magic.core import humanize
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.policy import advisories, patterns
from uv_argo_magic.core.policy.model import Statement
from uv_argo_magic.core.spec import quantity, settings_parser

if TYPE_CHECKING:
    from uv_argo_magic.core.policy.patterns import NamePattern

Parser: TypeAlias = Callable[[object], Hashable]
"""Converts a TOML value to the rule's value. Raises ValueError or TypeError if it is invalid."""
Merge: TypeAlias = Callable[[tuple[Statement, ...]], tuple[Statement, ...]]
"""Drops statements of a rule that are implied by others, if several sources set the rule."""
Show: TypeAlias = Callable[[Any], str]
"""Formats a value of the rule for people."""


@frozen
class Kind:
    """The type of a rule's values: how they are parsed, merged and shown."""

    parse: Parser
    merge: Merge
    show: Show


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(value)
    return tuple(sorted(set(value)))


def _names(value: object) -> tuple[NamePattern, ...]:
    if not isinstance(value, list):
        raise ValueError(value)  # noqa: TRY004 - one error for all invalid values
    return tuple(sorted(map(patterns.parse_name, value), key=lambda item: (str(item), item.reason)))


def _true(value: object) -> bool:
    """Only `true`: `false` would have no effect, and would look like a permission."""
    if value is not True:
        raise ValueError(value)
    return True


def _false(value: object) -> bool:
    if value is not False:
        raise ValueError(value)
    return False


def _count(value: object) -> float:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return float(value)


def _foreign_lock(value: object) -> str:
    """Only "foreign-lock", so far the only question that a policy can require."""
    if value != "foreign-lock":
        raise ValueError(value)
    return "foreign-lock"


def _size(value: object) -> float:
    return float(settings_parser.parse_size(value))


def _quantity(kind: str) -> Parser:
    def parse(value: object) -> float:
        return quantity.limit(quantity.parse(kind, str(value)))

    return parse


# Merges


def _all(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Keep all statements."""
    return statements


def smallest(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Keep the lowest limit; of equal ones the first."""
    return tuple(sorted(statements, key=number)[:1])


def _largest(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    return tuple(sorted(statements, key=number, reverse=True)[:1])


def _first(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Keep the first of equal statements."""
    return statements[:1]


def number(statement: Statement) -> float:
    return cast("float", statement.value)


def _show_names(value: tuple[NamePattern, ...]) -> str:
    return ", ".join(f"{item} ({item.reason})" if item.reason else str(item) for item in value) or "none"


def show_size(value: float) -> str:
    return humanize.round_size(int(value))


def show_quantity(kind: str) -> Show:
    return show_size if kind in ("memory", "disk") else "{:g}".format


NAMES = Kind(parse=_names, merge=_all, show=_show_names)
TEXTS = Kind(parse=_strings, merge=_all, show=lambda value: ", ".join(value) or "none")
TRUE = Kind(parse=_true, merge=_first, show=lambda _: "true")
FALSE = Kind(parse=_false, merge=_first, show=lambda _: "false")
CONFIRM = Kind(parse=_foreign_lock, merge=_first, show=str)
COUNT = Kind(parse=_count, merge=smallest, show="{:g}".format)
SIZE = Kind(parse=_size, merge=smallest, show=show_size)
TIME = Kind(parse=settings_parser.parse_time, merge=smallest, show=humanize.exact_seconds)
ADVISORIES = Kind(parse=advisories.read_source, merge=_all, show=str)
AGE = Kind(parse=settings_parser.parse_time, merge=_largest, show=humanize.exact_seconds)


def resource(kind: str) -> Kind:
    """The kind of a quantity of cpu, memory, gpu or disk."""
    return Kind(parse=_quantity(kind), merge=smallest, show=show_quantity(kind))
