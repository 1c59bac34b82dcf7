//! The test vectors, for whoever verifies the edge's signature in another language: `vectors.json` holds requests, the time
//! they come at, and who they are about, or nothing where they are refused. `MARGRAVE_WRITE_VECTORS=1` writes it anew.

use axum::http::HeaderMap;
use margrave_origin::{Guard, Signed};
use margrave_shared::header::{SIGNATURE, SIGNATURE_INPUT, TO_ORIGIN};
use margrave_shared::http_signature::{Algorithm, Message, Parameters, sign};
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use serde_json::{Value, json};

const NOW_S: i64 = 1_800_000_000;

fn keys() -> Vec<String> {
    let key = |id: &str, byte| format!("{id}:{}", SecretKey::from_bytes([byte; 32]).to_text().expose());
    vec![key("current", 1), key("next", 2)]
}

struct Request {
    method: &'static str,
    url: &'static str,
    host: &'static str,
    key: (&'static str, u8),
    created: i64,
    headers: Vec<(String, String)>,
}

/// A request about a person, as the edge signs it.
fn good() -> Request {
    let values = ["acc-1", "mer-1", "acc-1", "read write", "full", "ses-1", "", "", "192.0.2.7", "req-1"];
    let headers = TO_ORIGIN.iter().zip(values).map(|(n, v)| ((*n).to_owned(), v.to_owned())).collect();
    Request {
        method: "GET",
        url: "/api/x?a=b&c=%20d",
        host: "svc.example.org:8080",
        key: ("current", 1),
        created: NOW_S,
        headers,
    }
}

impl Request {
    fn with(mut self, name: &str, value: &str) -> Self {
        for (n, v) in &mut self.headers {
            if n == name {
                value.clone_into(v);
            }
        }
        self
    }

    /// The headers with `host` and signature.
    fn sign(self) -> (Self, Vec<(String, String)>) {
        let (path, query) = self.url.split_once('?').unwrap_or((self.url, ""));
        let signed: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let message = Message { method: self.method, authority: self.host, path, query, headers: &signed };
        let parameters = Parameters {
            created: self.created,
            key_id: self.key.0.to_owned(),
            nonce: "bm9uY2U".to_owned(),
            algorithm: Algorithm::HmacSha256,
        };
        let key = SecretKey::from_bytes([self.key.1; 32]);
        let signature = sign(&message, &parameters, |base| key.sign(base).to_vec());
        let mut headers = vec![("host".to_owned(), self.host.to_owned())];
        headers.extend(self.headers.iter().cloned());
        headers.push((SIGNATURE_INPUT.to_owned(), signature.input));
        headers.push((SIGNATURE.to_owned(), signature.signature));
        (self, headers)
    }

    fn case(
        self,
        name: &str,
        passes: bool,
        change: impl FnOnce(&mut Self, &mut Vec<(String, String)>),
    ) -> Value {
        let (mut request, mut headers) = self.sign();
        change(&mut request, &mut headers);
        let said = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v).to_owned();
        let permissions: Vec<String> =
            said("margrave-permissions").split_whitespace().map(str::to_owned).collect();
        let caller = json!({ "subject": said("margrave-subject"), "permissions": permissions });
        json!({
            "name": name, "now_s": NOW_S, "method": request.method, "url": request.url, "headers": headers,
            "caller": if passes { caller } else { Value::Null },
        })
    }
}

fn set(headers: &mut [(String, String)], name: &str, change: impl Fn(&str) -> String) {
    for (n, v) in headers {
        if n == name {
            *v = change(v);
        }
    }
}

