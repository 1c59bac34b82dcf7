//! The chain over processes and on both databases, against whoever may write to the database.
//! It is long since every way of tampering, and every state that the chain may be in, is tried against one chain with the same few helpers.

use super::seal::watch;
use super::{
    Entry, Exported, Filter, PreparedEntry, chain_store, export, find_entries, insert_prepared, seal_some,
    verify_chain,
};
use crate::accounts::find_audit_key;
use crate::app::App;
use crate::factors::verify_credentials;
use crate::http::context::Caller;
use crate::storage::testing::{on_both_databases, prepare_all};
use crate::storage::{Db, on_tx};
use crate::testing::{PASSWORD, World};
use margrave_shared::audit::{Finding, Witness};
use margrave_shared::secret::SecretText;
use margrave_shared::wire::credentials::CredentialsRequest;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};
use std::sync::Arc;

async fn write(app: &App, subject: String) {
    let entry = Entry::done("test.act").actor("operator").subject(subject);
    let (now, random) = (app.clock.now(), app.entropy.bytes());
    app.audit.write_alone(&app.db, entry, &Caller::operator(), now, random).await.unwrap();
}

async fn run(app: &App, sql: &str) -> u64 {
    let mut tx = app.db.begin().await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    let rows =
        on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|done| done.rows_affected())).unwrap();
    tx.commit().await.unwrap();
    rows
}

async fn findings(app: &App) -> Vec<Finding> {
    verify_chain(app, None).await.unwrap().findings
}

async fn whatever_is_done_to_a_sealed_row_is_found(db: Db) {
    prepare_all(&db, chain_store::ALL).await;
    let world = World::new(db).await;
    let app = &world.app;
    for number in 0..12 {
        write(app, format!("n{number}")).await;
    }
    assert!(seal_some(app).await.unwrap().rows >= 12);
    let honest = verify_chain(app, None).await.unwrap();
    assert_eq!((honest.found, honest.unsealed), (0, 0));
    let last = honest.sealed;
    // Every column of a row in the middle, of the first and of the last; each is put back.
    let mut tried = 0;
    for seq in [1, 5, last] {
        for column in
            ["id", "act", "outcome", "reason", "merchant_id", "actor", "subject", "request_id", "person"]
        {
            let where_ = format!("WHERE seq = {seq}");
            run(app, &format!("CREATE TABLE kept AS SELECT * FROM audit {where_}")).await;
            assert_eq!(run(app, &format!("UPDATE audit SET {column} = 'changed' {where_}")).await, 1);
            assert_eq!(findings(app).await, [Finding::Changed(seq)], "{column} of {seq}");
            run(app, &format!("UPDATE audit SET {column} = (SELECT {column} FROM kept) {where_}")).await;
            run(app, "DROP TABLE kept").await;
            tried += 1;
        }
        for column in ["address_tag", "personal", "hash"] {
            let where_ = format!("WHERE seq = {seq}");
            run(app, &format!("CREATE TABLE kept AS SELECT * FROM audit {where_}")).await;
            let bytes = if matches!(app.db, Db::Sqlite { .. }) { "x'00'" } else { "'\\x00'::bytea" };
            assert_eq!(run(app, &format!("UPDATE audit SET {column} = {bytes} {where_}")).await, 1);
            assert!(!findings(app).await.is_empty(), "{column} of {seq}");
            run(app, &format!("UPDATE audit SET {column} = (SELECT {column} FROM kept) {where_}")).await;
            run(app, "DROP TABLE kept").await;
            tried += 1;
        }
        for (change, undo) in [("at = at + 1", "at = at - 1"), ("seq = NULL", "")] {
            if undo.is_empty() {
                let id = format!("(SELECT id FROM audit WHERE seq = {seq})");
                run(app, &format!("CREATE TABLE kept AS SELECT id FROM audit WHERE id = {id}")).await;
                run(app, &format!("UPDATE audit SET {change} WHERE seq = {seq}")).await;
                assert_eq!(findings(app).await, [Finding::Missing(seq, seq)]);
                run(app, &format!("UPDATE audit SET seq = {seq} WHERE id = (SELECT id FROM kept)")).await;
                run(app, "DROP TABLE kept").await;
            } else {
                run(app, &format!("UPDATE audit SET {change} WHERE seq = {seq}")).await;
                assert_eq!(findings(app).await, [Finding::Changed(seq)], "{change} of {seq}");
                run(app, &format!("UPDATE audit SET {undo} WHERE seq = {seq}")).await;
            }
            tried += 1;
        }
    }
    assert_eq!((tried, findings(app).await.len()), (42, 0));
    // Two rows change places.
    run(app, "UPDATE audit SET seq = -1 WHERE seq = 3").await;
    run(app, "UPDATE audit SET seq = 3 WHERE seq = 4").await;
    run(app, "UPDATE audit SET seq = 4 WHERE seq = -1").await;
    assert_eq!(findings(app).await, [Finding::Changed(3), Finding::Changed(4), Finding::Changed(5)]);
    run(app, "UPDATE audit SET seq = -1 WHERE seq = 3").await;
    run(app, "UPDATE audit SET seq = 3 WHERE seq = 4").await;
    run(app, "UPDATE audit SET seq = 4 WHERE seq = -1").await;
    // A row that nobody sealed, and a number that was not given out.
    run(app, &format!("UPDATE audit SET seq = {} WHERE seq = {last}", last + 7)).await;
    assert_eq!(findings(app).await, [Finding::Missing(last, last), Finding::Beyond(1)]);
    run(app, &format!("UPDATE audit SET seq = {last} WHERE seq = {}", last + 7)).await;
    // A head that cannot be read is none.
    run(app, "CREATE TABLE kept AS SELECT * FROM audit_head").await;
    let bytes = if matches!(app.db, Db::Sqlite { .. }) { "x'00'" } else { "'\\x00'::bytea" };
    for column in ["hash", "signature"] {
        run(app, &format!("UPDATE audit_head SET {column} = {bytes}")).await;
        assert!(findings(app).await.contains(&Finding::NoHead), "{column}");
        run(app, &format!("UPDATE audit_head SET {column} = (SELECT {column} FROM kept)")).await;
    }
    run(app, "DROP TABLE kept").await;
    assert_eq!(findings(app).await, []);
    // The end is cut off, and then in the middle too.
    let witness = Witness::parse(&honest.head.unwrap().print());
    run(app, &format!("DELETE FROM audit WHERE seq > {}", last - 3)).await;
    assert_eq!(findings(app).await, [Finding::Missing(last - 2, last)]);
    run(app, "DELETE FROM audit WHERE seq = 2").await;
    assert_eq!(findings(app).await[0], Finding::Missing(2, 2));
    // Going on would cover that up.
    write(app, "afterwards".to_owned()).await;
    assert!(seal_some(app).await.is_err());
    run(app, "DELETE FROM audit_head").await;
    assert!(seal_some(app).await.is_err());
    assert!(findings(app).await.contains(&Finding::NoHead));
    // All of it gone.
    run(app, "DELETE FROM audit").await;
    assert_eq!(findings(app).await, [Finding::NoHead, Finding::Missing(1, last)]);
    assert_eq!(verify_chain(app, witness).await.unwrap().findings.len(), 2);
}
on_both_databases!(mutations, super::whatever_is_done_to_a_sealed_row_is_found);

