//! The proof that a request comes from a registered edge: an HTTP message signature with the edge's Ed25519 key over
//! method, target, the edge's statements and the body's digest.

use super::find_edge;
use super::store::note_next_key;
use crate::app::App;
use crate::failure::Failure;
use crate::http::incoming::text;
use axum::http::HeaderMap;
use ed25519_dalek::VerifyingKey;
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT, TO_ISSUER};
use margrave_shared::http_signature::{
    Algorithm, BadSignature, Message, SignatureHeaders, content_digest, verify,
};
use margrave_shared::id::EdgeId;
use margrave_shared::token::verify::verify_ed25519;
use std::cell::OnceCell;
use std::sync::Arc;

/// A request that claims to come from an edge.
#[derive(Debug)]
pub(crate) struct EdgeCall<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Its path.
    pub(crate) path: &'a str,
    /// Its query without the question mark.
    pub(crate) query: &'a str,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Its body.
    pub(crate) body: &'a [u8],
}

/// Verifies the signature and names the edge.
///
/// # Errors
/// `invalid_client`, one answer for every reason.
pub(crate) async fn verify_call(app: &App, call: &EdgeCall<'_>) -> Result<EdgeId, Failure> {
    let refuse = |reason| Failure::denied(ErrorCode::InvalidClient, reason);
    let single = |name| {
        let mut values = call.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(_), None) => text(call.headers, name).ok_or(refuse("header_not_text")),
            _ => Err(refuse("header_missing_or_doubled")),
        }
    };
    let signed: Vec<(&str, &str)> =
        TO_ISSUER.iter().map(|name| single(name).map(|value| (*name, value))).collect::<Result<_, _>>()?;
    if single(CONTENT_DIGEST)? != content_digest(call.body) {
        return Err(refuse("content_digest"));
    }
    let authority = single("host")?.to_ascii_lowercase();
    let message = Message {
        method: call.method,
        authority: &authority,
        path: call.path,
        query: call.query,
        headers: &signed,
    };
    let headers = SignatureHeaders {
        input: single(SIGNATURE_INPUT)?.to_owned(),
        signature: single(SIGNATURE)?.to_owned(),
    };
    // The key is found before the signature is checked, since the check itself cannot wait for the database.
    let claimed = headers.input.split(r#"keyid=""#).nth(1).and_then(|rest| rest.split('"').next());
    let id = claimed.and_then(|id| EdgeId::parse(id).ok()).ok_or(refuse("no_key_id"))?;
    let mut tx = app.db.read().await?;
    let edge = find_edge(&mut tx, &id).await?.ok_or(refuse("unknown_edge"))?;
    // While the edge's key is being changed it may sign with either.
    let keys: Vec<VerifyingKey> = [Some(&edge.public_key), edge.next_public_key.as_ref()]
        .into_iter()
        .flatten()
        .map(|key| VerifyingKey::from_bytes(key).map_err(|_| refuse("bad_key")))
        .collect::<Result<_, _>>()?;
    let signed_by = OnceCell::new();
    verify(&message, &headers, Algorithm::Ed25519, app.clock.now(), |key_id, base, signature| {
        let Ok(bytes) = <&[u8; 64]>::try_from(signature) else { return false };
        let number = keys.iter().position(|key| verify_ed25519(key, base, bytes).is_ok());
        key_id == edge.id.as_str() && number.is_some_and(|number| signed_by.set(number).is_ok())
    })
    .map_err(|bad| match bad {
        // One of the two clocks is off: that is nothing of the edge's, and over when it is set.
        BadSignature::Stale => Failure::denied(ErrorCode::StateUnavailable, "clocks_differ"),
        _ => refuse("edge_signature"),
    })?;
    app.heard.note(&edge.id);
    let is_next = signed_by.into_inner().is_some_and(|number| number > 0);
    if let (true, None, Some(next)) = (is_next, edge.next_key_used_at, &edge.next_public_key) {
        note(app, &edge.id, *next);
    }
    Ok(edge.id)
}

/// Notes that an edge signs with its next key: once for each change of a key, and nobody waits for it.
fn note(app: &App, id: &EdgeId, next: [u8; 32]) {
    if !app.heard.begin_noting(id) {
        return;
    }
    let (db, id, now, heard) = (app.db.clone(), id.clone(), app.clock.now(), Arc::clone(&app.heard));
    tokio::spawn(async move {
        let noted = async {
            let mut tx = db.begin().await?;
            note_next_key(&mut tx, &id, &next, now).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "an edge signs with its next key, which could not be noted");
        }
        heard.end_noting(&id);
    });
}
