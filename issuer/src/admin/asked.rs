//! What an administrative request asks for: ids in its path, its query, and creations that may come again.

use super::authorize::Administrator;
use crate::app::App;
use crate::audit::Entry;
use crate::http::answer::{versioned, written};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::idempotency::{Claim, Place, Request, claim};
use crate::storage::Tx;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use serde::Serialize;

/// An id in a path; what is none names nothing.
pub(super) fn path_id<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, ApiError> {
    parse(text).map_err(|_| ApiError::new(ErrorCode::NotFound))
}

/// A query that holds nothing but what is known: a filter that is misspelt must not be one that is not there.
pub(super) struct Query(Form);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `invalid_request` for one that is none, or holds a name that is not known.
    pub(super) fn read(incoming: &Incoming, known: &[&str]) -> Result<Self, ApiError> {
        let invalid = || ApiError::new(ErrorCode::InvalidRequest);
        let form = Form::parse(incoming.uri.query().unwrap_or("").as_bytes()).map_err(|_| invalid())?;
        // PostgreSQL has no text with a NUL.
        let usable = |(name, value): (&str, &str)| known.contains(&name) && !value.contains('\0');
        if form.iter().all(usable) { Ok(Self(form)) } else { Err(invalid()) }
    }

    /// A parameter. An empty one is one: of a filter nothing is like it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// One that is read as something.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let read = self.text(name).map(str::parse).transpose();
        read.map_err(|_| ApiError::new(ErrorCode::InvalidRequest))
    }

    /// How many a page has: 1 to 200, by default 50.
    pub(super) fn limit(&self) -> Result<i64, ApiError> {
        let limit = self.parsed("limit")?.unwrap_or(50);
        if (1..=200).contains(&limit) { Ok(limit) } else { Err(ApiError::new(ErrorCode::InvalidRequest)) }
    }

    /// After which id the page begins.
    pub(super) fn after(&self) -> &str {
        self.text("after").unwrap_or("")
    }
}

/// `after` of the next page; none where this one was not full.
pub(super) fn next_of<T>(page: &[T], limit: i64, id: impl Fn(&T) -> String) -> Option<String> {
    page.last().filter(|_| page.len() as i64 == limit).map(id)
}

/// A creation that has begun.
pub(super) enum Begun {
    /// It was done before: this is the answer again.
    Again(Response),
    /// It is to be done in this transaction.
    New(Tx, Place),
}

/// Begins a creation.
pub(super) async fn begin(
    app: &App,
    incoming: &Incoming,
    administrator: &Administrator,
) -> Result<Begun, ApiError> {
    let mut tx = app.db.begin().await?;
    let (path, now, actor) = (incoming.uri.path(), app.clock.now(), administrator.actor());
    let request = Request { actor: &actor, path, body: &incoming.body };
    match claim(app, &mut tx, request, &incoming.caller, now).await? {
        Claim::New(place) => Ok(Begun::New(tx, place)),
        Claim::Answered(kept) => {
            let (version, body) = kept.split_first_chunk().ok_or(ApiError::new(ErrorCode::Internal))?;
            // What was shown is shown once more.
            let entry = Entry::done("admin.answer_again")
                .merchant(&administrator.presented.claims.merchant_id)
                .actor(actor)
                .subject(short(path));
            app.audit.write(&mut tx, entry, &incoming.caller, now, app.entropy.bytes()).await?;
            tx.commit().await?;
            let response = written(StatusCode::CREATED, body.to_vec());
            Ok(Begun::Again(versioned(response, i64::from_be_bytes(*version))))
        }
    }
}

/// A path as it stands in the audit.
fn short(path: &str) -> String {
    path.chars().take(200).collect()
}

/// Ends a creation: the answer is kept with what was made, which is of this version.
pub(super) async fn created(
    app: &App,
    mut tx: Tx,
    place: &Place,
    answer: &impl Serialize,
    version: i64,
) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(answer).map_err(|_| ApiError::new(ErrorCode::Internal))?;
    place.keep(app, &mut tx, &[&version.to_be_bytes(), body.as_slice()].concat()).await?;
    tx.commit().await?;
    Ok(versioned(written(StatusCode::CREATED, body), version))
}
