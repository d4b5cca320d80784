"""The package policy: all commands that install packages check it before they install anything."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from support.argo_server import ArgoServer
from support.index_server import IndexServer

import uv_argo_magic
from uv_argo_magic.backends import lookup
from uv_argo_magic.core.policy import advisories, reader
from uv_argo_magic.errors import PolicyError
from uv_argo_magic.policy import audit, files, osv

ROOT = Path(__file__).parents[2]
HERE = ".".join(map(str, sys.version_info[:3]))
BLOCKED = '[packages]\nblocked = [{name = "BETA", versions = "<1.9", reason = "CVE-2024-1"}]\n'


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("alpha", "1.0", requires=["beta<2"])
        server.add("beta", "1.5")
        server.add("gamma", "1.0", files={"gamma.py": "value = 3"})
        yield server


RECORDS = {
    "GHSA-1": {
        "id": "GHSA-1", "summary": "Bad things", "aliases": ["CVE-2024-1"],
        "affected": [
            {
                "package": {"name": "Beta", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.9"}]}],
            }
        ],
    },
    "PYSEC-1": {
        "id": "PYSEC-1", "aliases": ["CVE-2024-1"],
        "affected": [{"package": {"name": "beta", "ecosystem": "PyPI"}, "versions": ["1.5"]}],
    },
    "MAL-1": {
        "id": "MAL-1", "details": "<b>Steals</b>\nkeys",
        "affected": [{"package": {"name": "evil", "ecosystem": "PyPI"}, "versions": ["1.0"]}],
    },
}  # fmt: skip
"""The advisories of the OSV server in these tests."""


@pytest.fixture(scope="module")
def osv_server():
    """An OSV server: its address and the requests it receives."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            requests.append(self.path)
            self.respond(RECORDS[self.path.removeprefix("/v1/vulns/")])

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            self.respond({"results": [self.result(query) for query in body["queries"]]})

        def result(self, query):
            packages = {query["package"]["name"]: query.get("version", "")}
            ids = [id_ for id_, record in RECORDS.items() if list(advisories.find(record, packages))]
            # One record per page, like a long response.
            page = int(query.get("page_token", 0))
            next_page = {"next_page_token": str(page + 1)} if page + 1 < len(ids) else {}
            return {"vulns": [{"id": ids[page]}], **next_page} if ids else {}

        def respond(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch, home, index):
    """A working folder with the index configured, on a machine without a policy."""
    monkeypatch.setattr(files, "SYSTEM", tmp_path / "etc" / "policy.toml")
    monkeypatch.setenv("UV_ARGO_INDEX_URL", index.url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text("import gamma\nprint(gamma.value)\n")
    return tmp_path


def downloads(index):
    return [path for path in index.requests if path.startswith("/files/") and not path.endswith(".metadata")]


def imports_gamma(uv_argo, *arguments):
    """Run with these arguments; whether the script imported `gamma`, regardless of uv's output."""
    status, text = uv_argo("run", *arguments)
    return status == 0 and text.startswith("3\n")


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_blocked_dependency_is_refused_before_install(uv_argo, folder, index):
    write(folder / "uv-argo-policy.toml", f"{BLOCKED}[install]\nmax_packages = 2\n")
    index.requests.clear()
    status, text = uv_argo("run", "s.py", "--deps", "alpha", "gamma")
    assert status == 2
    policy = folder / "uv-argo-policy.toml"
    assert text.splitlines() == [
        "PolicyError: the package policy does not allow this run",
        (
            "- beta 1.5 is blocked: CVE-2024-1 (required by alpha). Use a version that is not <1.9. "
            f"[packages.blocked, {policy}]"
        ),
        (
            "- 3 packages would be installed, but the limit is 2. "
            "Require fewer packages, or split the work between cells. "
            f"[install.max_packages, {policy}]"
        ),
        "The command policy shows all rules. Ask your administrator for an exception.",
    ]
    assert downloads(index) == []
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "s.py", "--dry-run", "--deps", "alpha"),
        ("run", "s.py", "-r", "list.txt"),
        ("run", "block.py"),
        ("run", "s.py", "--dry-run", "--to", "out.py", "--deps", "alpha"),
        ("lock", "--deps", "alpha"),
        ("lock", "--deps", "alpha", "--upgrade"),
        ("lock", "--deps", "alpha", "--to", "pylock.toml"),
    ],
)
def test_policy_applies_to_commands_that_install_or_lock(uv_argo, folder, index, arguments):
    write(folder / "uv-argo-policy.toml", BLOCKED)
    write(folder / "list.txt", "alpha\n")
    write(folder / "block.py", '# /// script\n# dependencies = ["alpha"]\n# ///\nimport alpha\n')
    index.requests.clear()
    status, text = uv_argo(*arguments)
    assert status == 2
    assert "beta 1.5 is blocked: CVE-2024-1" in text
    assert downloads(index) == []
    assert not (folder / "out.py").exists()
    assert not (folder / "pylock.toml").exists()


