//! Permissions, and which factors they need (C2, C5).

use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

    /// How old the authentication behind it may be when it is granted, in seconds. Permissions with such a limit
    /// drop out when a token is refreshed.
    pub fn max_auth_age_s(&self) -> Option<i64> {
        if self.0 == "security" {
            Some(600)
        } else if self.0.starts_with("admin:") || self.0.starts_with("platform:") {
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

/// Something that proves an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Factor {
    /// Login and password.
    Credentials,
    /// A code by e-mail.
    Email,
    /// A code by text message.
    Sms,
    /// A code by voice or flash call.
    Call,
    /// A time-based code (RFC 6238).
    Totp,
    /// A WebAuthn credential.
    Passkey,
    /// A recovery code.
    Recovery,
}

impl Factor {
    /// The name in tokens and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Call => "call",
            Self::Totp => "totp",
            Self::Passkey => "passkey",
            Self::Recovery => "recovery",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Credentials, Self::Email, Self::Sms, Self::Call, Self::Totp, Self::Passkey, Self::Recovery]
            .into_iter()
            .find(|factor| factor.as_str() == text)
    }

    /// The value of `amr` (RFC 8176 §2) that it stands for.
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Credentials => "pwd",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Call => "tel",
            Self::Totp => "otp",
            Self::Passkey => "hwk",
            Self::Recovery => "kba",
        }
    }
}

/// Sets of factors, any of which is enough.
pub type Alternatives = Vec<BTreeSet<Factor>>;

/// Permission → the factors still missing, one list per alternative, shortest first.
pub type FactorsNeeded = BTreeMap<Permission, Vec<Vec<Factor>>>;

/// What a permission that factors can give asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorRule {
    /// Any of these sets is enough.
    pub any_of: Alternatives,
    /// Enough as long as the account has enrolled no factor with which an alternative could be met; this is how an
    /// account attaches its first second factor. Empty: no such way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until_enrolled: Alternatives,
}

/// A merchant's policy: which permissions factors can give, and which factors each needs. A permission that is not
/// named cannot be had by factors at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactorPolicy(pub BTreeMap<Permission, FactorRule>);

impl Default for FactorPolicy {
    /// `read` and `write` for credentials or a passkey; `security` for credentials and one of totp, passkey, sms, or
    /// for credentials alone until one of those is enrolled.
    fn default() -> Self {
        let set = |factors: &[Factor]| factors.iter().copied().collect::<BTreeSet<_>>();
        let basic = FactorRule {
            any_of: vec![set(&[Factor::Credentials]), set(&[Factor::Passkey])],
            until_enrolled: Vec::new(),
        };
        let security = FactorRule {
            any_of: [Factor::Totp, Factor::Passkey, Factor::Sms]
                .iter()
                .map(|second| set(&[Factor::Credentials, *second]))
                .collect(),
            until_enrolled: vec![set(&[Factor::Credentials])],
        };
        Self(
            [("read", basic.clone()), ("write", basic), ("security", security)]
                .into_iter()
                .filter_map(|(name, rule)| Permission::parse(name).ok().map(|p| (p, rule)))
                .collect(),
        )
    }
}

/// What factors give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactorVerdict {
    /// Granted.
    pub granted: BTreeSet<Permission>,
    /// Not granted, though factors could: what is missing.
    pub needed: FactorsNeeded,
}

impl FactorPolicy {
    /// Judges a request for permissions. `asked` empty means everything that can be had. `presented` are the factors
    /// verified now, `enrolled` those that the account has at all. Permissions outside the policy are left out
    /// silently: no factor could give them.
    pub fn decide(
        &self,
        asked: &BTreeSet<Permission>,
        presented: &BTreeSet<Factor>,
        enrolled: &BTreeSet<Factor>,
    ) -> FactorVerdict {
        let mut verdict = FactorVerdict::default();
        for (permission, rule) in &self.0 {
            if !asked.is_empty() && !asked.contains(permission) {
                continue;
            }
            let met =
                |sets: &Alternatives| sets.iter().any(|set| !set.is_empty() && set.is_subset(presented));
            let reachable = rule.any_of.iter().any(|set| set.is_subset(enrolled));
            if met(&rule.any_of) || (!reachable && met(&rule.until_enrolled)) {
                verdict.granted.insert(permission.clone());
            } else {
                let mut missing: Vec<Vec<Factor>> = rule
                    .any_of
                    .iter()
                    .map(|set| set.difference(presented).copied().collect::<Vec<_>>())
                    .collect();
                missing.sort_by_key(Vec::len);
                verdict.needed.insert(permission.clone(), missing);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(name: &str) -> Permission {
        Permission::parse(name).unwrap()
    }

    fn factors(list: &[Factor]) -> BTreeSet<Factor> {
        list.iter().copied().collect()
    }

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

    #[test]
    fn security_needs_a_second_factor_once_there_is_one() {
        use Factor::{Credentials, Email, Passkey, Totp};
        let policy = FactorPolicy::default();
        // (presented, enrolled, may have `security`)
        let table = [
            (vec![Credentials], vec![Credentials], true),
            (vec![Credentials], vec![Credentials, Totp], false),
            (vec![Credentials, Totp], vec![Credentials, Totp], true),
            (vec![Credentials], vec![Credentials, Email], true),
            (vec![Credentials, Email], vec![Credentials, Totp, Email], false),
            (vec![Totp], vec![Credentials, Totp], false),
            (vec![Email], vec![Email], false),
            (vec![], vec![], false),
            (vec![Credentials, Passkey], vec![Credentials, Passkey], true),
        ];
        for (presented, enrolled, verdict) in table {
            let decided =
                policy.decide(&parse_scope("security").unwrap(), &factors(&presented), &factors(&enrolled));
            assert_eq!(decided.granted.contains(&p("security")), verdict, "{presented:?} of {enrolled:?}");
            assert_eq!(decided.needed.contains_key(&p("security")), !verdict);
        }
    }

    #[test]
    fn a_code_alone_never_logs_in_and_a_key_permission_is_not_had_by_factors() {
        let policy = FactorPolicy::default();
        let verdict = policy.decide(&BTreeSet::new(), &factors(&[Factor::Email]), &factors(&[Factor::Email]));
        assert!(verdict.granted.is_empty());
        let asked = parse_scope("register admin:read").unwrap();
        let verdict =
            policy.decide(&asked, &factors(&[Factor::Credentials]), &factors(&[Factor::Credentials]));
        assert_eq!(verdict, FactorVerdict::default());
    }

    #[test]
    fn the_answer_names_what_is_missing() {
        let enrolled = factors(&[Factor::Credentials, Factor::Totp]);
        let verdict = FactorPolicy::default().decide(
            &parse_scope("security").unwrap(),
            &factors(&[Factor::Credentials]),
            &enrolled,
        );
        assert_eq!(
            serde_json::to_string(&verdict.needed).unwrap(),
            r#"{"security":[["totp"],["passkey"],["sms"]]}"#
        );
    }
}
