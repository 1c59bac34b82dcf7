//! `--set issuer.<section>.<key>=<value>` and `--set edge.<section>.<key>=<value>`.

use crate::Outcome;
use margrave_shared::limiter::limits::LimitSettings;

/// What was set, for each half in its own form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Environment variables of the issuer.
    pub(crate) issuer: Vec<(String, String)>,
    /// Lines of TOML for the edge's `EDGE_OVERRIDES`.
    pub(crate) edge: String,
}

impl Settings {
    /// Reads the options.
    pub(crate) fn parse(texts: &[String]) -> Outcome<Self> {
        let mut settings = Self::default();
        // What is said of the issuer itself counts, wherever it stands.
        let (of_issuer, others): (Vec<_>, Vec<_>) =
            texts.iter().partition(|text| text.starts_with("issuer."));
        for text in others.into_iter().chain(of_issuer) {
            let wrong = || {
                format!(
                    "--set {text}: write it as issuer.<section>.<key>=<value> or edge.<section>.<key>=<value>"
                )
            };
            let (path, value) = text.split_once('=').ok_or_else(wrong)?;
            let plain = |part: &&str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            let parts: Vec<&str> = path.split('.').collect();
            if !parts.iter().all(plain) {
                return Err(wrong());
            }
            match parts.as_slice() {
                ["issuer", rest @ ..] if (1..=2).contains(&rest.len()) => {
                    settings.set_issuer(rest, value);
                }
                ["edge", rest @ ..] if (1..=2).contains(&rest.len()) => {
                    // One rule for whoever comes through the edge, and past it.
                    if let ["limits", key] = rest
                        && toml::from_str::<LimitSettings>(&format!("{key} = {value}")).is_ok()
                    {
                        settings.set_issuer(rest, value);
                    }
                    let name = rest.join(".");
                    // What is no TOML value is a text.
                    let is_value = format!("v = {value}").parse::<toml::Table>().is_ok();
                    let value = if is_value { value.to_owned() } else { format!("{value:?}") };
                    settings.edge.extend([name.as_str(), " = ", &value, "\n"]);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(settings)
    }

    fn set_issuer(&mut self, path: &[&str], value: &str) {
        let name = format!("MARGRAVE_{}", path.join("__").to_uppercase());
        self.issuer.retain(|(set, _)| *set != name);
        self.issuer.push((name, value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn both_halves_read_their_settings() {
        let set =
            |texts: &[&str]| Settings::parse(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let settings =
            set(&["issuer.session.idle_s=5", "edge.limits.account_attempts=3", "edge.client_address=peer"])
                .unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let issuer =
            [variable("MARGRAVE_LIMITS__ACCOUNT_ATTEMPTS", "3"), variable("MARGRAVE_SESSION__IDLE_S", "5")];
        assert_eq!(settings.issuer, issuer);
        assert_eq!(settings.edge, "limits.account_attempts = 3\nclient_address = \"peer\"\n");
        let settings = set(&["issuer.limits.account_attempts=7", "edge.limits.account_attempts=3"]).unwrap();
        assert_eq!(settings.issuer, [("MARGRAVE_LIMITS__ACCOUNT_ATTEMPTS".to_owned(), "7".to_owned())]);
        for bad in ["x", "issuer=1", "other.a.b=1", "edge.a.b.c=1", "edge.a b=1"] {
            assert!(set(&[bad]).is_err(), "{bad}");
        }
    }
}
