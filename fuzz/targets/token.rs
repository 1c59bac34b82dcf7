//! Tokens as strangers send them, and claims as a signature would vouch for them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use margrave_shared::base64;
use margrave_shared::claims::{CommonClaims, PermissionClaims, RefreshClaims, SecurityClaims};
use margrave_shared::json::Json;
use margrave_shared::jwk::KeySet;
use margrave_shared::time::UnixMs;
use margrave_shared::token::compact::Compact;
use margrave_shared::token::{Expect, verify_permission, verify_refresh};

/// The key of RFC 8037 A.2.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fuzz_target!(|data: &[u8]| {
    let keys = KeySet::parse(KEYS.as_bytes()).expect("the key");
    let audiences = ["svc".to_owned()];
    let expect = Expect {
        issuer: "https://i",
        audiences: &audiences,
        now: UnixMs::from_seconds(1_800_000_000),
        max_life_s: 3600,
    };
    if let Ok(text) = core::str::from_utf8(data) {
        // Nobody signs by chance.
        assert!(verify_permission(text, &keys, &expect).is_err());
        assert!(verify_refresh(text, &keys, &expect).is_err());
        if let Ok(compact) = Compact::parse(text, 8192) {
            // One spelling only.
            let parts: Vec<&str> = text.split('.').collect();
            let payload = parts.get(1).copied().unwrap_or("");
            assert_eq!(base64::encode_url(&compact.payload), payload);
            assert_eq!(compact.signed.len() + 1 + base64::encode_url(&compact.signature).len(), text.len());
        }
    }
    if let Ok(json) = Json::parse(data)
        && let Ok(common) = CommonClaims::from_json(&json)
    {
        let _ = expect.check(&common);
        let _ = PermissionClaims::from_json(common.clone(), &json);
        let _ = SecurityClaims::from_json(common.clone(), &json);
        let _ = RefreshClaims::from_json(common, &json);
    }
    let _ = KeySet::parse(data);
});
