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
    /// [`TIMEOUT`].
    pub(super) timeout: Duration,
}

/// A mail that was not sent, with what the server said. Whatever that was, it may be mended: a password, an address.
#[derive(Debug, thiserror::Error)]
#[error("the mail server does not take it: {0}")]
pub(crate) struct NotSent(String);

impl From<lettre::transport::smtp::Error> for NotSent {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self(error.to_string())
    }
}

/// How long a mail may take from the name's resolution to the last answer, and a check of the server as well.
const TIMEOUT: Duration = Duration::from_secs(20);

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
            transport: transport.build(),
            from: from.parse().map_err(|_| bad())?,
            operators: operators.collect::<Result<_, _>>().map_err(|_| bad())?,
            timeout: TIMEOUT,
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
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .subject(&mail.subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| NotSent(error.to_string()))?;
        self.in_time(self.transport.send(message)).await?;
        Ok(())
    }

    /// Whether the server answers, and lets us in.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn check(&self) -> Result<(), NotSent> {
        if self.in_time(self.transport.test_connection()).await? {
            return Ok(());
        }
        Err(NotSent("it does not answer as one".to_owned()))
    }

    /// `lettre` bounds how long connecting takes, and nothing of what comes after it.
    async fn in_time<T>(
        &self,
        talk: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, NotSent> {
        let late = |_| NotSent(format!("it took longer than {} s", self.timeout.as_secs()));
        Ok(tokio::time::timeout(self.timeout, talk).await.map_err(late)??)
    }
}
