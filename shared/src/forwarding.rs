//! What becomes of headers on the way through the edge: a client's on their way to the origin, an origin's on their
//! way to the client (H1).

use crate::error::ErrorCode;
use crate::header::{
    REQUEST_ID, is_dropped_from_client, is_dropped_from_origin, is_own_cookie, nominated,
    private_cache_control, without_own_cookies,
};
use crate::header_list::HeaderList;
use std::collections::BTreeSet;

/// What of a client's headers may reach the origin. The edge adds its own to these; none of them can stand here already.
/// `traced`: the client's `traceparent` is continued, so that its `tracestate` belongs to it.
pub fn of_client(received: &HeaderList, traced: bool) -> HeaderList {
    let nominated: BTreeSet<String> =
        received.get("connection").map(|value| nominated(value).collect()).unwrap_or_default();
    let mut kept = HeaderList::default();
    for (name, value) in received.iter() {
        let trace = name == "traceparent" || (name == "tracestate" && !traced);
        if trace || is_dropped_from_client(name) || nominated.contains(name) {
            continue;
        }
        if name == "cookie" {
            if let Some(value) = without_own_cookies(value) {
                kept.add(name, &value);
            }
        } else {
            kept.add(name, value);
        }
    }
    kept
}

/// Whether a request has a body to pass on.
///
/// # Errors
/// `ambiguous_request` for a GET or HEAD with content: it has no defined meaning, and some servers take it for the next
/// request (RFC 9110 §9.3.1); and for a body with two lengths, which is how requests are smuggled (RFC 9112 §6.3).
pub fn has_body(method: &str, received: &HeaderList) -> Result<bool, ErrorCode> {
    if received.get("content-length").is_some() && received.get("transfer-encoding").is_some() {
        return Err(ErrorCode::AmbiguousRequest);
    }
    if !matches!(method, "GET" | "HEAD") {
        return Ok(true);
    }
    let content = received.get("content-length").is_some_and(|length| length != "0")
        || received.get("transfer-encoding").is_some();
    if content { Err(ErrorCode::AmbiguousRequest) } else { Ok(false) }
}

/// Whether a client asks for a WebSocket (RFC 6455 §4.1).
pub fn asks_for_socket(method: &str, received: &HeaderList) -> bool {
    method == "GET" && received.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The longest body of undeclared length where there is a limit: it is held until it is complete.
const MAX_HELD_BODY: u64 = 1024 * 1024;

/// How a body is bounded on its way to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyBound {
    /// Not at all.
    None,
    /// It is exactly as long as was declared, or it does not arrive whole. Of a body that is chunked as well workerd hides
    /// the declared length; where a runtime shows it and goes by the chunks, this holds it to what it said.
    Exactly(u64),
    /// It is held until it is complete, and at most so long.
    Held(u64),
}

/// How a body is bounded where a route says how long it may be.
///
/// # Errors
/// `payload_too_large` for a declared length above the limit, `ambiguous_request` for one that is no number.
pub fn body_bound(received: &HeaderList, limit: Option<u64>) -> Result<BodyBound, ErrorCode> {
    let Some(limit) = limit else { return Ok(BodyBound::None) };
    match received.get("content-length") {
        None => Ok(BodyBound::Held(limit.min(MAX_HELD_BODY))),
        // `parse` would take a sign.
        Some(text) if !text.bytes().all(|b| b.is_ascii_digit()) => Err(ErrorCode::AmbiguousRequest),
        Some(text) => match text.parse::<u64>() {
            Err(_) => Err(ErrorCode::AmbiguousRequest),
            Ok(length) if length > limit => Err(ErrorCode::PayloadTooLarge),
            Ok(length) => Ok(BodyBound::Exactly(length)),
        },
    }
}

/// What is dropped from every answer to somebody in particular, so that no shared cache keeps it (RFC 9213).
const SHARED_CACHE: [&str; 3] = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];

