"""core/resolution/install_errors.py: real output of uv 0.13; tests/contract causes the same failures with uv."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.core.resolution.install_errors import blamed, classify, warnings
from uv_argo_magic.guest.install import installer

FETCH = "error: Failed to fetch: http://index.example.com/simple/alpha/\n"
DOWNLOAD = "Resolved 1 package in 2ms\nerror: Failed to download `alpha==1.0`\n"
SENT = "  cause: error sending request for url (http://index.example.com/simple/alpha/)\n"
NONE = (
    "error: No solution found when resolving dependencies\n  cause: Because alpha was not found in the package"
    " registry and you require alpha, we can conclude that your requirements are unsatisfiable.\n\n"
)

UV_ERRORS = [
    (134, "memory allocation of 4194304 bytes failed\n", "memory", "to install the packages"),
    (-6, "thread 'main2' (7) panicked at x.rs:131:29:\nfailed to spawn thread: Os { code: 11 }\n", "memory", "memory"),
    (-6, "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)\n", "memory", ""),
    (
        -6,
        "panicked at x.rs:10:\nTokio executor failed, was there a panic?: Os { code: 11, kind: WouldBlock }\n",
        "memory",
        "",
    ),
    (
        1,
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\n"
            "error: uv could not be installed in the pod\n"
            "  cause: the package index could not be reached (NewConnectionError)\n"
        ),
        "other",
        "The image has no uv: the package index could not be reached",
    ),
    (1, "error: uv could not be installed there\n  cause: no\n", "other", "The image has no uv: no"),
    (127, "error: uv could not be started: [Errno 2] No such file: 'uv'\n", "other", "The image has no uv"),
    (1, DOWNLOAD + "  cause: failed to write to file `a`: File too large (os error 27)\n", "disk", "maximum file size"),
    (1, DOWNLOAD + "  cause: failed to write: No space left on device (os error 28)\n", "disk", "full: alpha 1.0"),
    (
        2,
        (
            "error: Failed to install: alpha-1.0-py3-none-any.whl (alpha==1.0)\n"
            "  cause: failed to copy file from a to b: Disk quota exceeded (os error 122)\n"
        ),
        "disk",
        "alpha 1.0",
    ),
    (
        2,
        "error: Failed to install: alpha-1.0-py3-none-any.whl\n  cause: failed to copy: No space left (os error 28)\n",
        "disk",
        "alpha 1.0",
    ),
    (
        2,
        (
            "error: Failed to initialize cache at `c`\n  cause: failed to create directory `c`: Read-only file system"
            " (os error 30)\n"
        ),
        "permission",
        "failed to create directory `c`",
    ),
    (
        2,
        (
            "error: Failed to initialize cache at `/uv-argo-cache/uv`\n"
            "  cause: failed to create directory `/uv-argo-cache/uv`: Permission denied (os error 13)\n"
        ),
        "permission",
        "Cannot write to the volume: failed to create directory `/uv-argo-cache/uv`",
    ),
    (
        2,
        "error: the environment /my data/v cannot be created: Permission denied (user 1000)\n",
        "other",
        "The environment /my data/v cannot be created: Permission denied (user 1000).",
    ),
    (
        2,
        "error: /my data/v exists and is not an environment of uv-argo-magic\n",
        "other",
        "/my data/v exists and is not",
    ),
    (
        1,
        DOWNLOAD + "  cause: Hash mismatch for `alpha==1.0`\n\n         Expected:\n           sha256:0\n",
        "integrity",
        "1.0",
    ),
    (
        2,
        "error: In `--require-hashes` mode, all requirements must have a hash, but none were provided for: alpha==1\n",
        "integrity",
        "hash for alpha 1",
    ),
    (
        2,
        (
            "error: In `--require-hashes` mode, all requirements must have their versions pinned with"
            " `==`, but found: al\n"
        ),
        "integrity",
        "hash for al",
    ),
    (
        2,
        FETCH + "  cause: HTTP status client error (407 Proxy Authentication Required) for url (x)\n",
        "proxy",
        "alpha",
    ),
    (2, DOWNLOAD + "  cause: HTTP status client error (401 Unauthorized) for url (x)\n", "auth", "alpha 1.0 (401)"),
    (
        1,
        NONE + "hint: An index URL (http://index.example.com/simple) could not be queried due to a lack of valid"
        " authentication credentials (401 Unauthorized)\n",
        "auth",
        "index.example.com requires authentication",
    ),
    (1, NONE + "hint: An index (http://index.example.com/simple) returned a 403 Forbidden error.\n", "auth", "(403)"),
    (
        1,
        'error: Unsupported `Content-Type` "text/plain" for `http://index.example.com/simple/alpha/`. Expected JSON\n',
        "portal",
        "package index for alpha",
    ),
    (
        1,
        (
            "error: Failed to download and build `alpha @ git+https://git.example.com/a`\n"
            "  cause: Git operation failed\n"
            "  cause: process didn't exit successfully: `git fetch` (exit status: 128)\n         --- stderr\n"
            "         fatal: unable to access: Could not resolve host: git.example.com\n"
        ),
        "git",
        "Could not resolve host",
    ),
    (
        1,
        (
            "error: Failed to download and build `alpha @ git+https://git.example.com/a`\n"
            "  cause: Git operation failed\n"
            "  cause: Git executable not found. Ensure that Git is installed and available.\n"
        ),
        "git",
        "Git executable",
    ),
    (
        2,
        FETCH + SENT + "  cause: client error (Connect)\n  cause: invalid peer certificate: UnknownIssuer\n",
        "certificate",
        "The certificate of index.example.com is not trusted (for alpha).",
    ),
    (2, FETCH + "  cause: received corrupt message of type InvalidContentType\n", "certificate", "HTTPS"),
    (
        2,
        "error: Request failed after 3 retries in 10.5s\n  cause: " + FETCH[7:] + SENT + "  cause: dns error\n"
        "  cause: failed to lookup address information: Name or service not known\n",
        "network",
        "host name of index.example.com (for alpha)",
    ),
    (
        2,
        FETCH + "  cause: HTTP status client error (429 Too Many Requests) for url (x)\n",
        "network",
        "(429) to index.example.com (for alpha)",
    ),
    (2, FETCH + "  cause: HTTP status server error (502 Bad Gateway) for url (x)\n", "network", "502 Bad Gateway"),
    (2, FETCH + SENT + "  cause: operation timed out\n", "network", "timed out"),
    (
        2,
        FETCH + SENT + "  cause: tcp connect error\n  cause: Connection refused (os error 111)\n",
        "network",
        "Could not connect",
    ),
    (2, FETCH + SENT + "  cause: connection closed before message completed\n", "network", "interrupted"),
    (2, DOWNLOAD + "  cause: error reading a body from connection\n", "network", "to the package index"),
    (
        1,
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because alpha was not found in the cache and"
            " you require alpha==1.0, we can conclude that x.\n\n"
            "hint: Packages were unavailable because the network was"
            " disabled.\n"
        ),
        "offline",
        "alpha is not in uv's cache",
    ),
    (1, DOWNLOAD + "  cause: HTTP status client error (404 Not Found) for url (x)\n", "url", "for alpha 1.0"),
    (1, "error: Distribution not found at: file:///tmp/alpha-1.0-py3-none-any.whl\n", "url", "alpha 1.0"),
    (
        1,
        (
            "   Building alpha==1.0\nerror: Failed to build `alpha==1.0`\n"
            "  cause: The build backend returned an error\n"
            "  cause: Call to `b.build_wheel` failed (exit status: 1)\n\n         [stdout]\n         all was well\n\n"
            "         [stderr]\n         Hash mismatch, operation timed out\n         Boom: 401\n\nhint: x provides y\n"
        ),
        "build",
        "Could not build alpha 1.0 from source: Boom: 401.",
    ),
    (1, "error: Failed to build `alpha==1.0`\n  cause: The build backend said nothing\n", "build", "said nothing"),
    (
        1,
        (
            "error: Failed to read `alpha @ https://files.example.com/alpha-1.0-py3-none-any.whl`\n"
            "  cause: unable to locate"
            " the end of central directory record\n"
        ),
        "corrupt",
        "alpha (https://files.example.com/alpha-1.0",
    ),
    (
        2,
        (
            "error: Couldn't parse requirement in `lock.txt` at position 0\n  cause: Expected one of `@`, found `p`\n"
            "         num py\n             ^\n"
        ),
        "input",
        "found `p` num py ^.",
    ),
    (
        2,
        "error: Requested package name `beta` does not match `alpha` in the distribution filename: x\n",
        "input",
        "beta",
    ),
    (2, "error: invalid value 'xx' for '--prerelease <PRERELEASE>'\n  [possible values: allow]\n", "input", "xx"),
    (2, "error: unexpected argument '-u' found\n\n  tip: none\n", "input", "'-u'"),
    (2, "error: No virtual environment found; run `uv venv`\n", "input", "No virtual environment"),
    (
        2,
        "error: No interpreter found for Python 3.14 in managed installations or search path\n",
        "python",
        "Python 3.14 was not found where uv runs.",
    ),
    (137, "", "killed", "killed while installing the packages"),
    (-9, "Downloading alpha (2.9MiB)\n", "killed", "memory ran out"),
    (-11, "", "killed", "signal 11"),
    (
        2,
        "error: Failed to read `--find-links` directory: /nope\n  cause: No such file or directory (os error 2)\n",
        "input",
        "/nope could not be read to find wheels.",
    ),
    (
        2,
        (
            "error: Failed to install: alpha-1.0-py3-none-any.whl\n"
            "  cause: failed to copy file from a to b: No such file or directory (os error 2)\n"
        ),
        "other",
        "A file or folder was missing during the install: failed to copy file from a to b",
    ),
    (2, "error: Failed to query\n  cause: Too many open files (os error 24)\n", "other", "Too many open files"),
    (3, "strange tidings\n", "other", "exit status 3: strange tidings."),
    (1, "", "other", "no output"),
]


@each(("rc", "stderr", "cause", "part"), UV_ERRORS)
def test_errors_of_uv_are_classified(rc, stderr, cause, part):
    failure = classify(rc, stderr)
    assert failure.cause == cause
    assert part in failure.sentence
    assert failure.sentence.endswith(".")
    assert failure.hint
    assert failure.retryable == (cause == "network")
    assert failure.unreachable == (cause in {"network", "proxy", "portal", "certificate"})


def test_colours_and_earlier_errors_are_ignored():
    text = "error: an earlier one\r\x1b[31merror\x1b[0m: Failed to read `alpha==1.0`\n  cause: Invalid zip\n"
    failure = classify(1, text)
    assert (failure.cause, failure.sentence) == (
        "corrupt",
        "The file of alpha 1.0 is corrupt.",
    )


@each(
    ("rc", "stderr"),
    [(rc, stderr) for rc, stderr, _, _ in UV_ERRORS]
    + [(1, FETCH + SENT + f"  cause: {message}\n") for message in (
        "dns error", "failed to lookup address information", "resolving DNS failed", "operation timed out",
        "HTTP status client error (429 Too Many Requests)", "HTTP status server error (503 Service Unavailable)",
        "tcp connect error", "Connection refused (os error 111)", "Connection reset by peer (os error 104)",
        "connection error", "connection closed before message completed", "connection reset",
        "No space left on device (os error 28)", "invalid peer certificate: Expired",
        "HTTP status client error (407 Proxy Authentication Required)", "Permission denied (os error 13)",
    )]
    + [
        (1, DOWNLOAD + f"  cause: {message}\n  cause: end of file before message length reached\n")
        for message in ("error decoding response body", "error reading a body from connection")
    ],
)  # fmt: skip
def test_guest_retries_the_failures_that_are_retryable(rc, stderr):
    assert installer.is_network_failure(stderr) == classify(rc, stderr).retryable


OLDER_UV_ERRORS = [
    (
        1,
        (
            "  \u00d7 No solution found when resolving dependencies:\n"
            "  ╰─▶ Because only plat==1.0 is available and plat==1.0 has no wheels with a matching platform tag,"
            " we can conclude that x.\n\n      hint: Wheels are available for `plat` (v1.0) on: `win_amd64`\n"
        ),
        "platform",
        "plat 1.0 has no wheel for this Python and platform.",
    ),
    (
        1,
        (
            "  \u00d7 Failed to download `alpha @ https://files.example.com/a.whl`\n  ├─▶ Failed to fetch: `x`\n"
            "  ╰─▶ HTTP status client error (404 Not Found) for url\n  │     (x)\n"
        ),
        "url",
        "File not found for alpha (https://files.example.com/a.whl) (404).",
    ),
    (
        1,
        (
            "  \u00d7 Failed to build `alpha==1.0`\n  ├─▶ The build backend returned an error\n"
            "  ╰─▶ Call to `b.build_wheel` failed (exit status: 1)\n\n      [stderr]\n"
            "      Boom: operation timed out\n\n"
            "      hint: This usually indicates a problem with the package or the build environment.\n"
        ),
        "build",
        "Could not build alpha 1.0 from source: Boom: operation timed out.",
    ),
    (
        2,
        "error: Failed to fetch: `https://index.example.com/simple/alpha/`\n  Caused by: operation timed out\n",
        "network",
        "index.example.com timed out (for alpha).",
    ),
]
"""Output of uv 0.9 and 0.11."""


@pytest.mark.parametrize(("rc", "stderr", "cause", "sentence"), OLDER_UV_ERRORS)
def test_errors_of_older_uv_are_classified(rc, stderr, cause, sentence):
    failure = classify(rc, stderr)
    assert (failure.cause, failure.sentence) == (cause, sentence)
    assert installer.is_network_failure(stderr) == failure.retryable


def test_credentials_are_removed():
    url = "https://user:pa55@index.example.com/simple/alpha/?token=s3cret&x=1"
    for text in (
        f"error: Failed to fetch: {url}\n  cause: operation timed out\n",
        f"error: Failed to parse: `{url}`\n",
        f"error: something new at {url}\n",
        f"error: Failed to download `alpha @ {url}`\n  cause: Hash mismatch for `alpha @ {url}`\n",
    ):
        failure = classify(2, text)
        for word in ("user", "pa55", "s3cret"):
            assert word not in failure.sentence + failure.hint


def test_long_errors_are_shortened():
    assert len(classify(2, "error: " + "words " * 1000).sentence) < 400


def test_braces_in_errors_are_unchanged():
    assert "{what} {0}" in classify(2, "error: odd {what} {0}\n").sentence
    assert "{what}" in classify(2, "error: Failed to parse: `{what}`\n").sentence


def test_warnings_are_read():
    text = "warning: The package `a==1` does not have an extra named `x`\nResolved\n" * 2 + "warning: Odd.\n   more\n"
    assert warnings(text) == ("The package a==1 does not have an extra named x.", "Odd.")
    assert warnings("Resolved 1 package\n") == ()


def test_blamed_names_requirements_in_the_explanation():
    stderr = (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because requests>=2.34 depends on urllib3>=1.26,<3 and you require requests[socks]>=2.34, and\n"
        "  Zope_Interface was not found in the package registry (https://index.example.com/numpy/) ..."
    )
    names = ["numpy", "zope-interface", "urllib3", "url", "requests", "urllib3"]
    assert blamed(1, stderr, names) == ("zope-interface", "urllib3", "requests")