async fn what_nobody_seals_and_what_stands_twice_is_told(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    for _ in 0..126 {
        write_together(app, &entries(app, 8)).await;
    }
    seal_some(app).await.unwrap();
    write(app, "waits".to_owned()).await;
    let verified = verify_chain(app, None).await.unwrap();
    assert_eq!((verified.unsealed, verified.waiting_ms, verified.found), (1, 0, 0));
    world.pass_s(61);
    let verified = verify_chain(app, None).await.unwrap();
    assert_eq!((verified.unsealed, verified.waiting_ms), (1, 61_000));
    assert_eq!(verified.findings, [Finding::Late(1, 61)]);
    seal_some(app).await.unwrap();
    assert_eq!(findings(app).await, []);
    // A second row with a number, where a page ends and elsewhere, once nothing forbids it any more.
    run(app, "DROP INDEX audit_by_seq").await;
    for seq in [1000, 7] {
        let columns = "at, act, outcome, seq, hash";
        for id in ["0", "z"] {
            let add = format!(
                "INSERT INTO audit (id, {columns}) SELECT '{id}', {columns} FROM audit WHERE seq = {seq}"
            );
            assert_eq!(run(app, &add).await, 1, "{seq}");
            assert_ne!(findings(app).await, [], "{id} {seq}");
            run(app, &format!("DELETE FROM audit WHERE id = '{id}'")).await;
        }
    }
    assert_eq!(findings(app).await, []);
}
on_both_databases!(twice, super::what_nobody_seals_and_what_stands_twice_is_told);

