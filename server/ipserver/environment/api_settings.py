"""Settings of the API and the web page: addresses, encryption, authentication."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from ipserver.environment.addresses import is_loopback, split_address
from ipserver.environment.certificates import CertificateFiles, certificate_files
from ipserver.environment.place_settings import absolute

Seconds = Annotated[float, Field(gt=0)]


class ApiSettings(BaseSettings):
    """Settings of the API and the web page: addresses, TLS, identity."""

    address: str = Field("127.0.0.1:50051", description="Address where the API listens; port 0: a free port")
    web: str = Field(
        "",
        description="Address of the web page, HOST:PORT on loopback; empty: the port after the API's; "
        "off: no page",
    )
    insecure: bool = Field(
        False, description="Allow the API and the metrics to listen beyond loopback, unencrypted"
    )
    tls: Path | None = Field(
        None,
        description="Folder of secrets for TLS: tls.crt, tls.key and, if clients need certificates, "
        "client-ca.crt; unset: unencrypted. Replaced files are used without a restart",
    )
    tls_certificate: Path | None = Field(
        None, description="File of the API's certificate chain, in place of tls.crt"
    )
    tls_key: Path | None = Field(None, description="File of its private key, in place of tls.key")
    tls_client_ca: Path | None = Field(
        None, description="File of the CAs that sign clients' certificates, in place of client-ca.crt"
    )
    auth: bool = Field(
        False,
        description="Ask every caller for a token, of `ipserver token create` or of the provider below",
    )
    oidc_issuer: str = Field(
        "", description="URL of an OpenID Connect provider whose tokens are accepted too; empty: none"
    )
    oidc_audience: str = Field("", description="Audience that its tokens must name")
    oidc_jwks: str = Field("", description="URL of its keys; empty: from its discovery document")
    oidc_user_claim: str = Field("sub", description="Claim of its tokens that names the user, as in roles")
    oidc_groups_claim: str = Field(
        "", description="Claim that lists the user's groups, which have roles as group:NAME; empty: none"
    )
    health_address: str = Field(
        "",
        description="HOST:PORT of a second port that answers health checks only, unencrypted, for probes; "
        "empty: none",
    )
    metrics_address: str = Field(
        "",
        description="HOST:PORT where a part serves its metrics for Prometheus, unencrypted; `ipserver up`: "
        "the API's, then the dispatcher's and the forwarder's on the next two ports; empty: no metrics",
    )
    connection_age_seconds: Seconds = Field(
        1800.0,
        description="Seconds after which the API asks a client to connect again, so that load balancers "
        "spread connections; running calls continue for up to 10 minutes",
    )

    @field_validator("tls", "tls_certificate", "tls_key", "tls_client_ca")
    @classmethod
    def _absolute_files(cls, value: Path | None) -> Path | None:
        return absolute(value) if value is not None else None

    @field_validator("web")
    @classmethod
    def _near(cls, value: str) -> str:
        host, port = split_address(value)
        if value in {"", "off"} or (port.isdigit() and int(port) <= 65_535 and is_loopback(host)):
            return value
        raise ValueError(
            "must be HOST:PORT on loopback, as 127.0.0.1:50052 (from another machine: ssh -L 50052:127.0.0.1:"
            "50052 HOST), or off"
        )

    @model_validator(mode="after")
    def _loopback(self) -> Self:
        host, port = split_address(self.address)
        if not port.isdigit() or int(port) > 65_535:
            raise ValueError(
                f"address {self.address!r} is not HOST:PORT with a port of 0 .. 65535, as 127.0.0.1:50051"
            )
        missing = [
            name
            for name, there in (("TLS (IPLAB_TLS)", self.certificates), ("IPLAB_AUTH=1", self.auth))
            if not there
        ]
        if not is_loopback(host) and missing and not self.insecure:
            raise ValueError(
                f"address {self.address!r} is beyond loopback: anyone who reaches it could submit work or "
                f"read the traffic. Set {' and '.join(missing)} (docs/laboratory.md), use 127.0.0.1, or set "
                "--insecure (IPLAB_INSECURE=1) if the network is trusted"
            )
        return self

    @model_validator(mode="after")
    def _health(self) -> Self:
        if self.health_address and not split_address(self.health_address)[1].isdigit():
            raise ValueError(f"health_address {self.health_address!r} is not HOST:PORT")
        return self

    @model_validator(mode="after")
    def _metrics(self) -> Self:
        if not self.metrics_address:
            return self
        host, port = split_address(self.metrics_address)
        if not port.isdigit() or int(port) > 65_533:
            raise ValueError(
                f"metrics_address {self.metrics_address!r} is not HOST:PORT with a port of 0 .. 65533, as "
                "127.0.0.1:9464"
            )
        if not is_loopback(host) and not self.insecure:
            raise ValueError(
                f"metrics_address {self.metrics_address!r} is beyond loopback: anyone who reaches it could "
                "read the names of projects and what the service does. Use 127.0.0.1, or set --insecure "
                "(IPLAB_INSECURE=1) if the network is trusted"
            )
        return self

    @model_validator(mode="after")
    def _provider(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("IPLAB_OIDC_ISSUER and IPLAB_OIDC_AUDIENCE belong together: set both or neither")
        if self.oidc_issuer and not self.auth:
            raise ValueError(
                "IPLAB_OIDC_ISSUER has no effect without IPLAB_AUTH=1: set it, or leave both out"
            )
        for name in ("oidc_issuer", "oidc_jwks"):
            url = urlsplit(getattr(self, name))
            if url.geturl() and url.scheme != "https" and not is_loopback(url.hostname or ""):
                raise ValueError(f"{name} must be https://HOST/...; only loopback may be unencrypted")
        return self

    @model_validator(mode="after")
    def _tls_pair(self) -> Self:
        _ = self.certificates  # raises
        return self

    @property
    def certificates(self) -> CertificateFiles | None:
        """The files for TLS; None if the API is unencrypted."""
        return certificate_files(self.tls, self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def web_address(self) -> str:
        """Address of the web page, HOST:PORT; "" if it is off."""
        if self.web:
            return "" if self.web == "off" else self.web
        port = int(split_address(self.address)[1])
        return f"127.0.0.1:{port + 1 if 0 < port < 65_535 else 0}"
