"""core/spec/program.py: reproducible programs, with all text of the user inside the payload."""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
import os
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec import program
from uv_argo_magic.core.spec.run_spec import Pushed, RunSpec, Settings
from uv_argo_magic.engine.preparation.guest_archive import guest_archive

LOCK = Lock(packages=(Package(name="six", version="1.0", sha256="ab"),), target=Target(python="3.12.1", abi="cp312"))


def payload_of(built: program.Program) -> dict[str, object]:
    return json.loads(gzip.decompress(base64.b64decode(built.payload)))


def build(spec: RunSpec, resolution=LOCK) -> program.Program:
    return program.build(spec, resolution, guest="emlw", nonce="n0")


@given(st.text())
def test_user_text_is_only_in_the_payload(cell: str) -> None:
    built = build(RunSpec(cell=cell))
    assert payload_of(built)["cell"] == cell
    assert "{{" not in built.source
    fixed = built.source.replace(built.payload, "")
    assert fixed == build(RunSpec(cell="")).source.replace(build(RunSpec(cell="")).payload, "")
    assert set(built.payload) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def test_program_is_valid_python_and_reproducible() -> None:
    spec = RunSpec(cell="print(1)", push=(Pushed(name="x", text="1"),), pull=("y",))
    built = build(spec)
    ast.parse(built.source, feature_version=(3, 8))
    assert built == build(spec)
    assert program.GUEST_NAME in built.prestart_source
    assert built.payload not in built.prestart_source
    assert (built.guest in built.worker_source, built.payload in built.worker_source) == (True, False)
    assert built.worker_source.endswith("worker.main(guest)\n")
    assert guest_archive() is guest_archive()


def test_worker_source_can_include_options(monkeypatch):
    monkeypatch.setenv("UV_ARGO_SESSION", "")
    built = program.Program(guest="", payload="", nonce="")
    options = json.dumps({"name": '""")', "token": "{{workflow.name}}"})
    source = built.worker_source_with(options)
    assert "{{" not in source
    exec(source.removesuffix(built.worker_source))
    assert os.environ["UV_ARGO_SESSION"] == options


def test_digest_identifies_the_guest() -> None:
    built = program.build(RunSpec(cell="c"), LOCK, guest="emlw", nonce="n0")
    assert built.digest in built.source
    assert built.digest != replace(built, guest="eml3").digest


def test_large_values_are_files_if_there_is_a_folder() -> None:
    small, large = Pushed(name="x", text="1"), Pushed(name="y", text="2" * (program.FILE_SIZE + 1))
    spec = RunSpec(cell="c", push=(small, large))
    assert [program.pushed_file(item, number) for number, item in enumerate(spec.push)] == ["", "pushed-1"]
    sent = program.payload(spec, LOCK, "n0", exchange="/folder")["push"]
    assert sent == [{"name": "x", "text": "1", "digest": small.digest}, {"name": "y", "file": "pushed-1"}]
    assert "file" not in program.payload(spec, LOCK, "n0")["push"][1]


def test_separate_install_has_no_data_of_the_cell() -> None:
    built = build(
        RunSpec(
            cell="c", push=(Pushed(name="x", text="1"),), settings=Settings(variables=(("A", "B"),), install_timeout=5)
        )
    )
    payload = json.loads(gzip.decompress(base64.b64decode(built.install)))
    assert set(payload) == {"v", "nonce", "lock", "installs", "uv", "provision", "settings"}
    assert payload["settings"] == {
        "environment": "",
        "environment_user": "",
        "install_timeout": 5,
        "install_memory": 0,
        "install_disk": 0,
    }
    assert (payload["nonce"], payload["lock"]) == ("n0", payload_of(built)["lock"])
    for text in (built.install_source, built.cell_source):
        ast.parse(text, feature_version=(3, 8))
    assert (built.install in built.install_source, built.payload in built.install_source) == (True, False)
    assert (built.guest in built.cell_source, built.payload in built.cell_source) == (False, True)
    assert build(RunSpec(cell="c"), Lock(packages=(), target=LOCK.target)).install == ""


def test_index_with_credentials_has_a_name() -> None:
    settings = Settings(index_url="https://index.example.com/simple", index_secrets=(("corp", "login"),))
    assert program.uv_environment(settings)["UV_DEFAULT_INDEX"] == "corp=https://index.example.com/simple"
    assert "UV_DEFAULT_INDEX" not in program.uv_environment(replace(settings, index_url=""))


