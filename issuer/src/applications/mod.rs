//! Applications: OAuth clients. Here the first-party ones of a merchant; third parties register later.

mod store;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use margrave_shared::id::{ClientId, MerchantId};
pub(crate) use store::find_application;

/// How long an application's sessions live by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone)]
pub(crate) struct Application {
    /// Its id.
    pub(crate) id: ClientId,
    /// Whose it is.
    pub(crate) merchant_id: MerchantId,
    /// Its class.
    pub(crate) class: Class,
}

/// Registers a first-party application of a merchant.
pub(crate) async fn create_application(
    app: &App,
    merchant_id: &MerchantId,
    name: &str,
    class: Class,
    caller: &Caller,
) -> Result<Application, Failure> {
    let now = app.clock.now();
    let application = Application {
        id: ClientId::from_random(app.entropy.bytes()),
        merchant_id: merchant_id.clone(),
        class,
    };
    let mut tx = app.db.begin().await?;
    store::insert_application(&mut tx, &application, name, now).await?;
    let entry = Entry::done("application.create")
        .merchant(merchant_id)
        .actor("operator")
        .subject(format!("application:{}", application.id));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(application)
}
