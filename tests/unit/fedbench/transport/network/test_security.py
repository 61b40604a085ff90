from __future__ import annotations

import ssl

import pytest
import trustme

from fedbench.errors import ConfigError
from fedbench.netsettings import NetworkSettings, TlsSettings, is_loopback
from fedbench.transport.network.security import (
    certified_names,
    check_exposure,
    load,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_tls(host):
    assert is_loopback(host)
    check_exposure(NetworkSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "fedbench.example", ""])
def test_anything_else_does(host):
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="is not loopback: set tls, or insecure"):
        check_exposure(NetworkSettings(host=host))
    check_exposure(NetworkSettings(host=host, insecure=True))
    check_exposure(NetworkSettings(host=host, tls=TlsSettings()))


@pytest.fixture
def token_file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "tokens"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def test_a_client_shows_one_token(token_file):
    settings = NetworkSettings(token_file=token_file("one\ntwo\n"))
    assert len(load(settings, server=True).tokens) == 2
    with pytest.raises(ConfigError, match="holds 2 tokens: a client shows one"):
        load(settings, server=False)


def test_certificates_are_loaded_and_checked(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    cert, ca = str(tmp_path / "cert.pem"), str(tmp_path / "ca.pem")
    plain = load(NetworkSettings(tls=TlsSettings(cert)), server=True).context
    mutual = load(NetworkSettings(tls=TlsSettings(cert, None, ca)), server=True).context
    client = load(NetworkSettings(tls=TlsSettings(ca=ca)), server=False).context
    assert (plain.verify_mode, mutual.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    assert {context.minimum_version for context in (plain, mutual, client)} == {ssl.TLSVersion.TLSv1_2}


@pytest.mark.parametrize(
    ("tls", "reason"),
    [(TlsSettings(), "tls.cert: is missing"), (TlsSettings("/nowhere/cert.pem"), "tls: cannot be used")],
)
def test_a_server_without_a_usable_certificate_does_not_start(tls, reason):
    with pytest.raises(ConfigError, match=reason):
        load(NetworkSettings(tls=tls), server=True)


def test_junk_is_no_certificate(tmp_path):
    path = tmp_path / "junk.pem"
    path.write_text("junk")
    with pytest.raises(ConfigError, match="cannot be used"):
        load(NetworkSettings(tls=TlsSettings(str(path))), server=True)


def test_the_names_of_a_certificate():
    certificate = {
        "subject": ((("commonName", "alice"),), (("organizationName", "o"),)),
        "subjectAltName": (("DNS", "alice.example"), ("IP Address", "127.0.0.1")),
    }
    assert certified_names(certificate) == {"alice", "alice.example"}
    assert certified_names({}) == set()
