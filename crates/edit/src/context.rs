//! What values can be made of.

use crate::Placeholder;

/// What is known when a head is edited. None of it can end a line, or has other white space than a blank.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The request's head, as a server would get it without edits.
    pub request: &'a [u8],
    /// The client's address.
    pub client_ip: &'a str,
    /// The client's port.
    pub client_port: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The port that the client connected to.
    pub port: &'a str,
    /// What the request is known by; empty where it has none.
    pub request_id: &'a [u8],
    /// The frontend's name.
    pub frontend: &'a str,
    /// The backend's name.
    pub backend: &'a str,
    /// The server's name.
    pub server: &'a str,
    /// What the client's connection is secured by.
    pub tls: Tls<'a>,
}

/// What a client's connection is secured by. All is empty without TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// The version.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The certificate that the client has shown, and that was found good.
    pub client: Option<TlsClient<'a>>,
}

/// What a client's certificate says.
#[derive(Clone, Copy, Debug)]
pub struct TlsClient<'a> {
    /// Whose it is.
    pub subject: &'a str,
    /// Who has signed it.
    pub issuer: &'a str,
    /// Its SHA-256, in hexadecimal digits.
    pub fingerprint: &'a str,
}

impl<'a> Context<'a> {
    /// One in which nothing is known but the request's head.
    pub const fn of(request: &'a [u8]) -> Self {
        Self {
            request,
            client_ip: "",
            client_port: "",
            scheme: "http",
            port: "",
            request_id: b"",
            frontend: "",
            backend: "",
            server: "",
            tls: Tls { version: "", cipher: "", client: None },
        }
    }

    /// What stands for a placeholder.
    pub(crate) fn value(&self, placeholder: Placeholder) -> &'a [u8] {
        match placeholder {
            Placeholder::ClientIp => self.client_ip.as_bytes(),
            Placeholder::ClientPort => self.client_port.as_bytes(),
            Placeholder::Host => self.host(),
            Placeholder::Scheme => self.scheme.as_bytes(),
            Placeholder::Port => self.port.as_bytes(),
            Placeholder::Method => self.word(0),
            Placeholder::Path => split_query(self.word(1)).0,
            Placeholder::Query => split_query(self.word(1)).1.get(1..).unwrap_or_default(),
            Placeholder::RequestId => self.request_id,
            Placeholder::Frontend => self.frontend.as_bytes(),
            Placeholder::Backend => self.backend.as_bytes(),
            Placeholder::Server => self.server.as_bytes(),
            Placeholder::TlsVersion => self.tls.version.as_bytes(),
            Placeholder::TlsCipher => self.tls.cipher.as_bytes(),
            // The words are nginx's, which applications know.
            Placeholder::TlsClientVerified => match self.tls.client {
                Some(_) => b"SUCCESS",
                None => b"NONE",
            },
            Placeholder::TlsClientSubject => self.of_client(|client| client.subject),
            Placeholder::TlsClientIssuer => self.of_client(|client| client.issuer),
            Placeholder::TlsClientFingerprint => self.of_client(|client| client.fingerprint),
        }
    }

    fn of_client(&self, what: impl FnOnce(TlsClient<'a>) -> &'a str) -> &'a [u8] {
        self.tls.client.map_or("", what).as_bytes()
    }

    /// A word of the request line.
    fn word(&self, number: usize) -> &'a [u8] {
        let line = self.request.split(|&byte| byte == b'\r').next().unwrap_or_default();
        line.split(|&byte| byte == b' ').nth(number).unwrap_or_default()
    }

    fn host(&self) -> &'a [u8] {
        let mut lines = self.request.split(|&byte| byte == b'\n').skip(1);
        let host = lines.find(|line| line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"host:")));
        host.and_then(|line| line.get(5..)).unwrap_or_default().trim_ascii()
    }
}

/// A target's path, and what follows it, with its question mark.
pub(crate) fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(target.iter().position(|&byte| byte == b'?').unwrap_or(target.len()))
}
