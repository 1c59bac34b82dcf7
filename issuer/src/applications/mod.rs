//! Applications: OAuth clients. Here the first-party ones of a merchant; third parties register later.

mod store;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{Limited, check_limit, find_merchant};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{ClientId, MerchantId};
use margrave_shared::label::check_label;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub(crate) use store::{find_any_application, find_application, find_applications};

/// How long an application's sessions live by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// In a browser: the merchant's limits.
    Web,
    /// On a person's own device: 14 days idle, 30 days absolute.
    Mobile,
}

impl Class {
    /// The name in the database and on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mobile => "mobile",
        }
    }

    /// Reads the name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Web, Self::Mobile].into_iter().find(|class| class.as_str() == text)
    }
}

/// An application.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Application {
    /// Its id.
    #[serde(rename = "client_id")]
    pub(crate) id: ClientId,
    /// Whose it is.
    pub(crate) merchant_id: MerchantId,
    /// Its name, for people.
    pub(crate) name: String,
    /// Its class.
    pub(crate) class: Class,
    /// When it was registered.
    pub(crate) created_at: UnixMs,
    /// Since when it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<UnixMs>,
    /// Raised by every change.
    #[serde(skip)]
    pub(crate) version: i64,
}

fn check_name(name: &str) -> Result<&str, Failure> {
    check_label(name).map_err(|problem| Failure::explained(ErrorCode::InvalidField, problem.to_string()))
}

/// Registers a first-party application of a merchant.
///
/// # Errors
/// `not_found` for an unknown or disabled merchant, `invalid_field` for a name that is none, `limit_reached`.
pub(crate) async fn create_application(
    app: &App,
    tx: &mut Tx,
    merchant_id: &MerchantId,
    name: &str,
    class: Class,
    actor: &str,
    caller: &Caller,
) -> Result<Application, Failure> {
    let now = app.clock.now();
    let name = check_name(name)?.to_owned();
    let merchant = find_merchant(tx, merchant_id).await?.filter(|m| m.disabled_at.is_none());
    let merchant = merchant.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    check_limit(tx, merchant_id, Limited::Applications, now).await?;
    let application = Application {
        id: ClientId::from_random(app.entropy.bytes()),
        merchant_id: merchant.id,
        name,
        class,
        created_at: now,
        disabled_at: None,
        version: 0,
    };
    store::insert_application(tx, &application).await?;
    write(app, tx, "application.create", &application, actor, caller).await?;
    Ok(application)
}

async fn write(
    app: &App,
    tx: &mut Tx,
    act: &'static str,
    application: &Application,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let entry = Entry::done(act)
        .merchant(&application.merchant_id)
        .actor(actor)
        .subject(format!("application:{}", application.id));
    Ok(app.audit.write(tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?)
}

/// Changes an application's name and class. Sessions keep the limits that they began with.
///
/// # Errors
/// `not_found` where it is not this merchant's, `precondition_failed` where it is of another version, `invalid_field`.
pub(crate) async fn change_application(
    app: &App,
    merchant_id: &MerchantId,
    changed: Change<'_>,
    version: i64,
    actor: &str,
    caller: &Caller,
) -> Result<Application, Failure> {
    let name = check_name(changed.name)?;
    let mut tx = app.db.begin().await?;
    let before = of_merchant(&mut tx, merchant_id, changed.id).await?;
    if !store::update_application(&mut tx, changed.id, name, changed.class, version).await? {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    let after = Application {
        name: name.to_owned(),
        class: changed.class,
        version: version.saturating_add(1),
        ..before
    };
    write(app, &mut tx, "application.change", &after, actor, caller).await?;
    tx.commit().await?;
    Ok(after)
}

/// What an application is changed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    /// Which.
    pub(crate) id: &'a ClientId,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its class.
    pub(crate) class: Class,
}

/// Disables an application: nobody logs in with it any more. Its sessions go on until they end.
///
/// # Errors
/// `not_found` where it is not this merchant's, `conflict` where it is disabled already.
pub(crate) async fn disable_application(
    app: &App,
    merchant_id: &MerchantId,
    id: &ClientId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    let application = of_merchant(&mut tx, merchant_id, id).await?;
    if !store::update_disabled(&mut tx, id, app.clock.now()).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is disabled already"));
    }
    write(app, &mut tx, "application.disable", &application, actor, caller).await?;
    Ok(tx.commit().await?)
}

/// Opens a disabled application.
///
/// # Errors
/// `not_found` where it is not this merchant's, `conflict` where it is not disabled, `limit_reached`.
pub(crate) async fn enable_application(
    app: &App,
    merchant_id: &MerchantId,
    id: &ClientId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    let application = of_merchant(&mut tx, merchant_id, id).await?;
    let not_disabled = || Failure::explained(ErrorCode::Conflict, "it is not disabled");
    application.disabled_at.ok_or_else(not_disabled)?;
    check_limit(&mut tx, merchant_id, Limited::Applications, app.clock.now()).await?;
    // Of two at once, where nothing is limited.
    if !store::update_enabled(&mut tx, id).await? {
        return Err(not_disabled());
    }
    write(app, &mut tx, "application.enable", &application, actor, caller).await?;
    Ok(tx.commit().await?)
}

async fn of_merchant(tx: &mut Tx, merchant: &MerchantId, id: &ClientId) -> Result<Application, Failure> {
    let found = find_any_application(tx, id).await?.filter(|found| found.merchant_id == *merchant);
    found.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_application"))
}
