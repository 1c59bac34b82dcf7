//! Each database from a backup of either.

use super::restore::Restored;
use super::store::tables;
use super::{BackupError, restore, write_backup};
use crate::accounts::{AccountSettings, find_by_login};
use crate::audit::{seal_some, verify_chain};
use crate::devices::{NewDevice, register_device};
use crate::edges::{EdgeFacts, create_edge};
use crate::factors::verify_credentials;
use crate::http::context::Caller;
use crate::merchants::{NewKey, create_key};
use crate::organizations::{OrganizationFacts, create_organization};
use crate::permissions::{AccountRights, Giver, change_rights, create_role};
use crate::revocations::store::find_head;
use crate::storage::testing::{columns, on_both_databases, postgres_unmigrated, sqlite_unmigrated};
use crate::storage::{Db, latest_schema, on_tx};
use crate::testing::{PASSWORD, World};
use margrave_shared::login::Login;
use margrave_shared::permission::parse_scope;
use margrave_shared::push_target::PushTarget;
use margrave_shared::role::RoleName;
use margrave_shared::secret::{SecretKey, SecretText};
use margrave_shared::time::UnixMs;
use margrave_shared::wire::credentials::CredentialsRequest;
use sqlx::AssertSqlSafe;
use std::path::{Path, PathBuf};

fn key() -> SecretKey {
    // That of the test's world.
    SecretKey::from_bytes([5; 32])
}

fn file() -> PathBuf {
    let name = format!("margrave-backup-{:032x}", u128::from_be_bytes(crate::entropy::Entropy.bytes()));
    std::env::temp_dir().join(name)
}

async fn log_in(world: &World, password: &str) -> bool {
    let request = CredentialsRequest {
        login: "alice".to_owned(),
        password: SecretText::new(password.to_owned()),
        merchant_id: world.merchant.id.clone(),
    };
    verify_credentials(&world.app, &request, &Caller::default()).await.is_ok()
}

/// The rows of a backup, without their order.
fn content(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.starts_with('[')).map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn every_database_is_made_again_from_a_backup_of_either(db: Db) {
    let world = World::new(db).await;
    assert!(log_in(&world, PASSWORD).await);
    assert!(!log_in(&world, "wrong").await);
    // What refers to what else is there.
    let key_of_edge = ed25519_dalek::SigningKey::from_bytes(&[8; 32]).verifying_key();
    let caller = Caller::default();
    let facts = EdgeFacts {
        name: "e".to_owned(),
        public_key: key_of_edge.to_bytes(),
        next_public_key: None,
        merchants: vec!["*".to_owned()],
        push_url: None,
    };
    let mut tx = world.app.db.begin().await.unwrap();
    let edge = create_edge(&world.app, &mut tx, facts, "operator", &caller).await.unwrap();
    let role = RoleName::parse("support").unwrap();
    let all = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    create_role(&world.app, &mut tx, &world.merchant.id, role.clone(), all.clone(), giver, &caller)
        .await
        .unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    let facts = OrganizationFacts { name: "Acme".to_owned(), heads: [alice.id.clone()].into() };
    create_organization(&world.app, &mut tx, &world.merchant.id, facts, "operator", &caller).await.unwrap();
    tx.commit().await.unwrap();
    let target = PushTarget::Fcm { token: "a-token-of-a-phone".to_owned() };
    let new = NewDevice { name: "Phone".to_owned(), target };
    register_device(&world.app, &alice.id, new, "operator", &caller).await.unwrap();
    let rights = AccountRights { roles: [role].into(), settings: AccountSettings::default() };
    change_rights(&world.app, &alice.id, &rights, 0, giver, &caller).await.unwrap();
    let letter = format!(
        "INSERT INTO dead_letters (edge_id, from_seq, to_seq, at, attempts, error) VALUES ('{}', 1, 2, 5, 3, 'gone')",
        edge.id
    );
    let mut tx = world.app.db.begin().await.unwrap();
    on_tx!(&mut tx, c => sqlx::query(AssertSqlSafe(letter)).execute(c).await.map(|_| ())).unwrap();
    tx.commit().await.unwrap();
    let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
    create_key(&world.app, &world.merchant.id, &new, "operator", &caller).await.unwrap();
    seal_some(&world.app).await.unwrap();
    let path = file();
    let mut tx = world.app.db.read().await.unwrap();
    let head = find_head(&mut tx).await.unwrap();
    drop(tx);
    let rows = write_backup(&mut world.app.db.snapshot().await.unwrap(), &key(), &path, UnixMs(7), |_| {})
        .await
        .unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(matches!(
        write_backup(&mut world.app.db.snapshot().await.unwrap(), &key(), &path, UnixMs(7), |_| {}).await,
        Err(BackupError::File(..))
    ));
    for target in [sqlite_unmigrated().await, postgres_unmigrated().await] {
        let restored = restore(&target, &key(), &path, "new epoch", |_| {}).await.unwrap();
        assert_eq!(restored, Restored { rows, at: 7 });
        let second = file();
        write_backup(&mut target.snapshot().await.unwrap(), &key(), &second, UnixMs(7), |_| {})
            .await
            .unwrap();
        let expected: Vec<String> =
            content(&path).iter().map(|line| line.replace(&head.epoch, "new epoch")).collect();
        let mut found = content(&second);
        found.sort_by_key(|line| line.replace("new epoch", &head.epoch));
        assert_eq!(found, expected);
        assert!(expected.len() > 12);
        std::fs::remove_file(second).unwrap();
        let again = world.on(target).await;
        assert!(log_in(&again, PASSWORD).await, "the same people get in");
        seal_some(&again.app).await.unwrap();
        assert_eq!(verify_chain(&again.app, None).await.unwrap().found, 0, "the chain goes on");
        // Nothing is poured over what is there.
        let refused = restore(&again.app.db, &key(), &path, "e", |_| {}).await;
        assert!(matches!(refused, Err(BackupError::NotEmpty(_))), "{refused:?}");
    }
    std::fs::remove_file(path).unwrap();
}
on_both_databases!(round, super::every_database_is_made_again_from_a_backup_of_either);

