//! What the feed says: endings, each of which names exactly what it ends.

use crate::id::{AccountId, AppointmentId, GrantId, KeyId, Kid, SessionId, TokenId};
use crate::json::Json;
use serde::{Deserialize, Serialize};

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Ended {
    /// One token.
    Token {
        /// The token's id.
        jti: TokenId,
    },
    /// A session with all its tokens.
    Session {
        /// The session's id.
        sid: SessionId,
    },
    /// Every token of an account that is of an earlier generation.
    Account {
        /// The account.
        id: AccountId,
        /// The first generation that still counts.
        #[serde(rename = "gen")]
        generation: i64,
    },
    /// Every token that came from a merchant key.
    Key {
        /// The key.
        key_id: KeyId,
    },
    /// Every token of an application's grant.
    Grant {
        /// The grant.
        grant_id: GrantId,
    },
    /// Every token of an appointment.
    Appointment {
        /// The appointment.
        id: AppointmentId,
    },
    /// Every token that this key signed, for ever.
    SigningKey {
        /// The signing key.
        kid: Kid,
    },
}

impl Ended {
    /// The kind's name, as stored.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Session { .. } => "session",
            Self::Account { .. } => "account",
            Self::Key { .. } => "key",
            Self::Grant { .. } => "grant",
            Self::Appointment { .. } => "appointment",
            Self::SigningKey { .. } => "signing_key",
        }
    }

    /// The id of what ended.
    pub fn id(&self) -> &str {
        match self {
            Self::Token { jti } => jti.as_str(),
            Self::Session { sid } => sid.as_str(),
            Self::Account { id, .. } => id.as_str(),
            Self::Key { key_id } => key_id.as_str(),
            Self::Grant { grant_id } => grant_id.as_str(),
            Self::Appointment { id } => id.as_str(),
            Self::SigningKey { kid } => kid.as_str(),
        }
    }

    /// The generation of an account's ending; 0 for the others.
    pub const fn generation(&self) -> i64 {
        match self {
            Self::Account { generation, .. } => *generation,
            _ => 0,
        }
    }

    /// Puts an ending together from its stored parts; `None` for parts that are none.
    pub fn from_parts(kind: &str, id: &str, generation: i64) -> Option<Self> {
        Some(match kind {
            "token" => Self::Token { jti: TokenId::parse(id).ok()? },
            "session" => Self::Session { sid: SessionId::parse(id).ok()? },
            "account" => Self::Account { id: AccountId::parse(id).ok()?, generation },
            "key" => Self::Key { key_id: KeyId::parse(id).ok()? },
            "grant" => Self::Grant { grant_id: GrantId::parse(id).ok()? },
            "appointment" => Self::Appointment { id: AppointmentId::parse(id).ok()? },
            "signing_key" => Self::SigningKey { kid: Kid::parse(id).ok()? },
            _ => return None,
        })
    }
}

/// One event of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: dense, in commit order.
    pub seq: i64,
    /// Unix second from which no token is alive that it could concern; 0 = never.
    pub until: i64,
    /// What ended.
    #[serde(flatten)]
    pub ended: Ended,
}

/// The most events in a batch that is pushed: more are left to the next, or to the pull.
pub const MAX_PUSH_EVENTS: i64 = 500;

/// The longest pushed batch in bytes: [`MAX_PUSH_EVENTS`] with about 200 each.
pub const MAX_PUSH_BYTES: usize = 128 * 1024;

/// A batch of the feed: the claims of a `secevent+jwt` beyond `iss iat exp jti`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// The feed's epoch: random, new after a restore.
    pub epoch: String,
    /// The cursor it continues; 0 = it begins with everything that lives, and replaces what the reader had.
    pub from: i64,
    /// The cursor after it.
    pub to: i64,
    /// The feed's last number when it was signed: another batch follows at once while `to` is below it.
    pub head: i64,
    /// The events, by number, all above `from` and at most `to`.
    pub events: Vec<Event>,
}

/// A batch whose claims are not those of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of events")]
pub struct NotABatch;

