//! Status lists (draft-ietf-oauth-status-list): whether tokens have ended, for verifiers that do not follow the feed.
//!
//! With `token.status_lists` every permission token has a number, and a row until it dies. A list is made from those rows and
//! from the feed, by the rule that edges apply, so it says neither more nor less than an edge would.

use super::status_store::{self, StatusRow};
use crate::app::App;
use crate::failure::Failure;
use crate::revocations::{feed_epoch, live_endings};
use crate::storage::{StorageError, Tx};
use margrave_shared::base64;
use margrave_shared::claims::PermissionClaims;
use margrave_shared::id::Kid;
use margrave_shared::revocation::{Concerned, RevocationSet};
use margrave_shared::time::UnixMs;
use margrave_shared::token::TokenKind;
use margrave_shared::token::expect::LEEWAY_S;
use margrave_shared::token::status_list::{Lists, pack};
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync;

/// How long a verifier may keep a list, in seconds (`ttl`, §5.1).
const TTL_S: i64 = 5;

/// How long a list counts where no younger one can be had, in seconds.
const LIFE_S: i64 = 20;

/// How long what was made is handed out again, in milliseconds: whoever asks, it is made once in a while.
const MADE_FOR_MS: i64 = 2_000;

/// How long somebody waits for a list that is being made.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most lists that are named at once.
const MOST_LISTS: i64 = 1_000;

/// The lists as this process made them last.
#[derive(Debug, Default)]
pub(crate) struct StatusLists {
    made: Mutex<BTreeMap<(String, i64), Made>>,
    named: Mutex<Option<(UnixMs, Vec<String>)>>,
    /// One thing is made at a time; the endings that were read last.
    making: sync::Mutex<Option<(UnixMs, Arc<RevocationSet>)>>,
}

/// A list that was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    at: UnixMs,
    /// Which key signed it: a key that was retired signs no list that is still handed out.
    kid: Kid,
    /// The signed token.
    pub(super) jwt: Arc<str>,
}

impl Made {
    /// How much longer it may be handed out, in seconds.
    pub(super) fn left_s(&self, now: UnixMs) -> i64 {
        ((MADE_FOR_MS - now.since(self.at)) / 1000).clamp(0, MADE_FOR_MS / 1000)
    }
}

fn is_young(at: UnixMs, now: UnixMs) -> bool {
    (0..MADE_FOR_MS).contains(&now.since(at))
}

impl StatusLists {
    fn young(&self, place: &(String, i64), kid: &Kid, now: UnixMs) -> Option<Made> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(place).filter(|made| is_young(made.at, now) && made.kid == *kid).cloned()
    }

    fn keep(&self, place: (String, i64), list: Made, now: UnixMs) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, list| is_young(list.at, now));
        made.insert(place, list);
    }
}

/// A list's claims (§5.1).
#[derive(Serialize)]
struct ListClaims {
    sub: String,
    iat: i64,
    exp: i64,
    ttl: i64,
    status_list: ListClaim,
}

#[derive(Serialize)]
struct ListClaim {
    bits: u8,
    /// Compressed with zlib (RFC 1950), in base64url.
    lst: String,
}

/// The lists of an epoch.
fn lists(app: &App, epoch: &str) -> Lists {
    Lists::new(&app.status_key, &format!("{}/v1/status-lists", app.public_url), epoch)
}

/// Gives a token that is about to be signed its place, where lists are published. The row is as durable as what the
/// transaction does besides. The epoch is the feed's: after a restore numbers are given out again, in other lists.
pub(super) async fn give_place(
    app: &App,
    tx: &mut Tx,
    claims: &mut PermissionClaims,
    kid: &Kid,
) -> Result<(), Failure> {
    if app.token_config.status_lists {
        let epoch = feed_epoch(tx).await?;
        // A verifier's clock may be behind, and another process's ahead.
        let until_s = claims.exp.saturating_add(2 * LEEWAY_S);
        let number = status_store::insert(tx, &epoch, claims, kid, until_s).await?;
        claims.status = Some(lists(app, &epoch).place(number));
    }
    Ok(())
}

