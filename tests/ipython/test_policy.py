"""A package policy in a notebook: it applies to every way to install packages, and the user sees the reason."""

from __future__ import annotations

import json

import pytest
from IPython.utils.capture import capture_output
from support.session_notebook import end_all

from uv_argo_magic.commands import edit
from uv_argo_magic.core.requirements import edits
from uv_argo_magic.core.view import requirements_html
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.errors import PolicyError

BLOCKED = '[packages]\nblocked = [{name = "beta", reason = "<script>alert(1)</script>"}]\n'
REASON = "beta 1.0 is blocked: <script>alert(1)</script> (required by {}). Remove or replace {}."


@pytest.fixture
def policy(shell, index, tmp_path):
    index.add("gamma", "1.0")
    path = tmp_path / "uv-argo-policy.toml"
    path.write_text(BLOCKED)
    return path


def policy_error(shell, text):
    """The message of the PolicyError that a cell must raise."""
    with capture_output() as captured:
        error = shell.run_cell(text).error_in_exec
    assert isinstance(error, PolicyError), (error, captured.stdout)
    return str(error)


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "text",
    [
        "%%argo -d alpha\n1",
        "%%argo -r list.txt\n1",
        "%%argo\n# /// script\n# dependencies = ['alpha']\n# ///\n1",
        "%%argo --detach -d alpha\n1",
        "%%argo --dry-run -d alpha\n1",
        "%%argo -s -d alpha\n1",
        "%argo lock --deps alpha",
        "%argo lock --deps alpha --upgrade",
    ],
)
def test_policy_applies_to_every_way_to_install(shell, policy, index, text):
    (policy.parent / "list.txt").write_text("alpha\n")
    assert REASON.format("alpha", "alpha") in policy_error(shell, text)
    assert [path for path in index.requests if path.endswith(".whl")] == []


def test_policy_applies_to_pip_in_a_cell(shell, policy):
    line = "%pip install alpha"
    assert REASON.format(line, line) in policy_error(shell, f"%%argo -d gamma\n{line}\n1")


def test_policy_applies_to_packages_added_to_a_session(shell, policy, index):
    with capture_output() as captured:
        assert shell.run_cell("%%argo -s -d gamma\nx = 1").success, captured.stdout
        try:
            assert "beta 1.0 is blocked" in policy_error(shell, "%%argo -s -d alpha\n1")
            assert repr(shell.run_cell("%%argo -s\nx").result) == "1"
            policy.write_text("[sessions]\nallowed = false\n")
            assert "Sessions are not allowed" in policy_error(shell, "%%argo -s\nx")
        finally:
            end_all()


def test_verify_applies_the_current_policy(shell, policy, tmp_path):
    policy.unlink()
    with capture_output() as captured:
        assert shell.run_cell("%%argo -d alpha --set panel=static\n1").success
    outputs = [
        {"output_type": "display_data", "data": output.data, "metadata": output.metadata or {}}
        for output in captured.outputs
    ]
    cell = {"cell_type": "code", "source": "%%argo -d alpha\n1", "outputs": outputs}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    policy.write_text(BLOCKED)
    with capture_output() as captured:
        shell.run_cell("%argo verify study.ipynb")
    assert "PolicyError" in captured.stdout + "".join(str(output.data) for output in captured.outputs)


def test_editor_marks_blocked_requirements(shell, policy, tmp_path):
    context = CellContext.current(names={}, traits={}, line_offset=1, notebook=str(tmp_path / "study.ipynb"))
    path = tmp_path / "study.requirements.txt"
    path.write_text("alpha\ngamma\n")
    result = edit.check(path, context)
    assert result.blamed == ("alpha",)
    assert "beta 1.0 is blocked" in result.problem
    items = edits.items(path.read_text(), path.name)
    html = requirements_html.static_html(items, path.read_text(), path.name, result)
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    with pytest.raises(PolicyError):
        edit.lock(path, context, None, None)


