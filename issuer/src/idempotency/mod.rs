//! Creations that a client may repeat: with the same `Idempotency-Key` it gets the same answer for a day, and nothing is made
//! twice (draft-ietf-httpapi-idempotency-key-header). The answer is kept in the transaction of what it tells of.

mod store;
#[cfg(test)]
mod tests;

use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::keys::{open, seal};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
pub(crate) use store::delete_dead;

/// How long an answer is kept, in seconds.
const KEPT_S: i64 = 86_400;

/// The longest key, in characters.
const MAX_KEY_CHARS: usize = 255;

const PURPOSE: &str = "idempotent answer";

/// A creation that a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Who asks: somebody else's key is another one.
    pub(crate) actor: &'a str,
    /// What is asked for and where: the path.
    pub(crate) path: &'a str,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// Whether it is to be made.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It was made: this was the answer.
    Answered(Vec<u8>),
    /// It is to be made, and [`Place::keep`] keeps the answer.
    New(Place),
}

/// Where an answer will be kept; nowhere without a key.
#[derive(Debug)]
pub(crate) struct Place(Option<([u8; 32], SecretKey)>);

/// Looks whether a request was answered before. Of several at once one goes on, and the others wait for it.
///
/// # Errors
/// `idempotency_key_reused` where the key came with another request, `invalid_request` for a key that is none, `conflict` where the
/// answer cannot be given any more.
pub(crate) async fn claim(
    app: &App,
    tx: &mut Tx,
    request: Request<'_>,
    caller: &Caller,
    now: UnixMs,
) -> Result<Claim, Failure> {
    let Some(text) = caller.idempotency_key.as_deref() else { return Ok(Claim::New(Place(None))) };
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    if text.is_empty() || text.len() > MAX_KEY_CHARS || !plain {
        let why = format!("`Idempotency-Key` is 1 to {MAX_KEY_CHARS} visible ASCII characters");
        return Err(Failure::explained(ErrorCode::InvalidRequest, why));
    }
    let parts = [request.actor.as_bytes(), request.path.as_bytes(), text.as_bytes()];
    let row = app.answers_key.derive("row").tag(&parts);
    // Who holds the database and the master key lacks the client's own key.
    let sealing = SecretKey::from_bytes(app.answers_key.derive("answer").tag(&parts));
    let asked = app.answers_key.derive("request").tag(&[request.body]);
    let place = Place(Some((row, sealing)));
    if store::insert(tx, &row, &asked, now.plus_seconds(KEPT_S)).await? {
        return Ok(Claim::New(place));
    }
    let kept = store::find(tx, &row).await?.ok_or(Failure::Overloaded)?;
    if kept.expires_at() <= now {
        // Of several at once one is first; the others come again.
        let renewed = store::renew(tx, &row, &asked, now.plus_seconds(KEPT_S), kept.expires_at()).await?;
        return if renewed { Ok(Claim::New(place)) } else { Err(Failure::Overloaded) };
    }
    if kept.request != asked {
        return Err(Failure::denied(ErrorCode::IdempotencyKeyReused, "another_request"));
    }
    let opened = place.0.and_then(|(_, key)| open(&key, PURPOSE, &kept.answer).ok());
    let answer = opened.ok_or(Failure::explained(
        ErrorCode::Conflict,
        "this was done before, and its answer cannot be given any more",
    ))?;
    Ok(Claim::Answered(answer.to_vec()))
}

impl Place {
    /// Keeps the answer.
    pub(crate) async fn keep(&self, app: &App, tx: &mut Tx, answer: &[u8]) -> Result<(), Failure> {
        let Some((row, key)) = &self.0 else { return Ok(()) };
        let sealed = seal(key, PURPOSE, answer, app.entropy.bytes());
        Ok(store::update_answer(tx, row, &sealed).await?)
    }
}
