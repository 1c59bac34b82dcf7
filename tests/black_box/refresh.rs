//! Refresh tokens rotate; reuse ends the family.

use crate::http::{Answer, get, together};
use crate::system::{System, new_database, up, up_with};
use std::collections::BTreeSet;

/// Fifty uses of one token at once, at all the issuers in turn.
async fn fifty(system: &System, issuers: &[&str], token: &str, headers: &[(&str, &str)]) -> Vec<Answer> {
    let of = |i: usize| issuers[i % issuers.len()];
    together((0..50).map(|i| Box::pin(system.refresh_at(of(i), token, headers))).collect()).await
}

/// Two issuer processes on one database.
async fn parallel_uses_leave_no_two_live_children(system: System) {
    let (_second, second) = system.another_issuer(&[]).await;
    let issuers = [system.fact("issuer"), &second];
    // They are one issuer: a token of the one is known to the other.
    let person = system.log_in().await;
    system.refresh_at(&second, &person.refresh, &[]).await.expect(200);
    for _ in 0..4 {
        let person = system.log_in().await;
        let answers = fifty(&system, &issuers, &person.refresh, &[]).await;
        let children: Vec<_> =
            answers.iter().filter(|a| a.status == 200).map(|a| a.text("refresh_token")).collect();
        assert_eq!(children.len(), 1, "exactly one use gets a child");
        assert!(answers.iter().filter(|a| a.status != 200).all(|a| a.code() == "invalid_grant"));
        // The forty-nine were reuse: the child is dead too, and so is the session.
        system.refresh_at(system.fact("issuer"), &children[0], &[]).await.expect(400);
        assert_eq!(
            crate::revocation::until_refused(&system, "/api/x", &person.access).await.code(),
            "session_ended"
        );
    }
}

#[tokio::test]
async fn fifty_parallel_uses_on_sqlite() {
    parallel_uses_leave_no_two_live_children(up(&[]).await).await;
}

#[tokio::test]
async fn fifty_parallel_uses_on_postgresql() {
    let system = up_with(&[], &["--postgres", &new_database()]).await;
    parallel_uses_leave_no_two_live_children(system).await;
}

#[tokio::test]
async fn a_retry_with_its_idempotency_key_gets_the_same_child() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    let headers = [("idempotency-key", "retry-1")];
    let answers = fifty(&system, &[&system.edge("/auth")], &person.refresh, &headers).await;
    let children: BTreeSet<String> =
        answers.iter().map(|a| a.clone().expect(200).text("refresh_token")).collect();
    assert_eq!(children.len(), 1, "the same child for every retry");
    let child = children.first().unwrap();
    // Another key is reuse, and so is any retry once the child is used.
    let next = system.refresh_at(&system.edge("/auth"), child, &[]).await.expect(200).text("refresh_token");
    system.refresh_at(&system.edge("/auth"), &person.refresh, &headers).await.expect(400);
    system.refresh_at(&system.edge("/auth"), &next, &[]).await.expect(400);
}

#[tokio::test]
async fn a_security_token_counts_once_and_is_not_spent_by_a_refusal() {
    let system = up(&[]).await;
    let token = system.security_token().await;
    let refused = system.factors_grant(&token, &[("scope", "register")]).await.expect(400);
    assert_eq!(refused.code(), "invalid_scope");
    let granted = system.factors_grant(&token, &[("scope", "read")]).await.expect(200);
    assert_eq!(granted.text("scope"), "read");
    let spent = system.factors_grant(&token, &[("scope", "read")]).await.expect(400);
    assert_eq!(spent.code(), "invalid_grant");
    // It is a token for the issuer's factors grant and for nothing else.
    system.call("/api/x", &token).await.expect(401);
    let authorization = format!("Bearer {token}");
    get(&system.issuer("/v1/me"), &[("authorization", &authorization)]).await.expect(401);
    let refresh = granted.text("refresh_token");
    system.call("/api/x", &refresh).await.expect(401);
    // Fifty parallel grants with one token: one session.
    let token = system.security_token().await;
    let grants: Vec<_> = (0..50).map(|_| Box::pin(system.factors_grant(&token, &[]))).collect();
    let answers = together(grants).await;
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1);
}