def test_policy_applies_to_env_warm(shell, policy):
    assert "beta 1.0 is blocked" in policy_error(shell, "%argo env warm --deps alpha")


def test_policy_of_the_notebooks_folder_applies_elsewhere(shell, policy, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    monkeypatch.chdir(other)
    assert "beta 1.0 is blocked" in policy_error(shell, "%%argo -d alpha\n1")


def test_policy_text_is_escaped_in_html(shell, policy):
    with capture_output() as captured:
        shell.run_cell("%argo policy")
    (table,) = captured.outputs
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in table.data["text/html"]
    assert "<script>" not in table.data["text/html"]


@pytest.fixture
def answer_prompt(shell, policy, tmp_path, monkeypatch):
    """A notebook with a run of another user, and a policy that requires confirmation."""
    policy.write_text('[install]\nconfirm = "foreign-lock"\n')
    entry = {"uv_argo": {"schema": 1, "run": "20260102-030405-abcdef", "lock": "0" * 32}}
    cell = {"cell_type": "code", "source": "x", "outputs": [{"metadata": entry}]}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    prompts = []

    def answer(text):
        monkeypatch.setattr("builtins.input", lambda prompt="": prompts.append(prompt) or text)
        return prompts

    return answer


def test_packages_of_another_users_notebook_need_confirmation(shell, answer_prompt, index):
    prompts = answer_prompt("n")
    assert "20260102-030405-abcdef" in policy_error(shell, "%%argo -d alpha\n1")
    assert [path for path in index.requests if path.endswith(".whl")] == []
    (prompt,) = prompts
    assert prompt.startswith("This notebook has runs of another user or machine, the last one 20260102-030405-abcdef.")
    assert f"2 packages (1.8 kB) that you never installed before, for alpha 1.0, from {index.url}." in prompt
    answer_prompt("y")
    for _ in range(2):
        assert shell.run_cell("%%argo -d alpha\n1").success
    assert len(prompts) == 2
    assert shell.run_cell("%%argo\n1").success
    assert len(prompts) == 2


@pytest.mark.parametrize("run", ["..", "x" * 300])
def test_run_of_another_user_cannot_have_a_special_name(shell, answer_prompt, tmp_path, run):
    prompts = answer_prompt("n")
    (tmp_path / "home" / "data" / "runs").mkdir(parents=True)
    notebook = tmp_path / "study.ipynb"
    notebook.write_text(notebook.read_text().replace("20260102-030405-abcdef", run))
    policy_error(shell, "%%argo -d alpha\n1")
    assert len(prompts) == 1


def test_setting_confirms_without_a_prompt(shell, answer_prompt, monkeypatch):
    def no_stdin(prompt=""):
        raise EOFError

    monkeypatch.setattr("builtins.input", no_stdin)
    assert "Check them, then add --set yes=true once." in policy_error(shell, "%%argo -d alpha\n1")
    assert shell.run_cell("%%argo -d alpha --set yes=true\n1").success
    assert shell.run_cell("%%argo -d alpha\n1").success


def test_own_notebook_needs_no_confirmation(shell, policy, tmp_path, monkeypatch):
    policy.write_text('[install]\nconfirm = "foreign-lock"\n')
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    monkeypatch.setattr("builtins.input", lambda prompt="": pytest.fail(prompt))
    for text in ("not a notebook", '{"cells": [3]}', '{"cells": []}'):
        (tmp_path / "study.ipynb").write_text(text)
        assert shell.run_cell("%%argo -d alpha\n1").success


def test_policy_check_uses_the_saved_notebook_by_default(shell, policy, tmp_path):
    cell = {"cell_type": "code", "source": "%%argo -d alpha\n1", "outputs": []}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    with capture_output() as captured:
        error = shell.run_cell("%argo policy check").error_in_exec
    assert "1 of 1 are not allowed" in str(error)
    assert "beta 1.0 is blocked" in captured.outputs[0].data["text/plain"]
