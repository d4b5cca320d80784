"""The Workflow of a cell: golden files, and properties of all workflows.

`UV_ARGO_TEST_GOLDEN=write` writes the golden files again.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.manifests import run_metadata, workflow, yaml_output
from uv_argo_magic.backends.kubernetes import images, pod
from uv_argo_magic.core.spec.program import Program
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings
from uv_argo_magic.errors import SpecError

GOLDEN = Path(__file__).parent / "argo"
PROGRAM = Program(
    guest=base64.b64encode(b"guest").decode(),
    payload=base64.b64encode(b"payload").decode(),
    nonce="ab",
    install=base64.b64encode(b"install").decode(),
)
SPECS = {
    "script": RunSpec(cell="print(1)"),
    "script-full": RunSpec(
        cell="print(1)",
        resources=Resources(cpu="500m..2", memory="2Gi", gpu="1", disk="5Gi..20Gi"),
        settings=Settings(
            service_account="runner",
            run_as_user=0,
            deadline=600,
            ttl=60.5,
            platform="aarch64-manylinux_2_36",
            store="claim/trees",
            secret_env=(("TOKEN", "keys/token"),),
            secret_files=(("/etc/keys", "keys"),),
            volumes=(
                ("/data", "claim/data:ro"),
                ("/out", "claim/out"),
                ("/scratch", "empty/5Gi"),
                ("/dev/shm", "memory/1Gi"),
            ),
            node_selector=(("disk", "ssd"),),
            tolerations=("gpu=true:NoSchedule", "spot:NoExecute", "dedicated"),
            image_pull_secrets=("login",),
            labels=(("team", "blue"),),
            gpu_resource="amd.com/gpu",
            semaphore="limits/cells",
            pod_gc="OnWorkflowSuccess",
            retries=2,
            pending_timeout=90.5,
            pod_gc_delay=60,
        ),
    ),
    # The same manifest as for "script", since only the program differs.
    "runtime": RunSpec(
        cell="print(1)", python="3.12.1", settings=Settings(image="example.com/python:1", shape="runtime")
    ),
    "init": RunSpec(
        cell="print(1)",
        python="3.12.1",
        resources=Resources(memory="1Gi..2Gi", gpu="1"),
        settings=Settings(
            image="example.com/cuda:1",
            index_url="https://index.example.com/simple",
            index_secrets=(("my-corp", "index-login"),),
            secret_env=(("TOKEN", "keys/token"),),
        ),
    ),
}


def build(spec: RunSpec, program: Program = PROGRAM) -> dict:
    return workflow.build(program, spec, run_id="20260101-000000-abcdef", image="example.com/uv:1")


@pytest.mark.parametrize("name", SPECS)
def test_manifest_is_golden(name):
    path = GOLDEN / f"{name}.yaml"
    text = yaml_output.dump(build(SPECS[name]))
    assert yaml.safe_load(text) == build(SPECS[name])
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_manifest_contains_no_argo_expressions():
    # Without spaces, like Go's JSON.
    for spec in SPECS.values():
        assert "{{" not in without_venv(json.dumps(build(spec), separators=(",", ":")))


def without_venv(text):
    """Return the text without the one expression that Argo evaluates."""
    return text.replace('"/tmp/venv-{{workflow.name}}"', "")


def test_run_metadata_is_only_on_the_workflow():
    name = "/home/me/{{workflow.name}}.ipynb"
    spec = SPECS["script"]
    manifest = workflow.build(PROGRAM, spec, run_id="20260101-000000-abcdef", image="x", notebook=name)
    assert manifest["metadata"]["annotations"] == {
        "uv-argo-magic/schema": "1",
        "uv-argo-magic/nonce": "ab",
        "uv-argo-magic/cell": spec.cell_digest,
        "uv-argo-magic/notebook": name,
    }
    assert "{{" not in without_venv(json.dumps(manifest["spec"]))
    assert "annotations" not in manifest["spec"]["podMetadata"]


def test_source_is_the_program():
    script = build(SPECS["script"])["spec"]["templates"][0]["script"]
    assert script["source"] == PROGRAM.source
    assert script["command"] == ["python3", "-I", "-S"]


def test_large_program_is_in_config_map_owned_by_workflow():
    program = Program(guest="A" * 50_000, payload="A" * 60_000, nonce="ab")
    template = build(SPECS["script"], program)["spec"]["templates"][0]
    assert len(template["script"]["source"]) < 1000
    (volume,) = (volume for volume in template["volumes"] if "configMap" in volume)
    config_map = workflow.config_map(program, SPECS["script"], run_id="20260101-000000-abcdef", workflow="w", uid="1")
    assert config_map
    assert config_map["metadata"]["name"] == volume["configMap"]["name"]
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == "1"
    assert config_map["data"] == {"program.py": program.source}
    assert not workflow.needs_config_map(PROGRAM, SPECS["script"].settings)


def test_exported_config_map_has_no_owner():
    program = Program(guest="A" * 50_000, payload="A" * 60_000, nonce="ab")
    settings = Settings(images=(("3.11.2", "example.com/uv:1"),))
    text = ArgoBackend().manifest(program, RunSpec(cell="print(1)", settings=settings))
    config_map, manifest = yaml.safe_load_all(text)
    assert config_map["data"] == {"program.py": program.source}
    assert "ownerReferences" not in config_map["metadata"]
    (volume,) = (volume for volume in manifest["spec"]["templates"][0]["volumes"] if "configMap" in volume)
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]


def test_only_install_container_has_credentials_and_writable_store():
    template = build(SPECS["init"])["spec"]["templates"][0]
    (install,), main = template["initContainers"], template["script"]
    assert "index-login" in json.dumps(install)
    assert "index-login" not in json.dumps(main)
    assert "keys" not in json.dumps(install["env"])
    stores = [
        next(mount for mount in container["volumeMounts"] if mount["name"] == "store") for container in (install, main)
    ]
    assert [store.get("readOnly", False) for store in stores] == [False, True]
    shared = {mount["name"] for mount in install["volumeMounts"]} & {mount["name"] for mount in main["volumeMounts"]}
    assert shared == {"store", "no-token"}


def test_service_account_token_is_hidden_by_default():
    def token_mounts(**settings):
        template = build(replace(SPECS["init"], settings=replace(SPECS["init"].settings, **settings)))
        template = template["spec"]["templates"][0]
        containers = (template["script"], *template["initContainers"])
        # Kubernetes adds the token to containers without a mount at this path.
        return [mount for each in containers for mount in each["volumeMounts"] if mount["mountPath"] == pod.TOKEN]

    hidden = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "no-token", "readOnly": True}
    assert token_mounts() == [hidden, hidden]
    assert token_mounts(service_account_token=True) == []
    with pytest.raises(SpecError, match="in use"):
        token_mounts(secret_files=((pod.TOKEN, "mine"),))


def test_no_install_container_without_packages():
    template = build(SPECS["init"], replace(PROGRAM, install=""))["spec"]["templates"][0]
    assert "initContainers" not in template
    assert template["script"]["source"] == PROGRAM.source


def test_large_program_with_init_shape_has_two_files():
    program = Program(guest="A" * 50_000, payload="A" * 60_000, nonce="ab", install="A" * 100)
    template = build(SPECS["init"], program)["spec"]["templates"][0]
    assert "/uv-argo/install.py" in template["initContainers"][0]["command"][-1]
    assert "/uv-argo/program.py" in template["script"]["source"]
    config_map = workflow.config_map(program, SPECS["init"], run_id="20260101-000000-abcdef")
    assert config_map
    assert config_map["data"] == {"install.py": program.install_source, "program.py": program.cell_source}


def test_install_image_has_python_of_the_cell():
    settings = SPECS["init"].settings
    assert images.installer("3.12.1", settings, "main").startswith("docker.io/astral/uv:")
    assert images.installer("3.12.1", replace(settings, install_image="mine"), "main") == "mine"
    assert images.installer("", Settings(shape="init"), "main") == "main"
    with pytest.raises(SpecError, match=r"no image with uv for Python 3\.9") as caught:
        images.installer("3.9.2", settings, "main")
    assert "install_image" in caught.value.hint


def test_oversized_program_is_refused():
    program = Program(guest="A" * 50_000, payload="A" * 900_000, nonce="ab")
    with pytest.raises(SpecError, match="921,600") as caught:
        build(SPECS["script"], program)
    assert "--push" in caught.value.hint


def test_hera_does_not_change_yaml_dumpers():
    code = (
        "import yaml; before = yaml.dump('a\\nb'), yaml.safe_dump('a\\nb')\n"
        "from uv_argo_magic.backends.argo.manifests.hera import hera; hera()\n"
        "assert (yaml.dump('a\\nb'), yaml.safe_dump('a\\nb')) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_backend_imports_no_slow_libraries():
    code = (
        "import sys; from uv_argo_magic.backends.argo.backend import ArgoBackend; ArgoBackend()\n"
        "assert not {'hera', 'kubernetes'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(volumes=(("/data", "nfs/x"),)), "invalid volume in volumes: 'nfs/x'"),
        (Settings(volumes=(("/data", "empty/much"),)), "invalid volume in volumes: 'empty/much'"),
        (Settings(store="claim/x:ro"), "invalid volume in store: 'claim/x:ro'"),
        (Settings(store="empty/5Gi"), "invalid volume in store: 'empty/5Gi'"),
        (Settings(store="host/var/../etc"), "invalid volume in store: 'host/var/../etc'"),
        (Settings(volumes=(("data", "claim/x"),)), "invalid mount path: 'data'"),
        (Settings(volumes=(("/data/", "claim/x"),)), "invalid mount path: '/data/'"),
        (Settings(volumes=(("/tmp", "claim/x"),)), "cannot mount a volume at /tmp"),
        (Settings(volumes=(("/argo/x", "claim/x"),)), "the mount path /argo/x is in use"),
        (Settings(volumes=(("/a", "claim/x"),), secret_files=(("/a", "s"),)), "the mount path /a is in use"),
        (Settings(secret_files=(("/a", "b/c"),)), "invalid entry in secret_files: /a=b/c"),
        (Settings(secret_env=(("A", "secret"),)), "invalid entry in secret_env: A=secret"),
        (Settings(secret_env=(("A-B", "secret/key"),)), "invalid entry in secret_env: A-B=secret/key"),
        (Settings(tolerations=("a=b:Never",)), "invalid toleration: a=b:Never"),
        (Settings(index_secrets=(("a b", "x"),)), "invalid entry in index_secrets: a b=x"),
        (Settings(semaphore="limits"), "invalid semaphore: limits"),
        (Settings(labels=((run_metadata.RUN_LABEL, "x"),)), "the label uv-argo-magic/run is reserved"),
        (Settings(cache="host/../etc"), "invalid volume in cache: 'host/../etc'"),
        (Settings(cache="/var/cache"), "invalid volume in cache: '/var/cache'"),
        (Settings(env="shared"), "env=shared needs a store"),
        (Settings(env="persistent"), "a persistent environment needs a volume"),
        (Settings(env="persistent", volumes=(("/data", "claim/x:ro"),)), "a persistent environment needs a volume"),
        (
            Settings(venv="/elsewhere/v", volumes=(("/data", "claim/x"),)),
            "invalid venv: /elsewhere/v is on no volume of the pod that cells can write to",
        ),
        (
            Settings(venv="/data/../v", volumes=(("/data", "claim/x"),)),
            "invalid venv: /data/../v is on no volume of the pod that cells can write to",
        ),
        (
            Settings(venv="/data/{{=x}}", volumes=(("/data", "claim/x"),)),
            "invalid venv: /data/{{=x}} is on no volume of the pod that cells can write to",
        ),
        (
            Settings(env="persistent", shape="init", volumes=(("/data", "claim/x"),)),
            "a persistent environment needs the cell's container to install it",
        ),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(SpecError) as caught:
        build(RunSpec(cell="print(1)", settings=settings))
    assert str(caught.value) == message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "venv", "cache"),
    [
        ({}, "/tmp/venv-{{workflow.name}}", "/tmp/uv-cache"),
        ({"env": "ephemeral", "store": "claim/s"}, "/tmp/venv-{{workflow.name}}", "/uv-argo-store/uv-cache"),
        ({"cache": "claim/c"}, "/tmp/venv-{{workflow.name}}", "/uv-argo-cache/uv"),
        (
            {"env": "persistent", "volumes": (("/in", "claim/a:ro"), ("/mnt/results", "claim/b"))},
            "/mnt/results/.venv-{{workflow.name}}",
            "/tmp/uv-cache",
        ),
        ({"venv": "/mnt/results/.venv-a", "volumes": (("/mnt/results", "claim/b"),)}, "/mnt/results/.venv-a", None),
    ],
)
def test_venv_and_uv_cache_paths(settings, venv, cache):
    (template,) = build(RunSpec(cell="", settings=Settings(**settings)))["spec"]["templates"]
    values = {variable["name"]: variable.get("value") for variable in template["script"]["env"]}
    assert values["UV_ARGO_VENV"] == venv
    assert values.get("UV_ARGO_NAME") == ("{{workflow.name}}" if "volumes" in settings else None)
    assert cache in (None, values["UV_CACHE_DIR"])


@pytest.mark.parametrize(
    ("cache", "source"),
    [
        ("claim/c", {"persistentVolumeClaim": {"claimName": "c"}}),
        ("host/var/cache/uv", {"hostPath": {"path": "/var/cache/uv", "type": "DirectoryOrCreate"}}),
    ],
)
def test_only_install_container_mounts_the_cache(cache, source):
    settings = replace(SPECS["init"].settings, cache=cache)
    (template,) = build(replace(SPECS["init"], settings=settings))["spec"]["templates"]
    (volume,) = (volume for volume in template["volumes"] if volume["name"] == "cache")
    assert volume == {"name": "cache", **source}
    (install,) = template["initContainers"]
    assert {"name": "cache", "mountPath": "/uv-argo-cache"} in install["volumeMounts"]
    assert "cache" not in {mount["name"] for mount in template["script"]["volumeMounts"]}


def test_store_can_be_a_folder_of_the_node():
    settings = replace(SPECS["init"].settings, store="host/var/lib/uv-argo")
    (template,) = build(replace(SPECS["init"], settings=settings))["spec"]["templates"]
    source = {"hostPath": {"path": "/var/lib/uv-argo", "type": "DirectoryOrCreate"}}
    assert {"name": "store", **source} in template["volumes"]
    (install,) = template["initContainers"]
    mount = {"name": "store", "mountPath": "/uv-argo-store"}
    assert mount in install["volumeMounts"]
    assert {**mount, "readOnly": True} in template["script"]["volumeMounts"]


def test_single_quantity_is_request_and_limit():
    template = build(RunSpec(cell="", resources=Resources(memory="2Gi")))["spec"]["templates"][0]
    assert template["script"]["resources"] == {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}}
