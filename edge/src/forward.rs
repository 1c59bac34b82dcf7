//! What goes to the origin: a client's harmless headers, the identity, and the signature by which the origin knows that
//! a request came through here.

use crate::clock;
use crate::entropy;
use crate::gate::Corridor;
use crate::origins::Origin;
use crate::verify::Verified;
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::forwarding::{self, BodyBound};
use margrave_shared::header::{self as names, TO_ORIGIN};
use margrave_shared::header_list::HeaderList;
use margrave_shared::http_signature::{Algorithm, Message, Parameters, sign};
use margrave_shared::path::Target;
use margrave_shared::permission::Permission;
use margrave_shared::permission::{holds, print_scope};
use margrave_shared::route_policy::{ERRORS_EXPLICIT, Errors, RoutePolicy};

/// Who a request is said to come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Identity<'a> {
    /// The origin is told nothing, and nothing is signed.
    Unsaid,
    /// Nobody: signed, with empty headers, so that the origin may rely on it.
    Nobody,
    /// The bearer of a token.
    Of(&'a Verified),
}

/// The plan to pass a request on, as `carry.js` reads it: method, URL, time limit, what applies to it, who is told why the origin
/// refuses where others are not, how its body is bounded (`=` its exact length, or the most that is held), the request's id, the answer's CORS headers, the origin's
/// binding, headers.
///
/// # Errors
/// `ambiguous_request`, `payload_too_large`.
pub(crate) fn plan(
    corridor: &Corridor,
    target: &Target,
    policy: &RoutePolicy,
    identity: Identity<'_>,
) -> Result<String, ErrorCode> {
    let head = &corridor.head;
    let origin = corridor.config.origins.of(policy);
    let socket = policy.streams && forwarding::asks_for_socket(&head.method, &head.headers);
    let explicit = match identity {
        Identity::Of(verified) => may_know(verified),
        Identity::Unsaid | Identity::Nobody => None,
    };
    let general = policy.errors == Errors::General;
    let flags = [
        (!matches!(identity, Identity::Unsaid)).then_some("personal"),
        forwarding::has_body(&head.method, &head.headers)?.then_some("body"),
        socket.then_some("socket"),
        policy.streams.then_some("streams"),
        (policy.streams && matches!(identity, Identity::Of(_))).then_some("watched"),
        (general && explicit.is_none()).then_some("general"),
    ];
    let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let bound = match forwarding::body_bound(&head.headers, policy.max_body)? {
        BodyBound::None => String::new(),
        BodyBound::Exactly(bytes) => format!("={bytes}"),
        BodyBound::Held(bytes) => bytes.to_string(),
    };
    let url = format!("{}{}", origin.url, target.path_and_query());
    let timeout = policy.timeout_ms.to_string();
    let id = corridor.request_id.as_str();
    let cors = cors_line(corridor, policy);
    let told = explicit.filter(|_| general).unwrap_or("");
    let mut plan =
        [head.method.as_str(), &url, &timeout, &flags, told, &bound, id, &cors, &origin.binding].join("\n");
    let mut headers = outgoing(corridor, origin, target, policy, identity);
    if socket {
        headers.add("upgrade", "websocket");
    }
    headers.write_to(&mut plan);
    Ok(plan)
}

/// The application, or key, that may learn why something was refused where others do not.
fn may_know(verified: &Verified) -> Option<&str> {
    let claims = &verified.claims;
    let may = Permission::parse(ERRORS_EXPLICIT).is_ok_and(|permission| holds(&claims.scope, &permission));
    let client = claims.client_id.as_ref().map(|id| id.as_str());
    client.or_else(|| claims.key_id.as_ref().map(|id| id.as_str())).filter(|_| may)
}

/// The CORS headers of an answer in one line, as `boundary` reads them.
fn cors_line(corridor: &Corridor, policy: &RoutePolicy) -> String {
    let Some(cors) = &policy.cors else { return String::new() };
    let headers = cors.of_answer(corridor.head.headers.get("origin"));
    let parts: Vec<&str> = headers.iter().flat_map(|(name, value)| [name, value]).collect();
    parts.join("\t")
}

fn outgoing(
    corridor: &Corridor,
    origin: &Origin,
    target: &Target,
    policy: &RoutePolicy,
    identity: Identity<'_>,
) -> HeaderList {
    let mut headers = forwarding::of_client(&corridor.head.headers, corridor.trace.is_continued());
    headers.add("traceparent", &corridor.trace.print(corridor.span));
    // Always set: the address and the request's id are of use on public routes too.
    let client = corridor.client.map(|address| address.to_string()).unwrap_or_default();
    let request_id = corridor.request_id.to_string();
    let values = match identity {
        Identity::Unsaid => {
            headers.add(names::CLIENT_ADDRESS, &client);
            headers.add(names::REQUEST_ID, &request_id);
            return headers;
        }
        Identity::Nobody => {
            let mut values: [String; 10] = Default::default();
            [values[8], values[9]] = [client, request_id];
            values
        }
        Identity::Of(verified) => said_of(verified, client, request_id),
    };
    let signed: Vec<(&str, &str)> = TO_ORIGIN.into_iter().zip(values.iter().map(String::as_str)).collect();
    for (name, value) in &signed {
        headers.add(name, value);
    }
    let path = format!("{}{}", origin.base, target.path());
    let message = Message {
        method: &corridor.head.method,
        authority: &origin.authority,
        path: &path,
        query: target.query().unwrap_or(""),
        headers: &signed,
    };
    let parameters = Parameters {
        created: clock::wall().seconds(),
        key_id: origin.hop_key_id.clone(),
        nonce: base64::encode_url(&entropy::bytes16().unwrap_or_default()),
        algorithm: Algorithm::HmacSha256,
    };
    let signature = sign(&message, &parameters, |base| origin.hop_key.sign(base).to_vec());
    headers.add(names::SIGNATURE_INPUT, &signature.input);
    headers.add(names::SIGNATURE, &signature.signature);
    // A token that the issuer itself would take must not fall into an origin's hands.
    let passes = |verified: &Verified| !verified.claims.aud.contains(&corridor.config.issuer);
    let token = corridor.head.headers.get("authorization");
    if let (Identity::Of(verified), Some(token)) = (identity, token)
        && policy.pass_token
        && passes(verified)
    {
        headers.add("authorization", token);
    }
    headers
}

/// What the origin is told of a token's bearer, in the order of [`TO_ORIGIN`].
fn said_of(verified: &Verified, client: String, request_id: String) -> [String; 10] {
    let claims = &verified.claims;
    let subject = claims.sub.print();
    let text = |id: Option<&str>| id.unwrap_or("").to_owned();
    let cabinet = if claims.cabinet.is_some() { subject.clone() } else { String::new() };
    [
        subject,
        claims.merchant_id.to_string(),
        text(claims.account_id.as_ref().map(|id| id.as_str())),
        print_scope(&claims.scope),
        text(claims.user_type.map(|t| t.as_str())),
        text(claims.sid.as_ref().map(|id| id.as_str())),
        cabinet,
        text(claims.act.as_ref().map(|act| act.sub.as_str())),
        client,
        request_id,
    ]
}
