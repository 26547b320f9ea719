//! A client's line, read into a request, or into a refusal that says what would have been right.

use serde_json::Value;

use crate::{ClientHello, ClientLine, PROTOCOL, Refusal, RefusalCode, Request};

/// Every request's word.
const REQUESTS: [&str; 17] = [
    "subscribe",
    "info",
    "stat",
    "verdicts",
    "resolvers",
    "instances",
    "anycast",
    "handover",
    "announce",
    "drain",
    "released",
    "kept",
    "set_server",
    "reload",
    "upgrade",
    "observe",
    "admin_states",
];
/// Every topic's word.
const TOPICS: [&str; 4] = ["verdicts", "liveness", "instances", "anycast"];

/// The most characters of a refusal that repeats what a client said.
const MESSAGE_MAX: usize = 1000;

/// The first line of a connection.
///
/// # Errors
/// What the client is told, when it is no hello or not of this protocol.
pub fn hello(line: &[u8]) -> Result<ClientHello, Refusal> {
    let Ok(ClientLine::Hello { hello }) = serde_json::from_slice(line) else {
        let hint = r#"the first line must be a hello: {"hello":{"protocol":1,"client":"NAME"}}"#;
        return Err(Refusal::new(RefusalCode::BadLine, hint));
    };
    if hello.protocol != PROTOCOL {
        let message = format!("protocol {PROTOCOL} is spoken here, not {}", hello.protocol);
        return Err(Refusal::new(RefusalCode::BadProtocol, message));
    }
    Ok(hello)
}

/// Every later line: its id and the request.
///
/// # Errors
/// What the client is told, without an id if the line as a whole makes no sense.
pub fn request(line: &[u8]) -> Result<(u64, Request), (Option<u64>, Refusal)> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| (None, Refusal::new(RefusalCode::BadLine, format!("not a JSON object: {error}"))))?;
    let Some(id) = value.get("id").and_then(Value::as_u64) else {
        let hint = r#"a request needs an id: {"id":1,"request":"info"}"#;
        return Err((None, Refusal::new(RefusalCode::BadLine, hint)));
    };
    let word = |key| value.get(key).and_then(Value::as_str);
    let refused = |refusal| Err((Some(id), refusal));
    match word("request") {
        Some(name) if !REQUESTS.contains(&name) => return refused(unknown("request", name, &REQUESTS)),
        Some("subscribe") => match word("topic") {
            Some(name) if !TOPICS.contains(&name) => return refused(unknown("topic", name, &TOPICS)),
            _ => {}
        },
        _ => {}
    }
    match serde_json::from_value(value) {
        Ok(request) => Ok((id, request)),
        Err(error) => refused(refusal(RefusalCode::BadRequest, &error.to_string())),
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Refusal {
    let code = if what == "topic" { RefusalCode::NotFound } else { RefusalCode::UnknownRequest };
    let meant = config::nearest(name, known.iter().copied())
        .map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"));
    refusal(code, &format!("no {what} `{name}`{meant}; there are: {}", known.join(", ")))
}

/// A refusal that fits into a line, however much of a client's line its message repeats.
fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal::new(code, message.chars().take(MESSAGE_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{MAX_LINE, encode};
    use crate::{DaemonLine, TopicName};

    #[test]
    fn mistakes_are_explained() {
        for (line, code, says) in [
            ("[]", RefusalCode::BadLine, "needs an id"),
            ("{\"id\":-1}", RefusalCode::BadLine, "needs an id"),
            ("{\"id\":1", RefusalCode::BadLine, "not a JSON object"),
            ("{\"id\":1}", RefusalCode::BadRequest, "missing field `request`"),
            ("{\"id\":1,\"request\":\"stats\"}", RefusalCode::UnknownRequest, "did you mean `stat`?"),
            (
                "{\"id\":1,\"request\":\"subscribe\",\"topic\":\"verdict\"}",
                RefusalCode::NotFound,
                "`verdicts`?",
            ),
            ("{\"id\":1,\"request\":\"subscribe\"}", RefusalCode::BadRequest, "missing field `topic`"),
            (
                "{\"id\":1,\"request\":\"set_server\",\"backend\":\"b\",\"server\":\"s\",\"weight\":257}",
                RefusalCode::BadRequest,
                "0 to 256",
            ),
        ] {
            let (_, refusal) = request(line.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, code, "{line}: {}", refusal.message);
            assert!(refusal.message.contains(says), "{line}: {}", refusal.message);
        }
        assert!(hello(b"{\"id\":1,\"request\":\"info\"}").unwrap_err().message.contains("must be a hello"));
        let other = hello(b"{\"hello\":{\"protocol\":2,\"client\":\"x\"}}").unwrap_err();
        assert_eq!(other.code, RefusalCode::BadProtocol);
    }

    #[test]
    fn a_refusal_of_a_long_line_fits_into_a_line() {
        let long = "\\u0001".repeat(MAX_LINE / 6 - 100);
        for line in [
            format!(r#"{{"id":1,"request":"{long}"}}"#),
            format!(r#"{{"id":1,"request":"subscribe","topic":"{long}"}}"#),
            format!(r#"{{"id":1,"request":"set_server","backend":"b","server":"s","state":"{long}"}}"#),
        ] {
            assert!(line.len() < MAX_LINE);
            let (id, error) = request(line.as_bytes()).unwrap_err();
            assert!(encode(&DaemonLine::Error { id, error }).unwrap().len() < MAX_LINE / 2);
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let line = br#"{"id":7,"request":"subscribe","topic":"liveness","ping_ms":50,"colour":"green"}"#;
        let wanted = Request::Subscribe { topic: TopicName::Liveness, ping_ms: 50 };
        assert_eq!(request(line), Ok((7, wanted)));
    }

    #[test]
    fn the_words_are_all_the_words() {
        // Serde lists the words that it knows when it meets one that it does not.
        let listed = |error: serde_json::Error| error.to_string().matches('`').count() / 2 - 1;
        let request = serde_json::from_str::<Request>(r#"{"request":"x"}"#).unwrap_err();
        assert_eq!(listed(request), REQUESTS.len());
        let topic = serde_json::from_str::<TopicName>(r#""x""#).unwrap_err();
        assert_eq!(listed(topic), TOPICS.len());
    }
}
