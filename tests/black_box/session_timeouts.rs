//! Idle and absolute timeouts at the edge.

use crate::http::{get, send};
use crate::system::up;
use std::time::Duration;

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test]
async fn a_session_lives_by_activity_and_ends_by_the_lack_of_it() {
    lives_by_activity("shared").await;
}

#[tokio::test]
async fn a_session_in_an_object_of_its_account_alone_lives_and_ends_likewise() {
    lives_by_activity("each").await;
}

/// With more accounts than objects two of them share one.
#[tokio::test]
async fn accounts_that_share_an_object_keep_their_sessions_apart() {
    const ACCOUNTS: usize = 18;
    for (objects, most) in [("shared", 16), ("each", ACCOUNTS)] {
        let setting = format!("edge.session.objects={objects}");
        let system = up(&["edge.limits.address_attempts=100", &setting]).await;
        let mut people = Vec::new();
        for number in 0..ACCOUNTS {
            let name = format!("person-{number}");
            system.register(&name, "correct horse battery").await;
            people.push(system.log_in_as(&name, "correct horse battery").await);
        }
        for person in &people {
            system.call("/api/x", &person.access).await.expect(200);
        }
        let is_one = |path: &std::path::Path| {
            let text = path.to_string_lossy();
            text.contains("margrave-accounts")
                && text.ends_with(".sqlite")
                && !text.ends_with("metadata.sqlite")
        };
        let made = system.written().iter().filter(|(path, _)| is_one(path)).count();
        // Shared, they are fewer than the accounts; each alone, as many.
        assert!(made <= most && (made == ACCOUNTS) == (objects == "each"), "{objects}: {made} objects");

        let authorization = format!("Bearer {}", people[0].access);
        send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &authorization)], None)
            .await
            .expect(204);
        pause(1200).await;
        assert_eq!(system.call("/api/x", &people[0].access).await.expect(401).code(), "session_ended");
        for person in &people[1..] {
            system.call("/api/x", &person.access).await.expect(200);
        }
    }
}

async fn lives_by_activity(objects: &str) {
    let objects = format!("edge.session.objects={objects}");
    let system = up(&["issuer.session.idle_s=4", "edge.session.touch_s=1", &objects]).await;
    let person = system.log_in().await;
    // Active for longer than idle: touches move the deadline.
    for _ in 0..6 {
        system.call("/api/x", &person.access).await.expect(200);
        pause(1000).await;
    }
    // A question is no activity.
    let authorization = format!("Bearer {}", person.access);
    for _ in 0..3 {
        get(&system.edge("/.margrave/session"), &[("authorization", &authorization)]).await.expect(200);
        pause(800).await;
    }
    pause(1200).await;
    let over = system.call("/api/x", &person.access).await.expect(401);
    assert_eq!(over.code(), "session_ended");
    // Over is over, whatever is asked next.
    pause(300).await;
    assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
    system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(400);
}

#[tokio::test]
async fn activity_at_the_edge_counts_for_a_refresh_and_a_refresh_is_no_activity() {
    let system = up(&["issuer.session.idle_s=4", "edge.session.touch_s=1"]).await;
    let person = system.log_in().await;
    for _ in 0..5 {
        system.call("/api/x", &person.access).await.expect(200);
        pause(1000).await;
    }
    // The issuer itself last saw the person five seconds ago; the edge says better.
    let first = system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(200);
    pause(1500).await;
    let second =
        system.refresh_at(&system.edge("/auth"), &first.text("refresh_token"), &[]).await.expect(200);
    pause(2500).await;
    // Two refreshes later the pause since the last act is over four seconds.
    let refused =
        system.refresh_at(&system.edge("/auth"), &second.text("refresh_token"), &[]).await.expect(400);
    assert_eq!(refused.code(), "invalid_grant");
    system.call("/api/x", &second.text("access_token")).await.expect(401);
}

#[tokio::test]
async fn the_absolute_end_comes_whatever_happens() {
    let system = up(&["issuer.session.absolute_s=4", "issuer.session.idle_s=3"]).await;
    let person = system.log_in().await;
    let mut alive = 0;
    for _ in 0..14 {
        let answer = system.call("/api/x", &person.access).await;
        if answer.status == 200 {
            alive += 1;
        } else {
            assert_eq!(answer.expect(401).code(), "session_ended");
        }
        pause(400).await;
    }
    assert!((7..=11).contains(&alive), "alive for {alive} of 14 calls of 0.4 s each");
    system.refresh_at(system.fact("issuer"), &person.refresh, &[]).await.expect(400);
}

#[tokio::test]
async fn limits_that_are_off_end_nothing() {
    let system = up(&["issuer.session.absolute_s=0", "issuer.session.idle_s=0"]).await;
    let person = system.log_in().await;
    assert!(crate::system::claims(&person.access).get("session").is_none());
    system.call("/api/x", &person.access).await.expect(200);
}
