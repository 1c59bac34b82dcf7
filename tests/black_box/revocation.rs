//! What is ended is refused at the edge within a second.

use crate::http::{Answer, get, post_form, send};
use crate::system::{System, claims, up};
use std::time::{Duration, Instant};

/// The bound on revocation.
const BOUND: Duration = Duration::from_secs(1);

/// Asks until the edge refuses; fails when that takes longer than the bound.
#[expect(clippy::disallowed_methods, reason = "the bound is one of real time")]
pub(crate) async fn until_refused(system: &System, path: &str, token: &str) -> Answer {
    let started = Instant::now();
    loop {
        let answer = system.call(path, token).await;
        if answer.status != 200 {
            return answer.expect(401);
        }
        // The test machine may be busy: the last accepted request must lie within twice the bound.
        assert!(started.elapsed() < 2 * BOUND, "still accepted after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_at_the_edge_and_its_refresh_token() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    let other = system.log_in().await;
    system.call("/api/full/x", &person.access).await.expect(200);
    let authorization = format!("Bearer {}", person.access);
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &authorization)], None)
        .await
        .expect(204);
    assert_eq!(until_refused(&system, "/api/full/x", &person.access).await.code(), "session_ended");
    let refused = system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(400);
    assert_eq!(refused.code(), "invalid_grant");
    // Exactly that session, and no other.
    system.call("/api/full/x", &other.access).await.expect(200);
    // The issuer itself refuses at once.
    get(&system.issuer("/v1/me"), &[("authorization", &authorization)]).await.expect(401);
}

#[tokio::test]
async fn disabling_an_account_ends_everything_it_has() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    let spare = system.security_token().await;
    let account = crate::system::claims(&person.access)["account_id"].as_str().unwrap().to_owned();
    system.call("/api/x", &person.access).await.expect(200);
    system.admin("POST", &format!("/accounts/{account}/disable"), None).await.expect(204);
    assert_eq!(until_refused(&system, "/api/x", &person.access).await.code(), "session_ended");
    system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(400);
    let refused = system.factors_grant(&spare, &[]).await.expect(400);
    assert_eq!(refused.code(), "invalid_grant");
    let wrong = system.attempt(system.fact("username"), "wrong").await.expect(401);
    let right = system.attempt(system.fact("username"), system.fact("password")).await.expect(401);
    let without_id = |answer: &Answer| {
        let mut json = answer.json();
        json["request_id"] = "".into();
        json
    };
    assert_eq!(without_id(&wrong), without_id(&right), "disabled looks like wrong");
    system.admin("POST", &format!("/accounts/{account}/disable"), None).await.expect(409);
}

#[tokio::test]
async fn one_token_is_revoked_in_every_spelling() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    let pairs = [("token", person.access.as_str()), ("client_id", system.fact("client_id"))];
    // Somebody else's client ends nothing.
    let foreign = [("token", person.access.as_str()), ("client_id", "somebody-else")];
    post_form(&system.edge("/auth/oauth/revoke"), &[], &foreign).await.expect(200);
    tokio::time::sleep(BOUND).await;
    system.call("/api/x", &person.access).await.expect(200);
    post_form(&system.edge("/auth/oauth/revoke"), &[], &pairs).await.expect(200);
    assert_eq!(until_refused(&system, "/api/x", &person.access).await.code(), "invalid_token");
    let stem = &person.access[..person.access.len() - 1];
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=".chars() {
        system.call("/api/x", &format!("{stem}{last}")).await.expect(401);
    }
    // The session goes on with another token.
    let again = system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(200);
    system.call("/api/x", &again.text("access_token")).await.expect(200);
    // With its refresh token the session itself ends; the merchant finds both in its audit, with who it was.
    let client = system.fact("client_id");
    let refresh = again.text("refresh_token");
    let pairs = [("token", refresh.as_str()), ("client_id", client)];
    post_form(&system.edge("/auth/oauth/revoke"), &[], &pairs).await.expect(200);
    post_form(&system.edge("/auth/oauth/revoke"), &[], &pairs).await.expect(200);
    assert_eq!(until_refused(&system, "/api/x", &again.text("access_token")).await.code(), "session_ended");
    system.refresh_at(&system.edge("/auth"), &refresh, &[]).await.expect(400);
    for act in ["token.revoke", "session.end"] {
        let search =
            format!("/merchants/{}/audit?act={act}&actor=client:{client}", system.fact("merchant_id"));
        let found = system.admin("GET", &search, None).await.expect(200).json();
        assert_eq!(found["entries"].as_array().unwrap().len(), 1, "{act}: {found}");
    }
    // An unknown token is no error.
    let nonsense = [("token", "nonsense"), ("client_id", system.fact("client_id"))];
    post_form(&system.edge("/auth/oauth/revoke"), &[], &nonsense).await.expect(200);
}

/// For verifiers that do not follow the feed: a list with a bit for each token, through the edge.
#[tokio::test]
async fn a_status_list_tells_strangers_within_seconds() {
    let system = up(&["issuer.token.status_lists=true"]).await;
    let (stays, goes) = (system.key_token().await, system.log_in().await.access);
    let idx = |token: &str| claims(token)["status"]["status_list"]["idx"].as_u64().unwrap() as usize;
    let uri = claims(&stays)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let through_edge = uri.replace(system.fact("issuer"), &system.edge("/auth"));
    let read = async || {
        let answer = get(&through_edge, &[]).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
        let cached =
            answer.header("cache-control").unwrap().strip_prefix("public, max-age=").unwrap().to_owned();
        assert!(cached.parse::<u32>().unwrap() <= 2, "a cache keeps it no longer than the issuer itself");
        let list = claims(&answer.body);
        assert_eq!(list["sub"].as_str(), Some(uri.as_str()));
        let packed = list["status_list"]["lst"].as_str().unwrap();
        let packed = margrave_shared::base64::decode_url(packed).unwrap();
        let bits = miniz_oxide::inflate::decompress_to_vec_zlib(&packed).unwrap();
        [&stays, &goes].map(|token| bits[idx(token) / 8] >> (idx(token) % 8) & 1)
    };
    assert_eq!(read().await, [0, 0]);
    let bearer = format!("Bearer {goes}");
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &bearer)], None).await.expect(204);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(read().await, [0, 1]);
    let all = get(&system.edge("/auth/v1/status-lists"), &[]).await.expect(200);
    assert_eq!(all.json()["status_lists"], serde_json::json!([uri]));
    let lists = through_edge.strip_suffix("/0").unwrap();
    for nowhere in ["1", "-1", "00", "0/0", "x", "9223372036854775807", "9223372036854775808"] {
        get(&format!("{lists}/{nowhere}"), &[]).await.expect(404);
    }
    get(&through_edge.replace("status-lists/", "status-lists/0"), &[]).await.expect(404);
}
