"""config.py, _os/paths.py: the sources of settings, and the folders."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from uv_argo_magic import config
from uv_argo_magic._os import paths
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.run_options import RunOptions, run_options
from uv_argo_magic.core.commands.table import read_cell
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.testing import FakeBackend


def configure(tmp_path, *, line=None, script=None, traits=None, environ=None, project="", user_file=""):
    env = {"UV_ARGO_HOME": str(tmp_path / "home"), **(environ or {})}
    (tmp_path / "home" / "config").mkdir(parents=True, exist_ok=True)
    if project:
        (tmp_path / "uv-argo.toml").write_text(project, encoding="utf-8")
    if user_file:
        (tmp_path / "home" / "config" / "uv-argo.toml").write_text(user_file, encoding="utf-8")
    layers = config.layers(line or {}, script or {}, traits or {}, env, tmp_path)
    return config.configure(layers, env)


def test_sources_of_settings_have_an_order(tmp_path):
    sources_in_order = {
        "user_file": "panel = 'text'",
        "project": "panel = 'html'",
        "environ": {"UV_ARGO_PANEL": "static"},
        "traits": {"panel": "widget"},
        "script": {"panel": "none"},
        "line": {"panel": "auto"},
    }
    origins = [
        str(tmp_path / "home" / "config" / "uv-argo.toml"),
        str(tmp_path / "uv-argo.toml"),
        "UV_ARGO_PANEL",
        "%config ArgoMagics",
        "the cell's script block",
        "the line",
    ]
    values = ["text", "html", "static", "widget", "none", "auto"]
    assert configure(tmp_path).origin("panel") == "default"
    for i in range(6):
        configuration = configure(tmp_path, **dict(list(sources_in_order.items())[: i + 1]))
        assert (configuration.settings.panel, configuration.origin("panel")) == (values[i], origins[i])


def test_sources_are_merged_per_setting(tmp_path):
    configuration = configure(
        tmp_path,
        project='run_timeout = "5m"\nlog_budget = 1000\nvariables = {A = "1"}\n'
        'deps = ["numpy", "pandas>=2"]\npython = "3.12"',
        environ={"UV_ARGO_LOG_BUDGET": "2k", "UV_ARGO_BACKEND": "local", "UV_ARGO_CONSTRAINTS": ""},
    )
    assert configuration.settings.run_timeout == 300
    assert configuration.settings.log_budget == 2000
    assert configuration.settings.variables == (("A", "1"),)
    assert configuration.settings.constraints == ()
    assert (configuration.deps, configuration.python, configuration.backend) == ("numpy\npandas>=2", "3.12", "local")
    assert configuration.origin("backend") == "UV_ARGO_BACKEND"


def test_stronger_source_chooses_the_kind_of_environment(tmp_path):
    persistent = 'venv = "/data/.venv"'
    for line, environment, venv in (
        ({"env": "ephemeral"}, "ephemeral", ""),
        ({"env": "persistent"}, "persistent", "/data/.venv"),
        ({}, "persistent", "/data/.venv"),
    ):
        configuration = configure(tmp_path, line=line, project=persistent)
        assert (configuration.settings.environment, configuration.settings.venv) == (environment, venv)
        assert (configuration.origin("venv") == "default") == (not venv)
    configuration = configure(tmp_path, line={"venv": "/x"}, project='env = "shared"')
    assert (configuration.settings.env, configuration.settings.environment) == ("", "persistent")
    both = {"UV_ARGO_ENV": "shared", "UV_ARGO_VENV": "/x"}
    for sources in ({"line": {"env": "shared", "venv": "/x"}}, {"environ": both}):
        with pytest.raises(SpecError, match="env=shared contradicts venv=/x, which is a persistent environment"):
            configure(tmp_path, **sources)
    assert configure(tmp_path, line={"env": "ephemeral"}, environ={"UV_ARGO_VENV": "/x"}).settings.venv == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pannel = 'x'", r"uv-argo.toml: unknown setting pannel; did you mean panel\?"),
        ("panel = 3", "uv-argo.toml: invalid value for panel: 3"),
        ("python = 3.10", "uv-argo.toml: python must be a string, not a number"),
        ("python = true", "uv-argo.toml: python must be a string, not True"),
        ("deps = [1]", r"uv-argo.toml: deps must be a string, not \[1\]"),
        ("panel =", "invalid TOML in .*uv-argo.toml"),
        ("backend = 'lcoal'", r"uv-argo.toml: unknown backend lcoal; did you mean local\?"),
    ],
)
def test_invalid_file_is_reported(tmp_path, text, message):
    with pytest.raises(SpecError, match=message) as exc_info:
        configure(tmp_path, project=text)
    assert exc_info.value.hint


def test_unreadable_file_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "uv-argo.toml").write_text("", encoding="utf-8")
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(SpecError, match=r"cannot read .*: Permission denied"):
        config.layers({}, {}, {}, {"UV_ARGO_HOME": str(tmp_path / "h")}, tmp_path)


def test_invalid_and_unknown_variables_are_reported(tmp_path):
    with pytest.raises(SpecError, match=r"UV_ARGO_PANEL: invalid value for panel: x"):
        configure(tmp_path, environ={"UV_ARGO_PANEL": "x"})
    configuration = configure(
        tmp_path, environ={"UV_ARGO_PANNEL": "x", "UV_ARGO_SERVER_PORT": "1", "UV_ARGO_NAMESPACE": "n"}
    )
    assert configuration.notes == ("Unknown setting UV_ARGO_PANNEL; did you mean UV_ARGO_PANEL?",)


def test_backend_is_chosen_from_settings_and_environment(tmp_path, monkeypatch):
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    monkeypatch.setattr(lookup, "_installed", lambda: {"mine": "x:Y", **lookup.OURS})
    with pytest.raises(SpecError, match=r"^unknown backend arg; did you mean argo\?$") as exc_info:
        configure(tmp_path, line={"backend": "arg"})
    assert exc_info.value.hint == "Choose from: argo, local, mine."
    assert configure(tmp_path, line={"backend": "mine"}).backend == "mine"
    assert configure(tmp_path).backend == "local"
    assert configure(tmp_path, environ=inside).backend == "argo"
    assert configure(tmp_path, environ={"UV_ARGO_NAMESPACE": "mine"}).backend == "argo"
    assert configure(tmp_path, environ={**inside, "UV_ARGO_BACKEND": "local"}).backend == "local"
    assert configure(tmp_path, environ={"UV_ARGO_BACKEND": "local"}, traits={"backend": "argo"}).backend == "argo"
    assert configure(tmp_path, traits={"backend": "argo"}, line={"backend": "local"}).backend == "local"


def test_line_values():
    options = run_options(read_cell("-p 3.12 -b local --deps '' --set panel=html", {}))
    assert config.line_values(options) == {"panel": "html", "python": "3.12", "backend": "local"}


def test_unknown_backend_is_rejected():
    for name in ("local", "argo"):
        config.refuse_unsupported(RunOptions(detach=True), name)
    with pytest.raises(BackendUnavailable, match="unknown backend nope"):
        config.refuse_unsupported(RunOptions(detach=True), "nope")


def test_capabilities_are_read_from_the_class(monkeypatch):
    monkeypatch.setattr(FakeBackend, "capabilities", base.Capability.DETACH)
    monkeypatch.setattr(lookup, "_installed", lambda: {"able-in-tests": "uv_argo_magic.testing:FakeBackend"})
    config.refuse_unsupported(RunOptions(detach=True), "able-in-tests")

    monkeypatch.setattr(lookup, "_installed", lambda: {"broken-in-tests": "no_such_module:Y"})
    with pytest.raises(BackendUnavailable, match="cannot import the backend broken-in-tests: No module named"):
        config.refuse_unsupported(RunOptions(detach=True), "broken-in-tests")


def test_folders_of_the_user(tmp_path):
    environ = {"UV_ARGO_HOME": str(tmp_path)}
    folders = [paths.data_dir(environ), paths.cache_dir(environ), paths.config_dir(environ)]
    assert folders == [tmp_path / "data", tmp_path / "cache", tmp_path / "config"]
    for folder in (paths.data_dir({}), paths.cache_dir({}), paths.config_dir({})):
        assert folder.is_absolute()
        assert "uv-argo" in folder.parts
    for name in ("x", "~no.such.user"):
        assert paths.data_dir({"UV_ARGO_HOME": name}) == Path(name).absolute() / "data"


def test_ignored_settings_are_noted(tmp_path):
    def notes_for(line: str) -> tuple[str, ...]:
        options = run_options(read_cell(line, {}))
        configuration = configure(tmp_path, line=config.line_values(options))
        return config.ignored_settings(options, configuration)

    assert notes_for("--set retries=3 --set image=x --set deadline=1s --set variables=A=1") == (
        "The local backend ignores --set deadline, --set image, --set retries.",
    )
    assert notes_for("-b argo --set retries=3 --set image=x --set deadline=1s") == ()
    assert notes_for("--set base=own --timeout 5m") == ()


def test_note_names_the_origin_of_each_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    configuration = configure(
        tmp_path,
        line={"retries": 3},
        traits={"image": "x"},
        environ={"UV_ARGO_DEADLINE": "1s", "UV_ARGO_BACKEND": "local"},
        project="template = 't'\npanel = 'text'",
        user_file="namespace = 'n'",
    )
    assert {configuration.origin("deadline"), configuration.origin("namespace")} == {
        "UV_ARGO_DEADLINE",
        str(paths.config_dir() / config.FILE),
    }
    (note,) = config.ignored_settings(RunOptions(), configuration)
    ignored = ["image (%config ArgoMagics)", "--set retries"]
    assert note == f"The local backend ignores {', '.join(ignored)}, template ({tmp_path / 'uv-argo.toml'})."


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    queue: str = field(default="default", metadata={"help": "queue of the batch system"})
    priority: int = field(default=0, metadata={"help": "priority within the queue"})


class BatchBackend(FakeBackend):
    own_settings = BatchSettings


@pytest.fixture
def batch(monkeypatch):
    """A backend of another package that declares settings."""
    registries = (settings_parser.FIELDS, settings_parser.TYPES, settings_parser.OWN)
    before = [dict(registry) for registry in registries]
    monkeypatch.setattr(lookup, "_installed", lambda: {"batch": "batch_backend:BatchBackend", **lookup.OURS})
    monkeypatch.setitem(sys.modules, "batch_backend", SimpleNamespace(BatchBackend=BatchBackend))
    monkeypatch.setattr(settings_parser, "_find_more", [lookup._declare_settings])
    lookup.load.cache_clear()
    yield
    lookup.load.cache_clear()
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.mark.usefixtures("batch")
def test_backend_of_another_package_declares_settings(tmp_path):
    options = run_options(read_cell("-b batch --set priority=3", {}))
    configuration = configure(tmp_path, line=config.line_values(options), project="queue = 'night'")
    assert configuration.settings.of(BatchSettings) == BatchSettings(queue="night", priority=3)
    assert config.ignored_settings(options, configuration) == ()
    assert replace(configuration.settings, own=()) == Settings()
    assert "Batch settings:" in command_help.explain("run", "terminal")
    assert "priority within the queue (default: 0)" in command_help.explain("run", "terminal")
    with pytest.raises(SpecError, match="invalid value for priority: high"):
        settings_parser.parse_assignments(["priority=high"])
    with pytest.raises(SpecError, match=r"unknown setting queu; did you mean queue\?"):
        settings_parser.parse_assignments(["queu=x"])


@pytest.mark.usefixtures("batch")
def test_declared_settings_apply_to_their_backend_only(tmp_path):
    options = run_options(read_cell("-b local --set priority=3", {}))
    configuration = configure(tmp_path, line=config.line_values(options))
    assert config.ignored_settings(options, configuration) == ("The local backend ignores --set priority.",)
    configuration = configure(tmp_path, environ={"UV_ARGO_QUEUE": "day", "UV_ARGO_BACKEND": "batch"})
    assert configuration.settings.of(BatchSettings).queue == "day"


@pytest.mark.usefixtures("batch")
def test_declared_setting_cannot_replace_another():
    @dataclass(frozen=True, kw_only=True)
    class Taken:
        image: str = field(default="", metadata={"help": "another"})

    with pytest.raises(SpecError, match="the other backend declares the setting image, which already exists"):
        settings_parser.declare("other", Taken)


def test_ignored_resources_are_noted(tmp_path, monkeypatch):
    def notes_for(line: str) -> tuple[str, ...]:
        options = run_options(read_cell(line, {}))
        configuration = configure(tmp_path, line=config.line_values(options))
        return config.ignored_settings(options, configuration)

    line = "--cpu 2 --memory 8Gi --gpu 1 --resources disk=1Gi"
    monkeypatch.setattr(LocalBackend, "limited", frozenset({"cpu", "memory"}))
    assert notes_for(line) == ("The local backend ignores gpu=1, disk=1Gi.",)
    assert notes_for("-b argo " + line) == ()
    monkeypatch.setattr(LocalBackend, "limited", frozenset())
    assert notes_for("--cpu 2 --set retries=1") == ("The local backend ignores --set retries, cpu=2.",)
    assert base.ignored_resources(FakeBackend(), ("gpu",)) == ("gpu",)


def test_incomplete_backend_is_rejected(monkeypatch):
    class IncompleteBackend:
        capabilities = base.Capability.NONE

        def submit(self, program, spec, run_id, *, notebook=""):
            raise AssertionError

    monkeypatch.setitem(sys.modules, "x", SimpleNamespace(Half=IncompleteBackend))
    monkeypatch.setattr(lookup, "_installed", lambda: {"half-in-tests": "x:Half"})
    with pytest.raises(BackendUnavailable, match="x:Half is not a backend: it lacks settings, target, find, watch"):
        lookup.load("half-in-tests")


def test_backends_declare_existing_settings():
    assert set(settings_parser.FIELDS) >= base.BACKEND_SETTINGS
    assert lookup.load("argo").settings == base.BACKEND_SETTINGS
    assert lookup.load("local").settings <= base.BACKEND_SETTINGS
