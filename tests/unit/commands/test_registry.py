"""commands/registry.py: every command of a front end has a handler."""

from __future__ import annotations

import inspect

import pytest

from uv_argo_magic.commands import registry, terminal
from uv_argo_magic.core.commands.parser import Line
from uv_argo_magic.core.commands.table import commands_in
from uv_argo_magic.notebook import magics


@pytest.mark.parametrize(("front_end", "handlers"), [("notebook", magics.HANDLERS), ("terminal", terminal.HANDLERS)])
def test_every_command_has_a_handler(front_end, handlers):
    assert set(commands_in(front_end)) == set(handlers)
    for target in handlers.values():
        assert list(inspect.signature(registry.load(target)).parameters) == ["request"]


def test_command_without_a_handler_is_an_error():
    request = registry.Request(line=Line(command="cost"), front_end="terminal", get_context=None, get_history=None)
    with pytest.raises(KeyError, match="cost"):
        list(registry.dispatch(request, terminal.HANDLERS))
