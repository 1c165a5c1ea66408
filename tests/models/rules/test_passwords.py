"""Which passwords are too easy, and how long who fails must wait."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import lockout
from models.rules.passwords import TOO_EASY, TOO_SHORT, weakness

ABOUT = ("ada", "ada.lovelace@example.com", "Ada King-Lovelace")
EASY = [
    "password",
    "password123",
    "P4$$w0rd!P4$$w0rd!",
    "Summer2026!",
    "qwertyuiop12",
    "01234567890123",
    "zyxwvutsrq",
    "aaaaaaaaaaaaaaaa",
    "abcabcabcabcabc",
    "hunter2hunter2",
    "AdaLovelace1815",
    "l0v3l4c3-example",
    "turnstone-admin-1",
    "gtrwkqmv",  # eight letters, and no more
]
GOOD = [
    "correct horse",
    "kx7Q!v2m",
    "xkwqzmpvbt",
    "Tr0ub4dor&3",
    "ein Igel im Schrank",
    "пароль не скажу",
    "密码是一只刺猬",
]


@pytest.mark.parametrize("password", EASY)
def test_what_everybody_tries_is_too_easy_however_it_is_written(password: str) -> None:
    assert weakness(password, ABOUT) == TOO_EASY


@pytest.mark.parametrize("password", GOOD)
def test_what_nobody_guesses_is_good(password: str) -> None:
    assert weakness(password, ABOUT) == ("" if len(password) >= 8 else TOO_SHORT)


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_is_judged(password: str, about: list[str]) -> None:
    assert weakness(password, about) in ("", TOO_EASY, TOO_SHORT)
    assert weakness(password[:7], about) == TOO_SHORT


@given(st.integers(0, 10_000), st.sampled_from([lockout.OF_ACCOUNT, lockout.OF_ADDRESS]))
def test_each_failure_costs_at_least_as_much_as_the_one_before_up_to_the_longest_wait(failures: int, free: int) -> None:
    wait = lockout.delay(failures, free)
    assert (wait == timedelta()) == (failures < free)
    assert wait <= lockout.delay(failures + 1, free) <= lockout.LONGEST


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "testclient", False),
    ],
)
def test_a_machine_that_has_a_whole_network_is_one_address(one: str, other: str, together: bool) -> None:
    assert (lockout.network(one) == lockout.network(other)) == together
