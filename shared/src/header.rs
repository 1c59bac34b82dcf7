//! Header names: ours, and which of a client's or an origin's headers may pass (H1, L1).

/// Who the request is about: the token's `sub`.
pub const SUBJECT: &str = "margrave-subject";
/// The merchant.
pub const MERCHANT: &str = "margrave-merchant";
/// The account.
pub const ACCOUNT: &str = "margrave-account";
/// The permissions, separated by spaces.
pub const PERMISSIONS: &str = "margrave-permissions";
/// `anonymous`, `sso` or `full`.
pub const USER_TYPE: &str = "margrave-user-type";
/// The session's id.
pub const SESSION: &str = "margrave-session";
/// The cabinet's X-address.
pub const CABINET: &str = "margrave-cabinet";
/// The person behind the cabinet.
pub const ACTOR: &str = "margrave-actor";
/// The client's address as the edge knows it.
pub const CLIENT_ADDRESS: &str = "margrave-client-address";
/// The request's id in logs and problem documents.
pub const REQUEST_ID: &str = "margrave-request-id";
/// From the issuer to the edge alone: what became of a login attempt.
pub const ATTEMPT: &str = "margrave-attempt";
/// From the issuer, with the answer to an act that ended something: `true` when every edge refuses from now on, `false` when
/// one of them will hear within its poll interval.
pub const PROPAGATED: &str = "margrave-propagated";
/// From the edge, with its answer to a push: up to where no ending is missing there, `<epoch>:<seq>`.
pub const FEED_POSITION: &str = "margrave-feed-position";
/// From the edge, with its answer to a push: there are isolates that hear of it later only.
pub const FEED_LATER: &str = "margrave-feed-later";
/// From the edge to the issuer: when the edge last saw activity in the session that a refresh is for,
/// `<sid>;<unix ms>`.
pub const SESSION_SEEN: &str = "margrave-session-seen";
/// Known devices. From a client: its device token (apps; browsers hold it in a cookie). From the edge to the issuer and back:
/// what `wire::device` says.
pub const DEVICE: &str = "margrave-device";
/// RFC 9530 §2.
pub const CONTENT_DIGEST: &str = "content-digest";
/// RFC 9421 §4.1.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// RFC 9421 §4.2.
pub const SIGNATURE: &str = "signature";

/// The identity headers that the origin gets, every one on every signed request, in the order in which they are
/// signed.
pub const TO_ORIGIN: [&str; 10] =
    [SUBJECT, MERCHANT, ACCOUNT, PERMISSIONS, USER_TYPE, SESSION, CABINET, ACTOR, CLIENT_ADDRESS, REQUEST_ID];

/// The headers that an edge signs on its requests to the issuer, every one on every request.
pub const TO_ISSUER: [&str; 5] = [CLIENT_ADDRESS, SESSION_SEEN, DEVICE, REQUEST_ID, CONTENT_DIGEST];

/// The cookie that holds a browser's device token.
pub const DEVICE_COOKIE: &str = "__Host-mg-device";

/// The prefix of Margrave's own cookies.
pub const COOKIE_PREFIX: &str = "__Host-mg-";

/// Whether a client's header may not pass to the origin: identity and address headers in any spelling that some
/// server reads as ours (case, underscores), hop-by-hop headers (RFC 9110 §7.6.1), credentials for the edge, and
/// headers that would change what the edge judged.
pub fn is_dropped_from_client(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let prefixes = ["margrave-", "x-forwarded-", "cf-", "proxy-"];
    let names = [
        "forwarded",
        "x-forwarded",
        "x-real-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        // Of the connection; the runtime writes its own. The protocol is between client and origin.
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-accept",
        "http2-settings",
        "host",
        "content-length",
        "authorization",
        "dpop",
        "signature",
        "signature-input",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name.as_str())
}

/// Whether an origin's header may not pass to the client: version banners, our own names, hop-by-hop headers.
pub fn is_dropped_from_origin(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let names = [
        "server",
        "via",
        "x-powered-by",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-generator",
        "x-runtime",
        "x-version",
        "x-drupal-cache",
        "x-envoy-upstream-service-time",
        "x-backend-server",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "trailer",
        "upgrade",
        "proxy-authenticate",
    ];
    name.starts_with("margrave-") || names.contains(&name.as_str())
}

/// The header names that `Connection` nominates (RFC 9110 §7.6.1), in lower case.
pub fn nominated(connection: &str) -> impl Iterator<Item = String> {
    connection.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
}

/// A `Cookie` header without Margrave's cookies; `None` when nothing is left.
pub fn without_own_cookies(cookie: &str) -> Option<String> {
    // Two `Cookie` lines arrive joined with a comma, which a value may hold as well.
    let own = |pair: &str| pair.split(',').any(is_own_cookie);
    let kept: Vec<&str> =
        cookie.split(';').map(str::trim).filter(|pair| !pair.is_empty() && !own(pair)).collect();
    if kept.is_empty() { None } else { Some(kept.join("; ")) }
}

