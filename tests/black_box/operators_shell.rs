//! What an operator does from a shell beside the issuer, and what it means for those who call.

use crate::forged::now;
use crate::http::{get, post_json};
use crate::system::up;
use margrave_shared::base64;
use margrave_shared::secret::SecretText;
use margrave_shared::sso::legacy;
use serde_json::json;
use tokio::process::Command;

#[tokio::test]
async fn what_the_administration_does_a_shell_does_too() {
    let system = up(&[]).await;
    let merchant = system.fact("merchant_id");
    let before = system.log_in().await;
    let headers = [("authorization", format!("Bearer {}", before.access))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let account = get(&system.edge("/auth/v1/me"), &headers).await.expect(200).text("account_id");

    // A role, and who has it. What is misspelt is told.
    system.command(&["roles", "put", merchant, "auditor", "--permissions", "admin:read"]).await;
    let file = std::env::temp_dir().join(format!("margrave-rights-{}", std::process::id()));
    let path = file.to_str().unwrap();
    std::fs::write(&file, json!({ "roles": ["auditor"], "settings": { "permisions": [] } }).to_string())
        .unwrap();
    let said = system.refused_command(&["accounts", "set-rights", &account, path]).await;
    assert!(said.contains("`settings.permisions` is not known"), "{said}");
    std::fs::write(&file, json!({ "roles": ["auditor"] }).to_string()).unwrap();
    system.command(&["accounts", "set-rights", &account, path]).await;
    assert_eq!(system.command(&["accounts", "rights", &account]).await["roles"], json!(["auditor"]));
    // What was read before somebody else changed it is not written over that.
    let read = system.command(&["accounts", "rights", &account]).await;
    system.command(&["accounts", "set-rights", &account, path]).await;
    std::fs::write(&file, read.to_string()).unwrap();
    let said = system.refused_command(&["accounts", "set-rights", &account, path]).await;
    assert!(said.contains("changed meanwhile"), "{said}");
    let having_it = system.command(&["accounts", "list", merchant, "--role", "auditor"]).await;
    assert_eq!(having_it["id"], account);
    let search = ["audit", "search", "--act", "account.change_rights", "--limit", "1"];
    let entry = system.command(&search).await;
    assert_eq!(
        (&entry["actor"], &entry["subject"]),
        (&json!("operator"), &json!(format!("account:{account}")))
    );
    system.command(&["roles", "put", merchant, "auditor", "--permissions", "read"]).await;
    system.command(&["roles", "delete", merchant, "auditor"]).await;
    assert_eq!(system.command(&["roles", "list", merchant]).await, json!({ "roles": [] }));

    // A merchant's settings, and how much it may have.
    std::fs::write(&file, json!({ "session": { "idle_s": 600, "absolute_s": 3600 } }).to_string()).unwrap();
    let shown = system.command(&["merchants", "change-settings", merchant, path]).await;
    assert_eq!(shown["merchant"]["settings"]["session"]["idle_s"], 600);
    let shown = system.command(&["merchants", "set-limits", merchant, "--accounts", "1"]).await;
    assert_eq!(shown["limits"], json!({ "accounts": 1 }));
    let authorization = format!("Bearer {}", system.key_token().await);
    let (url, headers) = (system.edge("/auth/v1/accounts"), [("authorization", authorization.as_str())]);
    let refused = post_json(&url, &headers, &json!({ "username": "one-too-many" })).await.expect(409);
    assert_eq!(refused.code(), "limit_reached");
    system.command(&["merchants", "set-limits", merchant]).await;
    post_json(&url, &headers, &json!({ "username": "not-too-many" })).await.expect(201);
    std::fs::remove_file(&file).unwrap();

    // The secret by which a merchant's page vouches for its users: what is signed with it says so.
    let made = system.command(&["merchants", "set-sso-secret", merchant]).await;
    let secret = SecretText::new(made["secret"].as_str().unwrap().to_owned());
    let user =
        base64::encode_standard(r#"{"id":"7","name":"Ann","data":[{"key":"tier","val":"gold"}]}"#.as_bytes());
    let now = now().to_string();
    let auth = format!("{user}_{now}_{}", legacy::sign(&secret, &user, &now));
    let check = format!("/merchants/{merchant}/sso-secret/check");
    let answer = system.admin("POST", &check, Some(json!({ "auth": auth }))).await.expect(200).json();
    let data = json!([{ "key": "tier", "val": "gold", "show": false }]);
    assert_eq!(answer, json!({ "valid": true, "user": { "id": "7", "name": "Ann", "data": data } }));
    system.command(&["merchants", "set-sso-secret", merchant, "--forget-previous"]).await;
    let answer = system.admin("POST", &check, Some(json!({ "auth": auth }))).await.expect(200).json();
    assert_eq!(answer, json!({ "valid": false, "reason": "signature" }));
    system.command(&["merchants", "delete-sso-secret", merchant]).await;
    system.admin("POST", &check, Some(json!({ "auth": auth }))).await.expect(404);

    // Who reads no further ends it, and hears of nothing.
    let mut piped = Command::new("sh");
    piped.args(["-c", "\"$0\" accounts list \"$1\" | true"]).arg(system.program()).arg(merchant);
    piped.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment());
    let output = piped.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");

    // Closed, and open again: an application, then all of the merchant.
    let client = system.fact("client_id");
    let proven = system.security_token().await;
    system.command(&["applications", "disable", merchant, client]).await;
    system.factors_grant(&proven, &[]).await.expect(401);
    let listed = system.command(&["applications", "list", merchant]).await;
    assert!(listed["applications"][0]["disabled_at"].is_i64(), "{listed}");
    system.command(&["applications", "enable", merchant, client]).await;
    system.log_in().await;
    let said = system.refused_command(&["merchants", "disable", merchant]).await;
    assert!(said.contains("runs the system"), "{said}");
    let other = system.command(&["merchants", "create", "Other"]).await;
    let other = other["merchant_id"].as_str().unwrap();
    for (act, again) in [("disable", "disabled already"), ("enable", "not disabled")] {
        system.command(&["merchants", act, other]).await;
        let said = system.refused_command(&["merchants", act, other]).await;
        assert!(said.contains(again), "{said}");
    }
}
