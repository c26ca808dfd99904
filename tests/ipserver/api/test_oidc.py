"""Tokens of an identity provider: signatures, claims, keys that change."""

import http.server
import json
import threading

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

from iplab.v1 import experiment_service_pb2 as pb
from ipserver.api.oidc import Oidc, OidcSettings
from ipserver.errors import StoreUnavailable, Unauthenticated
from ipserver.store.records.accounts import Role

ISSUER = "https://login.example.org/realm"
NOW = 1_800_000_000.0
CLAIMS = {"iss": ISSUER, "aud": ["iplab"], "sub": "alice", "exp": NOW + 60, "groups": ["theory", "all", 5]}


def key(name):
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})


def token(signer, header=None, **claims):
    merged = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": signer.kid} | (header or {}), merged, signer)


class Provider:
    """Publishes keys; counts how often it is asked."""

    def __init__(self, *keys):
        self.keys, self.asked, self.away, self.now = keys, 0, False, NOW

    def fetch(self, url):
        if self.away:
            raise OSError("no route")
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        assert url == f"{ISSUER}/keys"
        self.asked += 1
        return json.loads(json.dumps(KeySet(list(self.keys)).as_dict(private=False)))

    def oidc(self, **changes):
        settings = OidcSettings(ISSUER, "iplab", **changes)
        return Oidc(settings, self.fetch, lambda: self.now)


def test_user_groups_and_expiry_come_from_the_claims():
    a = key("a")
    assert Provider(a).oidc(groups_claim="groups").principals(token(a)) == (
        "alice",
        ("alice", "group:theory", "group:all"),
    )
    assert Provider(a).oidc().principals(token(a))[1] == ("alice",)


A = key("a")


@pytest.mark.parametrize(
    "wrong",
    [
        token(A, iss="https://evil.example.org"),
        token(A, aud="another"),
        token(A, aud=None),
        token(A, exp=NOW - 61),
        token(A, exp=None),
        token(A, nbf=NOW + 1000),
        token(A, sub=None),
        token(A, sub=["alice"]),
        token(key("a")),  # another key of the same name
        token(A)[:-4] + "AAAA",
        "a.b.c",
        "",
        jwt.encode({"alg": "HS256", "kid": "a"}, CLAIMS, OctKey.import_key("a shared secret of some length")),
        "eyJhbGciOiJub25lIn0." + token(A).split(".")[1] + ".",
    ],
)
def test_what_is_no_valid_token_is_refused(wrong):
    with pytest.raises(Unauthenticated):
        Provider(A).oidc().principals(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "group:theory",
        "os:root",
        "study s for alice",
        "alice\x1b[2J",
        "alice\u202e",
        "alice\n",
        "\0",
        "a" * 256,
    ],
)
def test_a_user_cannot_choose_a_name_that_stands_for_another_or_steers_a_terminal(name):
    """By a claim that its users can change; a group's name would give its roles."""
    oidc = Provider(A).oidc(user_claim="preferred_username")
    with pytest.raises(Unauthenticated, match="'preferred_username' of the token is no user name"):
        oidc.principals(token(A, preferred_username=name))
    assert (
        oidc.principals(token(A, preferred_username="auth0|J\u00fcrgen.o/b=+"))[0]
        == "auth0|J\u00fcrgen.o/b=+"
    )


def test_an_address_must_be_verified():
    oidc = Provider(A).oidc(user_claim="email")
    with pytest.raises(Unauthenticated, match="email_verified"):
        oidc.principals(token(A, email="alice@example.org"))
    assert oidc.principals(token(A, email="alice@example.org", email_verified=True))[0] == "alice@example.org"


def test_new_keys_are_fetched_when_a_token_names_one_but_not_all_the_time():
    old, new = key("old"), key("new")
    provider = Provider(old)
    oidc = provider.oidc()
    oidc.principals(token(old))
    provider.keys = (new,)
    with pytest.raises(Unauthenticated):
        oidc.principals(token(new))  # the keys were fetched this very moment
    provider.now += 11
    assert oidc.principals(token(new))[0] == "alice"
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            oidc.principals(token(key("unknown")))
    assert provider.asked == 2


def test_keys_from_before_stay_in_use_while_the_provider_is_away():
    provider = Provider(A)
    oidc = provider.oidc()
    provider.away = True
    with pytest.raises(StoreUnavailable, match="no route"):
        oidc.principals(token(A))
    provider.away = False
    oidc.principals(token(A))
    provider.away, provider.now = True, NOW + 400
    assert oidc.principals(token(A, exp=NOW + 500))[0] == "alice"


async def test_a_user_of_a_provider_on_a_real_socket_is_served(running):
    signer = key("real")

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            issuer = f"http://127.0.0.1:{self.server.server_port}"
            pages = {
                "/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": f"{issuer}/keys"},
                "/keys": KeySet([signer]).as_dict(private=False),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(pages[self.path]).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        issuer = f"http://127.0.0.1:{server.server_port}"
        provider = Oidc(OidcSettings(issuer, "iplab", groups_claim="groups"))
        async with running(auth=True, provider=provider) as api:
            api.store.accounts.grant("default", "group:theory", Role.READER)
            sent = token(signer, iss=issuer, exp=2**33)
            listed = await api.experiments.ListExperiments(
                pb.ListExperimentsRequest(), metadata=(("authorization", f"Bearer {sent}"),)
            )
            assert not listed.experiments
        server.shutdown()