fn vectors() -> Value {
    let as_is = |_: &mut Request, _: &mut Vec<(String, String)>| {};
    let mut cases = vec![
        good().case("a person", true, as_is),
        Request { key: ("next", 2), ..good() }.case("the next key", true, as_is),
        Request { url: "/api/x", ..good() }.case("without a query", true, as_is),
        Request { method: "DELETE", ..good() }.case("another method", true, as_is),
        Request { created: NOW_S - 30, ..good() }.case("thirty seconds old", true, as_is),
        Request { created: NOW_S + 30, ..good() }.case("thirty seconds ahead", true, as_is),
        good().with("margrave-subject", "").with("margrave-permissions", "").case("nobody", true, as_is),
        good().case("the host in capitals", true, |_, h| set(h, "host", |_| "SVC.Example.ORG:8080".into())),
        Request { created: NOW_S - 31, ..good() }.case("too old", false, as_is),
        Request { created: NOW_S + 31, ..good() }.case("from the future", false, as_is),
        Request { key: ("unknown", 1), ..good() }.case("an unknown key", false, as_is),
        Request { key: ("current", 2), ..good() }.case("another key under its name", false, as_is),
        good().case("another method than signed", false, |r, _| r.method = "POST"),
        good().case("another path than signed", false, |r, _| r.url = "/api/y?a=b&c=%20d"),
        good().case("another query than signed", false, |r, _| r.url = "/api/x?a=b"),
        good().case("another host than signed", false, |_, h| set(h, "host", |_| "other:8080".into())),
        good().case("no signature", false, |_, h| h.retain(|(n, _)| n != SIGNATURE)),
        good().case("no signature input", false, |_, h| h.retain(|(n, _)| n != SIGNATURE_INPUT)),
        good().case("a signature twice", false, |_, h| h.push((SIGNATURE.into(), "margrave=::".into()))),
        good().case("another label", false, |_, h| {
            set(h, SIGNATURE_INPUT, |v| v.replace("margrave=(", "other=("));
        }),
        good().case("fewer components", false, |_, h| {
            set(h, SIGNATURE_INPUT, |v| v.replace(" \"margrave-permissions\"", ""));
        }),
        good().case("one more parameter", false, |_, h| set(h, SIGNATURE_INPUT, |v| format!("{v};x=1"))),
        good().case("another algorithm", false, |_, h| {
            set(h, SIGNATURE_INPUT, |v| v.replace("hmac-sha256", "ed25519"));
        }),
        good().case("a longer signature", false, |_, h| {
            set(h, SIGNATURE, |v| v.replacen(':', ":AAAA", 1));
        }),
    ];
    cases.push(good().case("a cut signature", false, |_, h| {
        set(h, SIGNATURE, |v| v.chars().take(v.len() - 6).chain(":".chars()).collect());
    }));
    cases.push(good().case("no host", false, |_, h| h.retain(|(n, _)| n != "host")));
    cases
        .push(good().case("two hosts", false, |_, h| h.push(("host".into(), "svc.example.org:8080".into()))));
    for name in TO_ORIGIN {
        cases.push(good().case(&format!("{name} changed"), false, |_, h| set(h, name, |_| "forged".into())));
        cases.push(good().case(&format!("{name} missing"), false, |_, h| h.retain(|(n, _)| n != name)));
        cases.push(good().case(&format!("{name} twice"), false, |_, h| h.push((name.into(), String::new()))));
    }
    json!({
        "note": "Requests to a service behind the edge. `caller` is null where they are to be refused.",
        "keys": keys(),
        "cases": cases,
    })
}

#[test]
fn the_file_is_what_is_signed_now() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors.json");
    let text = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os("MARGRAVE_WRITE_VECTORS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).expect("vectors.json"),
        text,
        "MARGRAVE_WRITE_VECTORS=1 writes it"
    );
}

#[test]
fn every_vector_has_its_verdict() {
    for case in vectors()["cases"].as_array().unwrap() {
        let mut headers = HeaderMap::new();
        for pair in case["headers"].as_array().unwrap() {
            let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            headers
                .append(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let (path, query) =
            case["url"].as_str().unwrap().split_once('?').unwrap_or((case["url"].as_str().unwrap(), ""));
        let request = Signed {
            method: case["method"].as_str().unwrap(),
            path,
            query,
            authority: None,
            headers: &headers,
        };
        let guard = Guard::new(&keys()).unwrap();
        let now = UnixMs::from_seconds(case["now_s"].as_i64().unwrap());
        let said = guard.judge(request, now).ok();
        let said =
            said.map_or(Value::Null, |c| json!({ "subject": c.subject, "permissions": c.permissions }));
        assert_eq!(said, case["caller"], "{}", case["name"]);
        assert!(guard.judge(request, now).is_err(), "{} a second time", case["name"]);
    }
}
