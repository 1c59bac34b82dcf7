//! The secrets of a development state folder: made once, readable by their owner only.

use crate::Outcome;
use ed25519_dalek::SigningKey;
use margrave_shared::base64;
use margrave_shared::secret::SecretKey;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a state folder keeps secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// The issuer's master key.
    pub(crate) master_key: String,
    /// The seed of the edge's Ed25519 key.
    pub(crate) edge_signing_key: String,
    /// The key under which the origin knows the edge.
    pub(crate) hop_key: String,
    /// The key under which the limiter hashes.
    pub(crate) limiter_key: String,
}

/// `N` random bytes in base64url.
pub(crate) fn random<const N: usize>() -> Outcome<String> {
    Ok(base64::encode_url(&random_bytes::<N>()?))
}

/// Random bytes.
#[expect(clippy::disallowed_methods, reason = "development secrets are made here and nowhere else")]
pub(crate) fn random_bytes<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no randomness: {error}"))?;
    Ok(bytes)
}

impl Secrets {
    /// Reads the folder's secrets, or makes them.
    pub(crate) fn ensure(state: &Path) -> Outcome<Self> {
        let path = state.join("secrets.json");
        if let Ok(text) = std::fs::read_to_string(&path) {
            return serde_json::from_str(&text)
                .map_err(|error| format!("{} is broken ({error}). Start with --fresh", path.display()));
        }
        let secrets = Self::new()?;
        let text = serde_json::to_string_pretty(&secrets).unwrap_or_default();
        write_private(&path, &text)?;
        Ok(secrets)
    }

    /// New secrets.
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self {
            master_key: random::<32>()?,
            edge_signing_key: random::<32>()?,
            hop_key: random::<32>()?,
            limiter_key: random::<32>()?,
        })
    }

    /// Who holds this may read the edge's metrics.
    pub(crate) fn metrics_key(&self) -> Outcome<String> {
        self.derived("metrics")
    }

    /// What gates and their state process know each other by.
    pub(crate) fn state_key(&self) -> Outcome<String> {
        Ok(format!("state-1:{}", self.derived("gates and state")?))
    }

    /// It comes from a key that was there before it.
    fn derived(&self, purpose: &str) -> Outcome<String> {
        let key = SecretKey::parse(&self.limiter_key)
            .map_err(|_| "the limiter's key in the state folder is broken. Start with --fresh")?;
        Ok(key.derive(purpose).to_text().expose().to_owned())
    }

    /// The public half of the edge's key.
    pub(crate) fn edge_public_key(&self) -> Outcome<String> {
        let seed = base64::decode_url(&self.edge_signing_key).ok().and_then(|bytes| bytes.try_into().ok());
        let seed: [u8; 32] =
            seed.ok_or("the edge's key in the state folder is broken. Start with --fresh")?;
        Ok(base64::encode_url(SigningKey::from_bytes(&seed).verifying_key().as_bytes()))
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Outcome<()> {
    let fail = |error| format!("{} cannot be written: {error}", path.display());
    std::fs::write(path, text).map_err(fail)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    }
    Ok(())
}
