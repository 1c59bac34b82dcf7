//! On both databases, under real concurrency.

use super::{Claim, Request, claim, store};
use crate::http::context::Caller;
use crate::storage::testing::{on_both_databases, prepare_all};
use crate::sweeper::sweep;
use crate::testing::World;
use margrave_shared::error::ErrorCode;
use std::sync::Arc;

fn with_key(key: &str) -> Caller {
    Caller { idempotency_key: Some(key.to_owned()), ..Caller::default() }
}

/// Makes something that is numbered, once: gives the number in the answer.
async fn make(
    world: &World,
    actor: &str,
    key: &str,
    body: &str,
    number: i64,
) -> Result<String, Option<ErrorCode>> {
    let app = &world.app;
    let mut tx = app.db.begin().await.unwrap();
    let request = Request { actor, path: "/things", body: body.as_bytes() };
    match claim(app, &mut tx, request, &with_key(key), app.clock.now()).await {
        Ok(Claim::Answered(answer)) => Ok(String::from_utf8(answer).unwrap()),
        Ok(Claim::New(place)) => {
            let answer = format!("thing {number}");
            place.keep(app, &mut tx, answer.as_bytes()).await.unwrap();
            tx.commit().await.unwrap();
            Ok(answer)
        }
        Err(crate::failure::Failure::Denied(denial)) => Err(Some(denial.code)),
        Err(_) => Err(None),
    }
}

async fn what_comes_again_is_done_once(db: crate::storage::Db) {
    prepare_all(&db, store::ALL).await;
    let world = Arc::new(World::new(db).await);
    assert_eq!(make(&world, "a", "k", "{}", 1).await.unwrap(), "thing 1");
    assert_eq!(make(&world, "a", "k", "{}", 2).await.unwrap(), "thing 1");
    // Another body, somebody else, another key.
    assert_eq!(make(&world, "a", "k", "{ }", 3).await, Err(Some(ErrorCode::IdempotencyKeyReused)));
    assert_eq!(make(&world, "b", "k", "{}", 4).await.unwrap(), "thing 4");
    assert_eq!(make(&world, "a", "k2", "{}", 5).await.unwrap(), "thing 5");
    let long = "x".repeat(256);
    for bad in ["", "a\nb", "é", long.as_str()] {
        assert_eq!(make(&world, "a", bad, "{}", 6).await, Err(Some(ErrorCode::InvalidRequest)), "{bad}");
    }
    // Twenty at once are one.
    let many: Vec<_> = (0..20)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { make(&world, "a", "many", "{}", number).await.unwrap() })
        })
        .collect();
    let mut answers = std::collections::BTreeSet::new();
    for one in many {
        answers.insert(one.await.unwrap());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    // What is kept is sealed.
    assert!(!crate::storage::testing::dump(&world.app.db).await.contains("thing"));
    // After a day it is another request, and the row goes, an hour later for a clock that is ahead.
    world.pass_s(86_401);
    assert_eq!(make(&world, "a", "k", "{ }", 7).await.unwrap(), "thing 7");
    world.pass_s(86_401 + 3_600);
    sweep(&world.app, world.app.clock.now()).await.unwrap();
    let mut tx = world.app.db.read().await.unwrap();
    let left: i64 = crate::storage::on_tx!(&mut tx, c =>
        sqlx::query_scalar("SELECT COUNT(*) FROM idempotent_answers").fetch_one(c).await)
    .unwrap();
    assert_eq!(left, 0);
}
on_both_databases!(once, super::what_comes_again_is_done_once);

async fn what_was_not_committed_was_not_done(db: crate::storage::Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let mut tx = app.db.begin().await.unwrap();
    let request = Request { actor: "a", path: "/things", body: b"{}" };
    let Ok(Claim::New(place)) = claim(app, &mut tx, request, &with_key("k"), app.clock.now()).await else {
        panic!("not new")
    };
    place.keep(app, &mut tx, b"lost").await.unwrap();
    drop(tx);
    assert_eq!(make(&world, "a", "k", "{}", 2).await.unwrap(), "thing 2");
}
on_both_databases!(atomic, super::what_was_not_committed_was_not_done);
