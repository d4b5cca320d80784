"""Tables of cases that take microseconds each: one test runs them all, for a test of its own costs milliseconds."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: str | tuple[str, ...], table: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`pytest.mark.parametrize` within one test: all cases run, and each that fails is shown with its arguments."""
    table = list(table)
    columns = (names,) if isinstance(names, str) else names
    assert table, "no cases"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_each(**fixtures: Any) -> None:
            failures = []
            for values in table:
                case = dict(zip(columns, (values,) if isinstance(names, str) else values, strict=True))
                try:
                    test(**case, **fixtures)
                except Exception as error:  # noqa: BLE001 - any failure is shown with its case
                    error.add_note("case: " + ", ".join(f"{name}={value!r:.500}" for name, value in case.items()))
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(table)} cases failed", failures)

        parameters = inspect.signature(test).parameters.values()
        left = [parameter for parameter in parameters if parameter.name not in columns]
        run_each.__signature__ = inspect.Signature(left)
        return run_each

    return decorate