def test_payload_has_all_fields() -> None:
    payload = payload_of(build(RunSpec(cell="c", push=(Pushed(name="x", text="1"),), pull=("y",), line_offset=0)))
    assert (payload["v"], payload["nonce"], payload["offset"], payload["pull"]) == (1, "n0", 0, ["y"])
    assert payload["push"] == [{"name": "x", "text": "1", "digest": hashlib.sha256(b"1").hexdigest()}]
    assert payload["lock"] == {
        "lines": ["six==1.0 --hash=sha256:ab"],
        "key": LOCK.key,
        "target": {"python": "3.12.1", "abi": "cp312"},
    }
    unresolved = payload_of(build(RunSpec(cell="c"), Unresolved(lines=("six",), reason="offline")))
    bounds = {"constraints": [], "overrides": [], "complete": False, "hashes": {}}
    assert unresolved["lock"] == {"lines": ["six"], "key": "", "target": None, "bounds": bounds}


def test_uv_environment_has_all_settings() -> None:
    assert program.uv_environment(Settings()) == {"UV_NO_BUILD": "1"}
    all_set = Settings(
        index_url="https://index.example.com/simple",
        only_binary=False,
        exclude_newer="30 days",
        prerelease="allow",
        resolution="lowest",
        offline=True,
        concurrent_builds=1,
        concurrent_downloads=4,
        concurrent_installs=2,
    )
    assert program.uv_environment(all_set) == {
        "UV_CONCURRENT_BUILDS": "1",
        "UV_CONCURRENT_DOWNLOADS": "4",
        "UV_CONCURRENT_INSTALLS": "2",
        "UV_DEFAULT_INDEX": "https://index.example.com/simple",
        "UV_EXCLUDE_NEWER": "30 days",
        "UV_PRERELEASE": "allow",
        "UV_RESOLUTION": "lowest",
        "UV_OFFLINE": "1",
    }


def test_unresolved_payload_has_constraints_and_hashes():
    requirements = parse(f"six==1.17.0 --hash=sha256:{'a' * 64}\nrich\n", file=True)
    spec = RunSpec(
        cell="c", requirements=requirements, settings=Settings(constraints=("rich<14",), overrides=("attrs",))
    )
    payload = payload_of(build(spec, Unresolved(lines=requirements.lines, reason="offline")))
    assert payload["lock"]["lines"] == ["six==1.17.0", "rich"]
    assert payload["lock"]["bounds"] == {
        "constraints": ["rich<14"],
        "overrides": ["attrs"],
        "complete": False,
        "hashes": {"six": [f"sha256:{'a' * 64}"]},
    }


def test_long_values_and_buffers_are_files() -> None:
    pushed = (
        Pushed(name="short", text="1"),
        Pushed(name="long", text="x" * 70_000),
        Pushed(name="array", text='{"@":"bytes","v":{"@":"buffer","v":0}}', buffers=(b"abc",)),
    )
    spec = RunSpec(cell="c", push=pushed, pull=("y",))
    built = program.build(spec, LOCK, guest="emlw", nonce="n0", exchange="/runs/r1/values", values={"a.py": ""})
    payload = payload_of(built)
    assert (payload["exchange"], payload["values"]) == ("/runs/r1/values", {"a.py": ""})
    assert payload["push"][1:] == [{"name": "long", "file": "pushed-1"}, {"name": "array", "file": "pushed-2"}]
    assert payload["push"][0]["text"] == "1"
    assert [item["name"] for item in payload_of(build(spec))["push"] if "text" in item] == ["short", "long", "array"]
    assert spec.sent == (("short", "", 1, "plain"), ("long", "", 70_000, "plain"), ("array", "", 41, "plain"))


def test_buffers_are_part_of_the_text_without_a_folder() -> None:
    buffers: list[values.Raw] = []
    value = {"b": [b"x" * 5000, 1.5, "{"], "c": b"y" * 2000}
    text = values.encode("v", value, 10**6, buffers)
    (item,) = payload_of(build(RunSpec(cell="c", push=(Pushed(name="v", text=text, buffers=tuple(buffers)),))))["push"]
    assert values.decode(item["text"]) == value
    assert item["digest"] == hashlib.sha256(item["text"].encode()).hexdigest()
