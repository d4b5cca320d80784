"""config.py, _os/paths.py: where settings come from, and where things lie."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from uv_argo_magic import config
from uv_argo_magic._os import paths
from uv_argo_magic.backends import base
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.commands import help as command_help
from uv_argo_magic.core.commands.table import RunOptions, read_cell, run_options
from uv_argo_magic.core.spec import settings_parser
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.testing import FakeBackend


def configured(tmp_path, *, line=None, script=None, traits=None, environ=None, here="", user=""):
    env = {"UV_ARGO_HOME": str(tmp_path / "home"), **(environ or {})}
    (tmp_path / "home" / "config").mkdir(parents=True, exist_ok=True)
    if here:
        (tmp_path / "uv-argo.toml").write_text(here, encoding="utf-8")
    if user:
        (tmp_path / "home" / "config" / "uv-argo.toml").write_text(user, encoding="utf-8")
    found = config.layers(line or {}, script or {}, traits or {}, env, tmp_path)
    return config.configure(found, env)


def test_each_place_beats_the_ones_after_it(tmp_path):
    places_in_order = {
        "user": "panel = 'text'",
        "here": "panel = 'html'",
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
    assert configured(tmp_path).origin("panel") == "default"
    for i in range(6):
        made = configured(tmp_path, **dict(list(places_in_order.items())[: i + 1]))
        assert (made.settings.panel, made.origin("panel")) == (values[i], origins[i])


def test_places_add_up_key_by_key(tmp_path):
    made = configured(
        tmp_path,
        here='run_timeout = "5m"\nlog_budget = 1000\nvariables = {A = "1"}\n'
        'deps = ["numpy", "pandas>=2"]\npython = "3.12"',
        environ={"UV_ARGO_LOG_BUDGET": "2k", "UV_ARGO_BACKEND": "local", "UV_ARGO_CONSTRAINTS": ""},
    )
    assert made.settings.run_timeout == 300
    assert made.settings.log_budget == 2000
    assert made.settings.variables == (("A", "1"),)
    assert made.settings.constraints == ()
    assert (made.deps, made.python, made.backend) == ("numpy\npandas>=2", "3.12", "local")
    assert made.origin("backend") == "UV_ARGO_BACKEND"


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
def test_a_wrong_file_is_named(tmp_path, text, message):
    with pytest.raises(SpecError, match=message) as caught:
        configured(tmp_path, here=text)
    assert caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "uv-argo.toml").write_text("", encoding="utf-8")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SpecError, match=r"cannot read .*: Permission denied"):
        config.layers({}, {}, {}, {"UV_ARGO_HOME": str(tmp_path / "h")}, tmp_path)


def test_a_wrong_variable_is_named_and_a_near_one_gets_a_sentence(tmp_path):
    with pytest.raises(SpecError, match=r"UV_ARGO_PANEL: invalid value for panel: x"):
        configured(tmp_path, environ={"UV_ARGO_PANEL": "x"})
    made = configured(tmp_path, environ={"UV_ARGO_PANNEL": "x", "UV_ARGO_SERVER_PORT": "1", "UV_ARGO_NAMESPACE": "n"})
    assert made.notes == ("Unknown setting UV_ARGO_PANNEL; did you mean UV_ARGO_PANEL?",)


def test_which_backend(tmp_path, monkeypatch):
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    monkeypatch.setattr(base, "_installed", lambda: {"mine": "x:Y", **base.OURS})
    with pytest.raises(SpecError, match=r"^unknown backend arg; did you mean argo\?$") as caught:
        configured(tmp_path, line={"backend": "arg"})
    assert caught.value.hint == "Choose from: argo, local, mine."
    assert configured(tmp_path, line={"backend": "mine"}).backend == "mine"
    assert configured(tmp_path).backend == "local"
    assert configured(tmp_path, environ=inside).backend == "argo"
    assert configured(tmp_path, environ={"UV_ARGO_NAMESPACE": "mine"}).backend == "argo"
    assert configured(tmp_path, environ={**inside, "UV_ARGO_BACKEND": "local"}).backend == "local"
    assert configured(tmp_path, environ={"UV_ARGO_BACKEND": "local"}, traits={"backend": "argo"}).backend == "argo"
    assert configured(tmp_path, traits={"backend": "argo"}, line={"backend": "local"}).backend == "local"


def test_what_the_line_says():
    options = run_options(read_cell("-p 3.12 -b local --deps '' --set panel=html", {}))
    assert config.line_values(options) == {"panel": "html", "python": "3.12", "backend": "local"}


def test_what_a_backend_does_not_declare_is_refused():
    for name in ("local", "argo"):
        config.refuse(RunOptions(detach=True), name)
    with pytest.raises(BackendUnavailable, match="unknown backend nope"):
        config.refuse(RunOptions(detach=True), "nope")


def test_a_backends_class_says_what_it_can(monkeypatch):
    monkeypatch.setattr(FakeBackend, "capabilities", base.Capability.DETACH)
    monkeypatch.setattr(base, "_installed", lambda: {"able-in-tests": "uv_argo_magic.testing:FakeBackend"})
    config.refuse(RunOptions(detach=True), "able-in-tests")

    monkeypatch.setattr(base, "_installed", lambda: {"broken-in-tests": "no_such_module:Y"})
    with pytest.raises(BackendUnavailable, match="cannot import the backend broken-in-tests: No module named"):
        config.refuse(RunOptions(detach=True), "broken-in-tests")


def test_places(tmp_path):
    environ = {"UV_ARGO_HOME": str(tmp_path)}
    found = [paths.data_dir(environ), paths.cache_dir(environ), paths.config_dir(environ)]
    assert found == [tmp_path / "data", tmp_path / "cache", tmp_path / "config"]
    for place in (paths.data_dir({}), paths.cache_dir({}), paths.config_dir({})):
        assert place.is_absolute()
        assert "uv-argo" in place.parts
    assert paths.data_dir({"UV_ARGO_HOME": "x"}).is_absolute()


def test_settings_that_the_backend_does_not_use_are_noted(tmp_path):
    def noted(line: str) -> tuple[str, ...]:
        options = run_options(read_cell(line, {}))
        configuration = configured(tmp_path, line=config.line_values(options))
        return config.ignored_settings(options, configuration)

    assert noted("--set retries=3 --set image=x --set deadline=1s --set variables=A=1") == (
        "The local backend ignores --set deadline, --set image, --set retries.",
    )
    assert noted("-b argo --set retries=3 --set image=x --set deadline=1s") == ()
    assert noted("--set base=own --timeout 5m") == ()


def test_the_note_names_the_origin_of_each_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    made = configured(
        tmp_path,
        line={"retries": 3},
        traits={"image": "x"},
        environ={"UV_ARGO_DEADLINE": "1s", "UV_ARGO_BACKEND": "local"},
        here="template = 't'\npanel = 'text'",
        user="namespace = 'n'",
    )
    assert {made.origin("deadline"), made.origin("namespace")} == {
        "UV_ARGO_DEADLINE",
        str(paths.config_dir() / config.FILE),
    }
    (note,) = config.ignored_settings(RunOptions(), made)
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
    """A backend of another package, with settings of its own."""
    registries = (settings_parser.FIELDS, settings_parser.TYPES, settings_parser.OWN)
    before = [dict(registry) for registry in registries]
    monkeypatch.setattr(base, "_installed", lambda: {"batch": "batch_backend:BatchBackend", **base.OURS})
    monkeypatch.setitem(sys.modules, "batch_backend", SimpleNamespace(BatchBackend=BatchBackend))
    monkeypatch.setattr(settings_parser, "_find_more", [base._declare_settings])
    base.load.cache_clear()
    yield
    base.load.cache_clear()
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.mark.usefixtures("batch")
def test_a_backend_of_another_package_has_settings_of_its_own(tmp_path):
    options = run_options(read_cell("-b batch --set priority=3", {}))
    made = configured(tmp_path, line=config.line_values(options), here="queue = 'night'")
    assert made.settings.of(BatchSettings) == BatchSettings(queue="night", priority=3)
    assert config.ignored_settings(options, made) == ()
    assert replace(made.settings, own=()) == Settings()
    assert "Batch settings:" in command_help.explain("run", "terminal")
    assert "priority within the queue (default: 0)" in command_help.explain("run", "terminal")
    with pytest.raises(SpecError, match="invalid value for priority: high"):
        settings_parser.parse_assignments(["priority=high"])
    with pytest.raises(SpecError, match=r"unknown setting queu; did you mean queue\?"):
        settings_parser.parse_assignments(["queu=x"])


@pytest.mark.usefixtures("batch")
def test_a_setting_of_another_backend_is_noted_and_a_variable_reaches_its_own(tmp_path):
    options = run_options(read_cell("-b local --set priority=3", {}))
    made = configured(tmp_path, line=config.line_values(options))
    assert config.ignored_settings(options, made) == ("The local backend ignores --set priority.",)
    made = configured(tmp_path, environ={"UV_ARGO_QUEUE": "day", "UV_ARGO_BACKEND": "batch"})
    assert made.settings.of(BatchSettings).queue == "day"


@pytest.mark.usefixtures("batch")
def test_a_declared_setting_may_not_take_a_name():
    @dataclass(frozen=True, kw_only=True)
    class Taken:
        image: str = field(default="", metadata={"help": "another"})

    with pytest.raises(SpecError, match="the other backend declares the setting image, which is taken"):
        settings_parser.declare("other", Taken)


def test_resources_that_the_backend_does_not_use_are_noted(tmp_path, monkeypatch):
    def noted(line: str) -> tuple[str, ...]:
        options = run_options(read_cell(line, {}))
        configuration = configured(tmp_path, line=config.line_values(options))
        return config.ignored_settings(options, configuration)

    line = "--cpu 2 --memory 8Gi --gpu 1 --resources disk=1Gi"
    monkeypatch.setattr(LocalBackend, "limited", frozenset({"cpu", "memory"}))
    assert noted(line) == ("The local backend ignores gpu=1, disk=1Gi.",)
    assert noted("-b argo " + line) == ()
    monkeypatch.setattr(LocalBackend, "limited", frozenset())
    assert noted("--cpu 2 --set retries=1") == ("The local backend ignores --set retries, cpu=2.",)
    assert base.ignored_resources(FakeBackend(), ("gpu",)) == ("gpu",)


def test_what_is_not_a_backend_is_refused_by_name(monkeypatch):
    class Half:
        capabilities = base.Capability.NONE

        def submit(self, program, spec, run_id, *, notebook=""):
            raise AssertionError

    monkeypatch.setitem(sys.modules, "x", SimpleNamespace(Half=Half))
    monkeypatch.setattr(base, "_installed", lambda: {"half-in-tests": "x:Half"})
    with pytest.raises(BackendUnavailable, match="x:Half is not a backend: it lacks settings, target, find, watch"):
        base.load("half-in-tests")


def test_each_backend_declares_settings_that_exist():
    assert set(settings_parser.FIELDS) >= base.BACKEND_SETTINGS
    assert base.load("argo").settings == base.BACKEND_SETTINGS
    assert base.load("local").settings <= base.BACKEND_SETTINGS
