//! `margrave mail`

use super::{CommandError, Output};
use crate::config::Config;
use crate::entropy::Entropy;
use crate::notify::{Mail, Mailer};
use clap::Subcommand;
use margrave_shared::id::uuid_v4;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a mail, to see that it arrives.
    Test {
        /// To whom.
        address: String,
    },
}

pub(super) async fn run(command: &Command, config: &Config, output: Output) -> Result<(), CommandError> {
    let Command::Test { address } = command;
    let to = address
        .parse()
        .map_err(|error| CommandError::Text(format!("{address} is no mail address: {error}")))?;
    let none = "no mail is configured: set `mail.smtp_url` and `mail.from`";
    let mailer = Mailer::new(&config.mail)?.ok_or_else(|| CommandError::Text(none.to_owned()))?;
    let mail = Mail {
        subject: "Margrave: a test".to_owned(),
        text: format!("{} can send mail.\n", config.public_url),
    };
    let sent = mailer.send(&to, &mail, &uuid_v4(Entropy.bytes())).await;
    sent.map_err(|error| CommandError::Text(error.to_string()))?;
    output.print("the mail server has taken it", &json!({ "sent": address }));
    Ok(())
}
