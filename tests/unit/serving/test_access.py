"""Who comes in, how often, and who owns the server."""

from base64 import b64encode
from types import SimpleNamespace

import pytest

from ltx2.serving.access import Door, TooOftenError
from ltx2.settings import Settings
from tests.unit.serving.stand_ins import Clock


def asked_from(address="127.0.0.1", **headers):
    named = {"host": "127.0.0.1:7860", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return SimpleNamespace(client=SimpleNamespace(host=address), headers=named)


def test_zero_is_no_limit():
    door = Door(Settings(visitor_rate=0, address_rate=0), clock=Clock())
    for _ in range(1_000):
        door.admit("a", asked_from())


def test_a_visitor_with_many_names_meets_the_limit_of_the_address():
    door = Door(Settings(visitor_rate=2, address_rate=3), clock=Clock())
    for name in ("a", "b", "c"):
        door.admit(name, asked_from())
    with pytest.raises(TooOftenError, match="More than 3 clips a minute from your network"):
        door.admit("d", asked_from())
    door.admit("d", asked_from("10.0.0.9"))


def test_a_visitor_who_moves_between_addresses_meets_their_own_limit():
    door = Door(Settings(visitor_rate=2, address_rate=9), clock=Clock())
    door.admit("a", asked_from("10.0.0.1"))
    door.admit("a", asked_from("10.0.0.2"))
    with pytest.raises(TooOftenError, match="Try again in 30 s"):
        door.admit("a", asked_from("10.0.0.3"))


@pytest.mark.parametrize(
    ("proxies", "passed", "address"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "1.1.1.1", "9.9.9.9"),
        (1, "", "9.9.9.9"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(proxies, passed, address):
    request = asked_from("9.9.9.9", x_forwarded_for=passed)
    assert Door(Settings(proxies=proxies)).address(request) == address


def test_without_a_login_or_a_key_everybody_comes_in():
    assert Door().opens_for(None)


def test_a_program_comes_in_with_the_key_or_the_login():
    door = Door(Settings(login=("ann", "säcret"), api_key="k"))
    basic = b64encode("ann:säcret".encode()).decode()
    assert door.opens_for("Bearer k")
    assert door.opens_for(f"Basic {basic}")
    for wrong in (None, "", "Bearer", "Bearer kk", "bearer säcret", "Basic k"):
        assert not door.opens_for(wrong)


def test_who_guesses_keys_is_stopped():
    door = Door(Settings(api_key="k", address_rate=5), clock=Clock())
    for number in range(5):
        assert not door.opens_for(f"Bearer {number}", asked_from())
    with pytest.raises(TooOftenError):
        door.opens_for("Bearer 5", asked_from())
    assert door.opens_for("Bearer k", asked_from())


@pytest.mark.parametrize(
    ("settings", "request_", "is_owner"),
    [
        (Settings(), asked_from(), True),
        (Settings(), asked_from("::1", host="[::1]:7860"), True),
        (Settings(), asked_from(host="localhost:7860"), True),
        (Settings(), asked_from("192.168.1.7"), False),
        (Settings(), asked_from(x_forwarded_for="1.1.1.1"), False),
        (Settings(), asked_from(host="evil.example:7860"), False),
        (Settings(share=True), asked_from(), False),
        (Settings(), None, False),
        (Settings(login=("a", "b")), asked_from("192.168.1.7"), True),
    ],
)
def test_the_owner_is_this_machine_or_whoever_logged_in(settings, request_, is_owner):
    assert Door(settings).is_owner(request_) is is_owner
