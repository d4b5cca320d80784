"""A package policy in a notebook: each way to an install passes it, and the user reads why."""

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
WHY = "beta 1.0 is blocked: <script>alert(1)</script> (required by {}). Remove or replace {}."


@pytest.fixture
def policy(shell, index, tmp_path):
    index.add("gamma", "1.0")
    path = tmp_path / "uv-argo-policy.toml"
    path.write_text(BLOCKED)
    return path


def refusal(shell, text):
    """The error of a cell, as the user reads it."""
    with capture_output() as shown:
        error = shell.run_cell(text).error_in_exec
    assert isinstance(error, PolicyError), (error, shown.stdout)
    return str(error)


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
def test_each_way_to_an_install_passes_the_policy(shell, policy, index, text):
    (policy.parent / "list.txt").write_text("alpha\n")
    assert WHY.format("alpha", "alpha") in refusal(shell, text)
    assert [path for path in index.requests if path.endswith(".whl")] == []


def test_pip_in_a_cell_passes_it(shell, policy):
    line = "%pip install alpha"
    assert WHY.format(line, line) in refusal(shell, f"%%argo -d gamma\n{line}\n1")


def test_packages_that_a_cell_adds_to_a_session_pass_it(shell, policy, index):
    with capture_output() as shown:
        assert shell.run_cell("%%argo -s -d gamma\nx = 1").success, shown.stdout
        try:
            assert "beta 1.0 is blocked" in refusal(shell, "%%argo -s -d alpha\n1")
            assert repr(shell.run_cell("%%argo -s\nx").result) == "1"
            policy.write_text("[sessions]\nallowed = false\n")
            assert "Sessions are not allowed" in refusal(shell, "%%argo -s\nx")
        finally:
            end_all()


def test_a_saved_notebook_is_verified_under_the_policy_of_today(shell, policy, tmp_path):
    policy.unlink()
    with capture_output() as shown:
        assert shell.run_cell("%%argo -d alpha --set panel=static\n1").success
    outputs = [
        {"output_type": "display_data", "data": one.data, "metadata": one.metadata or {}} for one in shown.outputs
    ]
    cell = {"cell_type": "code", "source": "%%argo -d alpha\n1", "outputs": outputs}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    policy.write_text(BLOCKED)
    with capture_output() as shown:
        shell.run_cell("%argo verify study.ipynb")
    assert "PolicyError" in shown.stdout + "".join(str(one.data) for one in shown.outputs)


def test_the_editor_marks_what_is_not_allowed(shell, policy, tmp_path):
    context = CellContext.current(names={}, traits={}, line_offset=1, notebook=str(tmp_path / "study.ipynb"))
    path = tmp_path / "study.requirements.txt"
    path.write_text("alpha\ngamma\n")
    result = edit.check(path, context)
    assert result.blamed == ("alpha",)
    assert "beta 1.0 is blocked" in result.problem
    listed = edits.items(path.read_text(), path.name)
    html = requirements_html.static_html(listed, path.read_text(), path.name, result)
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    with pytest.raises(PolicyError):
        edit.lock(path, context, None, None)


def test_environments_are_installed_ahead_under_the_policy(shell, policy):
    assert "beta 1.0 is blocked" in refusal(shell, "%argo env warm --deps alpha")


def test_the_policy_of_the_notebooks_folder_holds_elsewhere(shell, policy, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    monkeypatch.chdir(other)
    assert "beta 1.0 is blocked" in refusal(shell, "%%argo -d alpha\n1")


def test_no_text_of_a_policy_is_html(shell, policy):
    with capture_output() as shown:
        shell.run_cell("%argo policy")
    (table,) = shown.outputs
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in table.data["text/html"]
    assert "<script>" not in table.data["text/html"]


@pytest.fixture
def foreign(shell, policy, tmp_path, monkeypatch):
    """A notebook with the run of another user, under a policy that asks."""
    policy.write_text('[install]\nconfirm = "foreign-lock"\n')
    entry = {"uv_argo": {"schema": 1, "run": "20260102-030405-abcdef", "lock": "0" * 32}}
    cell = {"cell_type": "code", "source": "x", "outputs": [{"metadata": entry}]}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    asked = []

    def answer(text):
        monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or text)
        return asked

    return answer


def test_packages_of_another_users_notebook_are_confirmed_once(shell, foreign, index):
    asked = foreign("n")
    assert "20260102-030405-abcdef" in refusal(shell, "%%argo -d alpha\n1")
    assert [path for path in index.requests if path.endswith(".whl")] == []
    (prompt,) = asked
    assert prompt.startswith("This notebook has runs of another user or machine, the last one 20260102-030405-abcdef.")
    assert f"2 packages (1.8 kB) that you never installed before, for alpha 1.0, from {index.url}." in prompt
    foreign("y")
    for _ in range(2):
        assert shell.run_cell("%%argo -d alpha\n1").success
    assert len(asked) == 2
    assert shell.run_cell("%%argo\n1").success
    assert len(asked) == 2


def test_where_no_one_can_be_asked_the_setting_confirms(shell, foreign, monkeypatch):
    def no_stdin(prompt=""):
        raise EOFError

    monkeypatch.setattr("builtins.input", no_stdin)
    assert "Check them, then add --set yes=true once." in refusal(shell, "%%argo -d alpha\n1")
    assert shell.run_cell("%%argo -d alpha --set yes=true\n1").success
    assert shell.run_cell("%%argo -d alpha\n1").success


def test_the_users_own_notebook_asks_nothing(shell, policy, tmp_path, monkeypatch):
    policy.write_text('[install]\nconfirm = "foreign-lock"\n')
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    monkeypatch.setattr("builtins.input", lambda prompt="": pytest.fail(prompt))
    for text in ("not a notebook", '{"cells": [3]}', '{"cells": []}'):
        (tmp_path / "study.ipynb").write_text(text)
        assert shell.run_cell("%%argo -d alpha\n1").success


def test_the_saved_notebook_is_what_is_checked_by_default(shell, policy, tmp_path):
    cell = {"cell_type": "code", "source": "%%argo -d alpha\n1", "outputs": []}
    (tmp_path / "study.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    shell.user_ns["__session__"] = str(tmp_path / "study.ipynb")
    with capture_output() as shown:
        error = shell.run_cell("%argo policy check").error_in_exec
    assert "1 of 1 are not allowed" in str(error)
    assert "beta 1.0 is blocked" in shown.outputs[0].data["text/plain"]
