//! Parts are killed or hang, and nothing acknowledged is lost.

use crate::revocation::until_refused;
use crate::system::up;
use std::time::Duration;

#[tokio::test]
async fn what_was_ended_counted_or_spent_stays_so_after_the_edge_is_killed() {
    let mut system = up(&["edge.limits.account_attempts=3", "edge.limits.account_window_s=3600"]).await;
    let person = system.log_in().await;
    let alive = system.log_in().await;
    system.call("/api/x", &alive.access).await.expect(200);
    let authorization = format!("Bearer {}", person.access);
    let logout = system.edge("/auth/v1/logout");
    crate::http::send("POST", &logout, &[("authorization", &authorization)], None).await.expect(204);
    until_refused(&system, "/api/x", &person.access).await;
    for _ in 0..3 {
        system.attempt("demo", "wrong").await.expect(401);
    }
    system.crash_and_restart("edge_pid").await;
    assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
    system.call("/api/x", &alive.access).await.expect(200);
    system.attempt("demo", "wrong").await.expect(429);
}

#[tokio::test]
async fn reuse_stays_reuse_after_the_issuer_is_killed() {
    let mut system = up(&[]).await;
    let person = system.log_in().await;
    let issuer = system.fact("issuer").to_owned();
    let child = system.refresh_at(&issuer, &person.refresh, &[]).await.expect(200).text("refresh_token");
    system.crash_and_restart("issuer_pid").await;
    assert_eq!(system.fact("issuer"), issuer, "the issuer keeps its name");
    let reuse = system.refresh_at(&issuer, &person.refresh, &[]).await.expect(400);
    assert_eq!(reuse.code(), "invalid_grant");
    system.refresh_at(&issuer, &child, &[]).await.expect(400);
}

#[tokio::test]
async fn an_issuer_that_hangs_for_a_minute_fails_no_request() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    system.signal("issuer_pid", "-STOP");
    for _ in 0..120 {
        system.call("/api/x", &person.access).await.expect(200);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    system.signal("issuer_pid", "-CONT");
    // And it comes back without a hand.
    let again = system.log_in().await;
    system.call("/api/x", &again.access).await.expect(200);
    let authorization = format!("Bearer {}", again.access);
    let logout = system.edge("/auth/v1/logout");
    crate::http::send("POST", &logout, &[("authorization", &authorization)], None).await.expect(204);
    until_refused(&system, "/api/x", &again.access).await;
}

#[tokio::test]
async fn two_systems_do_not_share_a_state_folder() {
    let system = up(&[]).await;
    for fresh in [false, true] {
        let said = system.another_up(fresh).await;
        assert!(said.contains("another `cargo xtask up` runs") && said.contains("--state"), "{said}");
    }
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
}
