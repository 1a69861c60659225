import os
from pathlib import Path

import pytest

from ltx2.errors import RequestError
from ltx2.settings import Settings, described


def test_nothing_set_means_the_embedded_model_on_whatever_device_there_is():
    assert Settings.from_environment({}) == Settings(model="puppet", device="auto", dtype="auto")


def test_every_setting_has_its_variable():
    environment = {
        "LTX2_MODEL": "/models/ltx2",
        "LTX2_TEXT_ENCODER": "/models/gemma",
        "LTX2_DEVICE": "cuda:1",
        "LTX2_DTYPE": "bfloat16",
        "LTX2_OPEN_BROWSER": "1",
        "HOME": "/root",
    }
    assert Settings.from_environment(environment) == Settings(
        "/models/ltx2", Path("/models/gemma"), "cuda:1", "bfloat16", open_browser=True
    )


def test_an_empty_variable_counts_as_not_set():
    names = ("MODEL", "TEXT_ENCODER", "DEVICE", "DTYPE", "OPEN_BROWSER")
    assert Settings.from_environment({f"LTX2_{name}": "" for name in names}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LTX2_OPEN_BROWSER", "perhaps"),
        ("LTX2_DTYPE", "int4"),
        ("LTX2_PORT", "70000"),
        ("LTX2_MAX_FILE_SIZE", "big"),
        ("LTX2_ROOT_PATH", "clips"),
        ("LTX2_VISITOR_RATE", "-1"),
        ("LTX2_THEME", "neon"),
    ],
)
def test_a_bad_value_is_refused_by_the_variables_name(variable, value):
    with pytest.raises(RequestError) as caught:
        Settings.from_environment({variable: value})
    assert variable in str(caught.value)
    assert value in str(caught.value)


def test_a_login_that_cannot_be_used_is_refused_without_being_repeated():
    with pytest.raises(RequestError, match="USER:PASSWORD") as caught:
        Settings.from_environment({"LTX2_LOGIN": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_password_may_hold_colons():
    assert Settings.from_environment({"LTX2_LOGIN": "a:b:c"}).login == ("a", "b:c")


def test_a_flag_goes_before_its_variable_and_is_named_in_complaints():
    environment = {"LTX2_PORT": "1", "LTX2_MODEL": "x"}
    settings = Settings.from_environment(environment, {"port": "2"})
    assert (settings.port, settings.model) == (2, "x")
    with pytest.raises(RequestError, match="--port is 'many'"):
        Settings.from_environment(environment, {"port": "many"})


def test_half_a_certificate_is_refused():
    with pytest.raises(RequestError, match="Only one"):
        Settings.from_environment({"LTX2_C2PA_KEY": "key.pem"})


def test_every_setting_says_what_it_is():
    for name, setting in described().items():
        assert setting.help.endswith((".", '..."', "...")), name


def test_listening_at_every_address_is_a_flag_that_leaves_no_other():
    assert Settings().address is None
    assert Settings.from_environment({"LTX2_LISTEN": "1"}).address == "0.0.0.0"
    assert Settings.from_environment({"LTX2_HOST": "::1"}).address == "::1"
    with pytest.raises(RequestError, match="every one"):
        Settings.from_environment({"LTX2_LISTEN": "1", "LTX2_HOST": "127.0.0.1"})
    assert Settings.from_environment({"LTX2_LISTEN": "0", "LTX2_HOST": "h"}).address == "h"


def test_several_loras_are_paths_with_a_separator_between_them():
    text = os.pathsep.join(("a.safetensors", "b.safetensors"))
    assert Settings.from_environment({"LTX2_LORA": text}).lora == (
        Path("a.safetensors"),
        Path("b.safetensors"),
    )
