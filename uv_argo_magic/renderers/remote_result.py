"""The result of a cell in the notebook: the display of its last expression, and an error if its value is needed."""

from __future__ import annotations

from typing import Any, NoReturn

from uv_argo_magic.core.humanize import one_line
from uv_argo_magic.core.stand_ins import StandIn
from uv_argo_magic.errors import SpecError

SHOWN = 40
"""Maximum characters of the value's text in an error."""


class RemoteValueError(SpecError, AttributeError, TypeError):
    """The value is needed, but the notebook has only its display."""


class RemoteResult(StandIn):
    """The display of the cell's last expression as a mimebundle, without its value; bound to `_` and `Out[n]`."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._data = data
        self._metadata = metadata

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", "<value without a text representation>"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del include, exclude  # IPython filters the result
        return self._data, self._metadata

    def __array__(self, *_args: object, **_options: object) -> NoReturn:
        raise self._error("numpy")

    def _error(self, use: str) -> RemoteValueError:
        return RemoteValueError(
            f"{use} needs the value {one_line(repr(self), SHOWN)}, which was not sent to the notebook; "
            "_ and Out only contain its display",
            hint="Do this in the cell, or assign the value to a name and add --pull NAME.",
        )
