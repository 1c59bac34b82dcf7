//! Forged tokens: the corpus of what a verifier must refuse, through the deployed Worker.

use crate::http::get;
use crate::keys_of_a_strange_issuer::StrangeIssuer;
use ed25519_dalek::{Signer as _, SigningKey};
use margrave_shared::base64;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Signs whatever it is told, with a key of its own.
pub(crate) struct Forger {
    key: SigningKey,
    kid: String,
}

impl Forger {
    pub(crate) fn new(seed: u8) -> Self {
        Self::named(seed, &format!("k{seed}"))
    }

    pub(crate) fn named(seed: u8, kid: &str) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), kid: kid.to_owned() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let x = base64::encode_url(self.key.verifying_key().as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig" })
    }

    pub(crate) fn jwks(forgers: &[&Self]) -> String {
        json!({ "keys": forgers.iter().map(|f| f.jwk()).collect::<Vec<_>>() }).to_string()
    }

    pub(crate) fn claims(&self, issuer: &str) -> Value {
        let now = now();
        json!({
            "iss": issuer, "aud": ["margrave-demo"], "sub": "acc-1", "account_id": "acc-1", "merchant_id": "mer-1",
            "client_id": "app-1", "scope": "read write", "jti": "tok-1", "iat": now, "exp": now + 300,
            "gen": 0, "user_type": "full", "auth_time": now,
        })
    }

    pub(crate) fn header(&self) -> String {
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"}}"#, self.kid)
    }

    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let input =
            format!("{}.{}", base64::encode_url(header.as_bytes()), base64::encode_url(claims.as_bytes()));
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", base64::encode_url(&signature))
    }

    pub(crate) fn token(&self, issuer: &str) -> String {
        self.sign(&self.header(), &self.claims(issuer).to_string())
    }
}

