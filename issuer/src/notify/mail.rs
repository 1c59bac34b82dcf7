//! Sending mail (RFC 5321), with `lettre`.

use crate::config::MailConfig;
use crate::failure::Failure;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport as _, Tokio1Executor};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A mail, without whom it is to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mail {
    /// Its subject.
    pub(crate) subject: String,
    /// Its text.
    pub(crate) text: String,
}

/// Sends mail.
#[derive(Debug, Clone)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    operators: Vec<Mailbox>,
}

/// A mail that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("the mail server {}: {said}", if *.is_final { "refuses" } else { "cannot be used now" })]
pub(crate) struct NotSent {
    said: String,
    /// Whether it would be refused again.
    pub(crate) is_final: bool,
}

impl From<lettre::transport::smtp::Error> for NotSent {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self { said: error.to_string(), is_final: error.is_permanent() }
    }
}

/// How long one step of sending may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Mailer {
    /// As it is configured; `None` where mail is not.
    ///
    /// # Errors
    /// [`Failure::Internal`] for a configuration that was not validated.
    pub(crate) fn new(config: &MailConfig) -> Result<Option<Self>, Failure> {
        let (Some(url), Some(from)) = (&config.smtp_url, &config.from) else { return Ok(None) };
        let bad = || Failure::Internal("mail is not configured as it should be");
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| bad())?;
        let operators = config.operators.iter().map(|one| one.parse());
        Ok(Some(Self {
            transport: transport.timeout(Some(TIMEOUT)).build(),
            from: from.parse().map_err(|_| bad())?,
            operators: operators.collect::<Result<_, _>>().map_err(|_| bad())?,
        }))
    }

    /// Who runs the system.
    pub(crate) fn operators(&self) -> &[Mailbox] {
        &self.operators
    }

    /// Sends a mail. The same mail, sent again, has the same id for whoever receives it.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn send(&self, to: &Mailbox, mail: &Mail, id: &str) -> Result<(), NotSent> {
        let never = |error: lettre::error::Error| NotSent { said: error.to_string(), is_final: true };
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .subject(&mail.subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(never)?;
        self.transport.send(message).await?;
        Ok(())
    }

    /// Whether the server answers, and lets us in.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn check(&self) -> Result<(), NotSent> {
        if self.transport.test_connection().await? {
            return Ok(());
        }
        Err(NotSent { said: "it does not answer as one".to_owned(), is_final: false })
    }
}
