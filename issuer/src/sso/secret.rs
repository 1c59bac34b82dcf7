//! A merchant's SSO secret: set or made, kept sealed since it signs, replaced with an overlap.

use super::SsoSecret;
use super::store::{self, Row};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::keys::{open, seal};
use crate::merchants::find_merchant;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::secret::{SecretText, equal_in_constant_time};
use margrave_shared::sso::SsoUser;
use margrave_shared::sso::legacy::{SsoRefused, verify};
use margrave_shared::time::UnixMs;
use margrave_shared::token::opaque;

/// How long what was signed with the secret before still counts, in seconds.
const OVERLAP_S: i64 = 86_400;

/// What becomes of the secret that there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Previous {
    /// It counts for another day.
    Keep,
    /// It counts no more: somebody knows it.
    Forget,
}

/// A secret to be set.
#[derive(Debug)]
pub(crate) struct NewSecret {
    /// The company's own; without it one is made.
    pub(crate) given: Option<SecretText>,
    /// What becomes of the one before.
    pub(crate) previous: Previous,
}

/// A secret that was set, shown this once.
#[derive(Debug)]
pub(crate) struct IssuedSecret {
    /// Itself.
    pub(crate) secret: SecretText,
    /// What is known of it.
    pub(crate) shown: SsoSecret,
}

/// Sets a merchant's secret.
///
/// # Errors
/// `not_found` for an unknown or disabled merchant; `invalid_field` for a secret that is too easy, cannot be typed, or is the present one.
pub(crate) async fn set_secret_in(
    app: &App,
    tx: &mut Tx,
    merchant: &MerchantId,
    new: NewSecret,
    actor: &str,
    caller: &Caller,
) -> Result<IssuedSecret, Failure> {
    let now = app.clock.now();
    let found = find_merchant(tx, merchant).await?.filter(|merchant| merchant.disabled_at.is_none());
    found.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    let secret = match new.given {
        Some(given) => check_given(given)?,
        None => opaque::sso_secret(app.entropy.bytes()),
    };
    let present = store::find_row(tx, merchant).await?;
    let opened = present.as_ref().map(|row| opened(app, merchant, &row.sealed)).transpose()?;
    let is_present =
        |one: &SecretText| equal_in_constant_time(one.expose().as_bytes(), secret.expose().as_bytes());
    if opened.as_ref().is_some_and(is_present) {
        return Err(Failure::explained(ErrorCode::InvalidField, "`secret` is the present one"));
    }
    let until = (new.previous == Previous::Keep).then(|| now.plus_seconds(OVERLAP_S));
    let sealed = seal(&app.sso_key, &purpose(merchant), secret.expose().as_bytes(), app.entropy.bytes());
    let previous_until = store::put_secret(tx, merchant, &sealed, now, until).await?;
    let entry = Entry::done("merchant.set_sso_secret").merchant(merchant).actor(actor);
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(IssuedSecret { secret, shown: SsoSecret { created_at: now, previous_until } })
}

/// A company's own secret: hard to guess, and of letters that every program writes alike.
fn check_given(secret: SecretText) -> Result<SecretText, Failure> {
    let text = secret.expose();
    if (16..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(secret);
    }
    let text = "`secret` is 16 to 200 visible ASCII characters; without it one is made";
    Err(Failure::explained(ErrorCode::InvalidField, text))
}

/// What is known of a merchant's secret.
///
/// # Errors
/// The database's.
pub(crate) async fn find_secret(
    app: &App,
    tx: &mut Tx,
    merchant: &MerchantId,
) -> Result<Option<SsoSecret>, Failure> {
    let now = app.clock.now();
    let row = store::find_row(tx, merchant).await?;
    Ok(row.map(|row| SsoSecret {
        created_at: UnixMs(row.created_at),
        previous_until: row.previous_until.map(UnixMs).filter(|until| now < *until),
    }))
}

/// Takes a merchant's secrets away: nobody is vouched for any more.
///
/// # Errors
/// `not_found` where there is none.
pub(crate) async fn delete_secret(
    app: &App,
    merchant: &MerchantId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if !store::delete_row(&mut tx, merchant).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_secret"));
    }
    let entry = Entry::done("merchant.delete_sso_secret").merchant(merchant).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// Whom a text vouches for that a merchant's page has signed, for whoever sets that page up. Nobody is logged in by it; that it was asked
/// stands in the audit, since whoever asks learns whether a secret is the merchant's.
///
/// # Errors
/// `not_found` where the merchant has no secret.
pub(crate) async fn check(
    app: &App,
    merchant: &MerchantId,
    text: &str,
    actor: &str,
    caller: &Caller,
) -> Result<Result<SsoUser, SsoRefused>, Failure> {
    let row = store::find_row(&mut app.db.glance().await?, merchant).await?;
    let row = row.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_secret"))?;
    let now = app.clock.now();
    let verdict = verify(text, &living(app, merchant, &row, now)?, now);
    let entry = match &verdict {
        Ok(_) => Entry::done("merchant.check_sso"),
        Err(why) => Entry::refused("merchant.check_sso", why.as_str()),
    };
    let entry = entry.merchant(merchant).actor(actor);
    app.audit.write_alone(&app.db, entry, caller, now, app.entropy.bytes()).await?;
    Ok(verdict)
}

