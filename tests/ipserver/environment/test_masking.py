"""Addresses are shown without passwords."""

import pytest

from ipserver.environment.masking import address, without_password


@pytest.mark.parametrize(
    "password", ["secret", "se/cret", "se@cret", "s/e@c/r@et", "a:b", "se%2Fcret", "secret?#&"]
)
@pytest.mark.parametrize("user", ["lab", "", "lab@tenant"])
def test_no_password_is_shown(user, password):
    shown = without_password(f"postgresql+psycopg://{user}:{password}@db:5432/iplab")

    assert shown == f"postgresql+psycopg://{user}:***@db:5432/iplab"


@pytest.mark.parametrize(
    "text",
    ["sqlite:////home/a:b@c/iplab.db", "http://127.0.0.1:5000/path", "postgresql://lab@db/iplab", "", "64"],
)
def test_what_has_no_password_is_shown_as_it_is(text):
    assert without_password(text) == text


@pytest.mark.parametrize("name", ["password", "sslpassword", "token"])
def test_no_password_in_a_query_is_shown(name):
    assert (
        without_password(f"http://db/x?user=lab&{name}=hidden&y=1") == f"http://db/x?user=lab&{name}=***&y=1"
    )


@pytest.mark.parametrize(
    "text", ["lab:hidden@db/iplab", "postgresql+psycopg:/lab:hidden@db/iplab", "host=db password=hidden"]
)
def test_of_what_is_no_url_nothing_is_shown(text):
    assert address(text) == "***"


@pytest.mark.parametrize("text", ["", "databricks", "mlflow:5000", "postgresql+psycopg://lab@db/iplab?x=1"])
def test_an_address_without_a_password_is_shown(text):
    assert address(text) == text
