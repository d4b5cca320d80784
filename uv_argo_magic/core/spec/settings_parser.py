"""The parser of settings, which reads and checks a value by the type of its field in `Settings`.

Rules:
- A value is text (from `--set`, the environment) or Python (from `%config`, TOML); both become the field's type.
- Sizes: `8MiB`, `500k`, `2GB` (k, M, G: 1000; Ki, Mi, Gi: 1024). Times: `30`, `30s`, `5m`, `1h30m`, `500ms`, `1 day`.
- `none` is 0 for both. The defaults that the help shows are valid values.
- Lists: separated by commas, except in a version specifier or in brackets; or a JSON list.
- Pairs: `A=1,B=2`, where only a comma before `NAME=` begins a new pair; or a JSON object.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields, replace
from types import MappingProxyType
from typing import TypeAlias, get_type_hints

from uv_argo_magic.core import humanize, string_list
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.core.suggest import nearest, unknown
from uv_argo_magic.errors import SpecError

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | tuple[tuple[str, str], ...]

FIELDS: dict[str, Field[object]] = {field.name: field for field in fields(Settings) if field.name != "own"}
"""Every setting by name, including those added by `declare`."""
TYPES: dict[str, object] = {key: hint for key, hint in get_type_hints(Settings).items() if key in FIELDS}
OWN: dict[str, str] = {}
"""Setting declared by a backend of another package -> the name of that backend."""
CHOICES: dict[str, tuple[str, ...]] = {
    "disruption": ("auto", "allow", "prevent"),
    "env": ("ephemeral", "persistent", "shared"),
    "panel": ("auto", "widget", "html", "static", "text", "none"),
    "python_downloads": ("never", "automatic"),
    "push": ("auto",),
    "prerelease": ("allow", "disallow", "if-necessary", "explicit", "if-necessary-or-explicit"),
    "resolution": ("highest", "lowest", "lowest-direct"),
    "shape": ("script", "runtime", "init"),
    "executor_patch": ("auto", "init", "supervisor", "none"),
    "pod_gc": ("never", "OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"),
}
"""Settings with a fixed set of values; "" is also valid if it is the default."""


_find_more: list[Callable[[], object]] = []


def on_unknown(find: Callable[[], object]) -> None:
    """Call `find` once, when a name is unknown or all settings are listed; it can `declare` more."""
    _find_more.append(find)


def complete() -> None:
    """Let the backends of other packages declare their settings."""
    while _find_more:
        _find_more.pop()()


def declare(backend: str, group: type) -> None:
    """Add the settings of a backend: the fields of a dataclass, each with a default and `help` in its metadata.

    Raises:
        SpecError: a name is already in use, a type has no reader, or a field has no help or default.
    """
    hints = get_type_hints(group)
    for field in fields(group):
        if field.name in FIELDS or hints[field.name] not in _READERS or not field.metadata.get("help"):
            raise SpecError(
                f"the {backend} backend declares the setting {field.name}, which already exists or has no type or help",
                hint="Uninstall it, or report this to its authors.",
            )
    for field in fields(group):
        field.metadata = MappingProxyType({"unit": "", **field.metadata, "group": backend})
        FIELDS[field.name], TYPES[field.name], OWN[field.name] = field, hints[field.name], backend


def updated(settings: Settings, values: Mapping[str, object]) -> Settings:
    """The settings with these values by name, each as `parse_setting` returns it.

    Another kind of environment also replaces a persistent one at a path.
    """
    if values.get("env", "") not in ("", "persistent"):
        values = {"venv": "", **values}
    own = dict(settings.own) | {key: value for key, value in values.items() if key in OWN}
    others = {key: value for key, value in values.items() if key not in OWN}
    return replace(settings, **others, own=tuple(sorted(own.items())))  # type: ignore[arg-type]  # checked by the parser


def parse_setting(key: str, value: object) -> Value:
    """The value of a setting, converted to the type of its field.

    Raises:
        SpecError: the key is unknown, or the value is invalid.
    """
    name = key.replace("-", "_")
    if name not in FIELDS:
        complete()
    if name not in FIELDS:
        raise unknown("setting", key, FIELDS)
    read, _ = _reader(name)
    try:
        parsed = read(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(
            f"invalid value for {name}: {_short(value)}",
            hint=f"{name}: {FIELDS[name].metadata['help']}. Example: {name}={example(name)}",
        ) from None
    if name in CHOICES and parsed not in ("", *CHOICES[name]):
        if name == "env" and "=" in str(parsed):
            raise SpecError(
                f"env is the kind of environment, not a variable: {_short(value)}",
                hint=f"Write --set variables={_short(value)}.",
            )
        suggestion = nearest(str(parsed), CHOICES[name])
        raise SpecError(
            f"invalid value for {name}: {_short(value)}" + (f"; did you mean {suggestion}?" if suggestion else ""),
            hint=f"Use one of {', '.join(CHOICES[name])}.",
        )
    return parsed


def parse_assignments(texts: Iterable[str]) -> tuple[tuple[str, Value], ...]:
    """Parse several KEY=VALUE. Repeated lists and pairs are joined; for any other key, the last value is used.

    Raises:
        SpecError: a `=` is missing, a key is unknown, or a value is invalid.
    """
    values: dict[str, Value] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"--set {text} has no value", hint=f"Write --set {text}=VALUE.")
        name = key.strip().replace("-", "_")
        new, previous = parse_setting(name, value), values.get(name)
        values[name] = (*previous, *new) if isinstance(new, tuple) and isinstance(previous, tuple) else new
    return tuple(values.items())


def example(key: str) -> str:
    """An example of a value."""
    return str(FIELDS[key].metadata.get("example", _reader(key)[1]))


def suggested_values(key: str) -> tuple[str, ...]:
    """The values to suggest for a key."""
    if key in CHOICES:
        return CHOICES[key]
    return ("true", "false") if TYPES.get(key) is bool else ()


def format_value(value: object) -> str:
    """A value as written after `KEY=`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join("=".join(item) if isinstance(item, tuple) else item for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def default_text(key: str) -> str:
    """The default of a setting for people: "8 MiB", "1 day", "none"."""
    default, unit = FIELDS[key].default, FIELDS[key].metadata["unit"]
    if default in ((), "") or (default == 0 and (isinstance(default, float) or unit)):
        return NONE
    if isinstance(default, float):
        return humanize.exact_seconds(default)
    return humanize.exact_size(int(str(default))) if unit else format_value(default)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if 0 < len(text) <= 60 else f"{text[:60]!r}"


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _WORDS[_str(value).strip().lower()]
    except KeyError:
        raise ValueError(value) from None


NONE = "none"
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmg]i?)?(?:b|bytes)?", re.IGNORECASE)


