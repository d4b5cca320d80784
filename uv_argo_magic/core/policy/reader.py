"""The parser of policy files.

Anything unknown in a file is an error, because a rule with a misspelled name would not apply.
"""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from uv_argo_magic.core.policy.checks import LIMITS, UNLIMITED_AT_0
from uv_argo_magic.core.policy.model import Policy, Statement
from uv_argo_magic.core.policy.rules import RULES
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.core.suggest import unknown
from uv_argo_magic.errors import PolicyError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.core.spec.run_spec import RunSpec


def read(text: str, origin: str) -> Policy:
    """The policy in the text of a file; `origin` is the name of the file in messages.

    Raises:
        PolicyError: the text is not TOML, or a rule is unknown or has an invalid value.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(
            f"invalid TOML in the package policy {origin}: {error}", hint="Ask your administrator to correct it."
        ) from error
    statements = {
        Statement(rule=name, value=_parse(name, value, origin), origin=origin) for name, value in _flat(data, origin)
    }
    present = {statement.rule for statement in statements}
    defaults = {
        Statement(rule=rule.name, value=rule.default, origin=origin)
        for rule in RULES.values()
        if rule.default is not None and rule.name not in present
    }
    return Policy(frozenset(statements | defaults))


def _flat(data: Mapping[str, object], origin: str) -> Iterator[tuple[str, object]]:
    sections = {name.partition(".")[0] for name in RULES}
    for section, values in data.items():
        if section not in sections or not isinstance(values, dict):
            raise _invalid(unknown("section", section, sections), origin)
        for key, value in values.items():
            name = f"{section}.{key}"
            if name not in RULES:
                raise _invalid(unknown("rule", name, (rule for rule in RULES if rule.startswith(section))), origin)
            yield name, value


def _parse(name: str, value: object, origin: str) -> object:
    rule = RULES[name]
    try:
        return rule.kind.parse(value)
    except (ValueError, TypeError, SpecError):
        raise PolicyError(
            f"invalid value for {name} in the package policy {origin}: {value!r}",
            hint=f"Example: {name.partition('.')[2]} = {rule.example}",
        ) from None


def _invalid(error: SpecError, origin: str) -> PolicyError:
    return PolicyError(f"package policy {origin}: {error.message}", hint=error.hint)


def limited(spec: RunSpec, policy: Policy) -> RunSpec:
    """The spec with settings that are unlimited, or have their default, lowered to the limits of the policy."""
    defaults = {field.name: field.default for field in fields(Settings)}
    settings = spec.settings
    for name, setting in LIMITS.items():
        for statement in RULES[name].in_force(policy):
            value = getattr(settings, setting)
            limit = type(value)(statement.value)
            is_unlimited = not value and setting in UNLIMITED_AT_0
            if is_unlimited or (value == defaults[setting] and value > limit):
                settings = replace(settings, **{setting: limit})
    return spec if settings == spec.settings else replace(spec, settings=settings)
