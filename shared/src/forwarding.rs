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
pub fn of_client(received: &HeaderList) -> HeaderList {
    let nominated: BTreeSet<String> =
        received.get("connection").map(|value| nominated(value).collect()).unwrap_or_default();
    let mut kept = HeaderList::default();
    for (name, value) in received.iter() {
        if is_dropped_from_client(name) || nominated.contains(name) {
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
/// request (RFC 9110 §9.3.1).
pub fn has_body(method: &str, received: &HeaderList) -> Result<bool, ErrorCode> {
    if !matches!(method, "GET" | "HEAD") {
        return Ok(true);
    }
    let content = received.get("content-length").is_some_and(|length| length != "0")
        || received.get("transfer-encoding").is_some();
    if content { Err(ErrorCode::AmbiguousRequest) } else { Ok(false) }
}

/// The longest body of undeclared length where there is a limit: it is held until it is complete.
const MAX_HELD_BODY: u64 = 1024 * 1024;

/// How long a body may be whose length is not declared; `None` = nobody counts.
///
/// # Errors
/// `payload_too_large` for a declared length above the limit, `ambiguous_request` for one that is no number.
pub fn undeclared_limit(received: &HeaderList, limit: Option<u64>) -> Result<Option<u64>, ErrorCode> {
    let Some(limit) = limit else { return Ok(None) };
    match received.get("content-length") {
        None => Ok(Some(limit.min(MAX_HELD_BODY))),
        // `parse` would take a sign.
        Some(text) if !text.bytes().all(|b| b.is_ascii_digit()) => Err(ErrorCode::AmbiguousRequest),
        Some(text) => match text.parse::<u64>() {
            Err(_) => Err(ErrorCode::AmbiguousRequest),
            Ok(length) if length > limit => Err(ErrorCode::PayloadTooLarge),
            // The runtime passes on no more than was declared.
            Ok(_) => Ok(None),
        },
    }
}

/// What is dropped from every answer to somebody in particular, so that no shared cache keeps it (RFC 9213).
const SHARED_CACHE: [&str; 3] = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];

/// An origin's headers as the client gets them; `personal` where the answer is for somebody in particular. `cors` are those
/// of the route, if it has any: then the origin's own say nothing.
pub fn of_origin(received: &HeaderList, personal: bool, request_id: &str, cors: &HeaderList) -> HeaderList {
    let mut kept = HeaderList::default();
    let governed = cors.iter().next().is_some();
    for (name, value) in received.iter() {
        let dropped = is_dropped_from_origin(name)
            || (governed && (name.starts_with("access-control-") || name == "vary"))
            // Cookies that bear our names are not the origin's to set.
            || (name == "set-cookie" && is_own_cookie(value))
            || (personal && (name == "cache-control" || SHARED_CACHE.contains(&name)));
        if !dropped {
            kept.add(name, value);
        }
    }
    if personal {
        // What somebody may see must not lie in a cache that everybody asks.
        let said = received.get("cache-control").unwrap_or("");
        kept.add("cache-control", &private_cache_control(said));
    }
    for (name, value) in cors.iter() {
        match received.get("vary").filter(|_| name == "vary") {
            Some(said) => kept.add(name, &format!("{said}, {value}")),
            None => kept.add(name, value),
        }
    }
    if let Some(said) = received.get("vary").filter(|_| governed && cors.get("vary").is_none()) {
        kept.add("vary", said);
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
        ]
        .into_iter()
        .collect();
        let kept: Vec<_> = of_client(&received).iter().map(|(n, v)| format!("{n}={v}")).collect();
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
        assert_eq!(of(&[]), ["access-control-allow-origin=*", "vary=Accept", "x-a=1", id]);
        assert_eq!(of(&[("vary", "Origin")]), ["x-a=1", "vary=Accept, Origin", id]);
        assert_eq!(
            of(&[("access-control-allow-origin", "*")]),
            ["x-a=1", "access-control-allow-origin=*", "vary=Accept", id]
        );
    }

    #[test]
    fn a_body_is_refused_by_its_declared_length_or_counted() {
        for (length, limit, verdict) in [
            (None, None, Ok(None)),
            (Some("999999999999"), None, Ok(None)),
            (None, Some(10), Ok(Some(10))),
            (None, Some(9_999_999), Ok(Some(MAX_HELD_BODY))),
            (Some("10"), Some(10), Ok(None)),
            (Some("11"), Some(10), Err(ErrorCode::PayloadTooLarge)),
            (Some("99999999999999999999999"), Some(10), Err(ErrorCode::AmbiguousRequest)),
            (Some("-1"), Some(10), Err(ErrorCode::AmbiguousRequest)),
            (Some("+1"), Some(10), Err(ErrorCode::AmbiguousRequest)),
        ] {
            let headers: HeaderList = length.map(|length| ("content-length", length)).into_iter().collect();
            assert_eq!(undeclared_limit(&headers, limit), verdict, "{length:?} {limit:?}");
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
