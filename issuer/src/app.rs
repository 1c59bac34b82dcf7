//! The composition root: the only file that builds everything from the configuration.

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, KeysConfig, ResetConfig, TokenConfig};
use crate::edges::Heard;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::http::draining::Draining;
use crate::keys::{self, KeyRing, MasterKeys, rotate, sealing_key};
use crate::limiter::Limiter;
use crate::merchants::PresentedKeys;
use crate::notify::Mailer;
use crate::outbound::Fetcher;
use crate::passwords::Kdf;
use crate::revocations::{self, Feed, Propagation};
use crate::storage::{Db, Together, migrate};
use crate::tokens::StatusLists;
use margrave_shared::id::uuid_v4;
use margrave_shared::jwk::schedule::Rotation;
use margrave_shared::secret::SecretKey;
use margrave_shared::session::SessionPolicy;
use std::sync::Arc;

/// Everything that use cases need.
#[derive(Debug)]
pub(crate) struct App {
    /// The database.
    pub(crate) db: Db,
    /// The time.
    pub(crate) clock: Clock,
    /// Randomness.
    pub(crate) entropy: Entropy,
    /// The audit.
    pub(crate) audit: Audit,
    /// Signing keys.
    pub(crate) keyring: KeyRing,
    /// What seals signing keys.
    pub(crate) sealing_key: SecretKey,
    /// Password hashing.
    pub(crate) kdf: Kdf,
    /// The feed's waiting polls.
    pub(crate) feed: Feed,
    /// How far the edges have been told.
    pub(crate) propagation: Propagation,
    /// When edges were last heard of.
    pub(crate) heard: Arc<Heard>,
    /// In which order tokens stand in status lists.
    pub(crate) status_key: SecretKey,
    /// Status lists.
    pub(crate) status_lists: StatusLists,
    /// Under which names of erased accounts are remembered.
    pub(crate) name_key: SecretKey,
    /// What finds and seals the answers to creations that may come again.
    pub(crate) answers_key: SecretKey,
    /// Attempts of clients that come without an edge.
    pub(crate) limiter: Limiter,
    /// Keys that are presented at once.
    pub(crate) presented_keys: Together<PresentedKeys>,
    /// How far stopping has got.
    pub(crate) draining: Draining,
    /// Calls to others.
    pub(crate) fetcher: Fetcher,
    /// What sends mail, where that is configured.
    pub(crate) mailer: Option<Mailer>,
    /// What seals notices that wait.
    pub(crate) notices_key: SecretKey,
    /// What finds and seals devices.
    pub(crate) devices_key: SecretKey,
    /// What seals merchants' SSO secrets.
    pub(crate) sso_key: SecretKey,
    /// The issuer's name.
    pub(crate) public_url: String,
    /// Whether clients may come without an edge.
    pub(crate) direct: bool,
    /// `[keys]`
    pub(crate) keys_config: KeysConfig,
    /// `[token]`
    pub(crate) token_config: TokenConfig,
    /// `[reset]`
    pub(crate) reset_config: ResetConfig,
    /// The sessions' limits where a merchant sets none.
    pub(crate) session_policy: SessionPolicy,
    /// The fewest characters of a new password.
    pub(crate) min_password_chars: usize,
}

impl App {
    /// Builds everything; the database is migrated and has its keys.
    pub(crate) async fn build(
        config: &Config,
        masters: &MasterKeys,
        db: Db,
        clock: Clock,
    ) -> Result<Self, Failure> {
        migrate(&db).await?;
        let entropy = Entropy;
        let root = &keys::root(&db, masters, &clock, &entropy).await?;
        revocations::ensure(&db, &uuid_v4(entropy.bytes())).await?;
        let limits = config.limits.limits(&mut Vec::new());
        let limits = limits.ok_or(Failure::Internal("limits out of range"))?;
        let sealing_key = sealing_key(root);
        let audit = Audit::new(root);
        let app = Self {
            entropy,
            keyring: KeyRing::new(sealing_key.clone()),
            sealing_key,
            kdf: Kdf::new(&config.password, entropy.bytes(), entropy.bytes())?,
            feed: Feed::default(),
            propagation: Propagation::default(),
            heard: Arc::default(),
            status_key: root.derive("status lists"),
            status_lists: StatusLists::default(),
            name_key: root.derive("erased names"),
            answers_key: root.derive("idempotent answers"),
            limiter: Limiter::new(limits, root.derive("limiter"), clock.clone(), Arc::clone(audit.chain())),
            audit,
            presented_keys: Together::new(PresentedKeys),
            draining: Draining::default(),
            fetcher: Fetcher::new()?,
            mailer: Mailer::new(&config.mail)?,
            notices_key: root.derive("notices"),
            sso_key: root.derive("sso secrets"),
            devices_key: root.derive("devices"),
            public_url: config.public_url.clone(),
            direct: config.direct,
            keys_config: config.keys,
            token_config: config.token,
            reset_config: config.reset,
            session_policy: config.session.policy(),
            min_password_chars: config.password.min_chars,
            clock,
            db,
        };
        rotate(&app, Rotation::OnSchedule, "start", &Caller::default()).await?;
        Ok(app)
    }
}
