//! The body of `POST /v1/factors/credentials`: read strictly at the edge and at the issuer.

use crate::id::MerchantId;
use crate::json::Json;
use crate::secret::SecretText;

/// The largest login body, in bytes.
pub const MAX_LOGIN_BODY_BYTES: usize = 4 * 1024;

/// A login attempt.
#[derive(Debug, Clone)]
pub struct CredentialsRequest {
    /// What was typed as the login.
    pub login: String,
    /// The password.
    pub password: SecretText,
    /// The merchant whose account it is.
    pub merchant_id: MerchantId,
}

/// A body that is no login attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a login attempt")]
pub struct NotALogin;

impl CredentialsRequest {
    /// Reads the body: exactly the three members, once each, all strings.
    ///
    /// # Errors
    /// [`NotALogin`].
    pub fn parse(body: &[u8]) -> Result<Self, NotALogin> {
        if body.len() > MAX_LOGIN_BODY_BYTES {
            return Err(NotALogin);
        }
        let json = Json::parse(body).map_err(|_| NotALogin)?;
        let text = |name: &str| json.get(name).and_then(Json::as_str).ok_or(NotALogin);
        let (login, password, merchant_id) = (text("login")?, text("password")?, text("merchant_id")?);
        if json.as_object().is_none_or(|members| members.len() != 3) || login.is_empty() {
            return Err(NotALogin);
        }
        Ok(Self {
            login: login.to_owned(),
            password: SecretText::new(password.to_owned()),
            merchant_id: MerchantId::parse(merchant_id).map_err(|_| NotALogin)?,
        })
    }

    /// The one spelling in which the edge passes it on.
    pub fn print(&self) -> SecretText {
        let body = serde_json::json!({
            "login": self.login,
            "password": self.password.expose(),
            "merchant_id": self.merchant_id,
        });
        SecretText::new(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_is_a_login() {
        let good = r#"{"login":"Al\u00efce","password":"p\"w","merchant_id":"m"}"#;
        let read = CredentialsRequest::parse(good.as_bytes()).unwrap();
        let again = CredentialsRequest::parse(read.print().expose().as_bytes()).unwrap();
        assert_eq!((again.login.as_str(), again.password.expose()), ("Alïce", "p\"w"));
        for bad in [
            "",
            "[]",
            r#"{"login":"a","password":"b"}"#,
            r#"{"login":"a","password":"b","merchant_id":"m","x":1}"#,
            r#"{"login":"a","login":"b","password":"b","merchant_id":"m"}"#,
            r#"{"login":"a","log\u0069n":"b","password":"b","merchant_id":"m"}"#,
            r#"{"login":["a"],"password":"b","merchant_id":"m"}"#,
            r#"{"login":"","password":"b","merchant_id":"m"}"#,
            r#"{"login":"a","password":null,"merchant_id":"m"}"#,
            r#"{"login":"a","password":"b","merchant_id":"m/n"}"#,
            &format!(
                r#"{{"login":"a","password":"{}","merchant_id":"m"}}"#,
                "x".repeat(MAX_LOGIN_BODY_BYTES)
            ),
        ] {
            assert!(CredentialsRequest::parse(bad.as_bytes()).is_err(), "{bad:.80}");
        }
    }
}
