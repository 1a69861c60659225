"""The server behind a login, and its flags."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import fields

import pytest
from gradio_client import Client
from typer.testing import CliRunner

from ltx2.__main__ import app
from ltx2.settings import Settings, flag_of, variable_of
from ltx2.ui.server import offers_mcp
from tests.browser.served import served_page, stand_in
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("login")
    with served_page(stand_in(folder), folder, LTX2_LOGIN="ann:pw", LTX2_API_KEY="k") as url:
        yield url


def answer_of(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_without_the_password_there_is_only_the_form_to_log_in(address):
    status, page = answer_of(address)
    assert status == 200
    # Gradio puts the endpoint's description into that form; nothing of what is on the page.
    assert '"auth_required":true' in page
    assert '"components":[]' in page
    for path in ("/config", "/gradio_api/info", "/gradio_api/queue/status", "/v1/videos/x"):
        assert answer_of(address + path)[0] == 401, path


def test_the_login_opens_the_page_and_the_key_the_interface_for_programs(address):
    client = Client(address, auth=("ann", "pw"), verbose=False)
    assert "/generate_video" in json.dumps(client.view_api(return_format="dict"))
    assert answer_of(f"{address}/v1/videos/x", Authorization="Bearer k")[0] == 404


def test_serve_lists_a_flag_and_a_variable_for_every_setting():
    shown = " ".join(CliRunner().invoke(app, ["serve", "--help"]).output.split())
    for item in fields(Settings):
        assert flag_of(item.name) in shown
        assert f"[{variable_of(item.name)}]" in shown


def test_serve_refuses_a_bad_flag_in_one_line():
    result = CliRunner().invoke(app, ["serve", "--port", "many"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --port is 'many'.")


def test_behind_a_login_no_tool_is_offered():
    assert not offers_mcp(Settings(login=("a", "b")))


def test_the_tool_is_offered_where_the_extra_is_installed():
    mcp = pytest.importorskip("mcp", reason="gradio's extra mcp does not fit the other versions")
    assert mcp
    assert offers_mcp(Settings())


def test_serve_hands_over_to_the_program_that_knows_the_judges(tmp_path, monkeypatch):
    program = tmp_path / "app.py"
    program.write_text("def run(settings):\n    raise SystemExit(f'served at {settings.port}')\n")
    monkeypatch.setattr("ltx2.ui.serve_command.PROGRAM", program)
    monkeypatch.setattr("sys.path", sys.path.copy())
    result = CliRunner().invoke(app, ["serve", "--port", "8123"])
    assert result.output.strip() == "served at 8123"


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--server-name", "::1", "--server-port", "81"], "::1 81 puppet None"),
        (["--listen", "--checkpoint-path", "m"], "0.0.0.0 None m None"),
        (["--gemma-root", "gemma"], "None None puppet gemma"),
        (["--text-encoder-path", "gemma"], "None None puppet gemma"),
    ],
)
def test_flags_of_other_programs_are_understood(tmp_path, monkeypatch, flags, shown):
    program = tmp_path / "app.py"
    program.write_text(
        "def run(s):\n    raise SystemExit(f'{s.address} {s.port} {s.model} {s.text_encoder}')\n"
    )
    monkeypatch.setattr("ltx2.ui.serve_command.PROGRAM", program)
    monkeypatch.setattr("sys.path", sys.path.copy())
    assert CliRunner().invoke(app, ["serve", *flags]).output.strip() == shown


def test_who_serves_can_leave_the_tool_out():
    assert not offers_mcp(Settings(mcp_server=False))


@pytest.mark.slow
def test_the_program_takes_the_flags_of_serve():
    ran = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--visitor-rate" in ran.stdout
