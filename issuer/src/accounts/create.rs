//! Making an account through a merchant (C4).

use super::erase::is_erased_name;
use super::{Account, AccountSettings, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{Limited, check_limit, check_limit_ahead};
use crate::passwords;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::login::Username;
use margrave_shared::password::policy::check_new;
use margrave_shared::secret::SecretText;
use margrave_shared::x_address::XAddress;

/// An account to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewAccount {
    /// Its username.
    pub(crate) username: String,
    /// Its password, if it gets one now.
    pub(crate) password: Option<SecretText>,
}

/// Makes an account of a merchant. Who may do so holds `register` and may know which usernames are taken.
///
/// # Errors
/// `invalid_username`, `invalid_password` with what to change; `username_taken`; `limit_reached`; `overloaded`.
pub(crate) async fn create_account(
    app: &App,
    merchant_id: &MerchantId,
    new: NewAccount,
    actor: &str,
    caller: &Caller,
) -> Result<Account, Failure> {
    let username = Username::parse(&new.username)
        .map_err(|problem| Failure::explained(ErrorCode::InvalidUsername, problem.to_string()))?;
    let made = make(app, merchant_id, &username, new.password.as_ref(), actor, caller).await;
    if let Err(Failure::Denied(denial)) = &made {
        // Who asks for many names wants to know which of them there are.
        let entry = Entry::refused("account.create", denial.reason)
            .merchant(merchant_id)
            .actor(actor)
            .subject(app.audit.unknown_login(username.key()));
        app.audit.write_alone(&app.db, entry, caller, app.clock.now(), app.entropy.bytes()).await?;
    }
    made
}

/// Makes it, or nothing of it, whatever fails.
async fn make(
    app: &App,
    merchant_id: &MerchantId,
    username: &Username,
    password: Option<&SecretText>,
    actor: &str,
    caller: &Caller,
) -> Result<Account, Failure> {
    check_limit_ahead(app, merchant_id, Limited::Accounts).await?;
    let hash = match password {
        None => None,
        Some(password) => {
            let normal = check_new(password, app.min_password_chars)
                .map_err(|problem| Failure::explained(ErrorCode::InvalidPassword, problem.to_string()))?;
            Some(app.kdf.hash(normal, caller.address, app.entropy.bytes()).await?)
        }
    };
    let mut tx = app.db.begin().await?;
    let account = insert_new(app, &mut tx, merchant_id, username, hash.as_deref(), actor, caller).await?;
    tx.commit().await?;
    Ok(account)
}

/// Inserts an account with a password's hash.
///
/// # Errors
/// `username_taken`, `limit_reached`.
pub(super) async fn insert_new(
    app: &App,
    tx: &mut Tx,
    merchant_id: &MerchantId,
    username: &Username,
    hash: Option<&str>,
    actor: &str,
    caller: &Caller,
) -> Result<Account, Failure> {
    let now = app.clock.now();
    check_limit(tx, merchant_id, Limited::Accounts, now).await?;
    let id = AccountId::from_random(app.entropy.bytes());
    let x_address = XAddress::assigned(app.entropy.bytes());
    let audit_key = app.audit.personal().make(&id, app.entropy.bytes());
    match store::insert_account(tx, &id, merchant_id, username, &x_address, &audit_key, now).await {
        Err(StorageError::Conflict) => {
            return Err(Failure::denied(ErrorCode::UsernameTaken, "username_taken"));
        }
        inserted => inserted?,
    }
    // After the name is this transaction's own: an erasure at the same moment has been waited for.
    if is_erased_name(app, tx, username.key()).await? {
        return Err(Failure::denied(ErrorCode::UsernameTaken, "erased_username"));
    }
    if let Some(hash) = hash {
        passwords::put_hash(tx, &id, hash, now).await?;
    }
    let entry =
        Entry::done("account.create").merchant(merchant_id).actor(actor).subject(format!("account:{id}"));
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(Account {
        id,
        merchant_id: merchant_id.clone(),
        username: username.display().to_owned(),
        x_address,
        generation: 0,
        device_generation: 0,
        settings: AccountSettings::default(),
        version: 0,
        created_at: now,
        disabled_at: None,
        audit_key: Some(audit_key),
        erased_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::find_by_login;
    use crate::storage::testing::on_both_databases;
    use crate::storage::{Db, on_tx};
    use crate::testing::World;
    use margrave_shared::login::Login;
    use sqlx::{AssertSqlSafe, SqlSafeStr as _};

    async fn nobody_is_made_whose_making_is_not_written_down(db: Db) {
        let world = World::new(db).await;
        let run = async |sql: &str| {
            let mut tx = world.app.db.begin().await.unwrap();
            let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
            on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).unwrap();
            tx.commit().await.unwrap();
        };
        let new = NewAccount { username: "bob".to_owned(), password: None };
        let merchant = &world.merchant.id;
        run("ALTER TABLE audit RENAME TO elsewhere").await;
        let failed = create_account(&world.app, merchant, new.clone(), "operator", &Caller::operator()).await;
        assert!(matches!(failed, Err(Failure::Storage(_))), "{failed:?}");
        run("ALTER TABLE elsewhere RENAME TO audit").await;
        let login = Login::parse("bob");
        assert!(find_by_login(&mut world.app.db.read().await.unwrap(), &login).await.unwrap().is_none());
        create_account(&world.app, merchant, new, "operator", &Caller::operator()).await.unwrap();
    }
    on_both_databases!(unwritten, super::nobody_is_made_whose_making_is_not_written_down);
}
