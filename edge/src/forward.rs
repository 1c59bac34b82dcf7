//! What goes to the origin: a client's harmless headers, the identity, and the signature by which the origin knows that
//! a request came through here.

use crate::clock;
use crate::entropy;
use crate::gate::Corridor;
use crate::verify::Verified;
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::forwarding;
use margrave_shared::header::{self as names, TO_ORIGIN};
use margrave_shared::header_list::HeaderList;
use margrave_shared::http_signature::{Algorithm, Message, Parameters, sign};
use margrave_shared::path::Target;
use margrave_shared::permission::print_scope;
use margrave_shared::route_policy::RoutePolicy;

/// How long the origin may take to answer, in milliseconds.
const ORIGIN_TIMEOUT_MS: &str = "30000";

/// The plan to pass a request on, as `carry.js` reads it: method, URL, time limit, whether it is about somebody, whether
/// it has a body, the request's id, headers. Without a verified token it goes without identity, on public routes.
///
/// # Errors
/// `ambiguous_request`.
pub(crate) fn plan(
    corridor: &Corridor,
    target: &Target,
    identity: Option<(&Verified, &RoutePolicy)>,
) -> Result<String, ErrorCode> {
    let head = &corridor.head;
    let personal = if identity.is_some() { "personal" } else { "" };
    let body = if forwarding::has_body(&head.method, &head.headers)? { "body" } else { "" };
    let url = format!("{}{}", corridor.config.origin_url, target.path_and_query());
    let id = corridor.request_id.as_str();
    let mut plan = [head.method.as_str(), &url, ORIGIN_TIMEOUT_MS, personal, body, id].join("\n");
    outgoing(corridor, target, identity).write_to(&mut plan);
    Ok(plan)
}

fn outgoing(corridor: &Corridor, target: &Target, identity: Option<(&Verified, &RoutePolicy)>) -> HeaderList {
    let mut headers = forwarding::of_client(&corridor.head.headers);
    // Always set: the address and the request's id are of use on public routes too.
    let client = corridor.client.map(|address| address.to_string()).unwrap_or_default();
    let Some((verified, policy)) = identity else {
        headers.add(names::CLIENT_ADDRESS, &client);
        headers.add(names::REQUEST_ID, corridor.request_id.as_str());
        return headers;
    };
    let claims = &verified.claims;
    let subject = claims.sub.print();
    let permissions = print_scope(&claims.scope);
    let text = |id: Option<&str>| id.unwrap_or("").to_owned();
    let cabinet = if claims.cabinet.is_some() { subject.clone() } else { String::new() };
    let values: [String; 10] = [
        subject,
        claims.merchant_id.to_string(),
        text(claims.account_id.as_ref().map(|id| id.as_str())),
        permissions,
        text(claims.user_type.map(|t| t.as_str())),
        text(claims.sid.as_ref().map(|id| id.as_str())),
        cabinet,
        text(claims.act.as_ref().map(|act| act.sub.as_str())),
        client,
        corridor.request_id.to_string(),
    ];
    let signed: Vec<(&str, &str)> = TO_ORIGIN.into_iter().zip(values.iter().map(String::as_str)).collect();
    for (name, value) in &signed {
        headers.add(name, value);
    }
    let path = target.path();
    let message = Message {
        method: &corridor.head.method,
        authority: &corridor.config.origin_authority,
        path: &path,
        query: target.query().unwrap_or(""),
        headers: &signed,
    };
    let parameters = Parameters {
        created: clock::wall().seconds(),
        key_id: corridor.config.hop_key_id.clone(),
        nonce: base64::encode_url(&entropy::bytes16().unwrap_or_default()),
        algorithm: Algorithm::HmacSha256,
    };
    let signature = sign(&message, &parameters, |base| corridor.config.hop_key.sign(base).to_vec());
    headers.add(names::SIGNATURE_INPUT, &signature.input);
    headers.add(names::SIGNATURE, &signature.signature);
    // A token that the issuer itself would take must not fall into an origin's hands.
    let for_issuer = claims.aud.contains(&corridor.config.issuer);
    let token = corridor.head.headers.get("authorization");
    if let Some(token) = token.filter(|_| policy.pass_token && !for_issuer) {
        headers.add("authorization", token);
    }
    headers
}
