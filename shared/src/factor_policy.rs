//! Which factors a permission needs, and so who can have it (C5).

use crate::permission::{Permission, holds};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something that proves an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FactorRule {
    /// Any of these sets is enough.
    pub any_of: Alternatives,
    /// Enough as long as the account has enrolled no factor with which an alternative could be met; this is how an
    /// account attaches its first second factor. Empty: no such way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until_enrolled: Alternatives,
}

impl FactorRule {
    /// Credentials or a passkey.
    fn basic() -> Self {
        let any_of = vec![BTreeSet::from([Factor::Credentials]), BTreeSet::from([Factor::Passkey])];
        Self { any_of, until_enrolled: Vec::new() }
    }

    /// Credentials and one of totp, passkey, sms.
    fn second_factor() -> Self {
        let pair = |second: &Factor| BTreeSet::from([Factor::Credentials, *second]);
        let any_of = [Factor::Totp, Factor::Passkey, Factor::Sms].iter().map(pair).collect();
        Self { any_of, until_enrolled: Vec::new() }
    }
}

/// A merchant's policy: which factors a permission needs, and so which permissions everybody can have who proves those. A
/// permission that is privileged, or not named here, is had only by whom a role or a grant gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FactorPolicy(pub BTreeMap<Permission, FactorRule>);

impl Default for FactorPolicy {
    /// `read` and `write` for credentials or a passkey; `security` for credentials and one of totp, passkey, sms, or
    /// for credentials alone until one of those is enrolled.
    fn default() -> Self {
        let security = FactorRule {
            until_enrolled: vec![BTreeSet::from([Factor::Credentials])],
            ..FactorRule::second_factor()
        };
        Self(
            [("read", FactorRule::basic()), ("write", FactorRule::basic()), ("security", security)]
                .into_iter()
                .filter_map(|(name, rule)| Permission::parse(name).ok().map(|p| (p, rule)))
                .collect(),
        )
    }
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// A code alone never logs in (C5).
    #[error("`{0}` could be had without credentials or a passkey")]
    CodeAlone(Permission),
    /// No factors at all would do.
    #[error("`{0}` names no factors")]
    NoFactors(Permission),
    /// More than anybody needs.
    #[error(
        "a policy names at most {MAX_RULES} permissions, with at most {MAX_ALTERNATIVES} alternatives each"
    )]
    TooMany,
}

/// The most permissions in a policy.
pub const MAX_RULES: usize = 100;

/// The most alternatives of one permission.
pub const MAX_ALTERNATIVES: usize = 20;

/// What factors give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactorVerdict {
    /// Granted.
    pub granted: BTreeSet<Permission>,
    /// Not granted, though factors could: what is missing.
    pub needed: FactorsNeeded,
}

