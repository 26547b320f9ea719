//! `instances.NAME.authentication`

use std::time::Duration;

use vrrp::packet::{HmacKey, HmacKeys};
use vrrp::{Authentication, HmacMode, Version};

use crate::KeyFile;
use crate::read::{Section, Value};
use crate::scalar::{self, Problem};

/// Reads a key file, or says why not.
pub(crate) type Files<'f> = &'f dyn Fn(&str) -> Result<KeyFile, String>;

/// The field of VRRPv2.
const PASSWORD: usize = 8;

/// The files of HMAC keys by id, the one that signs first.
type KeyFiles = Vec<(u8, String)>;

pub(super) fn read(
    s: &mut Section<'_>,
    version: Option<Version>,
    files: Files<'_>,
) -> (Authentication, KeyFiles) {
    let value = s.value("authentication", "a mapping with pass or hmac", "none");
    if value.is_off() {
        return (Authentication::None, KeyFiles::new());
    }
    let given = value.is_given();
    value.section(|s| {
        let pass = s.value("pass", "a password of 1 to 8 characters", "none");
        let hmac = s.value("hmac", "a mapping with key_file", "none");
        let (has_pass, has_hmac) = (pass.is_given(), hmac.is_given());
        let password = pass.scalar(password);
        let hmac = hmac.section(|s| hmac_keys(s, has_hmac, files));
        match (has_pass, has_hmac) {
            (true, true) => s.error([], "has both pass and hmac; use one of them"),
            (false, false) if given => {
                s.error([], "has neither pass nor hmac; leave it out if there is none");
            }
            (true, false) if version == Some(Version::V3) => {
                s.error(["pass"], "has a password, which VRRPv3 does not carry; use hmac, or version: 2");
            }
            _ => {}
        }
        match (password, hmac) {
            (Some(password), _) => (Authentication::Password(password), KeyFiles::new()),
            (None, Some(hmac)) => hmac,
            (None, None) => (Authentication::None, KeyFiles::new()),
        }
    })
}

fn password(text: &str) -> Result<[u8; PASSWORD], Problem> {
    let mut password = [0; PASSWORD];
    match password.get_mut(..text.len()) {
        Some(place) if !text.is_empty() && !text.contains('\0') => place.copy_from_slice(text.as_bytes()),
        _ => {
            return Err(Problem::Because(
                "a password has 1 to 8 bytes; routers would cut off the rest".to_owned(),
            ));
        }
    }
    Ok(password)
}

fn hmac_keys(s: &mut Section<'_>, given: bool, files: Files<'_>) -> Option<(Authentication, KeyFiles)> {
    const KEY_FILE: &str = "a file with a key of 32 to 64 bytes";
    const WINDOW: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let file =
        if given { s.required("key_file", KEY_FILE) } else { s.value("key_file", KEY_FILE, "required") };
    let id = s.number("key_id", 1, 1..=255_u8);
    let mut all = Vec::new();
    let mut key_files = KeyFiles::new();
    all.extend(key(&file, files).map(|(key, file)| {
        key_files.push((id, file));
        (id, key)
    }));
    let accept = s.value("accept", "a mapping of key ids to files", "only the key that signs");
    all.extend(accept.entries("key", "a file with a key", |name, value| {
        match scalar::number(name, &(1..=255_u8)) {
            Ok(id) => key(&value, files).map(|(key, file)| {
                key_files.push((id, file));
                (id, key)
            }),
            Err(_) => {
                value.key_error("is no key id; those are numbers from 1 to 255");
                None
            }
        }
    }));
    let window = s.value("window", "off, or a duration from 1s to 24h", "30s");
    let window = match window.is_off() {
        true => None,
        false => {
            Some(window.scalar(|text| scalar::duration(text, &WINDOW)).unwrap_or(Duration::from_secs(30)))
        }
    };
    let mode = s.word(
        "mode",
        HmacMode::Require,
        &[("require", HmacMode::Require), ("send", HmacMode::Send), ("receive_only", HmacMode::ReceiveOnly)],
    );
    if mode.believes_unsigned() {
        s.warning(
            ["mode"],
            "believes adverts without a signature, too, so that it protects against nothing yet",
            "once every router signs, say mode: require on each",
        );
    }
    // A key that is missing has been reported.
    if !given || all.first().is_none_or(|(first, _)| *first != id) {
        return None;
    }
    match HmacKeys::new(id, all) {
        Ok(keys) => Some((Authentication::Hmac { keys, window, mode }, key_files)),
        Err(error) => {
            s.error([], format_args!("cannot be used: {error}"));
            None
        }
    }
}

/// The key in a file, its bytes without the line's end; and the file.
fn key(value: &Value<'_>, files: Files<'_>) -> Option<(HmacKey, String)> {
    value.scalar(|path| {
        let KeyFile { mut bytes, exposed } =
            files(path).map_err(|why| Problem::Because(format!("the key file {why}")))?;
        if exposed {
            value.warning(
                "names a key that every user of this machine can read, or its group replace",
                "chmod 640, and the group of the daemon's user",
            );
        }
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        match HmacKey::new(bytes) {
            Ok(key) => Ok((key, path.to_owned())),
            Err(error) => Err(Problem::Because(error.to_string())),
        }
    })
}
