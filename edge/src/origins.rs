//! The origins behind the edge, each with an audience and a hop key of its own: a token for one is worthless at another,
//! and what one of them could sign counts nowhere else.

use margrave_shared::route_policy::RoutePolicy;
use margrave_shared::route_table::{BAD_ORIGIN_NAME, is_origin_name};
use margrave_shared::secret::SecretKey;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[origins.<name>]`: an origin beside the one of `origin_url`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OriginConfig {
    /// Where it is reached.
    url: String,
    /// The audience of its tokens. Default: the edge's.
    audience: Option<String>,
}

/// One origin.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it is reached.
    pub(crate) url: String,
    /// The path that stands before every request's, as the signature covers it; empty for most.
    pub(crate) base: String,
    /// Its host and port, for its `Host` and the signature.
    pub(crate) authority: String,
    /// The audience of its tokens.
    pub(crate) audience: String,
    /// The name of its service binding, where it is reached by one.
    pub(crate) binding: String,
    /// The name of its hop key.
    pub(crate) hop_key_id: String,
    /// Signs requests to it.
    pub(crate) hop_key: SecretKey,
}

/// All origins.
#[derive(Debug)]
pub(crate) struct Origins {
    first: Origin,
    named: BTreeMap<String, Origin>,
}

impl Origins {
    /// Reads the origins with their secrets.
    ///
    /// # Errors
    /// Every problem, not only the first.
    pub(crate) fn read(
        url: &str,
        audience: &str,
        named: &BTreeMap<String, OriginConfig>,
        secret: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut note = |read: Result<Origin, Vec<String>>| read.map_err(|bad| problems.extend(bad)).ok();
        let first = note(read(None, url, audience, secret));
        let mut others = BTreeMap::new();
        for (name, config) in named {
            let audience = config.audience.as_deref().unwrap_or(audience);
            if let Some(origin) = note(read(Some(name), &config.url, audience, secret)) {
                others.insert(name.clone(), origin);
            }
        }
        let all: Vec<&Origin> = first.iter().chain(others.values()).collect();
        let doubled =
            |origin: &Origin| all.iter().filter(|o| o.hop_key.bytes() == origin.hop_key.bytes()).count() > 1;
        if all.iter().any(|origin| doubled(origin)) {
            problems.push("two origins have one hop key: each could sign for the other".to_owned());
        }
        match first {
            Some(first) if problems.is_empty() => Ok(Self { first, named: others }),
            _ => Err(problems),
        }
    }

    /// The one that a route leads to.
    pub(crate) fn of(&self, policy: &RoutePolicy) -> &Origin {
        policy.origin.as_ref().and_then(|name| self.named.get(name)).unwrap_or(&self.first)
    }

    /// The audiences of all of them: a token for one of them may show itself at the edge's own routes.
    pub(crate) fn audiences(&self) -> Vec<String> {
        let mut all: Vec<String> =
            core::iter::once(&self.first).chain(self.named.values()).map(|o| o.audience.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn read(
    name: Option<&str>,
    url: &str,
    audience: &str,
    secret: &dyn Fn(&str) -> Option<String>,
) -> Result<Origin, Vec<String>> {
    let mut problems = Vec::new();
    if name.is_some_and(|name| !is_origin_name(name)) {
        problems.push(format!("`origins.{}`: {BAD_ORIGIN_NAME}", name.unwrap_or("")));
    }
    let authority = authority(url).filter(|_| !url.ends_with('/'));
    if authority.is_none() {
        let place = name.map_or_else(|| "origin_url".to_owned(), |name| format!("origins.{name}.url"));
        problems.push(format!("`{place}` is an http(s) URL without a slash at its end"));
    }
    let suffix = name.map(|name| format!("_{}", name.to_ascii_uppercase())).unwrap_or_default();
    let hop_key =
        read_hop_key(&format!("HOP_KEY{suffix}"), secret).map_err(|problem| problems.push(problem)).ok();
    match (authority, hop_key) {
        (Some(authority), Some((hop_key_id, hop_key))) if problems.is_empty() => Ok(Origin {
            url: url.to_owned(),
            base: url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default(),
            authority,
            audience: audience.to_owned(),
            binding: format!("ORIGIN{suffix}"),
            hop_key_id,
            hop_key,
        }),
        _ => Err(problems),
    }
}

/// A secret `<key id>:<key>`.
fn read_hop_key(name: &str, secret: &dyn Fn(&str) -> Option<String>) -> Result<(String, SecretKey), String> {
    let text = secret(name).ok_or_else(|| format!("the secret {name} (as <key id>:<key>) is not set"))?;
    let (id, key) = text
        .split_once(':')
        .filter(|(id, _)| margrave_shared::id::is_opaque_id(id))
        .ok_or_else(|| format!("the secret {name} is written as <key id>:<key>"))?;
    let key = SecretKey::parse(key).map_err(|error| format!("the secret {name}: {error}"))?;
    Ok((id.to_owned(), key))
}

/// Host and port of a URL, without the port that goes without saying: so the runtime writes `Host`.
pub(crate) fn authority(url: &str) -> Option<String> {
    let secure = url.strip_prefix("https://").map(|rest| (rest, ":443"));
    let (rest, default) = secure.or_else(|| Some((url.strip_prefix("http://")?, ":80")))?;
    let authority = rest.split('/').next()?.to_ascii_lowercase();
    let authority = authority.strip_suffix(default).unwrap_or(&authority).to_owned();
    (!authority.is_empty() && !authority.contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, url: &str) -> BTreeMap<String, OriginConfig> {
        BTreeMap::from([(name.to_owned(), OriginConfig { url: url.to_owned(), audience: None })])
    }

    #[test]
    fn every_origin_needs_a_name_a_url_and_a_key_of_its_own() {
        let key =
            |id: &str, byte| Some(format!("{id}:{}", SecretKey::from_bytes([byte; 32]).to_text().expose()));
        let secret = |name: &str| match name {
            "HOP_KEY" => key("k1", 7),
            "HOP_KEY_CRM" => key("crm-1", 8),
            "HOP_KEY_SAME" => key("same-1", 7),
            "HOP_KEY_BAD" => Some("no key".to_owned()),
            _ => None,
        };
        let read = |name: &str, url: &str| Origins::read("http://a", "svc", &named(name, url), &secret);
        let origins = read("crm", "https://crm:8443/base").unwrap();
        let crm = RoutePolicy { origin: Some("crm".into()), ..RoutePolicy::any_token() };
        assert_eq!(origins.of(&crm).authority, "crm:8443");
        assert_eq!((origins.of(&crm).base.as_str(), origins.first.base.as_str()), ("/base", ""));
        assert_eq!(origins.of(&crm).binding, "ORIGIN_CRM");
        assert_eq!(origins.of(&crm).hop_key_id, "crm-1");
        assert_eq!(origins.of(&RoutePolicy::any_token()).binding, "ORIGIN");
        assert_eq!(origins.audiences(), ["svc"]);
        for (url, written) in [("https://a:443/b", "a"), ("http://a:80", "a"), ("https://A:80", "a:80")] {
            assert_eq!(authority(url).as_deref(), Some(written), "{url}");
        }
        for (name, url) in [
            ("crm", "ftp://a"),
            ("crm", "http://a/"),
            ("bad", "http://a"),
            ("none", "http://a"),
            ("same", "http://a"),
        ] {
            assert_eq!(read(name, url).unwrap_err().len(), 1, "{name} {url}");
        }
    }
}
