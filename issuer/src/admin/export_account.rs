//! What is known of a person, for the person.

use crate::accounts::{find_account, find_audit_key};
use crate::app::App;
use crate::audit::{Entry, Exported, export};
use crate::devices::{find_devices, find_targets};
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::organizations::find_headed;
use crate::permissions::find_rights;
use crate::recovery::find_reset;
use crate::sessions::{find_all_ids, find_by_account};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use serde_json::{Value, json};

/// The account, its rights, its sessions, and every audit entry that it is in, with what is personal. That it was read is audited.
///
/// # Errors
/// `not_found`.
pub(crate) async fn export_account(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<Value, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = find_account(&mut tx, id).await?;
    let account = account.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))?;
    let entry = Entry::done("account.export")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let sessions = find_by_account(&mut tx, id).await?;
    let all_sessions = find_all_ids(&mut tx, id).await?;
    let rights = find_rights(&mut tx, &account).await?;
    let reset = find_reset(&mut tx, id).await?;
    let devices = find_devices(app, &mut tx, id).await?;
    let targets = find_targets(app, &mut tx, id).await?;
    let heads = find_headed(&mut tx, id).await?;
    tx.commit().await?;
    let mut entries = Vec::new();
    let each = |line: &Exported| {
        if line.is_about(id, &all_sessions) {
            entries.push(json!(line.of_one_alone(id, &all_sessions)));
        }
        true
    };
    export(app, Some(find_audit_key), each).await?;
    Ok(json!({
        "exported_at": now,
        "account": account,
        "rights": rights,
        "reset": reset,
        "devices": devices,
        "device_targets": targets,
        "heads": heads,
        "sessions": sessions,
        "audit": entries,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{NewAccount, create_account, find_by_login};
    use crate::factors::verify_credentials;
    use crate::sessions::end_session;
    use crate::storage::Db;
    use crate::storage::testing::on_both_databases;
    use crate::testing::{PASSWORD, World};
    use margrave_shared::id::RequestId;
    use margrave_shared::login::Login;
    use margrave_shared::secret::SecretText;
    use margrave_shared::wire::credentials::CredentialsRequest;
    use std::collections::BTreeSet;

    async fn an_export_holds_what_is_ones_own_and_nobody_elses(db: Db) {
        let world = World::new(db).await;
        let (app, operator) = (&world.app, Caller::operator());
        let new = NewAccount { username: "bob".to_owned(), password: None };
        let bob = create_account(app, &world.merchant.id, new, "operator", &operator).await.unwrap();
        for (login, address) in [("alice", "198.51.100.1"), ("bob", "198.51.100.2")] {
            let request = CredentialsRequest {
                login: login.to_owned(),
                password: SecretText::new(PASSWORD.to_owned()),
                merchant_id: world.merchant.id.clone(),
            };
            let caller = Caller { address: Some(address.parse().unwrap()), ..Caller::default() };
            let _ = verify_credentials(app, &request, &caller).await;
        }
        let alice = find_by_login(&mut app.db.read().await.unwrap(), &Login::parse("alice")).await;
        let alice = alice.unwrap().unwrap();
        world.give_role(&alice, "helper", alice.settings.clone()).await;
        // What others do: one who does not get in, an administrator who looks and ends a session.
        let stranger = Caller { address: Some("198.51.100.3".parse().unwrap()), ..Caller::default() };
        let request = CredentialsRequest {
            login: "alice".to_owned(),
            password: SecretText::new("wrong".to_owned()),
            merchant_id: world.merchant.id.clone(),
        };
        verify_credentials(app, &request, &stranger).await.unwrap_err();
        let session = world.session_of(&world.log_in("alice").await.unwrap()).await;
        let by_bob = format!("account:{}", bob.id);
        let at_his_desk = Caller {
            address: Some("198.51.100.2".parse().unwrap()),
            request_id: Some(RequestId::from_random([7; 16])),
            ..Caller::default()
        };
        at_his_desk.person.set(bob.person().unwrap()).unwrap();
        for _ in 0..2 {
            end_session(app, &alice.id, &session.sid, &by_bob, &at_his_desk).await.unwrap();
        }
        let looked = Entry::done("admin.read")
            .actor(&by_bob)
            .subject(format!("/admin/v1/accounts/{}/sessions", alice.id));
        app.audit.write_alone(&app.db, looked, &operator, app.clock.now(), [9; 16]).await.unwrap();
        let by_alice = Entry::done("admin.read")
            .actor(format!("account:{}", alice.id))
            .subject(format!("/admin/v1/accounts/{}", bob.id));
        app.audit.write_alone(&app.db, by_alice, &operator, app.clock.now(), [8; 16]).await.unwrap();
        // And what she does to another's session.
        let his =
            Entry::done("session.end").actor(format!("account:{}", alice.id)).subject("session:his-session");
        app.audit.write_alone(&app.db, his, &operator, app.clock.now(), [7; 16]).await.unwrap();
        let whole = export_account(app, &alice.id, "operator", &operator).await.unwrap();
        let text = whole.to_string();
        assert_eq!(whole["account"]["username"], "Alice");
        assert_eq!(whole["rights"]["roles"], json!(["helper"]));
        let entries = whole["audit"].as_array().unwrap();
        let acts: BTreeSet<_> = entries.iter().map(|entry| entry["act"].as_str().unwrap()).collect();
        // A right that is given ends the tokens without it.
        let expected = [
            "account.change_rights",
            "account.create",
            "account.end_all",
            "account.export",
            "admin.read",
            "factor.credentials",
            "session.end",
            "session.open",
        ];
        assert_eq!((acts, entries.len()), (expected.into(), 13), "{text}");
        // The second time there was nothing to end, and it stands there as well.
        assert_eq!(entries.iter().filter(|entry| entry["reason"] == "already_ended").count(), 1);
        for entry in entries.iter().filter(|entry| entry["actor"] == "account:another") {
            for member in ["address_tag", "request_id", "person", "sealed_personal"] {
                assert!(entry[member].is_null(), "{member} of {entry}");
            }
        }
        assert!(text.contains("session:another") && !text.contains("his-session"));
        assert!(text.contains("198.51.100.1"));
        assert!(!text.contains("198.51.100.2") && !text.contains("198.51.100.3"));
        assert_eq!(text.matches("account:another").count(), 3);
        assert!(!text.contains(bob.id.as_str()));
        let nobody = AccountId::parse("nobody").unwrap();
        assert!(export_account(app, &nobody, "operator", &operator).await.is_err());
    }
    on_both_databases!(own, super::an_export_holds_what_is_ones_own_and_nobody_elses);
}
