//! Erasing an account: what is personal goes, what others rely on stays.

use crate::accounts::{self, find_account, lock_account};
use crate::app::App;
use crate::audit::Entry;
use crate::devices::delete_devices;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::organizations::delete_head;
use crate::passwords::delete_hash;
use crate::permissions::delete_grants_of;
use crate::recovery::delete_reset;
use crate::sessions::end_all;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;

/// Erases an account for good: its name, password, roles and settings go, every session and token ends, and the key that opens what is
/// personal in its audit entries is destroyed. Its id stays, since entries and other systems name it, and so does a keyed hash of its
/// username, which nobody gets again.
///
/// # Errors
/// `not_found`; `conflict` when it was erased already.
pub(crate) async fn erase_account(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = find_account(&mut tx, id).await?;
    let account = account.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))?;
    if account.erased_at.is_some() {
        return Err(Failure::denied(ErrorCode::Conflict, "already_erased"));
    }
    // First the account's row, as whatever ends an account does; then what hangs on it, its sessions, and the feed's counter.
    lock_account(&mut tx, id).await?;
    delete_reset(&mut tx, id).await?;
    delete_devices(&mut tx, id).await?;
    delete_head(&mut tx, id).await?;
    end_all(app, &mut tx, &account.merchant_id, id, actor, caller, now).await?;
    accounts::erase(app, &mut tx, &account, now).await?;
    delete_hash(&mut tx, id).await?;
    delete_grants_of(&mut tx, id).await?;
    let entry = Entry::done("account.erase")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AccountSettings, NewAccount, create_account, find_by_login};
    use crate::audit::{Filter, export, find_entries, seal_some, verify_chain};
    use crate::factors::verify_credentials;
    use crate::permissions::find_rights;
    use crate::sessions::end_session;
    use crate::sessions::find_accounts_in_session;
    use crate::storage::Db;
    use crate::storage::testing::{dump, on_both_databases};
    use crate::sweeper::sweep;
    use crate::testing::{PASSWORD, World};
    use margrave_shared::login::Login;
    use margrave_shared::secret::SecretText;
    use margrave_shared::wire::credentials::CredentialsRequest;
    use serde_json::json;

    async fn who_is_erased_leaves_no_name_and_the_audit_stands(db: Db) {
        let world = World::new(db).await;
        let (app, operator) = (&world.app, Caller::operator());
        let caller = Caller { address: Some("198.51.100.77".parse().unwrap()), ..Caller::default() };
        let request = |login: &str| CredentialsRequest {
            login: login.to_owned(),
            password: SecretText::new(PASSWORD.to_owned()),
            merchant_id: world.merchant.id.clone(),
        };
        let found = async |login: &str| {
            find_by_login(&mut app.db.read().await.unwrap(), &Login::parse(login)).await.unwrap()
        };
        verify_credentials(app, &request("Alice"), &caller).await.unwrap();
        let tokens = world.log_in("alice").await.unwrap();
        let alice = found("alice").await.unwrap();
        let settings = serde_json::from_value(json!({ "permissions": ["permission.of.hers"] })).unwrap();
        // Giving more ends tokens; the ones that she has then are a new session's.
        world.give_role(&alice, "role-of-hers", settings).await;
        assert!(world.refresh(&tokens).await.is_err());
        let tokens = world.log_in("alice").await.unwrap();
        assert_eq!(
            find_accounts_in_session(&mut app.db.read().await.unwrap(), &world.merchant.id)
                .await
                .unwrap()
                .len(),
            1
        );
        // What she does herself, known as who she is, and what is done in her name by somebody of whom only that is known.
        let own = world.session_of(&world.log_in("alice").await.unwrap()).await;
        let other = world.session_of(&world.log_in("alice").await.unwrap()).await;
        let by_her = format!("account:{}", alice.id);
        end_session(app, &alice.id, &other.sid, &by_her, &caller).await.unwrap();
        caller.person.set(alice.person().unwrap()).unwrap();
        end_session(app, &alice.id, &own.sid, &by_her, &caller).await.unwrap();
        seal_some(app).await.unwrap();
        let version = found("alice").await.unwrap().version;
        erase_account(app, &alice.id, "operator", &operator).await.unwrap();
        let again = erase_account(app, &alice.id, "operator", &operator).await;
        assert!(matches!(again, Err(Failure::Denied(denial)) if denial.code == ErrorCode::Conflict));

        assert!(world.refresh(&tokens).await.is_err());
        let mut tx = app.db.read().await.unwrap();
        assert_eq!(find_accounts_in_session(&mut tx, &world.merchant.id).await.unwrap(), []);
        assert_eq!(find_rights(&mut tx, &alice).await.unwrap().roles, [].into());
        drop(tx);
        assert!(found("alice").await.is_none());
        for login in ["alice", alice.x_address.as_str(), &format!("@{}", alice.id)] {
            let refused = verify_credentials(app, &request(login), &caller).await;
            assert!(
                matches!(refused, Err(Failure::Denied(denial)) if denial.code == ErrorCode::AuthenticationFailed),
                "{login}"
            );
        }
        let new = |username: &str| NewAccount { username: username.to_owned(), password: None };
        for username in ["alice", "ALICE"] {
            let taken = create_account(app, &world.merchant.id, new(username), "operator", &operator).await;
            assert!(matches!(taken, Err(Failure::Denied(denial)) if denial.code == ErrorCode::UsernameTaken));
        }
        // Who asks for names stands in the audit.
        let asked = Filter {
            merchant: Some(world.merchant.id.clone()),
            act: Some("account.create".to_owned()),
            outcome: Some("refused".to_owned()),
            ..Filter::default()
        };
        let mut tx = app.db.read().await.unwrap();
        assert_eq!(find_entries(&mut tx, &asked, 10).await.unwrap().len(), 2);
        drop(tx);
        create_account(app, &world.merchant.id, new("alicia"), "operator", &operator).await.unwrap();

        sweep(app, app.clock.now()).await.unwrap();
        seal_some(app).await.unwrap();
        let written = dump(&app.db).await.to_lowercase();
        assert!(!written.contains("alice"), "{written}");
        let (mut lines, mut hers, mut ended) = (String::new(), 0, 0);
        let each = |line: &crate::audit::Exported| {
            let line = json!(line);
            if line["person"] == alice.id.as_str() || line["actor"] == by_her.as_str() {
                hers += 1;
                ended += i32::from(line["act"] == "session.end" && !line["sealed_personal"].is_null());
                assert!(
                    line["address_tag"].is_null(),
                    "a hash of an address can be compared with a guess: {line}"
                );
            }
            lines.push_str(&line.to_string());
            true
        };
        export(app, Some(accounts::find_audit_key), each).await.unwrap();
        assert_eq!(ended, 1, "from where somebody did something is kept under their key");
        assert!(hers > 0 && lines.contains("sealed_personal") && !lines.contains("198.51.100.77"));
        assert_eq!(verify_chain(app, None).await.unwrap().found, 0);
        let gone = find_account(&mut app.db.read().await.unwrap(), &alice.id).await.unwrap().unwrap();
        assert_eq!(gone.settings, AccountSettings::default());
        // Who has read what she was changes nothing of what is left.
        assert!(gone.version > version);
        assert!(gone.erased_at.is_some() && gone.disabled_at.is_some() && gone.generation > alice.generation);
    }
    on_both_databases!(erasure, super::who_is_erased_leaves_no_name_and_the_audit_stands);
}
