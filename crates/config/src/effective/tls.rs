//! Listening addresses written out, with their settings of TLS, and those of connections to servers: the paths of files, and never
//! what is in them.

use serde_yaml::Value;

use super::{list, map, text};
use crate::{Bind, ServerTls, Tls};

pub(super) fn bind(bind: &Bind) -> Value {
    match &bind.tls {
        None => text(bind.address),
        Some(tls) => map([("address", text(bind.address)), ("tls", self::tls(tls))]),
    }
}

fn tls(tls: &Tls) -> Value {
    let mut keys = vec![
        ("certificates", list(&tls.certificates, |path| text(path))),
        ("min_version", text(tls.min_version.word())),
        ("strict_sni", tls.strict_sni.into()),
    ];
    if let Some(client) = &tls.client {
        keys.push(("client_ca", text(&client.ca_file)));
        keys.push(("client_certificate", text(if client.required { "required" } else { "optional" })));
        keys.extend(client.crl_file.iter().map(|file| ("client_crl", text(file))));
    }
    keys.extend(tls.ticket_keys.iter().map(|keys| ("ticket_keys", text(&keys.file))));
    map(keys)
}

pub(super) fn servers(tls: &ServerTls) -> Value {
    let mut keys = vec![("verify", tls.verify.into()), ("min_version", text(tls.min_version.word()))];
    keys.extend(tls.server_ca.iter().map(|file| ("server_ca", text(file))));
    keys.extend(tls.server_crl.iter().map(|file| ("server_crl", text(file))));
    keys.extend(tls.server_name.iter().map(|name| ("server_name", text(name))));
    keys.extend(tls.certificate.iter().map(|file| ("certificate", text(file))));
    if !tls.alpn.is_empty() {
        keys.push(("alpn", list(&tls.alpn, |name| text(name))));
    }
    map(keys)
}