/// The secrets that count.
fn living(app: &App, merchant: &MerchantId, row: &Row, now: UnixMs) -> Result<Vec<SecretText>, Failure> {
    let mut secrets = vec![opened(app, merchant, &row.sealed)?];
    if let (Some(previous), Some(until)) = (&row.previous_sealed, row.previous_until)
        && now < UnixMs(until)
    {
        secrets.push(opened(app, merchant, previous)?);
    }
    Ok(secrets)
}

fn opened(app: &App, merchant: &MerchantId, sealed: &[u8]) -> Result<SecretText, Failure> {
    let plain = open(&app.sso_key, &purpose(merchant), sealed);
    let plain = plain.map_err(|_| Failure::Internal("an SSO secret does not open"))?;
    let text = str::from_utf8(&plain).map_err(|_| Failure::Internal("an SSO secret is no text"))?;
    Ok(SecretText::new(text.to_owned()))
}

/// What a secret is sealed for: its merchant, and no other.
fn purpose(merchant: &MerchantId) -> String {
    format!("sso secret {merchant}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Db;
    use crate::storage::testing::{dump, on_both_databases};
    use crate::testing::World;
    use margrave_shared::base64;
    use margrave_shared::sso::legacy::sign;
    use std::sync::Arc;
    use std::time::Duration;

    async fn set(world: &World, given: Option<&str>, previous: Previous) -> Result<IssuedSecret, Failure> {
        let mut tx = world.app.db.begin().await.unwrap();
        let new = NewSecret { given: given.map(|text| SecretText::new(text.to_owned())), previous };
        let (merchant, caller) = (&world.merchant.id, Caller::operator());
        let set = set_secret_in(&world.app, &mut tx, merchant, new, "operator", &caller).await?;
        tx.commit().await.unwrap();
        Ok(set)
    }

    /// Whether what is signed with a secret now counts.
    async fn counts(world: &World, secret: &SecretText) -> bool {
        let (user_info, time) =
            (base64::encode_standard(br#"{"id":"7"}"#), world.app.clock.now().seconds().to_string());
        let text = format!("{user_info}_{time}_{}", sign(secret, &user_info, &time));
        check(&world.app, &world.merchant.id, &text, "operator", &Caller::operator()).await.unwrap().is_ok()
    }

    async fn a_secret_is_replaced_with_an_overlap_or_without(db: Db) {
        let world = World::new(db).await;
        let (app, merchant) = (&world.app, &world.merchant.id);
        let checked = async || check(app, merchant, "x", "operator", &Caller::operator()).await;
        assert!(checked().await.is_err(), "there is none");
        for bad in ["", "short", "with space in it", "пароль-пароль-пароль", &"x".repeat(201)]
        {
            assert!(set(&world, Some(bad), Previous::Keep).await.is_err(), "{bad}");
        }
        let own = "the-companys-own-secret";
        let first = set(&world, Some(own), Previous::Keep).await.unwrap();
        assert_eq!((first.secret.expose(), first.shown.previous_until), (own, None));
        assert!(set(&world, Some(own), Previous::Keep).await.is_err(), "it is the present one");
        let second = set(&world, None, Previous::Keep).await.unwrap();
        assert!(counts(&world, &first.secret).await && counts(&world, &second.secret).await);
        assert!(!dump(&app.db).await.contains(own));
        world.pass_s(OVERLAP_S);
        assert!(!counts(&world, &first.secret).await && counts(&world, &second.secret).await);
        let known = find_secret(app, &mut app.db.read().await.unwrap(), merchant).await.unwrap().unwrap();
        assert_eq!(known.previous_until, None, "it is over");
        let third = set(&world, None, Previous::Forget).await.unwrap();
        assert!(!counts(&world, &second.secret).await && counts(&world, &third.secret).await);
        // A row of one merchant opens at no other.
        let other = MerchantId::from_random(app.entropy.bytes());
        let row = store::find_row(&mut app.db.read().await.unwrap(), merchant).await.unwrap().unwrap();
        assert!(opened(app, &other, &row.sealed).is_err());
        // Another process, and what is left after all are gone.
        let another = world.another_process().await;
        delete_secret(&another, merchant, "operator", &Caller::operator()).await.unwrap();
        assert!(delete_secret(app, merchant, "operator", &Caller::operator()).await.is_err());
        assert!(checked().await.is_err());
        // Of the first two at once the one that comes first counts on: the other, which has seen none, has asked that what there was be kept.
        let new = || NewSecret { given: None, previous: Previous::Keep };
        let mut tx = app.db.begin().await.unwrap();
        let caller = Caller::operator();
        let first = set_secret_in(app, &mut tx, merchant, new(), "operator", &caller).await.unwrap();
        let (other, id) = (Arc::clone(&world.app), merchant.clone());
        let second = tokio::spawn(async move {
            let mut tx = other.db.begin().await.unwrap();
            let set =
                set_secret_in(&other, &mut tx, &id, new(), "operator", &Caller::operator()).await.unwrap();
            tx.commit().await.unwrap();
            set
        });
        // Until it waits for the first one's row, or for its turn to write.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!second.is_finished());
        tx.commit().await.unwrap();
        let second = second.await.unwrap();
        assert!(second.shown.previous_until.is_some());
        assert!(counts(&world, &first.secret).await && counts(&world, &second.secret).await);
    }
    on_both_databases!(overlap, super::a_secret_is_replaced_with_an_overlap_or_without);
}
