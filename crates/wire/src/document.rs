//! A daemon in one document: what `/status.json` of its admin address serves, to scripts and to `tandemctl` on other nodes.

use serde::{Deserialize, Serialize};

use crate::{Answer, AnycastStatus, Info};

/// A daemon and all that it is about, in the words of the socket protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The daemon itself.
    pub info: Info,
    /// lbd's `stat`, healthd's `verdicts`, vrrpd's `instances`.
    #[serde(flatten)]
    pub about: Answer,
    /// vrrpd's `anycast` beside them, where it has services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anycast: Vec<AnycastStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LifeState;

    #[test]
    fn a_document_has_the_info_and_one_list() {
        let info = Info {
            daemon: "vrrpd".into(),
            version: "0.1.0".into(),
            pid: 7,
            uptime_ms: 1,
            state: LifeState::Ready,
            config: "vrrp.yaml".into(),
            generation: 1,
            reload_error: None,
            details: [].into(),
        };
        let document = Document { info, about: Answer::Instances(Vec::new()), anycast: Vec::new() };
        let json = serde_json::to_string(&document).unwrap();
        assert!(json.ends_with(r#""details":{}},"instances":[]}"#), "{json}");
        assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
        let newer = json.replace(r#","instances""#, r#","colour":"green","instances""#);
        assert_eq!(serde_json::from_str::<Document>(&newer).unwrap(), document);
    }
}