def test_export_of_earlier_run_applies_current_policy(uv_argo, folder):
    assert uv_argo("run", "s.py", "--deps", "alpha", "gamma")[0] == 0
    write(folder / "uv-argo-policy.toml", BLOCKED)
    for arguments in (("export",), ("export", "--to", "cell.yaml", "-b", "argo")):
        status, text = uv_argo(*arguments)
        assert status == 2
        assert "beta 1.5 is blocked" in text


def test_strictest_policy_wins(uv_argo, folder, monkeypatch):
    write(folder / "etc" / "policy.toml", '[packages]\nallowed = ["gamma"]\n')
    write(folder / "mine.toml", '[packages]\nallowed = ["*"]\n[install]\nmax_packages = 1\n')
    monkeypatch.setenv("UV_ARGO_POLICY", "mine.toml")
    status, text = uv_argo("run", "s.py", "--deps", "alpha")
    assert status == 2
    assert text.count("is not an allowed package") == 2
    assert f"[packages.allowed, {folder / 'etc' / 'policy.toml'}]" in text
    assert f"[install.max_packages, {folder / 'mine.toml'}]" in text
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")


def test_unreadable_policy_refuses_all_runs(uv_argo, folder, monkeypatch):
    write(folder / "uv-argo-policy.toml", "[packages]\nalowed = []\n")
    status, text = uv_argo("run", "s.py")
    assert (status, text.splitlines()[0]) == (
        2,
        (
            f"PolicyError: package policy {folder / 'uv-argo-policy.toml'}: unknown rule packages.alowed; "
            "did you mean packages.allowed?"
        ),
    )
    (folder / "uv-argo-policy.toml").write_bytes(b"\xff")
    assert "is not UTF-8 text" in uv_argo("run", "s.py")[1]
    (folder / "uv-argo-policy.toml").unlink()
    (folder / "uv-argo-policy.toml").mkdir()
    assert "cannot read the package policy" in uv_argo("run", "s.py")[1]
    (folder / "uv-argo-policy.toml").rmdir()
    for name in ("missing.toml", "~no.such.user/policy.toml"):
        monkeypatch.setenv("UV_ARGO_POLICY", name)
        assert "does not exist" in uv_argo("run", "s.py")[1]


def test_untrusted_index_is_not_contacted(uv_argo, folder, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")  # for index.example.com, which does not exist
    write(folder / "uv-argo-policy.toml", '[indexes]\ntrusted = ["https://index.example.com/simple"]\n')
    index.requests.clear()
    for arguments in (("--deps", "gamma"), ("--deps", "gamma @ https://files.example.com/gamma-1.0-py3-none-any.whl")):
        status, text = uv_argo("run", "s.py", *arguments)
        assert (status, index.requests) == (2, [])
        assert f"{index.url} is not a trusted index. Use --set index_url=https://index.example.com/simple." in text
    monkeypatch.setenv("UV_ARGO_INDEX_URL", "https://index.example.com/simple")
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, index.url)
        assert uv_argo("run", "s.py", "--deps", "gamma")[0] == 2
        monkeypatch.delenv(name)
    assert index.requests == []