/// A list as a signed token (§5.1); `None` where no token is left in it.
pub(super) async fn status_list(app: &App, epoch: &str, list: i64) -> Result<Option<Made>, Failure> {
    let kid = app.keyring.signer()?.kid().clone();
    let place = (epoch.to_owned(), list);
    if let Some(made) = app.status_lists.young(&place, &kid, app.clock.now()) {
        return Ok(Some(made));
    }
    // Before anybody waits: strangers may ask for any list.
    let mut tx = app.db.read().await?;
    let stands = feed_epoch(&mut tx).await? == epoch;
    if !stands || !status_store::is_alive(&mut tx, epoch, list, app.clock.now()).await? {
        return Ok(None);
    }
    drop(tx);
    let making = async {
        let mut endings = app.status_lists.making.lock().await;
        let now = app.clock.now();
        match app.status_lists.young(&place, &kid, now) {
            Some(made) => Ok(made),
            None => make(app, &mut endings, &place, now).await,
        }
    };
    let late = |_| Failure::Storage(StorageError::Together);
    tokio::time::timeout(PATIENCE, making).await.map_err(late)?.map(Some)
}

async fn make(
    app: &App,
    endings: &mut Option<(UnixMs, Arc<RevocationSet>)>,
    place: &(String, i64),
    now: UnixMs,
) -> Result<Made, Failure> {
    let (epoch, list) = (&place.0, place.1);
    let mut tx = app.db.read().await?;
    // The rows first: what ends after them is in nobody's hands yet.
    let rows = status_store::find(&mut tx, epoch, list, now).await?;
    let read = endings.take().filter(|(at, _)| is_young(*at, now));
    let (read_at, ended) = match read {
        Some(read) => read,
        None => (now, Arc::new(live_endings(&mut tx, now).await?)),
    };
    drop(tx);
    *endings = Some((read_at, Arc::clone(&ended)));
    let ended = rows.iter().filter(|row| row.is_ended(&ended)).map(|row| row.number);
    let lists = lists(app, epoch);
    let packed = pack(lists.indices(list, ended));
    let signer = app.keyring.signer()?;
    let claims = ListClaims {
        sub: lists.uri(list),
        iat: now.seconds(),
        exp: now.seconds() + LIFE_S,
        ttl: TTL_S,
        status_list: ListClaim { bits: 1, lst: base64::encode_url(&compress_to_vec_zlib(&packed, 9)) },
    };
    let jwt = signer.sign(TokenKind::StatusList, &claims)?.into();
    // As old as the older of what it was made from.
    let made = Made { at: read_at, kid: signer.kid().clone(), jwt };
    app.status_lists.keep(place.clone(), made.clone(), now);
    Ok(made)
}

/// The lists in which tokens live (§9.3).
pub(super) async fn living_lists(app: &App) -> Result<Vec<String>, Failure> {
    let young = |now| {
        let named = app.status_lists.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.as_ref().filter(|(at, _)| is_young(*at, now)).map(|(_, named)| named.clone())
    };
    if let Some(named) = young(app.clock.now()) {
        return Ok(named);
    }
    let making = async {
        let _one = app.status_lists.making.lock().await;
        let now = app.clock.now();
        if let Some(named) = young(now) {
            return Ok(named);
        }
        let mut tx = app.db.read().await?;
        let epoch = feed_epoch(&mut tx).await?;
        let (lists, mut named) = (lists(app, &epoch), Vec::new());
        if let Some((first, last)) = status_store::find_range(&mut tx).await? {
            for list in first.max(last - MOST_LISTS)..=last {
                if status_store::is_alive(&mut tx, &epoch, list, now).await? {
                    named.push(lists.uri(list));
                }
            }
        }
        *app.status_lists.named.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, named.clone()));
        Ok(named)
    };
    let late = |_| Failure::Storage(StorageError::Together);
    tokio::time::timeout(PATIENCE, making).await.map_err(late)?
}

