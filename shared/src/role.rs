//! Roles: names for sets of permissions that an administrator gives to accounts (L8).

use crate::permission::{Permission, holds};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A role's name within its merchant: `[a-z][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

/// A text that is no role's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's name is a letter a-z and up to 63 characters of a-z 0-9 . _ -")]
pub struct NotARole;

impl RoleName {
    /// Reads a role's name.
    ///
    /// # Errors
    /// [`NotARole`] when the text is empty, longer than 64 characters or holds another character.
    pub fn parse(text: &str) -> Result<Self, NotARole> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if first && text.len() <= 64 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARole)
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

impl TryFrom<String> for RoleName {
    type Error = NotARole;
    fn try_from(text: String) -> Result<Self, NotARole> {
        Self::parse(&text)
    }
}

/// Which of the permissions that are given anew the giver may not give. What was given before may stay, whoever gave it.
pub fn beyond_the_giver<'a>(
    giver: &BTreeSet<Permission>,
    before: &BTreeSet<Permission>,
    after: &'a BTreeSet<Permission>,
) -> Option<&'a Permission> {
    after.iter().find(|p| !holds(before, p) && !p.may_be_given_by(giver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::parse_scope;

    #[test]
    fn names_are_plain() {
        for good in ["support", "a", "a.b-c_9", &format!("a{}", "b".repeat(63))] {
            assert!(RoleName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "9a", "A", "a b", "а", "a/b", &format!("a{}", "b".repeat(64))] {
            assert!(RoleName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_gives_what_they_do_not_hold() {
        // (giver, before, after, what is beyond)
        for (giver, before, after, beyond) in [
            ("admin:write", "", "read orders:read", None),
            ("admin:write", "", "admin:read", Some("admin:read")),
            ("admin:write", "", "admin:write", None),
            ("admin:*", "", "admin:read", None),
            ("admin:read admin:write", "", "admin:*", Some("admin:*")),
            ("admin:*", "", "platform:read", Some("platform:read")),
            ("admin:write", "admin:*", "admin:*", None),
            ("admin:write", "admin:*", "admin:read", None),
            ("admin:write", "admin:read", "admin:*", Some("admin:*")),
            // Over people's data, their factors, and what they are told.
            ("admin:*", "", "pii:read", Some("pii:read")),
            ("admin:*", "", "account:factors:reset", Some("account:factors:reset")),
            ("admin:*", "", "errors:explicit", Some("errors:explicit")),
            ("admin:* pii:*", "", "pii:read", None),
            ("admin:* pii:read", "", "pii:*", Some("pii:*")),
            ("admin:*", "pii:read", "pii:read", None),
            ("platform:write", "", "pii:read account:* errors:explicit", None),
            ("platform:read", "", "pii:read", Some("pii:read")),
            ("platform:write", "", "platform:read", Some("platform:read")),
        ] {
            let [giver, before, after] = [giver, before, after].map(|text| parse_scope(text).unwrap());
            let found = beyond_the_giver(&giver, &before, &after).map(Permission::as_str);
            assert_eq!(found, beyond, "{giver:?} {before:?} {after:?}");
        }
    }
}