impl Batch {
    /// Reads a batch from a verified token's claims.
    ///
    /// # Errors
    /// [`NotABatch`] when a member is missing or of another type, an event's kind is unknown (an ending that this
    /// reader could not apply must not be passed over), or the numbers do not rise within `(from, to]`.
    pub fn from_json(json: &Json) -> Result<Self, NotABatch> {
        let integer = |json: &Json, name: &str| json.get(name).and_then(Json::as_integer).filter(|n| *n >= 0);
        let from = integer(json, "from").ok_or(NotABatch)?;
        let to = integer(json, "to").ok_or(NotABatch)?;
        let head = integer(json, "head").ok_or(NotABatch)?;
        let epoch = json
            .get("epoch")
            .and_then(Json::as_str)
            .filter(|e| crate::id::is_opaque_id(e))
            .ok_or(NotABatch)?;
        let Some(Json::Array(items)) = json.get("events") else { return Err(NotABatch) };
        let mut events = Vec::with_capacity(items.len());
        let mut last = from;
        for item in items {
            let seq = integer(item, "seq").filter(|seq| *seq > last && *seq <= to).ok_or(NotABatch)?;
            last = seq;
            let until = integer(item, "until").ok_or(NotABatch)?;
            let text = |name: &str| item.get(name).and_then(Json::as_str);
            let kind = text("type").ok_or(NotABatch)?;
            let name = match kind {
                "token" => "jti",
                "session" => "sid",
                "key" => "key_id",
                "grant" => "grant_id",
                "signing_key" => "kid",
                _ => "id",
            };
            let generation = integer(item, "gen").unwrap_or(0);
            let ended = Ended::from_parts(kind, text(name).ok_or(NotABatch)?, generation).ok_or(NotABatch)?;
            events.push(Event { seq, until, ended });
        }
        if from > to || to > head {
            return Err(NotABatch);
        }
        Ok(Self { epoch: epoch.to_owned(), from, to, head, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let events = [
            Ended::Token { jti: TokenId::parse("t").unwrap() },
            Ended::Session { sid: SessionId::parse("s").unwrap() },
            Ended::Account { id: AccountId::parse("a").unwrap(), generation: 3 },
            Ended::Key { key_id: KeyId::parse("k").unwrap() },
            Ended::Grant { grant_id: GrantId::parse("g").unwrap() },
            Ended::Appointment { id: AppointmentId::parse("p").unwrap() },
            Ended::SigningKey { kid: Kid::parse("d").unwrap() },
        ];
        let events =
            events.into_iter().zip(5..).map(|(ended, seq)| Event { seq, until: 99, ended }).collect();
        Batch { epoch: "e".into(), from: 4, to: 11, head: 11, events }
    }

    #[test]
    fn every_kind_is_read_back() {
        let text = serde_json::to_string(&batch()).unwrap();
        assert_eq!(Batch::from_json(&Json::parse(text.as_bytes()).unwrap()), Ok(batch()));
        for event in batch().events {
            let e = &event.ended;
            assert_eq!(Ended::from_parts(e.kind(), e.id(), e.generation()), Some(e.clone()));
        }
    }

    #[test]
    fn what_cannot_be_applied_is_refused_whole() {
        let text = serde_json::to_string(&batch()).unwrap();
        for (from, to) in [
            (r#""type":"session""#, r#""type":"planet""#),
            (r#""seq":6"#, r#""seq":5"#),
            (r#""seq":11"#, r#""seq":12"#),
            (r#""from":4"#, r#""from":5"#),
            (r#""head":11"#, r#""head":10"#),
            (r#""epoch":"e""#, r#""epoch":"""#),
            (r#""sid":"s""#, r#""sid":"s/""#),
            (r#""until":99"#, r#""until":-1"#),
            (r#""events":["#, r#""events":[7,"#),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_eq!(
                Batch::from_json(&Json::parse(changed.as_bytes()).unwrap()),
                Err(NotABatch),
                "{from} → {to}"
            );
        }
    }
}