/// An origin's headers as the client gets them; `personal` where the answer is for somebody in particular. `cors` are those
/// of the route, if it has any: then the origin's own say nothing.
pub fn of_origin(received: &HeaderList, personal: bool, request_id: &str, cors: &HeaderList) -> HeaderList {
    let mut kept = HeaderList::default();
    let mut vary = Vec::new();
    let governed = cors.iter().next().is_some();
    for (name, value) in received.iter() {
        let dropped = is_dropped_from_origin(name)
            || (governed && name.starts_with("access-control-"))
            // Cookies that bear our names are not the origin's to set.
            || (name == "set-cookie" && is_own_cookie(value))
            || (personal && (name == "cache-control" || SHARED_CACHE.contains(&name)));
        if name == "vary" {
            vary.push(value);
        } else if !dropped {
            kept.add(name, value);
        }
    }
    if personal {
        // A browser's own cache must not give one person's answer to the next, or to nobody.
        vary.push("Authorization");
        // What somebody may see must not lie in a cache that everybody asks.
        let said = received.get("cache-control").unwrap_or("");
        kept.add("cache-control", &private_cache_control(said));
    }
    for (name, value) in cors.iter() {
        if name == "vary" {
            vary.push(value);
        } else {
            kept.add(name, value);
        }
    }
    if !vary.is_empty() {
        kept.add("vary", &vary.join(", "));
    }
    kept.add(REQUEST_ID, request_id);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_clients_headers_only_harmless_ones_pass() {
        let received: HeaderList = [
            ("accept", "*/*"),
            ("authorization", "Bearer x"),
            ("connection", "keep-alive, X-Secret"),
            ("cookie", "a=1; __Host-mg-session=x"),
            ("margrave_subject", "somebody"),
            ("x-secret", "1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("traceparent", "x"),
            ("tracestate", "a=1"),
        ]
        .into_iter()
        .collect();
        let kept: Vec<_> = of_client(&received, false).iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(kept, ["accept=*/*", "cookie=a=1"]);
    }

    #[test]
    fn a_route_with_cors_speaks_for_its_origin() {
        let received: HeaderList =
            [("access-control-allow-origin", "*"), ("vary", "Accept"), ("x-a", "1")].into_iter().collect();
        let of = |cors: &[(&str, &str)]| {
            let cors: HeaderList = cors.iter().copied().collect();
            let kept = of_origin(&received, false, "id", &cors);
            kept.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>()
        };
        let id = "margrave-request-id=id";
        assert_eq!(of(&[]), ["access-control-allow-origin=*", "x-a=1", "vary=Accept", id]);
        assert_eq!(of(&[("vary", "Origin")]), ["x-a=1", "vary=Accept, Origin", id]);
        assert_eq!(
            of(&[("access-control-allow-origin", "*")]),
            ["x-a=1", "access-control-allow-origin=*", "vary=Accept", id]
        );
    }

    #[test]
    fn a_body_is_bounded_by_its_declared_length_or_held() {
        for (length, limit, verdict) in [
            (None, None, Ok(BodyBound::None)),
            (Some("999999999999"), None, Ok(BodyBound::None)),
            (None, Some(10), Ok(BodyBound::Held(10))),
            (None, Some(9_999_999), Ok(BodyBound::Held(MAX_HELD_BODY))),
            (Some("10"), Some(10), Ok(BodyBound::Exactly(10))),
            (Some("11"), Some(10), Err(ErrorCode::PayloadTooLarge)),
            (Some("99999999999999999999999"), Some(10), Err(ErrorCode::AmbiguousRequest)),
            (Some("-1"), Some(10), Err(ErrorCode::AmbiguousRequest)),
            (Some("+1"), Some(10), Err(ErrorCode::AmbiguousRequest)),
        ] {
            let headers: HeaderList = length.map(|length| ("content-length", length)).into_iter().collect();
            assert_eq!(body_bound(&headers, limit), verdict, "{length:?} {limit:?}");
        }
    }

    #[test]
    fn a_get_with_content_is_refused() {
        let with = |name, value| [(name, value)].into_iter().collect::<HeaderList>();
        for (method, headers, verdict) in [
            ("GET", HeaderList::default(), Ok(false)),
            ("HEAD", with("content-length", "0"), Ok(false)),
            ("GET", with("content-length", "9"), Err(ErrorCode::AmbiguousRequest)),
            ("GET", with("content-length", "00"), Err(ErrorCode::AmbiguousRequest)),
            ("HEAD", with("transfer-encoding", "chunked"), Err(ErrorCode::AmbiguousRequest)),
            (
                "POST",
                [("content-length", "10"), ("transfer-encoding", "chunked")].into_iter().collect(),
                Err(ErrorCode::AmbiguousRequest),
            ),
            ("POST", HeaderList::default(), Ok(true)),
            ("DELETE", with("transfer-encoding", "chunked"), Ok(true)),
        ] {
            assert_eq!(has_body(method, &headers), verdict, "{method} {headers:?}");
        }
    }

    #[test]
    fn answers_are_cleaned_and_private_where_they_are_personal() {
        let received: HeaderList = [
            ("content-type", "text/plain"),
            ("cache-control", "public, max-age=60"),
            ("cdn-cache-control", "max-age=600"),
            ("margrave-request-id", "forged"),
            ("server", "x"),
            ("set-cookie", "a=1"),
            ("set-cookie", "__Host-mg-session=x"),
            ("set-cookie", "b=2"),
        ]
        .into_iter()
        .collect();
        let print = |list: HeaderList| list.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>();
        assert_eq!(
            print(of_origin(&received, true, "id", &HeaderList::default())),
            [
                "content-type=text/plain",
                "set-cookie=a=1",
                "set-cookie=b=2",
                "cache-control=private, max-age=60",
                "vary=Authorization",
                "margrave-request-id=id"
            ]
        );
        assert_eq!(
            print(of_origin(&received, false, "id", &HeaderList::default())),
            [
                "content-type=text/plain",
                "cache-control=public, max-age=60",
                "cdn-cache-control=max-age=600",
                "set-cookie=a=1",
                "set-cookie=b=2",
                "margrave-request-id=id"
            ]
        );
    }
}
