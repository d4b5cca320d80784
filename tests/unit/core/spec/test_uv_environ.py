"""core/spec/uv_environ.py: the environment variables of a uv process."""

from __future__ import annotations

from uv_argo_magic.core.spec.uv_environ import uv_process_environ


def test_uv_process_has_only_relevant_variables() -> None:
    relevant = {
        "PATH": "/bin", "SSL_CERT_FILE": "c", "HTTPS_PROXY": "p", "UV_INDEX_URL": "u", "UV_INDEX_MINE_PASSWORD": "s",
        "UV_CACHE_DIR": "d", "UV_INDEX_MINE_USERNAME": "n",
    }  # fmt: skip
    irrelevant = {
        "UV_PYTHON": "3.9",
        "UV_EXCLUDE_NEWER": "x",
        "UV_INDEX_STRATEGY": "z",
        "PYTHONPATH": "y",
        "VIRTUAL_ENV": "v",
        "FORCE_COLOR": "1",
    }
    environ = uv_process_environ(relevant | irrelevant)
    assert {name: environ[name] for name in relevant} == relevant
    assert not set(irrelevant) & set(environ)
    assert environ["UV_NO_CONFIG"] == "1"
