//! A whole issuer in a test: the real use cases on a real database, with a clock that the test moves.

use crate::accounts::{Account, AccountSettings, NewAccount, create_account};
use crate::app::App;
use crate::applications::{Class, create_application};
use crate::clock::Clock;
use crate::config::{Config, PasswordConfig};
use crate::edges::{EdgeFacts, create_edge};
use crate::factors::verify_credentials;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{Merchant, MerchantSettings, NewMerchant, Service, create_merchant};
use crate::oauth;
use crate::permissions::{AccountRights, Giver, change_rights, create_role};
use crate::sessions::{Session, find_session};
use crate::storage::Db;
use crate::tokens::find_refresh;
use margrave_shared::form::Form;
use margrave_shared::id::{ClientId, EdgeId, MerchantId};
use margrave_shared::permission::parse_scope;
use margrave_shared::role::RoleName;
use margrave_shared::secret::{SecretKey, SecretText, secret_hash};
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::token::{FACTORS_GRANT, TokenResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where every test begins: some time in 2027.
const START_MS: i64 = 1_800_000_000_000;

/// The password of the test's person.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// An issuer with one merchant, one application and one person.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) merchant: Merchant,
    pub(crate) client: ClientId,
    clock: Arc<AtomicI64>,
    config: Config,
}

fn config() -> Config {
    Config {
        public_url: "https://issuer.test".to_owned(),
        direct: true,
        // As cheap as argon2 permits: these tests are about everything else.
        password: PasswordConfig { memory_kib: 8, iterations: 1, queue: 512, ..PasswordConfig::default() },
        ..Config::default()
    }
}

impl World {
    /// A new world on a database.
    pub(crate) async fn new(db: Db) -> Self {
        Self::with(db, config()).await
    }

    /// The same with status lists.
    pub(crate) async fn with_status_lists(db: Db) -> Self {
        let mut config = config();
        config.token.status_lists = true;
        Self::with(db, config).await
    }

    async fn with(db: Db, config: Config) -> Self {
        let clock = Arc::new(AtomicI64::new(START_MS));
        let app = start(&config, db, &clock).await;
        let caller = Caller::operator();
        let permissions = parse_scope("read write security").unwrap();
        let new = NewMerchant {
            name: "Test".to_owned(),
            platform: false,
            services: vec![Service { audience: "svc".to_owned(), permissions }],
            settings: MerchantSettings::default(),
        };
        let merchant = create_merchant(&app, new, "operator", &caller).await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        let application =
            create_application(&app, &mut tx, &merchant.id, "App", Class::Web, "operator", &caller)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        let new = NewAccount { username: "Alice".into(), password: Some(SecretText::new(PASSWORD.into())) };
        create_account(&app, &merchant.id, new, "operator", &caller).await.unwrap();
        Self { app, merchant, client: application.id, clock, config }
    }

    /// Another process on the same database.
    pub(crate) async fn another_process(&self) -> Arc<App> {
        start(&self.config, self.app.db.clone(), &self.clock).await
    }

    /// The same world on another database that holds what this one does.
    pub(crate) async fn on(&self, db: Db) -> Self {
        let app = start(&self.config, db, &self.clock).await;
        let (merchant, client) = (self.merchant.clone(), self.client.clone());
        Self { app, merchant, client, clock: Arc::clone(&self.clock), config: self.config.clone() }
    }

    /// A whole login with [`PASSWORD`].
    pub(crate) async fn log_in(&self, username: &str) -> Result<TokenResponse, Failure> {
        let request = CredentialsRequest {
            login: username.to_owned(),
            password: SecretText::new(PASSWORD.to_owned()),
            merchant_id: self.merchant.id.clone(),
        };
        let proven = verify_credentials(&self.app, &request, &Caller::default()).await?;
        let form = [("client_id", self.client.as_str()), ("security_tokens", &proven.security_token)];
        self.exchange(FACTORS_GRANT, &form).await
    }

    /// The next tokens of a session.
    pub(crate) async fn refresh(&self, answer: &TokenResponse) -> Result<TokenResponse, Failure> {
        let token = answer.refresh_token.as_deref().unwrap();
        self.exchange("refresh_token", &[("client_id", self.client.as_str()), ("refresh_token", token)]).await
    }

    async fn exchange(&self, grant_type: &str, members: &[(&str, &str)]) -> Result<TokenResponse, Failure> {
        let mut body = format!("grant_type={grant_type}");
        for (name, value) in members {
            body = format!("{body}&{name}={value}");
        }
        let form = Form::parse(body.as_bytes()).unwrap();
        oauth::exchange(&self.app, &form, &Caller::default()).await
    }

    /// The stored session behind an answer of the token endpoint.
    pub(crate) async fn session_of(&self, answer: &TokenResponse) -> Session {
        let mut tx = self.app.db.read().await.unwrap();
        let hash = secret_hash(answer.refresh_token.as_deref().unwrap());
        let row = find_refresh(&mut tx, &hash).await.unwrap().unwrap();
        find_session(&mut tx, &row.sid).await.unwrap().unwrap()
    }

    /// An edge that stands before a merchant; its key comes from its name.
    pub(crate) async fn make_edge(&self, name: &str, merchant: &MerchantId) -> EdgeId {
        let seed = secret_hash(name);
        let facts = EdgeFacts {
            name: name.to_owned(),
            public_key: ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes(),
            next_public_key: None,
            merchants: vec![merchant.to_string()],
            push_url: None,
        };
        let mut tx = self.app.db.begin().await.unwrap();
        let edge = create_edge(&self.app, &mut tx, facts, "operator", &Caller::operator()).await.unwrap();
        tx.commit().await.unwrap();
        edge.id
    }

    /// Gives an account of the merchant a new role that permits nothing new, and settings.
    pub(crate) async fn give_role(&self, account: &Account, name: &str, settings: AccountSettings) {
        let (caller, name) = (Caller::operator(), RoleName::parse(name).unwrap());
        let all = parse_scope("admin:*").unwrap();
        let giver = Giver { actor: "operator", scope: &all, of_platform: false };
        let permissions = parse_scope("read").unwrap();
        let mut tx = self.app.db.begin().await.unwrap();
        create_role(&self.app, &mut tx, &self.merchant.id, name.clone(), permissions, giver, &caller)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let rights = AccountRights { roles: [name].into(), settings };
        change_rights(&self.app, &account.id, &rights, account.version, giver, &caller).await.unwrap();
    }

    /// Lets time pass.
    pub(crate) fn pass_s(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

async fn start(config: &Config, db: Db, clock: &Arc<AtomicI64>) -> Arc<App> {
    let key = SecretKey::from_bytes([5; 32]);
    Arc::new(App::build(config, &key.into(), db, Clock::Manual(Arc::clone(clock))).await.unwrap())
}