impl FactorPolicy {
    /// Whether the policy can be used.
    ///
    /// # Errors
    /// [`BadPolicy`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let too_many = |rule: &FactorRule| rule.any_of.len() + rule.until_enrolled.len() > MAX_ALTERNATIVES;
        if self.0.len() > MAX_RULES || self.0.values().any(too_many) {
            return Err(BadPolicy::TooMany);
        }
        for (permission, rule) in &self.0 {
            if rule.any_of.is_empty() {
                return Err(BadPolicy::NoFactors(permission.clone()));
            }
            let strong =
                |set: &BTreeSet<Factor>| set.contains(&Factor::Credentials) || set.contains(&Factor::Passkey);
            if !rule.any_of.iter().chain(&rule.until_enrolled).all(strong) {
                return Err(BadPolicy::CodeAlone(permission.clone()));
            }
        }
        Ok(())
    }

    /// What a permission asks for, all of it: its own rule, or that of the narrowest family that covers it, or what holds where
    /// nothing is said; and where it is a family itself the rules of its members too, since it is as good as each of them.
    fn rules_of(&self, permission: &Permission) -> Vec<FactorRule> {
        let own = self.0.get(permission).or_else(|| {
            let covering = self.0.iter().filter(|(family, _)| family.covers(permission));
            covering.max_by_key(|(family, _)| family.as_str().len()).map(|(_, rule)| rule)
        });
        let own = match own {
            Some(rule) => rule.clone(),
            None if permission.is_privileged() || permission.as_str() == "security" => {
                FactorRule::second_factor()
            }
            None => FactorRule::basic(),
        };
        let members = self.0.iter().filter(|(member, _)| *member != permission && permission.covers(member));
        std::iter::once(own).chain(members.map(|(_, rule)| rule.clone())).collect()
    }

    /// Whether an account can have a permission at all that holds these by roles and grants.
    pub fn is_open_to(&self, held: &BTreeSet<Permission>, permission: &Permission) -> bool {
        (self.0.contains_key(permission) && !permission.is_privileged()) || holds(held, permission)
    }

    /// The privileged permissions whose factors are others than in another policy: who changes those has to be somebody who may give them.
    pub fn privileged_rules_changed<'a>(&'a self, before: &'a Self) -> Vec<&'a Permission> {
        let names: BTreeSet<&Permission> =
            self.0.keys().chain(before.0.keys()).filter(|p| p.is_privileged()).collect();
        names.into_iter().filter(|p| self.0.get(*p) != before.0.get(*p)).collect()
    }

    /// Judges a request for permissions. `asked` empty means everything that can be had. `held` is what roles and grants give
    /// the account, `presented` are the factors verified now, `enrolled` those that the account has at all. Permissions that
    /// the account cannot have whatever it proves are left out silently.
    pub fn decide(
        &self,
        asked: &BTreeSet<Permission>,
        held: &BTreeSet<Permission>,
        presented: &BTreeSet<Factor>,
        enrolled: &BTreeSet<Factor>,
    ) -> FactorVerdict {
        let wanted: BTreeSet<Permission> = if asked.is_empty() {
            self.0.keys().filter(|p| self.is_open_to(held, p)).chain(held).cloned().collect()
        } else {
            asked.iter().filter(|p| self.is_open_to(held, p)).cloned().collect()
        };
        let met = |sets: &Alternatives| sets.iter().any(|set| !set.is_empty() && set.is_subset(presented));
        let is_met = |rule: &FactorRule| {
            let reachable = rule.any_of.iter().any(|set| set.is_subset(enrolled));
            met(&rule.any_of) || (!reachable && met(&rule.until_enrolled))
        };
        let mut verdict = FactorVerdict::default();
        for permission in wanted {
            let Some(unmet) = self.rules_of(&permission).into_iter().find(|rule| !is_met(rule)) else {
                verdict.granted.insert(permission);
                continue;
            };
            let missing = unmet.any_of.iter().map(|set| set.difference(presented).copied().collect());
            let mut missing: Vec<Vec<Factor>> = missing.collect();
            missing.sort_by_key(Vec::len);
            verdict.needed.insert(permission, missing);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::{parse_scope, print_scope};

    fn p(name: &str) -> Permission {
        Permission::parse(name).unwrap()
    }

    fn factors(list: &[Factor]) -> BTreeSet<Factor> {
        list.iter().copied().collect()
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
            let decided = policy.decide(
                &parse_scope("security").unwrap(),
                &BTreeSet::new(),
                &factors(&presented),
                &factors(&enrolled),
            );
            assert_eq!(decided.granted.contains(&p("security")), verdict, "{presented:?} of {enrolled:?}");
            assert_eq!(decided.needed.contains_key(&p("security")), !verdict);
        }
    }

    #[test]
    fn a_code_alone_never_logs_in_and_a_key_permission_is_not_had_by_factors() {
        let policy = FactorPolicy::default();
        let verdict = policy.decide(
            &BTreeSet::new(),
            &BTreeSet::new(),
            &factors(&[Factor::Email]),
            &factors(&[Factor::Email]),
        );
        assert!(verdict.granted.is_empty());
        let asked = parse_scope("register admin:read").unwrap();
        let verdict = policy.decide(
            &asked,
            &BTreeSet::new(),
            &factors(&[Factor::Credentials]),
            &factors(&[Factor::Credentials]),
        );
        assert_eq!(verdict, FactorVerdict::default());
    }

    #[test]
    fn the_answer_names_what_is_missing() {
        let enrolled = factors(&[Factor::Credentials, Factor::Totp]);
        let verdict = FactorPolicy::default().decide(
            &parse_scope("security").unwrap(),
            &BTreeSet::new(),
            &factors(&[Factor::Credentials]),
            &enrolled,
        );
        assert_eq!(
            serde_json::to_string(&verdict.needed).unwrap(),
            r#"{"security":[["totp"],["passkey"],["sms"]]}"#
        );
    }
    #[test]
    fn roles_give_what_no_policy_gives_to_everybody() {
        use Factor::{Credentials, Email, Passkey, Sms, Totp};
        let strict = r#"{"admin:*":{"any_of":[["credentials"]]},"admin:write":{"any_of":[["credentials","passkey"]]},
            "a:*":{"any_of":[["credentials"]]},"a:b:*":{"any_of":[["credentials","totp"]]}}"#;
        // (policy's own rules, held, asked, presented, granted, needed)
        let own = r#"{"read":{"any_of":[["credentials"]]},"admin:read":{"any_of":[["credentials"]]},"reports:read":{"any_of":[["credentials"]]}}"#;
        let table = [
            // Naming a privileged permission gives it to nobody.
            (Some(own), "", "", vec![Credentials], "read reports:read", ""),
            (Some(own), "", "admin:read", vec![Credentials], "", ""),
            (Some(own), "admin:read", "", vec![Credentials], "admin:read read reports:read", ""),
            (Some(own), "admin:*", "admin:read", vec![Credentials], "admin:read", ""),
            // The rule of one member is not that of the family.
            (Some(own), "admin:*", "admin:*", vec![Credentials], "", "admin:*"),
            // Where nothing is said, what is privileged needs a second factor and nothing else does.
            (None, "admin:read", "", vec![Credentials], "read security write", "admin:read"),
            (None, "admin:read", "admin:read", vec![Credentials, Totp], "admin:read", ""),
            (None, "pii:read", "pii:read", vec![Credentials], "", "pii:read"),
            (None, "orders:ship", "", vec![Credentials], "orders:ship read security write", ""),
            (None, "orders:ship", "orders:ship", vec![Email], "", "orders:ship"),
            (None, "", "orders:ship", vec![Credentials], "", ""),
            // A family is as good as each of its members: it wants what the strictest of them wants. The narrowest family decides.
            (Some(strict), "admin:*", "admin:*", vec![Credentials, Sms], "", "admin:*"),
            (Some(strict), "admin:*", "admin:*", vec![Credentials, Passkey], "admin:*", ""),
            (Some(strict), "admin:*", "admin:read", vec![Credentials], "admin:read", ""),
            (Some(strict), "a:b:c", "a:b:c", vec![Credentials], "", "a:b:c"),
            (Some(strict), "a:x", "a:x", vec![Credentials], "a:x", ""),
        ];
        for (own, held, asked, presented, granted, needed) in table {
            let policy = own.map_or_else(FactorPolicy::default, |text| serde_json::from_str(text).unwrap());
            let [asked, held] = [asked, held].map(|text| parse_scope(text).unwrap());
            let verdict = policy.decide(&asked, &held, &factors(&presented), &factors(&[Credentials]));
            let missing: BTreeSet<Permission> = verdict.needed.keys().cloned().collect();
            let found = (print_scope(&verdict.granted), print_scope(&missing));
            assert_eq!(found, (granted.to_owned(), needed.to_owned()), "{held:?} asked {asked:?}");
        }
    }

    #[test]
    fn a_policy_by_which_a_code_alone_would_log_in_is_none() {
        let check = |text: &str| serde_json::from_str::<FactorPolicy>(text).unwrap().check();
        assert_eq!(FactorPolicy::default().check(), Ok(()));
        assert_eq!(check(r#"{"read":{"any_of":[["passkey"],["credentials","email"]]}}"#), Ok(()));
        for bad in [
            r#"{"read":{"any_of":[["email"]]}}"#,
            r#"{"read":{"any_of":[["credentials"],["totp","sms"]]}}"#,
            r#"{"read":{"any_of":[["credentials"]],"until_enrolled":[["sms"]]}}"#,
            r#"{"read":{"any_of":[[]]}}"#,
        ] {
            assert_eq!(check(bad), Err(BadPolicy::CodeAlone(p("read"))), "{bad}");
        }
        assert_eq!(check(r#"{"read":{"any_of":[]}}"#), Err(BadPolicy::NoFactors(p("read"))));
        let many =
            FactorPolicy((0..=MAX_RULES).map(|i| (p(&format!("p{i}")), FactorRule::basic())).collect());
        assert_eq!(many.check(), Err(BadPolicy::TooMany));
    }

    #[test]
    fn a_change_of_what_administration_wants_is_seen() {
        let policy = |text: &str| serde_json::from_str::<FactorPolicy>(text).unwrap();
        let before = policy(
            r#"{"read":{"any_of":[["credentials"]]},"admin:read":{"any_of":[["credentials","totp"]]}}"#,
        );
        for (after, changed) in [
            (r#"{"read":{"any_of":[["passkey"]]},"admin:read":{"any_of":[["credentials","totp"]]}}"#, ""),
            (r#"{"admin:read":{"any_of":[["credentials"]]}}"#, "admin:read"),
            ("{}", "admin:read"),
            (
                r#"{"admin:read":{"any_of":[["credentials","totp"]]},"platform:*":{"any_of":[["passkey"]]}}"#,
                "platform:*",
            ),
            (
                r#"{"admin:read":{"any_of":[["credentials","totp"]]},"pii:read":{"any_of":[["credentials"]]}}"#,
                "pii:read",
            ),
        ] {
            let after = policy(after);
            let found: Vec<&str> =
                after.privileged_rules_changed(&before).into_iter().map(Permission::as_str).collect();
            assert_eq!(found.join(" "), changed);
        }
    }
}