#[tokio::test]
async fn a_backup_that_was_touched_is_refused_and_the_database_stays_empty() {
    let world = World::new(crate::storage::testing::sqlite().await).await;
    let path = file();
    write_backup(&mut world.app.db.snapshot().await.unwrap(), &key(), &path, UnixMs(7), |_| {})
        .await
        .unwrap();
    let whole = std::fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let without = |place: usize| {
        let mut left = lines.clone();
        left.remove(place);
        left.concat()
    };
    let swapped = |a: usize, b: usize| {
        let mut other = lines.clone();
        other.swap(a, b);
        other.concat()
    };
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(whole.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let newer = format!("\"schema\":{}", latest_schema());
    let mut cases = vec![
        ("one byte less", whole[..whole.len() - 1].to_vec()),
        ("half of it", whole[..whole.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("another name", replaced("Alice", "Mallory")),
        ("twice", [whole.as_slice(), whole.as_slice()].concat()),
        ("another format", replaced("\"margrave_backup\":1", "\"margrave_backup\":2")),
        ("a newer schema", replaced(&newer, "\"schema\":9999")),
    ];
    cases.extend((0..lines.len()).map(|place| ("a line less", without(place))));
    cases.extend((1..lines.len() - 1).map(|place| ("two lines swapped", swapped(place - 1, place))));
    for (what, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        let db = sqlite_unmigrated().await;
        let refused = restore(&db, &key(), &path, "e", |_| {}).await;
        assert!(
            matches!(refused, Err(BackupError::NotProven | BackupError::NotABackup(..))),
            "{what}: {refused:?}"
        );
        assert!(columns(&db).await.is_empty(), "{what}");
    }
    std::fs::write(&path, &whole).unwrap();
    let stranger = SecretKey::from_bytes([6; 32]);
    let refused = restore(&sqlite_unmigrated().await, &stranger, &path, "e", |_| {}).await;
    assert!(matches!(refused, Err(BackupError::NotProven)), "{refused:?}");
    std::fs::remove_file(path).unwrap();
}

async fn every_table_but_three_is_copied(db: Db) {
    let copied = tables(&mut db.read().await.unwrap()).await.unwrap();
    let mut names: Vec<String> = columns(&db)
        .await
        .iter()
        .filter_map(|column| column.split_once('.').map(|(table, _)| table.to_owned()))
        .collect();
    names.dedup();
    assert_eq!(names.len() - 3, copied.len(), "all but places in status lists, resets and notices");
    let Db::Sqlite { .. } = &db else { return };
    // What others refer to is filled before them.
    const REFERENCES: &str =
        "SELECT m.name, f.\"table\" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
        WHERE m.type = 'table'";
    let mut tx = db.read().await.unwrap();
    let references: Vec<(String, String)> =
        on_tx!(&mut tx, c => sqlx::query_as(REFERENCES).fetch_all(c).await).unwrap();
    let place = |name: &str| copied.iter().position(|table| table.name == name);
    assert!(references.len() > 5);
    for (from, to) in references {
        // What is not copied waits for nothing.
        assert!(place(&from).is_none() || place(&to) < place(&from), "{from} refers to {to}");
    }
}
on_both_databases!(tables_, super::every_table_but_three_is_copied);
