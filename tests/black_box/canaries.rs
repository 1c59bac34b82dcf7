//! Secrets and what people type are nowhere in the clear: not in a database, not in an object, not in a log.

use crate::http::{Answer, basic, get, post_form};
use crate::system::up;

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_secret_and_nothing_that_was_typed_is_written_anywhere() {
    let system = up(&["issuer.log=debug"]).await;
    let mut secrets = vec![
        system.fact("password").to_owned(),
        system.fact("key_secret").to_owned(),
        system.fact("admin_key_secret").to_owned(),
    ];
    let mut answers: Vec<Answer> = Vec::new();
    let mut typed = |text: &str| {
        secrets.push(text.to_owned());
        text.to_owned()
    };

    // A person's way, right and wrong.
    let security_token = system.security_token().await;
    typed(&security_token);
    let granted = system.factors_grant(&security_token, &[]).await.expect(200);
    let (access, refresh) = (typed(&granted.text("access_token")), typed(&granted.text("refresh_token")));
    answers.push(
        system.attempt(&typed("canary-unknown-login-5b1e"), &typed("canary-wrong-password-7f3a")).await,
    );
    answers.push(system.attempt(system.fact("username"), &typed("canary-near-password-91cc")).await);
    system.call("/api/x?note=1", &access).await.expect(200);
    let next = system.refresh_at(&system.edge("/auth"), &refresh, &[]).await.expect(200);
    typed(&next.text("refresh_token"));
    typed(&next.text("access_token"));
    answers.push(system.factors_grant(&typed("mg_st_canary-forged-security-token-77aa"), &[]).await);
    answers.push(
        system.refresh_at(&system.edge("/auth"), &typed("canary-forged-refresh-token-12ab"), &[]).await,
    );
    answers.push(system.call("/api/x", &typed("canary.forged.token-0123456789")).await);

    // A key's way, right and wrong.
    typed(&system.key_token().await);
    let authorization = basic(system.fact("key_id"), &typed("canary-wrong-key-secret-44dd"));
    let wrong = [("authorization", authorization.as_str())];
    let grant = [("grant_type", "client_credentials")];
    answers.push(post_form(&system.edge("/auth/oauth/token"), &wrong, &grant).await);

    // A name that somebody types into an address.
    let name = typed("canary-name-in-a-path-3c1d");
    answers.push(system.admin("GET", &format!("/accounts/{name}"), None).await);
    answers.push(get(&system.issuer(&format!("/{name}?of={name}")), &[]).await);
    answers.push(get(&system.edge(&format!("/auth/v1/sessions/{name}")), &[]).await);

    for answer in &answers {
        assert!(answer.status >= 400);
        for secret in &secrets {
            assert!(!holds(answer.body.as_bytes(), secret), "{secret} in {}", answer.body);
        }
    }
    let files = system.written();
    let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    for part in ["issuer.db", "issuer.log", "workerd.log", "objects"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part} is looked at: {names:?}");
    }
    // What is written in the clear would be found.
    let found = |text: &str| files.iter().find(|(_, bytes)| holds(bytes, text)).map(|(path, _)| path);
    assert!(found(system.fact("merchant_id")).is_some());
    for secret in &secrets {
        assert_eq!(found(secret), None, "{secret}");
    }
}
