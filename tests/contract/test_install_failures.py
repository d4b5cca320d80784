"""Real failures of uv, and how they are classified and reported.

The index is on 127.0.0.1 and uv does not retry. As root on Linux, the tests mount small file systems that are full or
read-only; elsewhere, they limit the size of files and the permissions of folders.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support import index_server
from support.index_server import IndexServer
from uv import find_uv_bin

from uv_argo_magic.core.resolution.install_errors import InstallFailure, classify, warnings
from uv_argo_magic.core.spec.uv_environ import uv_process_environ

BASE = sys._base_executable
VERSION = ".".join(map(str, sys.version_info[:3]))
WHEELS_ONLY = ("--only-binary", ":all:")
ZEROS = "0" * 64
MOUNT, UMOUNT = "/bin/mount", "/bin/umount"


@pytest.fixture
def index():
    with IndexServer() as server:
        yield server


@pytest.fixture
def uv(tmp_path):
    return Uv(tmp_path)


class Uv:
    """uv in a separate folder, with an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = uv_process_environ(os.environ) | {
            "UV_HTTP_RETRIES": "0",
            "UV_HTTP_TIMEOUT": "1",
            "UV_CACHE_DIR": str(folder / "cache"),
        }
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            self.environ.pop(name, None)
            self.environ.pop(name.upper(), None)

    def run(self, *args, limit=None, **environ):
        return subprocess.run(
            [find_uv_bin(), *map(str, args)],
            cwd=self.folder,
            env=self.environ | environ,
            preexec_fn=limit,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def compile(self, index, *lines, options=WHEELS_ONLY, **kwargs) -> InstallFailure:
        """Return the failure of a resolution with the options of uv/resolver.py."""
        (self.folder / "requirements.in").write_text("\n".join(lines))
        args = ("--python", BASE, "--python-version", VERSION, "--default-index", getattr(index, "url", index))
        completed = self.run("pip", "compile", "--format", "pylock.toml", *args, *options, "requirements.in", **kwargs)
        return self.failure(completed)

    def install(self, index, *lines, options=WHEELS_ONLY, target="tree", **kwargs) -> InstallFailure:
        """Return the failure of an install with the options of the guest."""
        (self.folder / "lock.txt").write_text("\n".join(lines))
        args = ("--target", target, "--no-deps", "--require-hashes", "--python", BASE)
        index_option = ("--default-index", getattr(index, "url", index))
        return self.failure(self.run("pip", "install", *args, *index_option, *options, "-r", "lock.txt", **kwargs))

    @staticmethod
    def failure(completed) -> InstallFailure:
        assert completed.returncode != 0, completed.stderr
        failure = classify(completed.returncode, completed.stderr)
        # Rules for all failures.
        assert failure.sentence.endswith("."), failure
        assert "\n" not in failure.sentence
        assert len(failure.sentence) < 800
        assert failure.hint
        assert "secret" not in failure.sentence + failure.hint
        return failure


def pinned(file):
    return f"{file.name}=={file.version} --hash=sha256:{file.sha256}"


# Errors in the requirements


def test_unknown_package_is_reported(index, uv):
    failure = uv.compile(index, "scikit-lern")
    assert failure.cause == "unknown-package"
    assert failure.sentence == "Package scikit-lern was not found on the index."
    assert failure.hint.startswith("Did you mean scikit-learn? ")
    assert "index URL" in failure.hint
    assert uv.compile(index, "sklearn").sentence == "sklearn is an import name; its package is scikit-learn."


def test_unknown_dependency_is_reported_with_parent(index, uv):
    index.add("alpha", "1.0", requires=["numpi>2"])
    failure = uv.compile(index, "alpha")
    assert failure.cause == "unknown-package"
    assert re.fullmatch(r"Package numpi was not found on the index \(required by alpha( 1\.0)?\)\.", failure.sentence)
    assert failure.hint.startswith("Did you mean numpy? ")


def test_missing_version_is_reported(index, uv):
    index.add("alpha", "1.0")
    failure = uv.compile(index, "alpha==99")
    assert (failure.cause, failure.sentence) == ("version", "There is no version 99 of alpha.")
    failure = uv.compile(index, "alpha>2")
    assert (failure.cause, failure.sentence) == ("version", "There is no version >2 of alpha.")
    assert "alpha==1.0" in failure.hint
    failure = uv.install(index, f"alpha==7.0 --hash=sha256:{ZEROS}")
    assert (failure.cause, failure.sentence) == ("version", "There is no version 7.0 of alpha.")


def test_yanked_version_is_reported(index, uv):
    index.add("alpha", "1.0", yanked="it eats files")
    failure = uv.compile(index, "alpha")
    assert failure.cause == "version"
    assert failure.sentence == 'alpha 1.0 was yanked ("it eats files").'


def test_excluded_newer_version_is_reported(index, uv):
    index.add("alpha", "2.0", uploaded="2026-01-01T00:00:00Z")
    failure = uv.compile(index, "alpha", options=("--exclude-newer=2025-01-01T00:00:00Z",))
    assert failure.cause == "version"
    assert failure.sentence == "alpha has no version published before 2025-01-01."
    assert "Version 2.0 was published on 2026-01-01." in failure.hint


def test_conflict_is_reported(index, uv):
    index.add("alpha", "1.0", requires=["beta<2"])
    index.add("gamma", "1.0", requires=["beta>=2"])
    index.add("beta", "1.0")
    index.add("beta", "2.0")
    failure = uv.compile(index, "alpha", "gamma")
    assert failure.cause == "conflict"
    for text in (r"alpha(==1\.0)? depends? on beta<2", r"gamma(==1\.0)? depends? on beta>=2", "you require"):
        assert re.search(text, failure.sentence)
    assert "conclude" not in failure.sentence
    assert "you require beta>=2 and beta<2" in uv.compile(index, "beta>=2", "beta<2").sentence


def test_long_conflict_is_one_sentence(index, uv):
    for version in range(1, 30):
        index.add("alpha", f"{version}.0", requires=[f"beta=={version}.0", f"delta=={version}.0"])
        index.add("beta", f"{version}.0", requires=[f"gamma>={version}"])
        index.add("delta", f"{version}.0", requires=[f"gamma<{version}"])
    for version in range(1, 40):
        index.add("gamma", f"{version}.0")
    failure = uv.compile(index, "alpha")
    assert failure.cause == "conflict"
    assert "alpha" in failure.sentence
    assert "(1)" not in failure.sentence


def test_unsupported_python_is_reported(index, uv):
    file = index.add("alpha", "1.0", requires_python=">=3.77")
    for failure in (uv.compile(index, "alpha"), uv.compile(index, "alpha==1.0"), uv.install(index, pinned(file))):
        assert failure.cause == "python"
        assert failure.sentence == f"alpha 1.0 requires Python >=3.77, but the cell runs on Python {VERSION}."
        assert "--python 3.77" in failure.hint


def test_wheels_for_other_platforms_are_reported(index, uv):
    index.add("alpha", "1.0", tag="py3-none-win_arm64")
    index.add("beta", "1.0", tag="cp36-cp36m-any")
    failure = uv.compile(index, "alpha")
    assert failure.cause == "platform"
    assert failure.sentence == "alpha 1.0 has wheels for win_arm64 only."
    assert uv.compile(index, "beta").cause == "platform"
    assert uv.install(index, f"alpha==1.0 --hash=sha256:{ZEROS}").cause == "platform"


def test_missing_wheel_is_reported_if_builds_are_off(index, uv):
    file = index.add_sdist("alpha", "1.0")
    for failure in (uv.compile(index, "alpha"), uv.install(index, pinned(file))):
        assert failure.cause == "platform"
        assert failure.sentence == "alpha 1.0 has no wheel, and building from source is disabled."
        assert "only_binary=false" in failure.hint


def test_failed_build_is_reported(index, uv):
    file = index.add_sdist("alpha", "1.0", backend="raise RuntimeError('HTTP 401: operation timed out')")
    failure = uv.install(index, pinned(file), options=())
    assert failure.cause == "build", "the output of the build was read as an error of uv"
    assert failure.sentence == ("Could not build alpha 1.0 from source: RuntimeError: HTTP 401: operation timed out.")
    assert not failure.retryable


def test_missing_build_requirement_is_reported(index, uv):
    backend = "def get_requires_for_build_wheel(config_settings=None): return ['nosuchbackend']"
    failure = uv.install(index, pinned(index.add_sdist("alpha", "1.0", backend=backend)), options=())
    assert failure.cause == "build"
    assert failure.sentence.startswith("Could not build alpha 1.0 from source: ")
    assert "nosuchbackend" in failure.sentence


def test_invalid_requirement_is_reported(index, uv):
    failure = uv.install(index, "num py")
    assert failure.cause == "input"
    assert "found `p`" in failure.sentence
    assert uv.compile(index, "a @ http://[").cause == "input"


def test_name_that_differs_from_url_is_reported(index, uv):
    file = index.add("alpha", "1.0")
    failure = uv.compile(index, f"beta @ {index.file_url(file)}")
    assert failure.cause == "input"
    assert "`beta` does not match `alpha`" in failure.sentence


def test_invalid_options_are_reported(index, uv):
    index.add("alpha", "1.0")
    for option in ("--exclude-newer=yesterdayish", "--prerelease=maybe", "--resolution=best"):
        failure = uv.compile(index, "alpha", options=(option,))
        assert failure.cause == "input"
        assert option.split("=")[1] in failure.sentence
    assert uv.compile(index, "alpha", options=("-u",)).cause == "input"
    assert uv.compile(index, "alpha", options=("--python", BASE)).cause == "input"
    assert uv.compile(index, "alpha", options=("-r", "nofile.txt")).cause == "input"


def test_missing_file_and_environment_are_reported(index, uv):
    failure = uv.install(index, "a", options=("-r", "nofile.txt"))
    assert failure.cause == "input"
    assert "nofile.txt" in failure.sentence
    variables = {"VIRTUAL_ENV": "", "PATH": "/nonexistent"}
    assert Uv.failure(uv.run("pip", "install", "alpha", **variables)).cause == "input"


def test_missing_local_file_is_reported(index, uv):
    failure = uv.compile(index, f"alpha @ file://{uv.folder}/alpha-1.0-py3-none-any.whl")
    assert failure.cause == "url"
    assert "alpha" in failure.sentence


def test_missing_interpreter_is_reported(uv):
    failure = Uv.failure(uv.run("pip", "install", "--target", "tree", "--python", "3.77", "alpha"))
    assert (failure.cause, failure.sentence) == ("python", "Python 3.77 was not found where uv runs.")
    failure = Uv.failure(uv.run("pip", "install", "--target", "tree", "--python", "/nonexistent/python", "alpha"))
    assert failure.cause == "python"


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nonexistent"])
def test_failed_git_requirement_is_reported(index, uv, path):
    failure = uv.compile(index, "alpha @ git+http://127.0.0.1:9/x.git", PATH=path)
    assert failure.cause == "git"
    assert "alpha" in failure.sentence
    assert "wheel" in failure.hint


# Errors of the index and the network


PAGES = {
    "401": ("auth", "requires authentication for alpha", False),
    "403": ("auth", "denied access to alpha", False),
    "404": ("unknown-package", "Package alpha was not found on the index.", False),
    "407": ("proxy", "The proxy requires authentication", False),
    "429": ("network", "Too many requests", True),
    "500": ("network", "500 Internal Server Error", True),
    "503": ("network", "503 Service Unavailable", True),
    "reset": ("network", "was interrupted (for alpha", True),
    "slow": ("network", "timed out (for alpha", True),
    "text": ("portal", "a page that is not a package index", False),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize(("trouble", "cause", "message", "retryable"), [(k, *v) for k, v in PAGES.items()])
def test_fault_of_package_page_is_reported(index, uv, trouble, cause, message, retryable):
    line = pinned(index.add("alpha", "1.0"))
    index.misbehave("alpha", trouble)
    for failure in (uv.compile(index, "alpha"), uv.install(index, line)):
        assert (failure.cause, failure.retryable) == (cause, retryable)
        assert message in failure.sentence
        assert failure.unreachable == (cause in {"network", "proxy", "portal"})
    index.misbehave("alpha", "")
    assert uv.run("pip", "install", "--target", "t", "--default-index", index.url, "alpha").returncode == 0


FILES = PAGES | {
    "404": ("url", "File not found for alpha 1.0", False),
    "text": ("corrupt", "The file of alpha 1.0 is corrupt", False),
    "truncated": ("network", "was interrupted", True),
    "wrong-hash": ("integrity", "Hash mismatch for alpha 1.0", False),
    "corrupt": ("corrupt", "The file of alpha 1.0 is corrupt", False),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize(("trouble", "cause", "message", "retryable"), [(k, *v) for k, v in FILES.items()])
def test_fault_of_package_file_is_reported(index, uv, trouble, cause, message, retryable):
    line = pinned(index.add("alpha", "1.0"))
    if trouble == "corrupt":
        line = f"alpha==1.0 --hash=sha256:{hashlib.sha256(index_server._CORRUPT).hexdigest()}"
    index.misbehave("alpha", trouble, where="file")
    failure = uv.install(index, line)
    assert (failure.cause, failure.retryable) == (cause, retryable)
    assert message in failure.sentence


def test_authentication_error_shows_no_credentials(uv):
    with IndexServer(credentials="user:secret") as index:
        index.add("alpha", "1.0")
        assert uv.compile(index, "alpha").cause == "auth"
        wrong_url = index.url.replace("://", "://user:wrongsecret@")
        failure = uv.compile(wrong_url, "alpha")
        assert failure.cause == "auth"
        assert "user" not in failure.sentence
        right_url = index.url.replace("://", "://user:secret@")
        completed = uv.run("pip", "install", "--target", "t", "--default-index", right_url, "alpha")
        assert completed.returncode == 0, completed.stderr


def test_refused_connection_is_reported(uv):
    for retries in ("0", "1"):
        failure = uv.compile("http://user:secret@127.0.0.1:9/simple", "alpha", UV_HTTP_RETRIES=retries)
        assert failure.cause == "network"
        assert failure.sentence == "Could not connect to 127.0.0.1:9 (for alpha)."
        assert failure.retryable
        assert failure.unreachable


def test_unknown_host_is_reported(uv):
    failure = uv.compile("http://user:secret@index.invalid/simple", "alpha")
    assert (failure.cause, failure.retryable) == ("network", True)
    assert failure.sentence == "Could not look up the host name of index.invalid (for alpha)."


def test_unknown_package_hints_at_index_url(index, uv):
    index.add("alpha", "1.0")
    failure = uv.compile(index.url.replace("/simple", "/nowhere"), "alpha")
    assert failure.cause == "unknown-package"
    assert "index URL" in failure.hint


def test_untrusted_certificate_is_reported(uv, tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", "key.pem", "-out", "cert.pem"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.handle_error = lambda *args: None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        failure = uv.compile(f"https://127.0.0.1:{server.server_address[1]}/simple", "alpha")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (failure.cause, failure.unreachable) == ("certificate", True)
    assert "SSL_CERT_FILE" in failure.hint


def test_https_to_http_server_is_reported(index, uv):
    failure = uv.compile(index.url.replace("http://", "https://"), "alpha")
    assert failure.cause == "certificate"
    assert "does not support HTTPS" in failure.sentence


def test_uncached_package_in_offline_mode_is_reported(index, uv):
    line = pinned(index.add("alpha", "1.0"))
    for failure in (
        uv.compile(index, "alpha", options=("--offline",)),
        uv.install(index, line, options=("--offline",)),
    ):
        assert failure.cause == "offline"
        assert failure.sentence == "alpha is not in uv's cache, and offline mode is on."
        assert not failure.unreachable


def test_missing_url_is_reported_without_its_query(index, uv):
    url = f"http://{index.host}/files/alpha-1.0-py3-none-any.whl?token=secret"
    for failure in (uv.compile(index, f"alpha @ {url}"), uv.install(index, f"alpha @ {url} --hash=sha256:{ZEROS}")):
        assert failure.cause == "url"
        assert "alpha" in failure.sentence


# Errors of files


def test_wrong_and_missing_hashes_are_reported(index, uv):
    file = index.add("alpha", "1.0")
    failure = uv.install(index, f"alpha==1.0 --hash=sha256:{ZEROS}")
    assert failure.cause == "integrity"
    assert failure.sentence.startswith("Hash mismatch for alpha 1.0")
    failure = uv.install(index, f"alpha @ {index.file_url(file)} --hash=sha256:{ZEROS}")
    assert failure.cause == "integrity"
    for line in ("alpha==1.0", "alpha"):
        failure = uv.install(index, line)
        assert failure.cause == "integrity"
        assert "No pinned version and hash for alpha" in failure.sentence


# Errors of the machine


@pytest.fixture
def small_filesystem(tmp_path):
    """A file system of one megabyte, or None if this process cannot mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = [MOUNT, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    allowed = sys.platform == "linux" and os.geteuid() == 0
    mounted = allowed and subprocess.run(mount, check=False).returncode == 0
    yield folder if mounted else None
    if mounted:
        subprocess.run([UMOUNT, str(folder)], check=True)


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.parametrize("destination", ["cache", "tree"])
def test_full_disk_is_reported(index, uv, small_filesystem, destination):
    line = pinned(index.add("alpha", "1.0", size=3_000_000))
    if small_filesystem and destination == "cache":
        failure = uv.install(index, line, UV_CACHE_DIR=str(small_filesystem / "cache"))
    elif small_filesystem:
        failure = uv.install(index, line, target=small_filesystem / "tree")
    else:
        failure = uv.install(index, line, limit=limit_file_size)
    assert failure.cause == "disk"
    assert "alpha 1.0" in failure.sentence
    assert not failure.retryable


def test_file_size_limit_is_reported(index, uv):
    failure = uv.install(index, pinned(index.add("alpha", "1.0", size=3_000_000)), limit=limit_file_size)
    assert failure.cause == "disk"
    assert "alpha 1.0" in failure.sentence


def test_full_disk_during_build_is_reported(index, uv):
    backend = "raise OSError(28, 'No space left on device')"
    assert uv.install(index, pinned(index.add_sdist("alpha", "1.0", backend=backend)), options=()).cause == "disk"


@pytest.mark.parametrize("destination", ["cache", "tree"])
def test_unwritable_folder_is_reported(index, uv, small_filesystem, tmp_path, destination):
    line = pinned(index.add("alpha", "1.0"))
    folder = small_filesystem or tmp_path / "closed"
    if small_filesystem:
        subprocess.run([MOUNT, "-o", "remount,ro", str(small_filesystem)], check=True)
    else:
        folder.mkdir(mode=0o500)
    if not small_filesystem and os.geteuid() == 0:
        # Root can write anywhere except in /sys.
        folder = Path("/sys")
    if destination == "cache":
        failure = uv.install(index, line, UV_CACHE_DIR=str(folder / "cache"))
    else:
        failure = uv.install(index, line, target=folder / "tree")
    assert failure.cause == "permission"
    assert str(folder) in failure.sentence


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
@pytest.mark.parametrize("megabytes", [60, 100])
def test_exhausted_memory_is_reported(index, uv, megabytes):
    line = pinned(index.add("alpha", "1.0", size=3_000_000))
    size = megabytes << 20
    failure = uv.install(index, line, limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
    assert failure.cause == "memory"
    assert "memory" in failure.hint


@pytest.mark.parametrize(("number", "message"), [(signal.SIGKILL, "was killed"), (signal.SIGTERM, "signal 15")])
def test_killed_uv_is_reported(index, uv, number, message):
    index.add("alpha", "1.0")
    index.misbehave("alpha", "slow")
    process = subprocess.Popen(
        [find_uv_bin(), "pip", "install", "--target", "tree", "--default-index", index.url, "alpha"],
        cwd=uv.folder,
        env=uv.environ | {"UV_HTTP_TIMEOUT": "30"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while not index.requests:
            assert process.poll() is None
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    failure = classify(process.returncode, stderr)
    assert failure.cause == "killed"
    assert message in failure.sentence
    assert classify(128 + number, stderr) == failure, "a shell adds 128 to the number of the signal"


def test_unknown_extra_is_a_warning(index, uv):
    index.add("alpha", "1.0")
    completed = uv.run("pip", "install", "--target", "t", "--default-index", index.url, "alpha[nope]")
    assert completed.returncode == 0
    assert "The package alpha==1.0 does not have an extra named nope." in warnings(completed.stderr)
