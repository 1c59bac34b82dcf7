//! The keys in memory: what signs and what is published. Every process reloads it each second.

use super::{purpose, seal, store};
use crate::failure::Failure;
use crate::storage::Db;
use ed25519_dalek::{Signer as _, SigningKey};
use margrave_shared::base64;
use margrave_shared::id::Kid;
use margrave_shared::jwk::KeySet;
use margrave_shared::jwk::schedule::KeyState;
use margrave_shared::jwk::set::{PublicJwk, PublicSet};
use margrave_shared::secret::{SecretKey, secret_hash};
use margrave_shared::token::TokenKind;
use margrave_shared::token::compact::{assemble, signing_input};
use margrave_shared::token::header::print_header;
use serde::Serialize;
use std::sync::{Arc, RwLock};

/// The keys as one process knows them.
#[derive(Debug)]
pub(crate) struct KeyRing {
    sealing_key: SecretKey,
    now: RwLock<Arc<Snapshot>>,
}

/// One state of the keys.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    signer: Option<Signer>,
    /// The keys that verify.
    pub(crate) published: KeySet,
    /// The published set as JSON.
    pub(crate) jwks: String,
    /// Its entity tag.
    pub(crate) etag: String,
}

/// The key that signs.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    kid: Kid,
    key: SigningKey,
}

impl Signer {
    /// The key's id.
    pub(crate) fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Signs claims.
    pub(crate) fn sign(&self, kind: TokenKind, claims: &impl Serialize) -> Result<String, Failure> {
        let claims =
            serde_json::to_string(claims).map_err(|_| Failure::Internal("claims cannot be written"))?;
        let input = signing_input(&print_header(kind, "EdDSA", &self.kid), &claims);
        Ok(assemble(&input, &self.key.sign(input.as_bytes()).to_bytes()))
    }
}

impl KeyRing {
    /// An empty ring; [`KeyRing::reload`] fills it.
    pub(crate) fn new(sealing_key: SecretKey) -> Self {
        Self { sealing_key, now: RwLock::default() }
    }

    /// The present state.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().map_or_else(|poisoned| poisoned.into_inner().clone(), |guard| guard.clone())
    }

    /// The key that signs.
    ///
    /// # Errors
    /// [`Failure::Internal`] before the first load.
    pub(crate) fn signer(&self) -> Result<Signer, Failure> {
        self.snapshot().signer.clone().ok_or(Failure::Internal("there is no signing key yet"))
    }

    /// Reads the keys from the database. A key that does not unseal fails the whole reload: signing with an older
    /// one would go unnoticed.
    pub(crate) async fn reload(&self, db: &Db) -> Result<(), Failure> {
        let mut tx = db.read().await?;
        let rows = store::find_all(&mut tx).await?;
        let mut keys = Vec::new();
        let mut signer = None;
        for row in rows.iter().filter(|row| row.key.state.is_published()) {
            let kid = &row.key.kid;
            keys.push(PublicJwk::new(kid.clone(), &row.public));
            if row.key.state == KeyState::Active {
                signer = Some(self.unseal(kid, &row.sealed)?);
            }
        }
        let jwks = serde_json::to_string(&PublicSet { keys })
            .map_err(|_| Failure::Internal("the key set cannot be written"))?;
        let published = KeySet::parse(jwks.as_bytes()).unwrap_or_default();
        let snapshot = Arc::new(Snapshot { signer, published, etag: etag(&jwks), jwks });
        match self.now.write() {
            Ok(mut guard) => *guard = snapshot,
            Err(poisoned) => *poisoned.into_inner() = snapshot,
        }
        Ok(())
    }

    fn unseal(&self, kid: &Kid, sealed: &[u8]) -> Result<Signer, Failure> {
        // The same key as before need not be opened again every second.
        if let Some(signer) = self.snapshot().signer.as_ref().filter(|signer| signer.kid == *kid) {
            return Ok(signer.clone());
        }
        let seed = seal::open(&self.sealing_key, &purpose(kid), sealed)
            .map_err(|_| Failure::Internal("a signing key does not open: is this the right master key?"))?;
        let seed =
            <&[u8; 32]>::try_from(seed.as_slice()).map_err(|_| Failure::Internal("a signing key is cut"))?;
        Ok(Signer { kid: kid.clone(), key: SigningKey::from_bytes(seed) })
    }
}

/// A strong entity tag (RFC 9110 §8.8.3) of a text.
fn etag(text: &str) -> String {
    let hash = secret_hash(text);
    let short: Vec<u8> = hash.iter().take(12).copied().collect();
    format!("\"{}\"", base64::encode_url(&short))
}
