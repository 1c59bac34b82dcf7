//! The legacy format of SSO (S4): `USERINFO_TIME_SIGNATURE`.
//!
//! USERINFO is standard base64, with padding, of a JSON object; TIME is Unix seconds, ten digits; SIGNATURE is the MD5 of `SECRETKEY +
//! USERINFO + TIME`, 32 lower-case hexadecimal digits. Who has one signature can make that of a longer message (RFC 6151 §2), but none of
//! this form: what MD5 pads a message with is no base64. The text must have exactly this form before anything is hashed, and the right
//! signature before its JSON is read.

use super::{SsoField, SsoUser};
use crate::base64;
use crate::json::Json;
use crate::secret::{SecretText, equal_in_constant_time};
use crate::time::UnixMs;
use core::fmt::Write as _;
use md5::{Digest as _, Md5};

/// The longest text, in bytes.
pub const MAX_BYTES: usize = 8192;

/// For how long after its time a text counts, in seconds.
pub const WINDOW_S: i64 = 300;

/// How far ahead of ours the clock of who signs may be, in seconds.
pub const AHEAD_S: i64 = 30;

/// The most fields of a user.
pub const MAX_FIELDS: usize = 100;

/// Why a text proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsoRefused {
    /// It has not the form.
    Form,
    /// No secret of the merchant has signed it.
    Signature,
    /// Its time is past by more than [`WINDOW_S`].
    Old,
    /// Its time is to come, by more than [`AHEAD_S`].
    Early,
    /// What it says is no JSON object as it should be.
    User,
}

impl SsoRefused {
    /// The reason for who signs, and for the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Signature => "signature",
            Self::Old => "too_old",
            Self::Early => "too_early",
            Self::User => "user_info",
        }
    }
}

/// Whom a text vouches for, by one of the merchant's secrets. A space is taken for the `+` that it was in a query.
///
/// # Errors
/// [`SsoRefused`].
pub fn verify(text: &str, secrets: &[SecretText], now: UnixMs) -> Result<SsoUser, SsoRefused> {
    if text.len() > MAX_BYTES {
        return Err(SsoRefused::Form);
    }
    let text = text.replace(' ', "+");
    let (rest, signature) = text.rsplit_once('_').ok_or(SsoRefused::Form)?;
    let (user_info, time) = rest.rsplit_once('_').ok_or(SsoRefused::Form)?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if signature.len() != 32
        || !signature.bytes().all(is_hex)
        || time.len() != 10
        || !time.bytes().all(|b| b.is_ascii_digit())
        || user_info.is_empty()
    {
        return Err(SsoRefused::Form);
    }
    let json = base64::decode_standard(user_info).map_err(|_| SsoRefused::Form)?;
    // Each is looked at, so that time does not tell which one it was.
    let mut is_signed = false;
    for secret in secrets {
        is_signed |= equal_in_constant_time(sign(secret, user_info, time).as_bytes(), signature.as_bytes());
    }
    if !is_signed {
        return Err(SsoRefused::Signature);
    }
    let age_s = now.seconds() - time.parse::<i64>().map_err(|_| SsoRefused::Form)?;
    if age_s > WINDOW_S {
        return Err(SsoRefused::Old);
    }
    if age_s < -AHEAD_S {
        return Err(SsoRefused::Early);
    }
    read(&json).ok_or(SsoRefused::User)
}