async fn a_head_of_before_is_not_gone_on_from(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    write(app, "first".to_owned()).await;
    seal_some(app).await.unwrap();
    run(app, "CREATE TABLE kept AS SELECT * FROM audit_head").await;
    write(app, "second".to_owned()).await;
    seal_some(app).await.unwrap();
    // Back to a head that was once good, with its rows.
    run(app, "DELETE FROM audit_head").await;
    run(app, "INSERT INTO audit_head SELECT * FROM kept").await;
    assert!(watch(app).await.is_err(), "all rows are there, and the head is of before");
    assert_ne!(findings(app).await, []);
    run(app, "DELETE FROM audit WHERE seq > (SELECT seq FROM audit_head)").await;
    write(app, "third".to_owned()).await;
    assert!(seal_some(app).await.is_err(), "this process remembers");
    assert_ne!(findings(app).await, [], "and says so when it is asked");
    // Another one has nothing to tell it by, but what was written down.
    let other = world.another_process().await;
    assert_eq!(findings(&other).await, []);
}
on_both_databases!(rollback, super::a_head_of_before_is_not_gone_on_from);

async fn whoever_takes_the_chain_away_gets_no_new_one(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    for number in 0..5 {
        write(app, format!("n{number}")).await;
    }
    seal_some(app).await.unwrap();
    // Everything is unsealed and changed, for a process that has seen nothing yet to seal it.
    run(app, "UPDATE audit SET seq = NULL, hash = NULL, actor = 'somebody else'").await;
    run(app, "DELETE FROM audit_head").await;
    assert!(seal_some(app).await.is_err());
    let restarted = world.another_process().await;
    write(&restarted, "afterwards".to_owned()).await;
    write_together(&restarted, &entries(&restarted, 10)).await;
    assert!(seal_some(&restarted).await.is_err() && watch(&restarted).await.is_err());
    assert_eq!(findings(&restarted).await, [Finding::NoHead]);
    assert_ne!(findings(app).await, []);
}
on_both_databases!(anew, super::whoever_takes_the_chain_away_gets_no_new_one);

