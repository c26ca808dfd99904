"""How a service is reached: profiles, variables, TLS, tokens."""

import pytest

import iplab
from iplab.connection.credentials import channel_credentials
from iplab.connection.profiles import DEFAULT_ADDRESS, Profile, find_profile

FILE = """
default = "lab"

[profiles.lab]
address = "lab.example.org:50051"
tls_ca = "system"
token_file = "{token}"

[profiles.laptop]
"""


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "lab.token").write_text("secret\n")
    (tmp_path / "lab.token").chmod(0o600)
    (tmp_path / "config.toml").write_text(FILE.format(token=tmp_path / "lab.token"))
    return {"IPLAB_CONFIG": str(tmp_path / "config.toml")}


def test_without_anything_it_is_the_service_of_this_machine(tmp_path):
    assert find_profile(environment={"XDG_CONFIG_HOME": str(tmp_path)}) == Profile(DEFAULT_ADDRESS)


def test_the_default_profile_and_a_named_one(environment):
    lab = find_profile(environment=environment)
    assert (lab.address, lab.tls_ca, lab.read_token()) == ("lab.example.org:50051", "system", "secret")
    assert find_profile(name="laptop", environment=environment).address == DEFAULT_ADDRESS
    assert find_profile(environment=environment | {"IPLAB_PROFILE": "laptop"}).address == DEFAULT_ADDRESS


def test_a_token_is_not_sent_to_another_address(environment):
    assert find_profile("other.example.org:50051", environment=environment).read_token() == ""
    other = environment | {"IPLAB_ADDRESS": "other.example.org:50051"}
    assert find_profile(environment=other).read_token() == ""
    same = environment | {"IPLAB_ADDRESS": "lab.example.org:50051"}
    assert find_profile(environment=same).read_token() == "secret"


def test_variables_win_over_the_default_and_a_named_profile_over_variables(environment):
    given = environment | {"IPLAB_TOKEN": "mine", "IPLAB_ADDRESS": "lab.example.org:50051"}
    assert find_profile(environment=given).read_token() == "mine"
    assert find_profile(name="lab", environment=given).read_token() == "secret"


SERVED = {"IPLAB_TLS_CERTIFICATE": "api.crt", "IPLAB_TLS_KEY": "api.key"}


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        (SERVED, ("api.crt", "api.key")),
        (
            SERVED | {"IPLAB_CLIENT_TLS_CERTIFICATE": "me.crt", "IPLAB_CLIENT_TLS_KEY": "me.key"},
            ("me.crt", "me.key"),
        ),
        (SERVED | {"IPLAB_CLIENT_TLS_CERTIFICATE": ""}, ("", "")),
        (SERVED | {"IPLAB_CLIENT_TLS_CERTIFICATE": "me.crt"}, ("me.crt", "")),
    ],
    ids=["shared", "own", "none", "half"],
)
def test_what_the_api_serves_with_is_not_what_a_client_in_its_environment_must_show(
    tmp_path, variables, shown
):
    """Half of a pair is not completed by half of another one; `channel_credentials` refuses it."""
    found = find_profile(environment={"XDG_CONFIG_HOME": str(tmp_path)} | variables)
    assert (found.tls_certificate, found.tls_key) == shown


@pytest.mark.parametrize("wrong", ["soon", "0", "-1", "inf", "nan"])
def test_a_timeout_is_a_number_of_seconds(environment, wrong):
    assert Profile().seconds == 30.0
    assert find_profile(environment=environment | {"IPLAB_TIMEOUT": "2.5"}).seconds == 2.5
    with pytest.raises(iplab.InvalidRequestError, match=f"timeout: '{wrong}' is not a number of seconds"):
        _ = find_profile(environment=environment | {"IPLAB_TIMEOUT": wrong}).seconds


def test_a_token_that_was_replaced_is_read_again(environment, tmp_path):
    lab = find_profile(environment=environment)
    (tmp_path / "lab.token").write_text("next")
    assert lab.read_token() == "next"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles.lab]\nadress = 'x'", "unknown keys: adress; there are: address, tls_ca"),
        ("[profiles.lab]\naddress = 5", "values that are not text"),
        ("[profiles.other]", "no profile 'lab'; there are: other"),
        ("profiles = 3", "no profile 'lab'; there are: none"),
        ("[", "is not TOML"),
        ("[profiles.lab]\ntoken = 'x'", "readable by other users"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    (tmp_path / "config.toml").write_text(text)
    (tmp_path / "config.toml").chmod(0o644)
    with pytest.raises(iplab.InvalidRequestError, match=said):
        find_profile(name="lab", environment={"IPLAB_CONFIG": str(tmp_path / "config.toml")})


def test_a_token_file_of_everybody_is_refused(environment, tmp_path):
    (tmp_path / "lab.token").chmod(0o644)
    with pytest.raises(iplab.InvalidRequestError, match="chmod 600"):
        find_profile(environment=environment).read_token()


def test_a_token_goes_unencrypted_only_where_nobody_listens():
    assert channel_credentials(Profile("127.0.0.1:50051", token="t")) is None
    assert channel_credentials(Profile("lab:50051", token="t", insecure="1")) is None
    assert channel_credentials(Profile("lab:50051", token="t", tls_ca="system")) is not None
    with pytest.raises(iplab.InvalidRequestError, match="unencrypted; set IPLAB_TLS_CA"):
        channel_credentials(Profile("lab:50051", token="t"))
    with pytest.raises(iplab.InvalidRequestError, match="belong together"):
        channel_credentials(Profile("lab:50051", tls_ca="system", tls_key="k"))
    with pytest.raises(iplab.InvalidRequestError, match="cannot read /nowhere"):
        channel_credentials(Profile(tls_ca="/nowhere"))


def test_a_token_is_read_without_the_line_break_of_its_file():
    """As `open(file).read()` gives it."""
    assert find_profile(environment={"IPLAB_TOKEN": "iplab_ab_cd\n"}).read_token() == "iplab_ab_cd"


@pytest.mark.parametrize("token", ["two words", "two\nlines", "schl\u00fcssel"])
def test_what_no_header_can_carry_is_no_token(token):
    with pytest.raises(
        iplab.InvalidRequestError, match="token: has a space, a line break or a letter"
    ) as caught:
        find_profile(environment={"IPLAB_TOKEN": token}).read_token()
    assert token not in str(caught.value)