impl StatusRow {
    fn is_ended(&self, endings: &RevocationSet) -> bool {
        let concerned = Concerned {
            kid: &self.kid,
            jti: &self.jti,
            sid: self.sid.as_deref(),
            person: self.account_id.as_deref(),
            generation: self.generation,
            key_id: self.key_id.as_deref(),
            grant_id: self.grant_id.as_deref(),
            appointment_id: self.appointment_id.as_deref(),
        };
        endings.ending_of(&concerned).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::context::Caller;
    use crate::revocations::{publish, renew};
    use crate::storage::Db;
    use crate::storage::testing::on_both_databases;
    use crate::sweeper::sweep;
    use crate::testing::World;
    use crate::tokens::sign;
    use margrave_shared::claims::CommonClaims;
    use margrave_shared::event::Ended;
    use margrave_shared::id::{AccountId, GrantId, KeyId, SessionId, TokenId};
    use margrave_shared::json::Json;
    use margrave_shared::token::status_list::LIST_LEN;
    use margrave_shared::token::{Refusal, verify_signed};
    use margrave_shared::wire::token::TokenResponse;
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    /// A person's token of a session, by a grant, or a key's.
    fn claims(app: &App, jti: &str, sid: Option<&str>, key: Option<&str>) -> PermissionClaims {
        let now = app.clock.now().seconds();
        let subject = match sid {
            Some(_) => r#""sub":"alice","account_id":"alice","gen":3"#,
            None => r#""sub":"merchant:m""#,
        };
        let json = format!(
            r#"{{"iss":"https://issuer.test","aud":"svc","iat":{now},"exp":{},"jti":"{jti}","merchant_id":"m",{subject}}}"#,
            now + 300
        );
        let json = Json::parse(json.as_bytes()).unwrap();
        let mut claims = PermissionClaims::from_json(CommonClaims::from_json(&json).unwrap(), &json).unwrap();
        claims.sid = sid.map(|sid| SessionId::parse(sid).unwrap());
        claims.key_id = key.map(|key| KeyId::parse(key).unwrap());
        claims.grant_id = sid.filter(|sid| *sid == "s2").map(|_| GrantId::parse("g").unwrap());
        claims
    }

    async fn sign_alone(app: &App, claims: PermissionClaims) -> Result<TokenResponse, Failure> {
        let mut tx = app.db.begin().await?;
        let signed = sign(app, &mut tx, claims).await?;
        tx.commit().await?;
        Ok(signed)
    }

    fn place_of(app: &App, token: &str) -> (i64, String) {
        let snapshot = app.keyring.snapshot();
        let (json, _) = verify_signed(token, TokenKind::Permission, &snapshot.published).unwrap();
        let place = json.get("status").unwrap().get("status_list").unwrap();
        (
            place.get("idx").and_then(Json::as_integer).unwrap(),
            place.get("uri").and_then(Json::as_str).unwrap().to_owned(),
        )
    }

    /// The bits of the tokens, in their order.
    async fn bits(app: &App, places: &[(i64, String)]) -> String {
        let uri = &places[0].1;
        let epoch = feed_epoch(&mut app.db.read().await.unwrap()).await.unwrap();
        assert_eq!(*uri, format!("https://issuer.test/v1/status-lists/{epoch}/0"));
        let jwt = status_list(app, &epoch, 0).await.unwrap().unwrap().jwt;
        let snapshot = app.keyring.snapshot();
        assert_eq!(
            verify_signed(&jwt, TokenKind::Permission, &snapshot.published).unwrap_err(),
            Refusal::Type,
            "a list is no token"
        );
        let (json, _) = verify_signed(&jwt, TokenKind::StatusList, &snapshot.published).unwrap();
        assert_eq!(json.get("sub").and_then(Json::as_str), Some(uri.as_str()));
        let list = json.get("status_list").unwrap();
        assert_eq!(list.get("bits").and_then(Json::as_integer), Some(1));
        let packed = base64::decode_url(list.get("lst").and_then(Json::as_str).unwrap()).unwrap();
        let packed = decompress_to_vec_zlib(&packed).unwrap();
        assert_eq!(packed.len() as i64, LIST_LEN / 8);
        let set: u32 = packed.iter().map(|byte| byte.count_ones()).sum();
        let text: String = places
            .iter()
            .map(|(idx, _)| if packed[*idx as usize / 8] >> (idx % 8) & 1 == 1 { 'x' } else { '-' })
            .collect();
        assert_eq!(set as usize, text.matches('x').count(), "only these tokens are in it");
        text
    }

    async fn a_list_says_what_an_edge_would_say(db: Db) {
        let world = World::with_status_lists(db).await;
        let app = &world.app;
        let mut places = Vec::new();
        for (jti, sid, key) in [
            ("t1", Some("s1"), None),
            ("t2", Some("s1"), None),
            ("t3", Some("s2"), None),
            ("t4", None, Some("k1")),
            ("t5", None, Some("k2")),
        ] {
            let token = sign_alone(app, claims(app, jti, sid, key)).await.unwrap();
            places.push(place_of(app, &token.access_token));
        }
        // A token that is not handed out after all has no place.
        let mut tx = app.db.begin().await.unwrap();
        sign(app, &mut tx, claims(app, "t6", None, Some("k3"))).await.unwrap();
        drop(tx);
        assert_eq!(bits(app, &places).await, "-----");
        let id = |text: &str| AccountId::parse(text).unwrap();
        let signer = app.keyring.signer().unwrap().kid().clone();
        for (ended, said) in [
            (Ended::Token { jti: TokenId::parse("t2").unwrap() }, "-x---"),
            (Ended::Key { key_id: KeyId::parse("k1").unwrap() }, "-x-x-"),
            (Ended::Grant { grant_id: GrantId::parse("g").unwrap() }, "-xxx-"),
            (Ended::Account { id: id("bob"), generation: 9 }, "-xxx-"),
            (Ended::Account { id: id("alice"), generation: 3 }, "-xxx-"),
            (Ended::Session { sid: SessionId::parse("s1").unwrap() }, "xxxx-"),
            (Ended::Account { id: id("alice"), generation: 4 }, "xxxx-"),
            (Ended::SigningKey { kid: signer }, "xxxxx"),
        ] {
            let mut tx = app.db.begin().await.unwrap();
            publish(app, &mut tx, &ended, app.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            world.pass_s(2);
            assert_eq!(bits(app, &places).await, said, "{ended:?}");
        }
        assert_eq!(living_lists(app).await.unwrap(), [places[0].1.clone()]);
        let epoch = feed_epoch(&mut app.db.read().await.unwrap()).await.unwrap();
        for (epoch, list) in [(epoch.as_str(), 1), (&epoch, i64::MAX), ("another", 0)] {
            assert!(status_list(app, epoch, list).await.unwrap().is_none(), "{epoch} {list}");
        }
        // Near its end, when a verifier whose clock is behind still takes it, a token has not come back to life.
        world.pass_s(300);
        assert_eq!(bits(app, &places).await, "xxxxx");

        // With its last token a list is gone, and what was its rows too; numbers go on.
        world.pass_s(100);
        assert!(status_list(app, &epoch, 0).await.unwrap().is_none());
        assert!(living_lists(app).await.unwrap().is_empty());
        world.pass_s(3_600);
        sweep(app, app.clock.now()).await.unwrap();
        assert!(
            status_store::find(&mut app.db.read().await.unwrap(), &epoch, 0, UnixMs(0))
                .await
                .unwrap()
                .is_empty()
        );
        let token = sign_alone(app, claims(app, "t7", None, None)).await.unwrap();
        let place = place_of(app, &token.access_token);
        assert!(!places.contains(&place), "a number is used once");

        // After a restore numbers are given out again: in other lists, and those of before are no more.
        renew(app, &Caller::operator()).await.unwrap();
        assert!(status_list(app, &epoch, 0).await.unwrap().is_none());
        let token = sign_alone(app, claims(app, "t8", None, None)).await.unwrap();
        assert!(!place_of(app, &token.access_token).1.contains(&epoch));
    }
    on_both_databases!(status_lists, super::a_list_says_what_an_edge_would_say);

    async fn without_the_setting_nothing_is_listed(db: Db) {
        let world = World::new(db).await;
        let token = sign_alone(&world.app, claims(&world.app, "t1", None, None)).await.unwrap().access_token;
        let snapshot = world.app.keyring.snapshot();
        let (json, _) = verify_signed(&token, TokenKind::Permission, &snapshot.published).unwrap();
        assert!(json.get("status").is_none());
        assert!(living_lists(&world.app).await.unwrap().is_empty());
    }
    on_both_databases!(no_status_lists, super::without_the_setting_nothing_is_listed);
}