def _count(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, int) and value >= 0:
        return value
    text = _str(value).strip().replace("_", "")
    if text.lower() == NONE:
        return 0
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(value)
    return int(text)


def parse_size(value: object) -> int:
    """The number of bytes, from an integer or from text such as "20GB" or "512 MiB".

    Raises:
        ValueError: the text is not a size.
        TypeError: the value is neither an integer nor text.
    """
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, int) and value >= 0:
        return value
    text = _str(value).strip()
    match = _SIZE.fullmatch("0" if text.lower() == NONE else text.replace("_", ""))
    number = float(match[1]) * _UNITS[(match[2] or "").lower()] if match else math.inf
    if not math.isfinite(number):
        raise ValueError(value)
    return int(number)


_SPANS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?) *(ms|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])")


_LONGEST = 10.0**300


def parse_time(value: object) -> float:
    """The number of seconds, from a number or from text such as "90", "5m" or "1 day".

    Raises:
        ValueError: the text is not a time, or the time is negative or infinite.
        TypeError: the value is neither a number nor text.
    """
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, int | float):
        number = float(value) if abs(value) < math.inf and abs(value) <= _LONGEST else math.inf
    else:
        text = _str(value).strip().lower()
        if re.fullmatch(rf"(?:{_SPAN.pattern} *)+", text):
            number = sum(
                float(span[1]) * _SPANS["ms" if span[2] == "ms" else span[2][0]] for span in _SPAN.finditer(text)
            )
        else:
            number = 0.0 if text == NONE else float(text)
    if number < 0 or not math.isfinite(number):
        raise ValueError(value)
    return number


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


# A comma separates items, except in brackets or parentheses, and before a comparison.
_COMMA = re.compile(r",(?![^\[(]*[\])])(?!\s*[<>=!~])|\n")
# A pair may begin with a variable, a label, a path, or a Python version.
_PAIR = re.compile(r",(?=\s*(?:[A-Za-z_/][\w./-]*|\d+\.\d+\.\d+)=)|\n")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            found = string_list.find(text, 0)
            return _texts(json.loads(found[0] if found and found[1] == len(text) else text))
        return tuple(piece.strip() for piece in _COMMA.split(text) if piece.strip())
    if isinstance(value, list | tuple):
        return tuple(_str(item) for item in value)
    raise TypeError(value)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{"):
            return _pairs(json.loads(text))
        return tuple(_pair(piece) for piece in _PAIR.split(text) if piece.strip())
    if isinstance(value, Mapping):
        return tuple((_name(key), _value(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_pair(item) if isinstance(item, str) else (_name(item[0]), _value(item[1])) for item in value)
    raise TypeError(value)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(text)
    return _name(name.strip()), _value(value)


def _name(value: object) -> str:
    text = _str(value)
    if not text or "=" in text:
        raise ValueError(text)
    return _value(text)


def _value(value: object) -> str:
    """Text that an environment variable can hold."""
    text = _str(value)
    if "\0" in text:
        raise ValueError(text)
    text.encode()  # a lone surrogate is a ValueError as well
    return text


# Type of a field -> its reader, and an example of a value.
_READERS: dict[object, tuple[Callable[[object], Value], str]] = {
    bool: (_flag, "true"),
    int: (_count, "4"),
    float: (parse_time, "5m"),
    str: (_str, "VALUE"),
    tuple[str, ...]: (_texts, "A,B"),
    tuple[tuple[str, str], ...]: (_pairs, "NAME=VALUE"),
}


def _reader(key: str) -> tuple[Callable[[object], Value], str]:
    return (parse_size, "8MiB") if FIELDS[key].metadata["unit"] == "bytes" else _READERS[TYPES[key]]