/// The signature of a USERINFO and a TIME.
pub fn sign(secret: &SecretText, user_info: &str, time: &str) -> String {
    let mut hash = Md5::new();
    for part in [secret.expose(), user_info, time] {
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The user that a JSON object tells of. What it has beside is read past: companies put there what they like.
fn read(json: &[u8]) -> Option<SsoUser> {
    let json = Json::parse(json).ok()?;
    let id = json.get("id")?.as_str()?;
    if id.is_empty() || id.chars().count() > 200 || id.chars().any(char::is_control) {
        return None;
    }
    let fields = match json.get("data") {
        None | Some(Json::Null) => &[],
        Some(Json::Array(fields)) if fields.len() <= MAX_FIELDS => fields.as_slice(),
        Some(_) => return None,
    };
    let data = fields.iter().map(field).collect::<Option<_>>()?;
    Some(SsoUser { id: id.to_owned(), name: text_of(&json, "name")?, photo: text_of(&json, "photo")?, data })
}

fn field(json: &Json) -> Option<SsoField> {
    let val = match json.get("val")? {
        Json::String(text) => text.clone(),
        Json::Integer(number) => number.to_string(),
        Json::Bool(yes) => yes.to_string(),
        _ => return None,
    };
    // Missing or odd is hidden.
    let show = match json.get("show") {
        Some(Json::Bool(show)) => *show,
        Some(Json::String(text)) => text == "true",
        _ => false,
    };
    Some(SsoField { key: json.get("key")?.as_str()?.to_owned(), val, title: text_of(json, "title")?, show })
}

/// A text that may be absent; `None` where it is something else.
#[expect(clippy::option_option, reason = "absent and wrong are two things")]
fn text_of(json: &Json, name: &str) -> Option<Option<String>> {
    match json.get(name) {
        None | Some(Json::Null) => Some(None),
        Some(value) => value.as_str().map(|text| Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW_S: i64 = 1_800_000_000;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    fn signed(json: &str, time: i64, by: &str) -> String {
        let (user_info, time) = (base64::encode_standard(json.as_bytes()), time.to_string());
        let signature = sign(&secret(by), &user_info, &time);
        format!("{user_info}_{time}_{signature}")
    }

    fn judge(text: &str) -> Result<SsoUser, SsoRefused> {
        verify(text, &[secret("new secret key"), secret("old secret key")], UnixMs::from_seconds(NOW_S))
    }

    #[test]
    fn a_signature_is_the_one_that_other_programs_make() {
        // printf '%s' 'secret' 'eyJpZCI6IjEifQ==' '1800000000' | md5sum
        let known = "eyJpZCI6IjEifQ==_1800000000_c2a2f4a7d39d4a3fa3aa9ef47331567e";
        let user = verify(known, &[secret("secret")], UnixMs::from_seconds(NOW_S)).unwrap();
        assert_eq!(user, SsoUser { id: "1".to_owned(), name: None, photo: None, data: Vec::new() });
    }

    #[test]
    fn times_keys_and_forms() {
        use SsoRefused::{Early, Form, Old, Signature, User};
        let json = r#"{"id":"7"}"#;
        let good = signed(json, NOW_S, "new secret key");
        for (text, verdict) in [
            (good.clone(), None),
            (signed(json, NOW_S, "old secret key"), None),
            (signed(json, NOW_S, "another key"), Some(Signature)),
            (signed(json, NOW_S, ""), Some(Signature)),
            (signed(json, NOW_S - 300, "new secret key"), None),
            (signed(json, NOW_S - 301, "new secret key"), Some(Old)),
            (signed(json, NOW_S + 30, "new secret key"), None),
            (signed(json, NOW_S + 31, "new secret key"), Some(Early)),
            (good.to_uppercase(), Some(Form)),
            (format!("{good} "), Some(Form)),
            (format!("{good}0"), Some(Form)),
            (good.replace("_1800000000_", "_01800000000_"), Some(Form)),
            (good.replace("_1800000000_", "_1800000001_"), Some(Signature)),
            (good.replacen('_', "", 1), Some(Form)),
            (String::new(), Some(Form)),
            ("__".to_owned(), Some(Form)),
            ("a".repeat(MAX_BYTES + 1), Some(Form)),
            // Base64 without its padding, and of the other alphabet, are other texts.
            (signed(json, NOW_S, "new secret key").replace('=', ""), Some(Form)),
            (signed("[1]", NOW_S, "new secret key"), Some(User)),
            (signed("{", NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":7}"#, NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":""}"#, NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":"a","id":"b"}"#, NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":"a","data":{}}"#, NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":"a","name":1}"#, NOW_S, "new secret key"), Some(User)),
            (signed(r#"{"id":"a","data":[{"key":"k","val":[]}]}"#, NOW_S, "new secret key"), Some(User)),
        ] {
            assert_eq!(judge(&text).err(), verdict, "{text}");
        }
        assert_eq!(
            verify(&good, &[], UnixMs::from_seconds(NOW_S)).err(),
            Some(Signature),
            "no secret, nobody"
        );
    }

    #[test]
    fn a_plus_that_a_query_has_made_a_space_of_is_one() {
        // With a `+` in its base64.
        let text = signed(r#"{"id":"~~>~~>"}"#, NOW_S, "new secret key");
        assert!(text.contains('+'), "{text}");
        assert_eq!(judge(&text.replace('+', " ")), judge(&text));
        assert!(judge(&text).is_ok());
    }

    #[test]
    fn what_is_not_said_to_be_shown_is_hidden() {
        for (show, shown) in [
            (r#","show":true"#, true),
            (r#","show":"true""#, true),
            (r#","show":false"#, false),
            (r#","show":"false""#, false),
            (r#","show":"yes""#, false),
            (r#","show":1"#, false),
            (r#","show":null"#, false),
            ("", false),
        ] {
            let json =
                format!(r#"{{"id":"a","data":[{{"key":"k","val":5,"title":"T"{show}}}],"more":{{}}}}"#);
            let user = judge(&signed(&json, NOW_S, "new secret key")).unwrap();
            let field = SsoField { key: "k".into(), val: "5".into(), title: Some("T".into()), show: shown };
            assert_eq!(user.data, [field], "{show}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = judge(&text);
        }

        #[test]
        fn any_changed_character_is_refused(at in 0_usize..200, with in proptest::char::range('!', '~')) {
            let good = signed(r#"{"id":"somebody","name":"Some Body"}"#, NOW_S, "new secret key");
            let mut changed: Vec<char> = good.chars().collect();
            let at = at % changed.len();
            prop_assume!(changed[at] != with);
            changed[at] = with;
            prop_assert!(judge(&changed.into_iter().collect::<String>()).is_err());
        }
    }
}
