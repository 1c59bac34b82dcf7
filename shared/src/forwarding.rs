//! What becomes of headers on the way through the edge: a client's on their way to the origin, an origin's on their
//! way to the client (H1).

use crate::header::{
    REQUEST_ID, is_dropped_from_client, is_dropped_from_origin, is_own_cookie, nominated,
    private_cache_control, without_own_cookies,
};
use crate::header_list::HeaderList;

/// What of a client's headers may reach the origin. The edge adds its own to these; none of them can stand here already.
pub fn of_client(received: &HeaderList) -> HeaderList {
    let nominated: Vec<String> =
        received.get("connection").map(|value| nominated(value).collect()).unwrap_or_default();
    let mut kept = HeaderList::default();
    for (name, value) in received.iter() {
        if is_dropped_from_client(name) || nominated.iter().any(|n| n == name) {
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

/// Whether a request has a body to pass on. Asking the runtime for one costs as much as judging the request, and nearly
/// no GET has one (RFC 9110 §9.3.1); one that has says so (RFC 9112 §6).
pub fn has_body(method: &str, received: &HeaderList) -> bool {
    !matches!(method, "GET" | "HEAD")
        || received.get("content-length").is_some()
        || received.get("transfer-encoding").is_some()
}

/// What is dropped from every answer to somebody in particular, so that no shared cache keeps it (RFC 9213).
const SHARED_CACHE: [&str; 3] = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];

/// An origin's headers as the client gets them; `personal` where the answer is for somebody in particular.
pub fn of_origin(received: &HeaderList, personal: bool, request_id: &str) -> HeaderList {
    let mut kept = HeaderList::default();
    for (name, value) in received.iter() {
        let dropped = is_dropped_from_origin(name)
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
            print(of_origin(&received, true, "id")),
            [
                "content-type=text/plain",
                "set-cookie=a=1",
                "set-cookie=b=2",
                "cache-control=private, max-age=60",
                "margrave-request-id=id"
            ]
        );
        assert_eq!(
            print(of_origin(&received, false, "id")),
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
