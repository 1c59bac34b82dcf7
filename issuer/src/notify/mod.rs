//! What is told to people beside the requests that they make. A notice is written down in the transaction of what it tells of, and sent
//! afterwards, by whichever issuer gets to it: at least once, and once as a rule.

mod mail;
mod send;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use mail::{Mail, Mailer};
pub(crate) use send::run as run_sender;
pub(crate) use store::{count_waiting, delete_dead};

use crate::app::App;
use crate::keys::seal;
use crate::storage::{StorageError, Tx};
use margrave_shared::id::{AccountId, KeyId, MerchantId, uuid_v4};
use margrave_shared::time::UnixMs;

/// Something that whoever runs the system is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice<'a> {
    /// The break-glass was used.
    PlatformReset {
        /// The merchant that runs the system.
        merchant: &'a MerchantId,
        /// The key that was made.
        key: &'a KeyId,
        /// How many others were revoked.
        revoked: usize,
        /// Why, as who did it says.
        reason: &'a str,
    },
    /// The reset of an account was started that may do more than others.
    AdministratorReset {
        /// The account.
        account: &'a AccountId,
        /// Its merchant.
        merchant: &'a MerchantId,
        /// Who started it.
        by: &'a str,
        /// After how many seconds it counts.
        delay_s: i64,
    },
}

impl Notice<'_> {
    /// What it is about, and how urgent it is: the break-glass before everything else.
    fn subject(&self) -> (String, i64) {
        match self {
            Self::PlatformReset { key, .. } => (format!("platform reset {key}"), 1),
            Self::AdministratorReset { account, .. } => (format!("reset of {account}"), 0),
        }
    }

    /// The mail that says so.
    fn written(&self, issuer: &str) -> Mail {
        match self {
            Self::PlatformReset { merchant, key, revoked, reason } => Mail {
                subject: "Margrave: the break-glass was used".to_owned(),
                text: format!(
                    "Somebody with a shell has made themselves an administrator of {issuer} with `margrave admin reset`.\n\n\
                     Merchant: {merchant}\nNew key: {key}\nOther keys revoked: {revoked}\nReason given: {reason}\n\n\
                     If nobody of yours has done it, revoke the key and see who can read the master key and write the database: \
                     `margrave merchants revoke-key {merchant} {key}`. The audit has it as admin.reset.\n",
                ),
            },
            Self::AdministratorReset { account, merchant, by, delay_s } => Mail {
                subject: "Margrave: an administrator's account is being reset".to_owned(),
                text: format!(
                    "At {issuer} a reset was started of an account with rights over others.\n\n\
                     Account: {account}\nMerchant: {merchant}\nStarted by: {by}\nIt counts {}.\n\n\
                     If it is not meant, call it off: `margrave accounts cancel-reset {account}`. The audit has it as \
                     account.start_reset.\n",
                    if *delay_s == 0 { "at once".to_owned() } else { format!("in {} min", delay_s / 60) },
                ),
            },
        }
    }
}

/// How long a notice is tried to be sent.
const LIVES_MS: i64 = 24 * 3_600_000;

/// Writes down that whoever runs the system is to be told. Whether this process knows how to does not matter: another one may.
///
/// # Errors
/// The database's.
pub(crate) async fn tell_operators(
    app: &App,
    tx: &mut Tx,
    notice: Notice<'_>,
    now: UnixMs,
) -> Result<(), StorageError> {
    let id = uuid_v4(app.entropy.bytes());
    let mail = notice.written(&app.public_url);
    let text = serde_json::to_vec(&mail).unwrap_or_default();
    let sealed = seal(&app.notices_key, &purpose(&id), &text, app.entropy.bytes());
    let (about, urgency) = notice.subject();
    store::insert_notice(tx, &id, (&about, urgency), &sealed, now, now.plus_ms(LIVES_MS)).await
}

/// What a notice's text is sealed for: itself, and no other.
fn purpose(id: &str) -> String {
    format!("notice {id}")
}
