//! How a person's device is reached by a push service (X5): what a stranger's program says of it, read strictly.

use crate::base64;
use serde::{Deserialize, Serialize};

/// How a device is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum PushTarget {
    /// By Firebase Cloud Messaging.
    Fcm {
        /// Its registration token.
        #[cfg_attr(feature = "schema", schemars(length(min = 16, max = 4096), regex(pattern = "^[!-~]+$")))]
        token: String,
    },
    /// By the Apple Push Notification service.
    Apns {
        /// Its device token, in hexadecimal.
        #[cfg_attr(
            feature = "schema",
            schemars(length(min = 16, max = 400), regex(pattern = "^[0-9a-fA-F]+$"))
        )]
        token: String,
    },
    /// By a browser's own service (RFC 8030).
    Web {
        /// Where messages are sent, `https://…`.
        #[cfg_attr(feature = "schema", schemars(length(max = 2048), regex(pattern = "^https://[!-~]+$")))]
        endpoint: String,
        /// The browser's public key (RFC 8291 §2), base64url.
        p256dh: String,
        /// Its secret, base64url.
        auth: String,
    },
}

/// A target that no push service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// A token of another form.
    #[error("`token` is no device's: FCM's is 16 to 4096 visible ASCII characters, APNs' is hexadecimal")]
    Token,
    /// An endpoint that is none.
    #[error("`endpoint` is an https:// URL of a host's name")]
    Endpoint,
    /// Keys that are none.
    #[error(
        "`p256dh` is an uncompressed point of 65 bytes and `auth` 16 bytes, both in base64url (RFC 8291)"
    )]
    Keys,
}

impl PushTarget {
    /// Its kind's name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fcm { .. } => "fcm",
            Self::Apns { .. } => "apns",
            Self::Web { .. } => "web",
        }
    }

    /// What identifies the device at its service, however it is written.
    pub fn identity(&self) -> String {
        match self {
            Self::Fcm { token } => token.clone(),
            Self::Apns { token } => token.to_ascii_lowercase(),
            Self::Web { endpoint, .. } => {
                let (host, path) = endpoint.split_at(host_end(endpoint));
                format!("{}{path}", host.to_ascii_lowercase())
            }
        }
    }

    /// Whether it can be one.
    ///
    /// # Errors
    /// [`BadTarget`].
    pub fn check(&self) -> Result<(), BadTarget> {
        match self {
            Self::Fcm { token } => {
                let good = (16..=4096).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
                if good { Ok(()) } else { Err(BadTarget::Token) }
            }
            Self::Apns { token } => {
                let good = (16..=400).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_hexdigit());
                if good { Ok(()) } else { Err(BadTarget::Token) }
            }
            Self::Web { endpoint, p256dh, auth } => {
                if !is_endpoint(endpoint) {
                    return Err(BadTarget::Endpoint);
                }
                let bytes = |text: &str| base64::decode_url(text).unwrap_or_default();
                let (key, secret) = (bytes(p256dh), bytes(auth));
                let good = key.len() == 65 && key.first() == Some(&4) && secret.len() == 16;
                if good { Ok(()) } else { Err(BadTarget::Keys) }
            }
        }
    }
}

/// Where scheme and host of a URL end.
fn host_end(endpoint: &str) -> usize {
    let host = endpoint.find("://").map_or(0, |at| at + 3);
    endpoint.get(host..).and_then(|rest| rest.find(['/', '?'])).map_or(endpoint.len(), |at| host + at)
}

/// Whether it is the URL of a host with a name: push services have one, and what is called by its number is mostly somebody's own network.
fn is_endpoint(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or("");
    let has_name = host.contains('.')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        // Of an address that is written as numbers, in whatever base, the last part begins with a digit.
        && host.rsplit('.').next().is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()));
    text.len() <= 2048
        && has_name
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_service_gives_is_a_target() {
        let fcm = |token: &str| PushTarget::Fcm { token: token.to_owned() };
        let apns = |token: &str| PushTarget::Apns { token: token.to_owned() };
        let key = base64::encode_url(&[&[4_u8][..], &[7; 64]].concat());
        let secret = base64::encode_url(&[9; 16]);
        let web = |endpoint: &str, p256dh: &str, auth: &str| PushTarget::Web {
            endpoint: endpoint.to_owned(),
            p256dh: p256dh.to_owned(),
            auth: auth.to_owned(),
        };
        let place = "https://push.example.org/send/abc?x=1";
        for (target, verdict) in [
            (fcm("dQw4w9WgXcQ:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"), Ok(())),
            (fcm("short"), Err(BadTarget::Token)),
            (fcm("with a space in the middle"), Err(BadTarget::Token)),
            (fcm(&"x".repeat(4097)), Err(BadTarget::Token)),
            (apns(&"0aF9".repeat(16)), Ok(())),
            (apns(&"g".repeat(64)), Err(BadTarget::Token)),
            (web(place, &key, &secret), Ok(())),
            (web("http://push.example.org/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://127.0.0.1/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://[::1]/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://localhost/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://127.0.0.0x1/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://example.org./x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://push.example.org:8443/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://a@push.example.org/x", &key, &secret), Err(BadTarget::Endpoint)),
            (web("https://push.example.org/x#y", &key, &secret), Err(BadTarget::Endpoint)),
            (web(place, &secret, &secret), Err(BadTarget::Keys)),
            (web(place, &key, &key), Err(BadTarget::Keys)),
            (web(place, &key, "!"), Err(BadTarget::Keys)),
        ] {
            assert_eq!(target.check(), verdict, "{target:?}");
        }
        assert_eq!(apns("0aF9").identity(), apns("0Af9").identity());
        let (one, same, other) =
            ("https://Push.example.org/A?b", "https://push.EXAMPLE.org/A?b", "https://push.example.org/a?b");
        let identity = |endpoint| web(endpoint, &key, &secret).identity();
        assert!(identity(one) == identity(same) && identity(one) != identity(other));
        assert_ne!(fcm("aB").identity(), fcm("ab").identity());
    }

    #[test]
    fn a_target_is_read_with_its_own_members_alone() {
        for (text, is_one) in [
            (r#"{"kind":"fcm","token":"abc"}"#, true),
            (r#"{"kind":"apns","token":"abc"}"#, true),
            (r#"{"kind":"web","endpoint":"e","p256dh":"k","auth":"a"}"#, true),
            (r#"{"kind":"fcm","token":"abc","more":1}"#, false),
            (r#"{"kind":"fcm"}"#, false),
            (r#"{"kind":"sms","token":"abc"}"#, false),
            (r#"{"kind":"web","token":"abc"}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<PushTarget>(text).is_ok(), is_one, "{text}");
        }
    }
}