/// The values of a cookie in a `Cookie` header, in their order. A neighbour can set one that seems to stand there twice, so
/// only what proves itself may be believed of them.
pub fn cookies<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    header
        .split([';', ','])
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(n, _)| n.trim() == name)
        .map(|(_, value)| value.trim())
}

/// Whether a `name=value` text (of `Cookie` or `Set-Cookie`) is one of Margrave's.
pub fn is_own_cookie(pair: &str) -> bool {
    let pair = pair.trim_start();
    pair.get(..COOKIE_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(COOKIE_PREFIX))
}

/// The `Cache-Control` of an answer to somebody in particular (RFC 9111 §5.2.2): `private`, and whatever the origin
/// said that is stricter.
pub fn private_cache_control(origin: &str) -> String {
    let shared = ["public", "s-maxage", "private", "proxy-revalidate"];
    let kept: Vec<&str> = origin
        .split(',')
        .map(str::trim)
        .filter(|directive| {
            let name = directive.split('=').next().unwrap_or("").trim().to_ascii_lowercase();
            !name.is_empty() && !shared.contains(&name.as_str())
        })
        .collect();
    if kept.iter().any(|directive| directive.eq_ignore_ascii_case("no-store")) {
        return kept.join(", ");
    }
    core::iter::once("private").chain(kept).collect::<Vec<_>>().join(", ")
}

/// Why a request's credentials cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// None was sent.
    None,
    /// A bearer token (RFC 6750 §2.1).
    Bearer(&'a str),
    /// An `Authorization` that is none of ours.
    Unusable,
    /// More than one: which one counts is a matter of opinion.
    Ambiguous,
}

/// Reads `Authorization`. The runtime joins repeated headers with a comma, and no bearer token has one.
pub fn read_authorization(value: Option<&str>) -> Credential<'_> {
    let Some(value) = value else { return Credential::None };
    if value.contains(',') {
        return Credential::Ambiguous;
    }
    let Some((scheme, token)) = value.split_once(' ') else { return Credential::Unusable };
    let one_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && one_token {
        Credential::Bearer(token)
    } else {
        Credential::Unusable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_identity_is_dropped_in_every_spelling() {
        for name in [
            "Margrave-Subject",
            "margrave_subject",
            "MARGRAVE-ANYTHING",
            "X-Forwarded-For",
            "x_forwarded_for",
            "Forwarded",
            "X-Real-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "cf_connecting_ip",
            "Connection",
            "TE",
            "Transfer-Encoding",
            "Authorization",
            "Signature",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "Proxy-Authorization",
            "Proxy-Connection",
        ] {
            assert!(is_dropped_from_client(name), "{name}");
        }
        for name in ["Accept", "Cookie", "Content-Type", "X-Request-Id", "traceparent", "Origin", "Marg"] {
            assert!(!is_dropped_from_client(name), "{name}");
        }
        for name in ["Server", "X-Powered-By", "Via", "Margrave-Attempt", "margrave_x"] {
            assert!(is_dropped_from_origin(name), "{name}");
        }
        assert!(!is_dropped_from_origin("Content-Type"));
    }

    #[test]
    fn own_cookies_do_not_reach_the_origin() {
        for (cookie, kept) in [
            ("a=1; __Host-mg-session=x; b=2", Some("a=1; b=2")),
            ("__host-MG-session=x", None),
            ("a=1", Some("a=1")),
            ("", None),
            ("a=__Host-mg-x", Some("a=__Host-mg-x")),
            ("a=1, __Host-mg-session=x; b=2,3", Some("b=2,3")),
        ] {
            assert_eq!(without_own_cookies(cookie).as_deref(), kept, "{cookie}");
        }
    }

    #[test]
    fn authorization_is_read_in_one_way() {
        use Credential::{Ambiguous, Bearer, None as Nothing, Unusable};
        for (value, credential) in [
            (None, Nothing),
            (Some("Bearer abc"), Bearer("abc")),
            (Some("bearer abc"), Bearer("abc")),
            (Some("Bearer a, Bearer b"), Ambiguous),
            (Some("Bearer a,Bearer b"), Ambiguous),
            (Some("Bearer"), Unusable),
            (Some("Bearer "), Unusable),
            (Some("Bearer a b"), Unusable),
            (Some("Bearer  a"), Unusable),
            (Some("Basic abc"), Unusable),
            (Some(""), Unusable),
        ] {
            assert_eq!(read_authorization(value), credential, "{value:?}");
        }
    }

    #[test]
    fn what_is_for_somebody_is_private_and_never_less_strict() {
        for (origin, answer) in [
            ("", "private"),
            ("no-store", "no-store"),
            ("public, max-age=600", "private, max-age=600"),
            ("public, s-maxage=600", "private"),
            ("no-cache", "private, no-cache"),
            ("max-age=0, must-revalidate", "private, max-age=0, must-revalidate"),
            ("public, private=\"x-foo\"", "private"),
            ("PUBLIC, No-Store", "No-Store"),
        ] {
            assert_eq!(private_cache_control(origin), answer, "{origin}");
        }
    }

    #[test]
    fn connection_nominates() {
        let names: Vec<_> = nominated("close, X-Secret ,,te").collect();
        assert_eq!(names, ["close", "x-secret", "te"]);
    }
}
