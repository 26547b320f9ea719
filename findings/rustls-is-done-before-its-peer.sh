#!/usr/bin/env bash
# rustls 0.23.46, unbuffered interface: in TLS 1.2 a server's `is_handshaking()` is false, and `handshake_kind()` says how it went, while
# the server's own last flight (ChangeCipherSpec, Finished) is still inside of it. A server that takes that for the end, and
# waits for a request, waits for ever: its client waits for Finished (RFC 5246 7.3). `wants_write()` tells that there is more, and
# `process_tls_records` has to be called again, with no bytes, until it no longer returns `EncodeTlsData`. In TLS 1.3 only tickets are left
# then, so that it works there without.
#
# Seen: "TLS 1.2: is_handshaking false, 1 write left, client still handshaking; TLS 1.3: is_handshaking false, 0 writes left, client done".
set -euo pipefail

command -v cargo >/dev/null || { echo "cargo is needed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "done"
version = "0.0.0"
edition = "2021"

[dependencies]
rcgen = { version = "=0.14.10", default-features = false, features = ["ring"] }
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std", "tls12"] }
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::unbuffered::ConnectionState;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

/// Takes any certificate: this is about messages.
#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// One step of the server: whether it went on.
fn step(server: &mut UnbufferedServerConnection, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> bool {
    let status = server.process_tls_records(heard);
    let discard = status.discard;
    let went = match status.state.unwrap() {
        ConnectionState::EncodeTlsData(mut data) => {
            let mut space = [0; 20_000];
            let written = data.encode(&mut space).unwrap();
            say.extend_from_slice(&space[..written]);
            true
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            true
        }
        _ => false,
    };
    heard.drain(..discard);
    went
}

fn handshake(version: &'static SupportedProtocolVersion) -> (usize, bool) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let mut server = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();

    let (mut heard, mut say) = (Vec::new(), Vec::new());
    while server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut heard).unwrap();
        }
        while server.is_handshaking() && step(&mut server, &mut heard, &mut say) {}
        let mut rest = say.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        say.clear();
    }
    let unfinished = client.is_handshaking();
    let mut left = 0;
    while server.wants_write() {
        step(&mut server, &mut heard, &mut say);
        left += 1;
    }
    (left, unfinished)
}

fn main() {
    let told = [("1.2", &rustls::version::TLS12), ("1.3", &rustls::version::TLS13)].map(|(name, version)| {
        let (left, unfinished) = handshake(version);
        let client = if unfinished { "client still handshaking" } else { "client done" };
        let writes = if left == 1 { "write" } else { "writes" };
        format!("TLS {name}: is_handshaking false, {left} {writes} left, {client}")
    });
    println!("{}", told.join("; "));
}
RUST
(cd "$work" && cargo build --quiet >&2)
seen=$("$work/target/debug/done")
echo "$seen"
expected="TLS 1.2: is_handshaking false, 1 write left, client still handshaking; TLS 1.3: is_handshaking false, 0 writes left, client done"
[ "$seen" = "$expected" ] || { echo "this is no longer so" >&2; exit 1; }
