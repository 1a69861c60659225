from pathlib import Path

import pytest

from ltx2.errors import RequestError
from ltx2.settings import Settings


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
    ("variable", "value"), [("LTX2_OPEN_BROWSER", "perhaps"), ("LTX2_DTYPE", "int4")]
)
def test_a_bad_value_is_refused_by_the_variables_name(variable, value):
    with pytest.raises(RequestError) as caught:
        Settings.from_environment({variable: value})
    assert variable in str(caught.value)
    assert value in str(caught.value)
