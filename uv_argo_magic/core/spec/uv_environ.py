"""The environment variables of a uv process.

Rule: this module imports nothing, because `uv-argo run` needs it before everything else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

INHERITED = frozenset(
    {
        "UV_CACHE_DIR", "UV_CREDENTIALS_DIR", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES", "UV_HTTP_TIMEOUT", "UV_INDEX", "UV_INDEX_URL", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER",
        "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    }
)  # fmt: skip
"""Variables of uv for the connection to the indexes, besides their credentials. Other variables of uv would change the
result of a resolution."""
DROPPED = frozenset({"VIRTUAL_ENV", "CONDA_PREFIX", "FORCE_COLOR", "CLICOLOR_FORCE"})


def uv_process_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a uv process: certificates, proxies and credentials, but none of the user's uv settings."""
    inherited = {name: value for name, value in environ.items() if _is_inherited(name)}
    return inherited | {
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_NO_WRAP": "1",
        "NO_COLOR": "1",
    }


def _is_inherited(name: str) -> bool:
    if name.startswith("UV_"):
        is_credential = name.startswith("UV_INDEX_") and name.endswith(("_USERNAME", "_PASSWORD"))
        return name in INHERITED or is_credential
    return not name.startswith("PYTHON") and name not in DROPPED
