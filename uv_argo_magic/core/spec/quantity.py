"""The parser of resource quantities, which converts them to the notation of Kubernetes.

`8GiB`, `8gib` and `8 Gi` are 8Gi, `8GB` is 8G, and `500m` of cpu is half a CPU. A range ("1Gi..4Gi") is a request and a
limit.
"""

from __future__ import annotations

import re

from uv_argo_magic.errors import SpecError

EXAMPLES = {"cpu": "2, or 500m for half a CPU", "memory": "8Gi", "gpu": "1", "disk": "20Gi"}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmgtpe])(i?)b?", re.IGNORECASE)
# A small number without a unit is probably a mistake: 8 would be 8 bytes.
_NUMBERS = {"cpu": r"\d+(?:\.\d+)?m?", "gpu": r"\d+", "memory": r"\d{7,}", "disk": r"\d{7,}"}


def parse(kind: str, text: str) -> str:
    """A quantity or a range of cpu, memory, gpu or disk, in the notation of Kubernetes.

    Raises:
        SpecError: the text is not a quantity.
    """
    parts = [_parse(kind, part.strip()) for part in text.split("..", 1)]
    if "" in parts:
        unit = " with a unit" if text.isdecimal() else ""
        raise SpecError(f"{kind} needs a quantity{unit}, not {text or 'nothing'}", hint=f"Example: {EXAMPLES[kind]}.")
    return "..".join(parts)


def _parse(kind: str, text: str) -> str:
    if re.fullmatch(_NUMBERS[kind], text):
        return text
    size = _SIZE.fullmatch(text) if kind in ("memory", "disk") else None
    if not size:
        return ""
    is_decimal_kilo = size[2] in "kK" and not size[3]
    return f"{size[1]}{size[2].lower() if is_decimal_kilo else size[2].upper()}{size[3].lower()}"


def limit(quantity: str) -> float:
    """The amount of a quantity, or the upper limit of a range, in bytes, CPUs or GPUs; 0 for ""."""
    text = quantity.rpartition("..")[2]
    number = text.rstrip("kmKMGTPEi")
    unit = text[len(number) :]
    return float(number or 0) * (0.001 if unit == "m" else (1024 if unit.endswith("i") else 1000) ** _power(unit))


def _power(unit: str) -> int:
    return "kmgtpe".index(unit[0].lower()) + 1 if unit else 0