def test_run_without_packages_needs_no_trusted_index(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", "[indexes]\ntrusted = []\n")
    write(folder / "plain.py", "print(1)\n")
    assert uv_argo("run", "plain.py") == (0, "1\n")


def test_max_time_of_policy_limits_run_timeout(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", '[run]\nmax_time = "1h"\n')
    assert '"run_timeout": 3600.0' in uv_argo("run", "s.py", "--dry-run")[1]
    status, text = uv_argo("run", "s.py", "--timeout", "2h")
    assert (status, text.splitlines()[1].partition(" [")[0]) == (
        2,
        "- run_timeout is 2 hours, but the limit is 1 hour. Add --set run_timeout=3600s.",
    )


def test_policy_show_lists_rules_with_origin(uv_argo, folder):
    assert uv_argo("policy") == (0, "No package policy: all packages are allowed.\n")
    write(folder / "uv-argo-policy.toml", BLOCKED)
    status, text = uv_argo("policy", "show")
    assert status == 0
    assert "packages.blocked" in text
    assert "beta<1.9 (CVE-2024-1)" in text
    rules = json.loads(uv_argo("policy", "--json")[1])
    assert rules[0] == {
        "rule": "packages.blocked", "value": "beta<1.9 (CVE-2024-1)", "origin": str(folder / "uv-argo-policy.toml"),
    }  # fmt: skip


def test_policy_check_reads_notebooks_scripts_and_requirements(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", BLOCKED)
    sources_of_cells = ["%%argo -d alpha\nx", ["%%argo -d $names\n", "x"], "1 + 1", "%%argo --dep gamma\nx"]
    cells = [{"cell_type": "code", "source": source, "outputs": []} for source in sources_of_cells]
    write(folder / "my study.ipynb", json.dumps({"nbformat": 4, "cells": cells}))
    write(folder / "empty.ipynb", '{"cells": []}')
    write(folder / "list.txt", "gamma\n")
    names = ("my study.ipynb", "empty.ipynb", "s.py", "list.txt")
    status, text = uv_argo("policy", "check", *names, "--json")
    assert status == 1
    results = json.loads(text)
    assert [(result["file"], result["cell"], result["verdict"]) for result in results] == [
        ("my study.ipynb", 1, "not allowed"),
        ("my study.ipynb", 2, "allowed"),
        ("my study.ipynb", 4, "not checked"),
        ("empty.ipynb", 0, "allowed"),
        ("s.py", 0, "allowed"),
        ("list.txt", 0, "allowed"),
    ]
    (violation,) = results[0]["violations"]
    assert (violation["rule"], violation["path"]) == ("packages.blocked", ["alpha", "beta"])
    status, text = uv_argo("policy", "check", *names)
    assert status == 1
    assert "beta 1.5 is blocked: CVE-2024-1 (required by alpha)" in text
    assert uv_argo("policy", "check", "list.txt")[0] == 0


def test_policy_explain_shows_rule_and_dependency_path(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", BLOCKED)
    status, text = uv_argo("policy", "explain", "Beta", "--deps", "alpha")
    assert (status, text.splitlines()[:2]) == (0, ["beta 1.5 is not allowed.", "Required by alpha."])
    assert "packages.blocked" in text
    assert uv_argo("policy", "explain", "gamma") == (0, "gamma 1.0 is allowed.\n")
    status, text = uv_argo("policy", "explain", "beta", "--json")
    assert json.loads(text) | {"violations": []} == {
        "file": "beta", "cell": 0, "verdict": "not allowed", "problem": "", "violations": [], "version": "1.5",
        "path": ["beta"],
    }  # fmt: skip
    assert "these requirements do not install beta" in uv_argo("policy", "explain", "beta", "--deps", "gamma")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chek",), "unknown action chek; did you mean check?"),
        (("check",), "policy check needs a file"),
        (("explain",), "policy explain needs the name of a package"),
        (("check", "missing.ipynb"), "cannot read missing.ipynb"),
    ],
)
def test_invalid_policy_command_is_reported(uv_argo, arguments, message):
    status, text = uv_argo("policy", *arguments)
    assert status == 2
    assert message in text


def test_policy_modules_are_not_imported_without_policy(folder):
    program = (
        "import sys; from uv_argo_magic.cli import main; main(sys.argv[1:]); "
        "print(*(name for name in sorted(sys.modules) if '.policy.' in name))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, "run", "s.py", "--deps", "gamma"], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "3\nuv_argo_magic.policy.files uv_argo_magic.policy.sources\n"


@pytest.fixture
def cluster(folder, monkeypatch):
    with ArgoServer(folder) as server:
        monkeypatch.setenv("UV_ARGO_KUBECONFIG", str(server.kubeconfig))
        monkeypatch.setenv("UV_ARGO_IMAGES", f"{HERE}=none")
        lookup.load.cache_clear()
        yield server
        lookup.load.cache_clear()


def test_policy_of_namespace_applies_to_its_runs(uv_argo, folder, cluster):
    cluster.config_maps["uv-argo-policy"] = {"data": {"policy.toml": BLOCKED}}
    status, text = uv_argo("run", "s.py", "-b", "argo", "--deps", "alpha")
    assert status == 2
    assert "beta 1.5 is blocked: CVE-2024-1 (required by alpha)" in text
    assert "[packages.blocked, ConfigMap uv-argo-policy of " in text
    assert not [call for call in cluster.calls if call[0] == "POST" and call[1].endswith("/workflows")]
    assert [call[:2] for call in cluster.calls if "configmaps" in call[1]] == [
        ("GET", "/api/v1/namespaces/nb/configmaps/uv-argo-policy")
    ]
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    assert "ConfigMap uv-argo-policy of " in uv_argo("policy", "-b", "argo")[1]


def test_forbidden_policy_of_namespace_is_reported(uv_argo, cluster):
    resource = 'resource "configmaps" in API group "" in the namespace "nb"'
    cluster.fail("configmaps/uv-argo-policy", 403, f'configmaps is forbidden: User "me" cannot get {resource}')
    status, text = uv_argo("policy", "-b", "argo")
    assert status == 0
    assert "Not read: ConfigMap uv-argo-policy of test, namespace nb: you cannot get" in text


def test_example_policy_is_valid():
    (config_map,) = yaml.safe_load_all((ROOT / "deploy" / "examples" / "policy.yaml").read_text())
    assert reader.read(config_map["data"]["policy.toml"], "example").of("install.max_packages")


def read_audit_log(folder):
    lines = (folder / "home" / "data" / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_audit_log_has_one_line_per_decision(uv_argo, folder):
    log = folder / "shared" / "audit.jsonl"
    write(folder / "uv-argo-policy.toml", f'{BLOCKED}[audit]\nfiles = ["{log}"]\n')
    assert uv_argo("run", "s.py", "--deps", "alpha")[0] == 2
    assert uv_argo("run", "s.py", "--deps", "gamma", "--dry-run")[0] == 0
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    refused, allowed = read_audit_log(folder)
    assert log.read_text() == (folder / "home" / "data" / "audit.jsonl").read_text()
    assert (refused["decision"], refused["purpose"], refused["packages"]) == (
        "refused",
        "run",
        ["alpha==1.0", "beta==1.5"],
    )
    assert [violation["rule"] for violation in refused["violations"]] == ["packages.blocked"]
    assert (allowed["decision"], allowed["packages"], allowed["violations"]) == ("allowed", ["gamma==1.0"], [])
    assert allowed["document"] == str(folder / "s.py")
    assert allowed["policies"] == [str(folder / "uv-argo-policy.toml")]
    assert len(allowed["lock"]) == 32
    assert "import gamma" not in log.read_text()


def test_unwritable_audit_log_refuses_run(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", f'[audit]\nfiles = ["{folder}"]\n')
    status, text = uv_argo("run", "s.py", "--deps", "gamma")
    assert status == 2
    assert f"cannot write the audit log {folder}" in text


def test_partly_written_audit_log_refuses_run(uv_argo, folder, monkeypatch):
    log, write_all = folder / "audit.jsonl", os.write

    def write_until_full(handle, data):
        if log.exists() and os.path.samestat(os.fstat(handle), log.stat()):
            if log.stat().st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[:10]
        return write_all(handle, data)

    monkeypatch.setattr(os, "write", write_until_full)
    write(folder / "uv-argo-policy.toml", f'[audit]\nfiles = ["{log}"]\n')
    status, text = uv_argo("run", "s.py", "--deps", "gamma")
    assert status == 2
    assert f"cannot write the audit log {log}: No space left on device" in text


def test_audit_log_is_rotated(uv_argo, folder, monkeypatch):
    write(folder / "uv-argo-policy.toml", "")
    write(folder / "plain.py", "")
    monkeypatch.setattr(audit, "LARGEST", 10)
    for _ in range(3):
        assert uv_argo("run", "plain.py")[0] == 0
    assert len(read_audit_log(folder)) == 1
    assert (folder / "home" / "data" / "audit.1.jsonl").exists()


def test_per_hour_limits_runs_with_packages(uv_argo, folder):
    write(folder / "uv-argo-policy.toml", "[install]\nper_hour = 2\n")
    write(folder / "plain.py", "")
    assert uv_argo("run", "plain.py")[0] == 0
    for _ in range(2):
        assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    status, text = uv_argo("run", "s.py", "--deps", "gamma")
    assert status == 2
    assert "2 runs with packages started on this machine in the last hour, but the limit is 2" in text
    assert uv_argo("run", "plain.py")[0] == 0
    log = folder / "home" / "data" / "audit.jsonl"
    log.write_text("not JSON\n[]\n" + log.read_text().replace('"time": "2', '"time": "1'))
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")


def test_exported_workflow_has_policy_annotation(uv_argo, folder):
    write(folder / "plain.py", "print(1)\n")
    assert "uv-argo-magic/policy" not in uv_argo("run", "plain.py", "-b", "argo", "--dry-run")[1]
    assert uv_argo("run", "plain.py")[0] == 0
    write(folder / "uv-argo-policy.toml", "")
    assert uv_argo("export", "--to", "cell.yaml", "-b", "argo")[0] == 0
    (workflow,) = yaml.safe_load_all((folder / "cell.yaml").read_text())
    annotation = json.loads(workflow["metadata"]["annotations"]["uv-argo-magic/policy"])
    assert (annotation["decision"], annotation["policies"]) == ("allowed", [str(folder / "uv-argo-policy.toml")])
    assert set(annotation) == {"user", "lock", "decision", "policies"}


def test_look_alike_warns_once_or_is_refused_by_policy(uv_argo, folder, index):
    index.add("requets", "1.0")
    warning = "requets differs from requests by one character. Check that this is not a typo."
    assert warning in uv_argo("run", "s.py", "--deps", "requets", "gamma")[1]
    assert warning not in uv_argo("run", "s.py", "--deps", "requets", "gamma")[1]
    assert warning not in uv_argo("run", "s.py", "--deps", "requets")[1]
    index.add("nunpy", "1.0", uploaded=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    for packages in (("nunpy", "gamma"), ("nunpy",)):
        assert "nunpy differs from numpy" in uv_argo("run", "s.py", "--deps", *packages)[1]
    write(folder / "uv-argo-policy.toml", '[packages]\nlook_alikes = ["nunpy"]\n')
    status, text = uv_argo("run", "s.py", "--deps", "requets", "nunpy")
    assert status == 2
    assert text.count("looks like") == 1


VULNERABLE = "beta 1.5 has a known vulnerability, GHSA-1: Bad things (required by alpha). Use beta>=1.9."


def test_vulnerabilities_are_queried_once_a_day(uv_argo, folder, index, osv_server):
    address, requests = osv_server
    index.add("evil", "1.0")
    write(folder / "uv-argo-policy.toml", f'[packages]\nvulnerabilities = "{address}"\n')
    for _ in range(2):
        status, text = uv_argo("run", "s.py", "--deps", "alpha", "evil")
        assert status == 2
        assert VULNERABLE in text
        assert "evil 1.0 is known malware, MAL-1: <b>Steals</b> keys. Remove evil." in text
        assert text.count("- ") == 2
    assert [query["package"]["name"] for query in requests[0]["queries"]] == ["alpha", "beta", "evil"]
    assert len([request for request in requests if isinstance(request, dict)]) == 2  # two pages
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")


def test_package_of_unknown_version_is_looked_up(folder, osv_server):
    found = osv.look_up(advisories.read_source(osv_server[0]), {"beta": "", "gamma": "1.0"})
    assert [advisory.package for advisory in found.advisories] == ["beta"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_vulnerabilities_are_read_from_offline_copy(uv_argo, folder, kind):
    path = folder / "osv"
    if kind == "folder":
        for id_, record in RECORDS.items():
            write(path / f"{id_}.json", json.dumps(record))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for id_, record in RECORDS.items():
                archive.writestr(f"{id_}.json", json.dumps(record))
    write(folder / "uv-argo-policy.toml", f'[packages]\nvulnerabilities = "{path}"\n')
    status, text = uv_argo("run", "s.py", "--deps", "alpha")
    assert status == 2
    assert VULNERABLE in text
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    accepted = f'{{source = "{path}", ignore = ["PYSEC-1"]}}'
    write(folder / "uv-argo-policy.toml", f"[packages]\nvulnerabilities = {accepted}\n")
    assert uv_argo("run", "s.py", "--dry-run", "--deps", "alpha")[0] == 0


@pytest.mark.parametrize("source", ["http://127.0.0.1:9", "missing.zip", "empty", "list"])
def test_failed_vulnerability_lookup_refuses_run(uv_argo, folder, source):
    (folder / "empty").mkdir()
    write(folder / "list" / "records.json", '[{"name": "gamma"}]')
    write(folder / "uv-argo-policy.toml", f'[packages]\nvulnerabilities = "{source}"\n')
    status, text = uv_argo("run", "s.py", "--deps", "gamma")
    assert status == 2
    assert "Known vulnerabilities could not be looked up: " in text


def test_policy_can_forbid_opening_sealed_values(folder):
    run = uv_argo_magic.run("class Model: pass\nmodel, plain = Model(), [1]", pull="model plain")
    model = run.values["model"]
    write(folder / "uv-argo-policy.toml", "[values]\nopen_sealed = false\n")
    with pytest.raises(PolicyError, match="does not allow opening model here"):
        model.open()
    assert run.values["plain"] == [1]


def test_policy_applies_to_python_api(folder):
    write(folder / "uv-argo-policy.toml", BLOCKED)
    with pytest.raises(PolicyError, match=r"beta 1\.5 is blocked") as caught:
        uv_argo_magic.run("1", deps="alpha")
    (violation,) = caught.value.violations
    assert (violation.rule, violation.path) == ("packages.blocked", ("alpha", "beta"))


def test_min_age_applies_to_locks_without_upload_times(uv_argo, folder, index):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    index.add("young", "0.9")
    index.add("young", "1.0", uploaded=now)
    write(folder / "uv-argo-policy.toml", '[packages]\nmin_age = "7 days"\n')
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    status, text = uv_argo("run", "s.py", "--deps", "young")
    assert status == 2
    assert f"young 1.0 was uploaded less than 7 days ago ({now[:10]}). Add --set exclude_newer=" in text
    assert "young==0.9" in uv_argo("run", "s.py", "--deps", "young", "--set", "exclude_newer=7 days", "--dry-run")[1]
    for file in (folder / "home" / "data" / "locks").glob("*/*.json"):
        file.write_text(re.sub(r'"(uploaded|size)": [^\n]+\n', "", file.read_text()))
    assert imports_gamma(uv_argo, "s.py", "--deps", "gamma")
    assert "young 1.0 was uploaded less than 7 days ago" in uv_argo("run", "s.py", "--deps", "young")[1]


def test_policy_limits_images_and_semaphores(uv_argo, folder, cluster, monkeypatch):
    write(folder / "plain.py", "print(1)\n")
    write(
        folder / "uv-argo-policy.toml",
        '[cluster]\nimages = ["registry.example.com/*"]\nsemaphores = ["limits/cells"]\n',
    )
    arguments = ("run", "plain.py", "-b", "argo", "--dry-run")
    status, text = uv_argo(*arguments)
    assert status == 2
    assert "The image none is not allowed. Use one of: registry.example.com/*." in text
    assert "The semaphore (none) is not allowed. Use one of: limits/cells." in text
    monkeypatch.setenv("UV_ARGO_IMAGES", f"{HERE}=registry.example.com/python:1")
    assert uv_argo(*arguments, "--set", "semaphore=limits/cells")[0] == 0
    status, text = uv_argo(*arguments, "--set", "semaphore=limits/cells", "--set", "patch=patch.yaml")
    assert status == 2
    assert "The setting patch could change the image" in text
    assert uv_argo("run", "plain.py") == (0, "1\n")


def test_policy_check_uses_policy_of_the_files_folder(uv_argo, folder):
    write(folder / "project" / "uv-argo-policy.toml", BLOCKED)
    write(folder / "project" / "list.txt", "alpha\n")
    write(folder / "list.txt", "alpha\n")
    assert uv_argo("policy", "check", "list.txt")[0] == 0
    assert uv_argo("policy", "check", "project/list.txt")[0] == 1


def test_doctor_reports_package_refused_by_policy(uv_argo, folder, index):
    index.add("six", "1.0", files={"six.py": "__version__ = '1.0'"})
    write(folder / "uv-argo-policy.toml", '[packages]\nallowed = ["gamma"]\n')
    status, text = uv_argo("doctor", "-b", "local")
    assert status == 1
    assert "six 1.0 is not an allowed package." in text
    (folder / "uv-argo-policy.toml").unlink()
    assert uv_argo("doctor", "-b", "local")[0] == 0
