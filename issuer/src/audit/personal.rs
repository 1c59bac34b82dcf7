//! What is personal about a request (its address, the login that was typed, the client's name for itself) is sealed under a key
//! of the account that it concerns. When the account is erased the key is destroyed, and the rows stay as they were.

use crate::http::context::Caller;
use crate::keys::{open, seal};
use margrave_shared::id::AccountId;
use margrave_shared::secret::SecretKey;
use serde::{Deserialize, Serialize};

/// Whose request it was, or on whose account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// The account.
    pub(crate) id: AccountId,
    /// Its key, sealed.
    pub(crate) sealed_key: Vec<u8>,
    /// The login that was typed.
    pub(crate) login: Option<String>,
}

impl Person {
    /// With what was typed as the login.
    pub(crate) fn with_login(mut self, login: &str) -> Self {
        self.login = Some(shortened(login));
        self
    }
}

/// What is sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Personal {
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) address: Option<String>,
    /// The login that was typed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) login: Option<String>,
    /// `User-Agent` (RFC 9110 §10.1.5), as the client sent it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) user_agent: Option<String>,
}

/// The most characters of what a stranger sends that are kept.
const MOST_CHARS: usize = 256;

fn shortened(text: &str) -> String {
    text.chars().take(MOST_CHARS).collect()
}

/// Makes and opens the accounts' keys.
#[derive(Debug)]
pub(crate) struct PersonalKeys {
    sealing: SecretKey,
}

fn purpose(account: &AccountId) -> String {
    format!("audit key of {account}")
}

impl PersonalKeys {
    /// With the key that seals all of them.
    pub(super) const fn new(sealing: SecretKey) -> Self {
        Self { sealing }
    }

    /// A new account's key, sealed.
    pub(crate) fn make(&self, account: &AccountId, random: [u8; 56]) -> Vec<u8> {
        let (key, nonce) = random.split_at(32);
        let mut whole = [0; 24];
        whole.copy_from_slice(nonce);
        seal(&self.sealing, &purpose(account), key, whole)
    }

    fn key_of(&self, account: &AccountId, sealed: &[u8]) -> Option<SecretKey> {
        let key = open(&self.sealing, &purpose(account), sealed).ok()?;
        Some(SecretKey::from_bytes(key.as_slice().try_into().ok()?))
    }

    /// Seals what is personal for one row; nothing where the account's key does not open.
    pub(super) fn seal(&self, person: &Person, caller: &Caller, row: &str) -> Option<Vec<u8>> {
        let personal = Personal {
            address: caller.address.map(|address| address.to_string()),
            login: person.login.clone(),
            user_agent: caller.user_agent.as_deref().map(shortened),
        };
        if personal == Personal::default() {
            return None;
        }
        let Some(key) = self.key_of(&person.id, &person.sealed_key) else {
            tracing::error!(account = %person.id, "the account's audit key does not open; its row lacks what is personal");
            return None;
        };
        // A row's id is random and used once, and so is what is derived from it.
        let nonce = key.derive("row nonce").tag(&[row.as_bytes()]);
        let nonce = *nonce.first_chunk::<24>()?;
        Some(seal(&key, row, &serde_json::to_vec(&personal).ok()?, nonce))
    }

    /// Opens what was sealed for a row; nothing where the key was destroyed, or is not that of the account.
    pub(super) fn read(
        &self,
        account: &AccountId,
        sealed_key: &[u8],
        row: &str,
        personal: &[u8],
    ) -> Option<Personal> {
        let key = self.key_of(account, sealed_key)?;
        serde_json::from_slice(&open(&key, row, personal).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_accounts_key_opens_and_only_its_row() {
        let keys = PersonalKeys::new(SecretKey::from_bytes([1; 32]));
        let account = |id: &str| AccountId::parse(id).unwrap();
        let (alice, bob) = (account("alice"), account("bob"));
        let sealed_key = keys.make(&alice, [2; 56]);
        let person = Person { id: alice.clone(), sealed_key: sealed_key.clone(), login: None };
        let person = person.with_login(&"ä".repeat(400));
        let caller = Caller {
            address: Some("192.0.2.1".parse().unwrap()),
            user_agent: Some("curl/8".to_owned()),
            ..Caller::default()
        };
        let sealed = keys.seal(&person, &caller, "row-1").unwrap();
        let opened = keys.read(&alice, &sealed_key, "row-1", &sealed).unwrap();
        assert_eq!(opened.address.as_deref(), Some("192.0.2.1"));
        assert_eq!(opened.user_agent.as_deref(), Some("curl/8"));
        assert_eq!(opened.login.unwrap().chars().count(), 256);
        assert_eq!(keys.read(&alice, &sealed_key, "row-2", &sealed), None);
        assert_eq!(keys.read(&bob, &sealed_key, "row-1", &sealed), None);
        assert_eq!(keys.read(&alice, &keys.make(&alice, [3; 56]), "row-1", &sealed), None);
        assert_eq!(keys.read(&alice, &[], "row-1", &sealed), None, "destroyed");
        // Nothing personal is nothing to seal.
        assert_eq!(keys.seal(&Person { login: None, ..person }, &Caller::operator(), "row-1"), None);
    }
}
