//! The credentials factor: login and password, presented together (C6).

use super::security_token::issue;
use crate::accounts;
use crate::accounts::{MAX_FAILURES, MAX_FAILURES_OF_STRANGERS};
use crate::app::App;
use crate::audit::Entry;
use crate::edges::find_edge;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::find_merchant;
use crate::passwords::{Verdict, find_hash, replace_hash};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::factor_policy::Factor;
use margrave_shared::login::{Login, login_key};
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::token::SecurityTokenResponse;

/// Verifies login and password. Unknown, wrong, disabled, locked and of another merchant are one answer: in bytes by
/// one code, in time because every attempt hashes once and writes once.
///
/// # Errors
/// `authentication_failed`; `overloaded` when nothing was evaluated.
pub(crate) async fn verify_credentials(
    app: &App,
    request: &CredentialsRequest,
    caller: &Caller,
) -> Result<SecurityTokenResponse, Failure> {
    let login = Login::parse(&request.login);
    let mut tx = app.db.glance().await?;
    let merchant = find_merchant(&mut tx, &request.merchant_id).await?;
    // To this merchant somebody of another one is nobody: in what is checked, in how long that takes, and in its audit.
    let account = accounts::find_by_login(&mut tx, &login).await?;
    let account = account.filter(|account| account.merchant_id == request.merchant_id);
    let stored = match &account {
        Some(account) => find_hash(&mut tx, &account.id).await?,
        None => None,
    };
    drop(tx);

    let import_hash = merchant.as_ref().and_then(|merchant| merchant.import_hash.clone());
    let random = app.entropy.bytes();
    let checking = app.kdf.verify(&request.password, stored.clone(), import_hash, caller.address, random);
    let verdict = checking.await?;

    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    // What was read before hashing may be outdated: the account may have been disabled or its password changed.
    let locked = match account {
        Some(account) => accounts::lock_account(&mut tx, &account.id).await?,
        None => None,
    };
    let (account, failures) = locked.unzip();
    let still = match &account {
        Some(account) => find_hash(&mut tx, &account.id).await? == stored,
        None => false,
    };
    // The account is locked: of a hundred parallel attempts no more are evaluated than the limit leaves.
    let (counted, most) = match &account {
        Some(account) => {
            let known = is_known_device(&mut tx, account, caller).await?;
            let most = if known { MAX_FAILURES } else { MAX_FAILURES_OF_STRANGERS };
            (failures.is_some_and(|failures| failures < most), most)
        }
        None => (true, 0),
    };
    let reason = match (&account, &merchant) {
        (None, _) => Some("unknown_login"),
        (Some(_), None) => Some("unknown_merchant"),
        (Some(_), Some(merchant)) if merchant.disabled_at.is_some() => Some("disabled_merchant"),
        (Some(account), _) if account.disabled_at.is_some() => Some("disabled_account"),
        (Some(_), _) if !counted => Some("too_many_failures"),
        _ if verdict == Verdict::Wrong || !still => Some("wrong_password"),
        _ => None,
    };
    let subject = match &account {
        Some(account) => format!("account:{}", account.id),
        None => app.audit.unknown_login(&login_key(&request.login)),
    };
    let person = account.as_ref().and_then(|account| Some(account.person()?.with_login(&request.login)));
    match (reason, &account) {
        (None, Some(account)) => {
            if failures != Some(0) {
                accounts::reset_failures(&mut tx, &account.id).await?;
            }
            if let (Verdict::RightRehashed(new), Some(old)) = (&verdict, &stored) {
                replace_hash(&mut tx, &account.id, old, new, now).await?;
            }
            let token = issue(app, &mut tx, account, Factor::Credentials, now).await?;
            let entry = Entry::done("factor.credentials")
                .merchant(&request.merchant_id)
                .subject(subject)
                .person(person);
            app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
            tx.commit().await?;
            Ok(token)
        }
        (reason, account) => {
            if let Some(account) = account {
                accounts::add_failure(&mut tx, &account.id, most).await?;
            }
            let reason = reason.unwrap_or("unknown_login");
            let mut entry = Entry::refused("factor.credentials", reason).subject(subject).person(person);
            if merchant.is_some() {
                entry = entry.merchant(&request.merchant_id);
            }
            app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
            tx.commit().await?;
            Err(Failure::denied(ErrorCode::AuthenticationFailed, reason))
        }
    }
}

/// Whether the attempt comes from a device that the account's owner has logged in from, and that was not forgotten since.
/// An edge speaks for the accounts of its own merchants only.
async fn is_known_device(tx: &mut Tx, account: &accounts::Account, caller: &Caller) -> Result<bool, Failure> {
    let (Some(claim), Some(edge)) = (&caller.device, &caller.edge) else { return Ok(false) };
    let of_account = claim.account == account.id && claim.generation == account.device_generation;
    let edge = find_edge(tx, edge).await?;
    Ok(of_account && edge.is_some_and(|edge| edge.serves(&account.merchant_id)))
}
