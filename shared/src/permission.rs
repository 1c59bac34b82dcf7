//! Permissions: dotted names that sections of an API demand (C2).

use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A dotted name that a section of an API demands: `read`, `security`, `pii:read`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission(String);

/// A text that is no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a permission is 1 to 64 characters of a-z 0-9 . _ : -, or ends in `:*`")]
pub struct NotAPermission;

impl Permission {
    /// Reads a permission.
    ///
    /// # Errors
    /// [`NotAPermission`] when the text is empty, too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, NotAPermission> {
        let name = text.strip_suffix(":*").unwrap_or(text);
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b':' | b'-');
        if (1..=64).contains(&text.len()) && !name.is_empty() && name.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAPermission)
        }
    }

    /// The permission's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether holding this one is holding `wanted`: the same name, or `admin:*` for `admin:read`.
    pub fn covers(&self, wanted: &Self) -> bool {
        self == wanted
            || self
                .0
                .strip_suffix('*')
                .is_some_and(|family| wanted.0.len() > family.len() && wanted.0.starts_with(family))
    }

    /// Whether it is a right over the system itself, which nobody gives who does not hold it.
    pub fn administers(&self) -> bool {
        self.is_of(&["admin", "platform"])
    }

    /// Whether it reaches beyond one's own merchant: such a right belongs to the platform merchant.
    pub fn is_of_platform(&self) -> bool {
        self.is_of(&["platform"])
    }

    /// Whether it is a right over others, their data or what they are told: no policy gives it to everybody. It is had by a role or
    /// a grant only (C5, L8, L9).
    pub fn is_privileged(&self) -> bool {
        self.is_of(&["admin", "platform", "pii", "account", "errors"])
    }

    /// Whether somebody with these permissions may give it, and say what it takes to have it. Nobody gives a privileged one that they do
    /// not hold; but whoever may change everything of the platform gives those that are not over the system (C5, L8, L9).
    pub fn may_be_given_by(&self, giver: &BTreeSet<Self>) -> bool {
        let is_platforms = || holds(giver, &Self("platform:write".to_owned()));
        !self.is_privileged() || holds(giver, self) || (!self.administers() && is_platforms())
    }

    fn is_of(&self, families: &[&str]) -> bool {
        self.0.split_once(':').is_some_and(|(family, _)| families.contains(&family))
    }

    /// How old the authentication behind it may be when it is granted, in seconds. Permissions with such a limit
    /// drop out when a token is refreshed.
    pub fn max_auth_age_s(&self) -> Option<i64> {
        if self.0 == "security" {
            Some(600)
        } else if self.administers() {
            Some(1800)
        } else {
            None
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        permission.0
    }
}

impl TryFrom<String> for Permission {
    type Error = NotAPermission;
    fn try_from(text: String) -> Result<Self, NotAPermission> {
        Self::parse(&text)
    }
}

/// Reads a space-separated list as `scope` holds it (RFC 6749 §3.3): sorted, without repetitions.
///
/// # Errors
/// [`NotAPermission`] when one of the names is none, or spaces are doubled.
pub fn parse_scope(text: &str) -> Result<BTreeSet<Permission>, NotAPermission> {
    if text.is_empty() {
        return Ok(BTreeSet::new());
    }
    text.split(' ').map(Permission::parse).collect()
}

/// Writes a list as `scope` holds it.
pub fn print_scope(permissions: &BTreeSet<Permission>) -> String {
    let names: Vec<&str> = permissions.iter().map(Permission::as_str).collect();
    names.join(" ")
}

/// Whether `held` covers `wanted`.
pub fn holds(held: &BTreeSet<Permission>, wanted: &Permission) -> bool {
    held.contains(wanted) || held.iter().any(|p| p.covers(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["read", "admin:read", "admin:*", "pii:read", "errors:explicit", "a.b-c_d"] {
            assert!(Permission::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "*", ":*", "Read", "a b", "a*", "a:*:b", "é", "a\"", &"x".repeat(65)] {
            assert!(Permission::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_family_covers_its_members_and_nothing_else() {
        for (held, wanted, verdict) in [
            ("read", "read", true),
            ("admin:*", "admin:read", true),
            ("admin:*", "admin:*", true),
            ("admin:read", "admin:*", false),
            ("admin:*", "admin:", false),
            ("admin:*", "administer", false),
            ("admin:*", "platform:read", false),
            ("read", "read:all", false),
        ] {
            assert_eq!(p_any(held).covers(&p_any(wanted)), verdict, "{held} {wanted}");
        }
    }

    #[test]
    fn families_say_what_a_right_is_over() {
        // (permission, of the platform, over the system, over others)
        for (name, platform, administers, privileged) in [
            ("platform:read", true, true, true),
            ("platform:*", true, true, true),
            ("admin:read", false, true, true),
            ("admin:*", false, true, true),
            ("pii:read", false, false, true),
            ("errors:explicit", false, false, true),
            ("platform", false, false, false),
            ("platforms:read", false, false, false),
            ("orders:platform:read", false, false, false),
            ("read", false, false, false),
        ] {
            let p = p_any(name);
            let found = (p.is_of_platform(), p.administers(), p.is_privileged());
            assert_eq!(found, (platform, administers, privileged), "{name}");
            assert_eq!(p.max_auth_age_s(), administers.then_some(1800), "{name}");
        }
    }

    fn p_any(name: &str) -> Permission {
        Permission(name.to_owned())
    }

    #[test]
    fn scope_is_strict() {
        assert_eq!(print_scope(&parse_scope("write read read").unwrap()), "read write");
        assert!(parse_scope("").unwrap().is_empty());
        for bad in ["read  write", " read", "read ", "read,write"] {
            assert!(parse_scope(bad).is_err(), "{bad:?}");
        }
    }
}