async fn several_sealers_make_one_chain(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    let mut tasks = Vec::new();
    for number in 0..40 {
        let app = if number % 2 == 0 { Arc::clone(&world.app) } else { Arc::clone(&other) };
        tasks.push(tokio::spawn(async move {
            write(&app, format!("n{number}")).await;
            seal_some(&app).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    seal_some(&other).await.unwrap();
    let verified = verify_chain(&world.app, None).await.unwrap();
    assert_eq!((verified.findings, verified.unsealed), (Vec::new(), 0));
    assert!(verified.sealed >= 40);
    // Another master key has signed nothing of this.
    let head = verified.head.unwrap();
    let stranger = head.sign(&ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let mut tx = world.app.db.begin().await.unwrap();
    chain_store::update_head(&mut tx, &stranger).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(findings(&world.app).await, [Finding::Unsigned]);
}
on_both_databases!(several, super::several_sealers_make_one_chain);

/// Entries of acts that are committed together.
fn entries(app: &App, count: usize) -> Vec<PreparedEntry> {
    let entry = |number| {
        let entry = Entry::done("test.together").actor("operator").subject(format!("t{number}"));
        app.audit.prepare(entry, &Caller::operator(), app.clock.now(), app.entropy.bytes())
    };
    (0..count).map(entry).collect()
}

async fn write_together(app: &App, entries: &[PreparedEntry]) {
    let mut tx = app.db.begin().await.unwrap();
    insert_prepared(&mut tx, app.audit.chain(), &entries.iter().collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn waiting(app: &App) -> i64 {
    chain_store::count_waiting(&mut app.db.read().await.unwrap()).await.unwrap().0
}

async fn many_entries_of_one_commit_are_chained_as_they_are_written(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    seal_some(app).await.unwrap();
    let some = entries(app, 20);
    write_together(app, &some).await;
    write_together(app, &entries(app, 2)).await;
    assert_eq!(waiting(app).await, 2, "few are left to the sealer");
    // Of what is rolled back nothing is left, and the next ones go on from what is there.
    let mut tx = app.db.begin().await.unwrap();
    let others = entries(app, 9);
    insert_prepared(&mut tx, app.audit.chain(), &others.iter().collect::<Vec<_>>()).await.unwrap();
    drop(tx);
    // It is undone as its connection is given back, and holds the head until then.
    let mut tx = app.db.begin().await.unwrap();
    chain_store::lock_head(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    write_together(app, &entries(app, 9)).await;
    // What was committed and is not known to be is written once more; a part of it never is.
    write_together(app, &some).await;
    let mixed: Vec<_> = some[..5].iter().chain(&others[..5]).collect();
    let mut tx = app.db.begin().await.unwrap();
    assert!(insert_prepared(&mut tx, app.audit.chain(), &mixed).await.is_err());
    drop(tx);
    seal_some(app).await.unwrap();
    let verified = verify_chain(app, None).await.unwrap();
    assert_eq!((verified.findings, verified.unsealed), (Vec::new(), 0));
    assert_eq!(run(app, "UPDATE audit SET at = at WHERE act = 'test.together'").await, 31);
}
on_both_databases!(together, super::many_entries_of_one_commit_are_chained_as_they_are_written);

async fn commits_of_many_and_sealers_of_several_processes_make_one_chain(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    seal_some(&other).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..40 {
        let app = if number % 2 == 0 { Arc::clone(&world.app) } else { Arc::clone(&other) };
        tasks.push(tokio::spawn(async move {
            match number % 5 {
                0 => write(&app, format!("n{number}")).await,
                1 => drop(seal_some(&app).await.unwrap()),
                _ => write_together(&app, &entries(&app, 8 + number)).await,
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    seal_some(&other).await.unwrap();
    let verified = verify_chain(&world.app, None).await.unwrap();
    assert_eq!((verified.findings, verified.unsealed), (Vec::new(), 0));
    assert!(verified.sealed > 600, "{}", verified.sealed);
}
on_both_databases!(crowd, super::commits_of_many_and_sealers_of_several_processes_make_one_chain);

async fn nothing_is_put_upon_a_head_that_is_not_good(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    seal_some(app).await.unwrap();
    write_together(app, &entries(app, 10)).await;
    seal_some(app).await.unwrap();
    run(app, "CREATE TABLE kept AS SELECT * FROM audit_head").await;
    write_together(app, &entries(app, 10)).await;
    watch(app).await.unwrap();
    // Back to a head that was once good: the acts are done, and their entries wait.
    run(app, "DELETE FROM audit_head").await;
    run(app, "INSERT INTO audit_head SELECT * FROM kept").await;
    run(app, "DELETE FROM audit WHERE seq > (SELECT seq FROM audit_head)").await;
    write_together(app, &entries(app, 10)).await;
    assert_eq!(waiting(app).await, 10);
    assert!(seal_some(app).await.is_err());
    // One that another master key has signed, and one whose rows are gone once the sealer has seen that.
    let other = world.another_process().await;
    seal_some(&other).await.unwrap();
    let good = chain_store::find_head(&mut app.db.read().await.unwrap()).await.unwrap().unwrap();
    let stranger = good.head.sign(&ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let mut tx = app.db.begin().await.unwrap();
    chain_store::update_head(&mut tx, &stranger).await.unwrap();
    tx.commit().await.unwrap();
    write_together(&other, &entries(&other, 10)).await;
    assert_eq!(waiting(app).await, 10);
    let mut tx = app.db.begin().await.unwrap();
    chain_store::update_head(&mut tx, &good).await.unwrap();
    tx.commit().await.unwrap();
    write_together(&other, &entries(&other, 10)).await;
    watch(&other).await.unwrap();
    run(app, "DELETE FROM audit WHERE seq = (SELECT seq FROM audit_head)").await;
    assert!(watch(&other).await.is_err());
    write_together(&other, &entries(&other, 10)).await;
    assert_eq!(waiting(app).await, 20);
}

async fn whatever_the_chain_is_like_acts_are_done(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    write(app, "first".to_owned()).await;
    write(app, "second".to_owned()).await;
    seal_some(app).await.unwrap();
    write(app, "third".to_owned()).await;
    // A number that was not given out, in the way of the next ones.
    let next = "(SELECT seq + 3 FROM audit_head)";
    run(app, &format!("UPDATE audit SET seq = {next} WHERE subject = 'third'")).await;
    write_together(app, &entries(app, 10)).await;
    assert_eq!(waiting(app).await, 10);
    // Nor does the sealer come near one, however far away it is.
    run(app, "UPDATE audit SET seq = seq + 1000 WHERE subject = 'third'").await;
    assert!(seal_some(app).await.is_err());
    watch(app).await.unwrap();
    run(app, "UPDATE audit SET seq = NULL WHERE subject = 'third'").await;
    // A head that cannot be read.
    run(app, "CREATE TABLE kept AS SELECT * FROM audit_head").await;
    let bytes = if matches!(app.db, Db::Sqlite { .. }) { "x'00'" } else { "'\\x00'::bytea" };
    run(app, &format!("UPDATE audit_head SET signature = {bytes}")).await;
    write_together(app, &entries(app, 10)).await;
    assert_eq!(waiting(app).await, 21);
    run(app, "UPDATE audit_head SET signature = (SELECT signature FROM kept)").await;
    // One that another issuer holds, and is frozen: on SQLite nobody else writes meanwhile.
    if matches!(app.db, Db::Postgres(_)) {
        let mut frozen = app.db.begin().await.unwrap();
        chain_store::lock_head(&mut frozen).await.unwrap().unwrap();
        write_together(app, &entries(app, 10)).await;
        assert_eq!(waiting(app).await, 31);
    }
    // The last row is gone before anybody has looked.
    seal_some(app).await.unwrap();
    write_together(app, &entries(app, 10)).await;
    assert_eq!(waiting(app).await, 0);
    run(app, "DELETE FROM audit WHERE seq = (SELECT seq FROM audit_head)").await;
    write_together(app, &entries(app, 10)).await;
    assert_eq!(waiting(app).await, 10);
}
on_both_databases!(acts, super::whatever_the_chain_is_like_acts_are_done);

on_both_databases!(bad_heads, super::nothing_is_put_upon_a_head_that_is_not_good);

async fn what_is_personal_is_readable_until_its_key_is_destroyed(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let caller = Caller {
        address: Some("198.51.100.77".parse().unwrap()),
        user_agent: Some("a browser of the fifties".to_owned()),
        ..Caller::default()
    };
    let request = |password: &str| CredentialsRequest {
        login: "ALICE".to_owned(),
        password: SecretText::new(password.to_owned()),
        merchant_id: world.merchant.id.clone(),
    };
    verify_credentials(app, &request(PASSWORD), &caller).await.unwrap();
    verify_credentials(app, &request("wrong"), &caller).await.unwrap_err();
    seal_some(app).await.unwrap();
    let dump = crate::storage::testing::dump(&app.db).await;
    for text in ["198.51.100.77", "fifties"] {
        assert!(!dump.contains(text), "{text} is written in the clear");
    }
    let export = async |personal: bool| {
        let mut lines = String::new();
        let each = |line: &Exported| {
            lines.push_str(&serde_json::to_string(line).unwrap());
            lines.push('\n');
            true
        };
        export(app, personal.then_some(find_audit_key), each).await.unwrap();
        lines
    };
    let whole = export(true).await;
    for text in ["198.51.100.77", "a browser of the fifties", "\"login\":\"ALICE\""] {
        assert_eq!(whole.matches(text).count(), 2, "{text}");
    }
    assert!(!export(false).await.contains("198.51.100.77"));
    assert_eq!(run(app, "UPDATE accounts SET audit_key = NULL").await, 1);
    let erased = export(true).await;
    assert!(!erased.contains("198.51.100.77"));
    assert_eq!(erased.lines().count(), whole.lines().count());
    assert_eq!(verify_chain(app, None).await.unwrap().found, 0, "the chain stands");
}
on_both_databases!(personal, super::what_is_personal_is_readable_until_its_key_is_destroyed);

async fn entries_are_found_page_by_page(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    for number in 0..25 {
        world.pass_s(1);
        write(app, format!("n{}", number % 5)).await;
    }
    let find = async |filter: &Filter, limit: i64| {
        find_entries(&mut app.db.read().await.unwrap(), filter, limit).await.unwrap()
    };
    let mut filter = Filter { act: Some("test.act".to_owned()), ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let page = find(&filter, 7).await;
        let Some(last) = page.last() else { break };
        filter.after = Some((last.at, last.id.clone()));
        seen.extend(page);
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.windows(2).all(|pair| pair[0].at > pair[1].at), "the newest first");
    let (from, to) = (seen[20].at, seen[10].at);
    for (filter, count) in [
        (Filter { subject: Some("n3".to_owned()), ..Filter::default() }, 5),
        (
            Filter {
                actor: Some("operator".to_owned()),
                act: Some("test.act".to_owned()),
                ..Filter::default()
            },
            25,
        ),
        (Filter { since: Some(from), until: Some(to), ..Filter::default() }, 10),
        (Filter { outcome: Some("refused".to_owned()), ..Filter::default() }, 0),
        (Filter { reason: Some("x".to_owned()), ..Filter::default() }, 0),
        (Filter { request_id: Some("' OR 1=1 --".to_owned()), ..Filter::default() }, 0),
        (
            Filter {
                merchant: Some(world.merchant.id.clone()),
                act: Some("test.act".to_owned()),
                ..Filter::default()
            },
            0,
        ),
    ] {
        assert_eq!(find(&filter, 200).await.len(), count, "{filter:?}");
    }
}
on_both_databases!(search, super::entries_are_found_page_by_page);
