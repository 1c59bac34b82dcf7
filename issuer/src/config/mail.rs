//! `[mail]`: by which server mail is sent, from whom, and who runs the system.

use crate::outbound::may_be_called;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use serde::{Deserialize, Serialize};

/// How mail is sent.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct MailConfig {
    /// `smtps://user:password@mail.example.org`, or `smtp://…:587?tls=required`; without encryption to this machine alone. Default
    /// none: no mail is sent.
    pub(crate) smtp_url: Option<String>,
    /// From whom: `Margrave <login@example.org>`. Needed with `smtp_url`.
    pub(crate) from: Option<String>,
    /// Who is told when somebody has used the break-glass, or an administrator is being reset. Default nobody.
    pub(crate) operators: Vec<String>,
}

impl MailConfig {
    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        let Some(url) = &self.smtp_url else {
            if self.from.is_some() || !self.operators.is_empty() {
                problems.push("`mail.smtp_url` names the server that sends mail".to_owned());
            }
            return;
        };
        // Not the URL itself in any of these: it may hold a password.
        match read_url(url) {
            Some(_) if AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_err() => problems.push(BAD_URL.to_owned()),
            None => problems.push(BAD_URL.to_owned()),
            Some(true) => {}
            Some(false) => problems.push(
                "`mail.smtp_url` is encrypted (smtps://, or smtp:// with ?tls=required), unless the server is this machine".to_owned(),
            ),
        }
        match &self.from {
            None => problems.push("`mail.from` says from whom mail comes".to_owned()),
            Some(from) => problems.extend(bad_address("mail.from", from)),
        }
        for operator in &self.operators {
            problems.extend(bad_address("mail.operators", operator));
        }
    }
}

fn bad_address(name: &str, address: &str) -> Option<String> {
    let why = address.parse::<Mailbox>().err()?;
    Some(format!("`{name}`: \"{address}\" is no mail address: {why}"))
}

const BAD_URL: &str = "`mail.smtp_url` is no such URL: smtps://user:password@host, or smtp://user:password@host:587?tls=required, with \
     what is special in user and password percent-encoded";

/// Whether nobody on the way reads what is sent by such a URL: mail holds links and codes. `None` where it is none. It is read as narrowly
/// as can be, since what reads it afterwards is another program's code: no path, no fragment, no setting but the one.
fn read_url(url: &str) -> Option<bool> {
    let (scheme, rest) = url.split_once("://")?;
    let (place, is_tls_required) = match rest.split_once('?') {
        None => (rest, false),
        Some((place, "tls=required")) => (place, true),
        Some(_) => return None,
    };
    let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    if host.is_empty() || !plain(host, ".-:[]") || !plain(user, "-._~!$&'()*+,;=%:") {
        return None;
    }
    match scheme {
        "smtps" => Some(true),
        "smtp" => Some(is_tls_required || may_be_called(&format!("http://{host}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_encrypted_or_stays_on_the_machine() {
        for (url, private) in [
            ("smtps://u:p@mail.example.org", Some(true)),
            ("smtps://u%40x:p%2Fw@mail.example.org:465", Some(true)),
            ("smtp://mail.example.org:587?tls=required", Some(true)),
            ("smtp://u:p@127.0.0.1:2525", Some(true)),
            ("smtp://[::1]:2525", Some(true)),
            ("smtp://localhost", Some(true)),
            ("smtp://mail.example.org:587", Some(false)),
            ("smtp://127.0.0.1:x@mail.example.org", Some(false)),
            ("smtp://mail.example.org:587?tls=opportunistic", None),
            ("smtp://mail.example.org?tls=opportunistic&tls=required", None),
            ("smtp://mail.example.org?tls=required&x", None),
            ("smtp://mail.example.org#?tls=required", None),
            ("smtp://mail.example.org/@127.0.0.1", None),
            ("smtp://mail.example.org\\@127.0.0.1", None),
            ("smtp://a@b@127.0.0.1", None),
            ("smtp://", None),
            ("http://mail.example.org", None),
            ("mail.example.org", None),
        ] {
            assert_eq!(read_url(url), private, "{url}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let config = |url: Option<&str>, from: Option<&str>, operators: &[&str]| MailConfig {
            smtp_url: url.map(str::to_owned),
            from: from.map(str::to_owned),
            operators: operators.iter().map(|&one| one.to_owned()).collect(),
        };
        let good = Some("smtps://u:p@mail.example.org");
        for (config, problem) in [
            (config(None, None, &[]), None),
            (config(good, Some("Margrave <m@example.org>"), &["ops@example.org"]), None),
            (config(good, None, &[]), Some("`mail.from` says")),
            (config(None, Some("m@example.org"), &[]), Some("`mail.smtp_url` names")),
            (config(good, Some("nobody"), &[]), Some("`mail.from`: \"nobody\"")),
            (config(good, Some("m@example.org"), &["a b"]), Some("`mail.operators`")),
            (config(Some("http://x"), Some("m@example.org"), &[]), Some("is no such URL")),
            (config(Some("smtp://mail.example.org"), Some("m@example.org"), &[]), Some("is encrypted")),
        ] {
            let mut problems = Vec::new();
            config.validate(&mut problems);
            assert_eq!(problems.len(), usize::from(problem.is_some()), "{problems:?}");
            assert!(problem.is_none_or(|text| problems[0].contains(text)), "{problems:?}");
        }
    }
}
