//! Signing keys rotate under load without a failed request, and are taken away at once when they must be.

use crate::http::{basic, post_form};
use crate::revocation::until_refused;
use crate::system::up;
use std::collections::BTreeSet;
use std::time::Duration;

/// The key that signed a token.
pub(crate) fn kid(token: &str) -> String {
    let header = margrave_shared::base64::decode_url(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn rotation_under_load_fails_no_request() {
    // The shortest rotation there can be: a key is published for 30 seconds before it signs.
    let system = up(&[
        "issuer.keys.rotate_every_s=2",
        "issuer.keys.publish_ahead_s=30",
        "issuer.limits.account_attempts=1000",
        "issuer.limits.address_attempts=1000",
    ])
    .await;
    // Two issuers rotate, whichever is the first.
    let (_second, second) = system
        .another_issuer(&[
            ("MARGRAVE_KEYS__ROTATE_EVERY_S", "2"),
            ("MARGRAVE_KEYS__PUBLISH_AHEAD_S", "30"),
            ("MARGRAVE_LIMITS__ACCOUNT_ATTEMPTS", "1000"),
            ("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "1000"),
        ])
        .await;
    let authorization = basic(system.fact("key_id"), system.fact("key_secret"));
    let url = format!("{second}/oauth/token");
    let of_second = async || {
        let grant = [("grant_type", "client_credentials")];
        let answer = post_form(&url, &[("authorization", &authorization)], &grant).await;
        answer.expect(200).text("access_token")
    };
    let mut signers = BTreeSet::new();
    let mut kept = system.key_token().await;
    for round in 0..350 {
        let token = if round % 2 == 0 { system.key_token().await } else { of_second().await };
        signers.insert(kid(&token));
        system.call("/api/x", &token).await.expect(200);
        // A token of the retiring key counts until it expires.
        system.call("/api/x", &kept).await.expect(200);
        if round % 100 == 0 {
            kept = token;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(signers.len() >= 2, "nothing rotated in 35 seconds");
}

#[tokio::test]
async fn a_key_retired_now_is_refused_for_ever_and_its_successor_signs() {
    let system = up(&[]).await;
    let token = system.key_token().await;
    system.call("/api/x", &token).await.expect(200);
    let retired = kid(&token);
    system.admin("POST", &format!("/signing-keys/{retired}/retire"), None).await.expect(204);
    assert_eq!(until_refused(&system, "/api/x", &token).await.code(), "invalid_token");
    // Every process of the issuer learns of it within a second.
    let fresh = system.key_token().await;
    assert_ne!(kid(&fresh), retired);
    system.call("/api/x", &fresh).await.expect(200);
    system.call("/api/x", &token).await.expect(401);
    let keys = crate::http::get(&system.issuer("/.well-known/jwks.json"), &[]).await.expect(200);
    assert!(!keys.body.contains(&retired));
    let known = keys.header("etag").unwrap().to_owned();
    crate::http::get(&system.issuer("/.well-known/jwks.json"), &[("if-none-match", &known)])
        .await
        .expect(304);
    assert!(keys.header("cache-control").unwrap().starts_with("public, max-age="));
}