/// Unix seconds.
#[expect(clippy::disallowed_methods, reason = "tokens are judged by the real time")]
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Every mutation of a genuine token, with a name.
fn corpus(forger: &Forger, issuer: &str) -> Vec<(String, String)> {
    let genuine = forger.token(issuer);
    let claims = forger.claims(issuer);
    let mut corpus: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| corpus.push((name.to_owned(), token));

    // V1, V2: algorithms.
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""nOnE""#,
        r#""NONE""#,
        r#""HS256""#,
        r#""RS256""#,
        r#""ES256""#,
        r#""Ed448""#,
        r#""eddsa""#,
        r#""""#,
        "null",
        "[]",
        "1",
    ] {
        let header = format!(r#"{{"alg":{alg},"typ":"at+jwt","kid":"{}"}}"#, forger.kid);
        add(&format!("alg {alg}"), forger.sign(&header, &claims.to_string()));
        let parts: Vec<&str> = genuine.split('.').collect();
        add(
            &format!("alg {alg} unsigned"),
            format!("{}.{}.", base64::encode_url(header.as_bytes()), parts[1]),
        );
    }
    // V4, V5, V9, V10: the other header members.
    for header in [
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":["k1"]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../k1"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"' OR 1=1--"}"#,
        r#"{"alg":"EdDSA","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"security+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"dpop+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"logout+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","crit":[]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","crit":["b64"],"b64":false}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","b64":false}"#,
        r#"{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"EdDSA","typ":"at+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"} "x""#,
    ] {
        add(header, forger.sign(header, &claims.to_string()));
    }
    add(
        "kid of 10 kB",
        forger.sign(&forger.header().replace(&forger.kid, &"k".repeat(10_000)), &claims.to_string()),
    );
    // V6, V7, V8, V20: claims.
    let t = now();
    let changes = [
        ("iss", json!(format!("{issuer}/"))),
        ("iss", json!(issuer.to_uppercase())),
        ("iss", json!([issuer])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!("")),
        ("aud", json!([])),
        ("aud", json!(7)),
        ("aud", json!(vec!["margrave-demo"; 1000])),
        ("exp", json!(t - 61)),
        ("exp", json!(t - 31)),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(1.5)),
        ("exp", Value::Null),
        ("exp", json!(t + 4000)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("iat", json!(t + 600)),
        ("iat", Value::Null),
        ("iat", json!("1")),
        ("nbf", json!(t + 61)),
        ("nbf", json!("0")),
        ("sub", json!("acc-2")),
        ("sub", json!(["acc-1"])),
        ("sub", json!("merchant:mer-1")),
        ("sub", json!("app:app-1")),
        ("sub", Value::Null),
        ("sub", json!("acc-1\u{0}")),
        ("merchant_id", Value::Null),
        ("merchant_id", json!("")),
        ("jti", Value::Null),
        ("scope", json!(["read"])),
        ("cnf", json!({ "jkt": "abc" })),
        ("cnf", json!({ "jwk": {} })),
        ("session", json!({ "idle": 5 })),
        ("session", json!({ "idle": 5, "until": 5 })),
        ("user_type", json!("root")),
        ("gen", json!("0")),
    ];
    for (name, value) in changes {
        let mut changed = claims.clone();
        changed[name] = value.clone();
        if value.is_null() {
            let mut absent = claims.clone();
            absent.as_object_mut().unwrap().remove(name);
            add(&format!("{name} absent"), forger.sign(&forger.header(), &absent.to_string()));
        }
        let short: String = value.to_string().chars().take(40).collect();
        add(&format!("{name} = {short}"), forger.sign(&forger.header(), &changed.to_string()));
    }
    let raw = claims.to_string();
    add("exp 1e400", forger.sign(&forger.header(), &raw.replacen('{', r#"{"exp":1e400,"#, 1)));
    // V11: duplicates, in every spelling.
    for extra in [r#""sub":"acc-1""#, r#""s\u0075b":"acc-1""#, r#""exp":9999999999"#, r#""x":{"a":1,"a":1}"#]
    {
        add(
            &format!("duplicate {extra}"),
            forger.sign(&forger.header(), &raw.replacen('{', &format!("{{{extra},"), 1)),
        );
    }
    // V14: text that is not one text.
    for (name, claims) in [
        ("BOM", format!("\u{feff}{raw}")),
        ("lone surrogate", raw.replace("acc-1", r"acc\ud800")),
        ("trailing text", format!("{raw}x")),
        ("nested", format!("{}1{}", "[".repeat(1000), "]".repeat(1000))),
    ] {
        add(name, forger.sign(&forger.header(), &claims));
    }
    // V12, V13: the compact form.
    let parts: Vec<&str> = genuine.split('.').collect();
    for (name, token) in [
        ("padded", format!("{genuine}=")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{genuine}.x")),
        ("five parts", format!("{genuine}.x.y")),
        ("empty header", format!(".{}.{}", parts[1], parts[2])),
        ("empty payload", format!("{}..{}", parts[0], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("standard base64", genuine.replacen('_', "/", 1).replacen('-', "+", 1) + "+"),
        ("percent", format!("{}%2E{}", parts[0], parts[1])),
        ("nested token", base64::encode_url(genuine.as_bytes())),
        ("long", "a".repeat(9000)),
        ("other key", Forger::named(77, &forger.kid).sign(&forger.header(), &raw)),
    ] {
        add(name, token);
    }
    // V16: the signature itself.
    let signature: [u8; 64] = base64::decode_url(parts[2]).unwrap().try_into().unwrap();
    let with = |bytes: &[u8]| format!("{}.{}.{}", parts[0], parts[1], base64::encode_url(bytes));
    add("short signature", with(&signature[..63]));
    add("long signature", with(&[&signature[..], &[0]].concat()));
    let mut identity = [0; 64];
    identity[0] = 1;
    add("identity signature", with(&identity));
    add("zero signature", with(&[0; 64]));
    let order = [
        0xed_u8, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleated = signature;
    let mut carry = 0_u16;
    for i in 0..32 {
        let sum = u16::from(malleated[32 + i]) + u16::from(order[i]) + carry;
        malleated[32 + i] = sum as u8;
        carry = sum >> 8;
    }
    add("S + L", with(&malleated));
    for at in [0, 31, 32, 63] {
        let mut flipped = signature;
        flipped[at] ^= 1;
        add(&format!("bit of byte {at}"), with(&flipped));
    }
    corpus
}

#[tokio::test]
async fn every_mutation_gets_one_and_the_same_refusal() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&["edge.jwks.cooldown_s=60"]).await;
    system.call("/api/x", &forger.token(&issuer.url)).await.expect(200);
    let mut one: Option<Value> = None;
    let corpus = corpus(&forger, &issuer.url);
    assert!(corpus.len() > 110, "{}", corpus.len());
    for (name, token) in corpus {
        let answer = system.call("/api/x", &token).await;
        // A session that has an end in the past is known to have ended; everything else is one refusal.
        if name.contains("\"until\":5") && answer.status == 401 && answer.code() == "session_ended" {
            continue;
        }
        assert_eq!(answer.status, 401, "{name}: {}", answer.body);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#), "{name}");
        let mut body = answer.json();
        body["request_id"] = "".into();
        assert_eq!(one.get_or_insert_with(|| body.clone()), &body, "{name}");
    }
    system.call("/api/x", &forger.token(&issuer.url)).await.expect(200);
}

#[tokio::test]
async fn both_names_of_the_algorithm_and_every_case_of_the_type_pass() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&[]).await;
    for header in [
        r#"{"alg":"Ed25519","typ":"at+jwt","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"AT+JWT","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"application/at+jwt","kid":"k1"}"#,
    ] {
        let token = forger.sign(header, &forger.claims(&issuer.url).to_string());
        system.call("/api/x", &token).await.expect(200);
    }
    let mut claims = forger.claims(&issuer.url);
    claims["aud"] = json!("margrave-demo");
    system.call("/api/x", &forger.sign(&forger.header(), &claims.to_string())).await.expect(200);
}

#[tokio::test]
async fn ten_thousand_hostile_requests_do_not_cost_the_instance() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&["edge.jwks.cooldown_s=60"]).await;
    let genuine = forger.token(&issuer.url);
    system.call("/api/x", &genuine).await.expect(200);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for batch in 0..100 {
        let mut requests = Vec::new();
        for _ in 0..100 {
            let mut token = genuine.clone().into_bytes();
            // At least one byte differs: a genuine token on a genuine path would rightly pass.
            while token == genuine.as_bytes() || !random().is_multiple_of(3) {
                let at = random() as usize % token.len();
                token[at] = 0x21 + (random() % 94) as u8;
            }
            let token = String::from_utf8(token).unwrap();
            let path = format!(
                "/api/{:x}%{:02x}{}",
                random(),
                random() % 256,
                ["", "/", "?q=%", "//", ";a"][random() as usize % 5]
            );
            let url = system.edge(&path);
            requests.push(Box::pin(async move {
                let value = format!("Bearer {token}");
                get(
                    &url,
                    &[("authorization", &value), ("x_forwarded_for", "1.2.3.4"), ("cookie", "__Host-mg-x=1")],
                )
                .await
            }));
        }
        for answer in crate::http::together(requests).await {
            assert!(matches!(answer.status, 400 | 401), "batch {batch}: {} {}", answer.status, answer.body);
        }
    }
    system.call("/api/x", &genuine).await.expect(200);
}
