//! Cross-origin requests: which pages of other origins may use a route (Fetch standard, §3.2 "CORS protocol").

use crate::header_list::HeaderList;
use crate::route_table::duration_s;
use serde::Deserialize;

/// `cors` of a `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// The origins that may, as browsers send them: `https://app.example.org`. `"*"` = every origin, without credentials.
    pub origins: Vec<String>,
    /// The methods that they may use. Default GET, HEAD and POST.
    #[serde(default = "default_methods")]
    pub methods: Vec<String>,
    /// The headers that they may send. Default `authorization` and `content-type`.
    #[serde(default = "default_headers")]
    pub headers: Vec<String>,
    /// The headers of answers that they may read, beside those that everybody may.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Whether cookies may go along.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember a preflight's answer, `"10m"`, at most two hours.
    #[serde(default = "default_max_age")]
    pub max_age: String,
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn default_methods() -> Vec<String> {
    texts(&["GET", "HEAD", "POST"])
}

fn default_headers() -> Vec<String> {
    texts(&["authorization", "content-type"])
}

fn default_max_age() -> String {
    "10m".to_owned()
}

/// Who may use a route from a page of another origin, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
    any: bool,
    methods: String,
    headers: String,
    expose: String,
    credentials: bool,
    max_age_s: i64,
}

/// Browsers remember no longer than this.
const LONGEST_S: i64 = 7200;

impl Cors {
    /// Reads the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(config: &CorsConfig) -> Result<Self, &'static str> {
        let any = config.origins.iter().any(|origin| origin == "*");
        if config.origins.is_empty() {
            return Err("`cors.origins` is empty");
        }
        if any && (config.origins.len() > 1 || config.credentials) {
            return Err("`cors.origins` with \"*\" stands alone and without `credentials`");
        }
        if !any && !config.origins.iter().all(|origin| is_origin(origin)) {
            return Err(
                "`cors.origins` are like \"https://app.example.org\", in small letters, without a path",
            );
        }
        let lists = [&config.methods, &config.headers, &config.expose];
        if !lists.into_iter().flatten().all(|name| is_token(name)) {
            return Err("`cors.methods`, `cors.headers` and `cors.expose` hold names");
        }
        let max_age_s = duration_s(&config.max_age).filter(|age| *age <= LONGEST_S);
        Ok(Self {
            origins: config.origins.clone(),
            any,
            methods: config.methods.join(", "),
            headers: config.headers.join(", "),
            expose: config.expose.join(", "),
            credentials: config.credentials,
            max_age_s: max_age_s.ok_or("`cors.max_age` is a duration like \"10m\", at most \"2h\"")?,
        })
    }

    /// Whether pages of an origin may use the route.
    pub fn allows(&self, origin: &str) -> bool {
        self.any || self.origins.iter().any(|known| known == origin)
    }

    /// The headers of every answer on the route to a request from an origin. Nothing says yes where it may not.
    pub fn of_answer(&self, origin: Option<&str>) -> HeaderList {
        let mut headers = HeaderList::default();
        if self.any {
            headers.add("access-control-allow-origin", "*");
        } else {
            // Also where the answer is no: a cache must not keep it for an origin that may.
            headers.add("vary", "Origin");
            match origin {
                Some(origin) if self.allows(origin) => {
                    headers.add("access-control-allow-origin", origin);
                }
                _ => return headers,
            }
        }
        if self.credentials {
            headers.add("access-control-allow-credentials", "true");
        }
        if !self.expose.is_empty() {
            headers.add("access-control-expose-headers", &self.expose);
        }
        headers
    }

    /// The headers of the answer to a preflight.
    pub fn of_preflight(&self, origin: &str) -> HeaderList {
        let mut headers = HeaderList::default();
        for (name, value) in self.of_answer(Some(origin)).iter() {
            if name != "access-control-expose-headers" {
                headers.add(name, value);
            }
        }
        if headers.get("access-control-allow-origin").is_some() {
            headers.add("access-control-allow-methods", &self.methods);
            headers.add("access-control-allow-headers", &self.headers);
            headers.add("access-control-max-age", &self.max_age_s.to_string());
        }
        headers
    }
}

/// Whether a request asks a browser's question before the real one.
pub fn is_preflight(method: &str, headers: &HeaderList) -> bool {
    method == "OPTIONS"
        && headers.get("origin").is_some()
        && headers.get("access-control-request-method").is_some()
}

/// A scheme, a host and perhaps a port, as browsers write them (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|authority| {
        let plain = |b: u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':' | b'[' | b']')
        };
        !authority.is_empty() && authority.bytes().all(plain)
    })
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text != "*" && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: &[&str]) -> CorsConfig {
        CorsConfig {
            origins: texts(origins),
            methods: default_methods(),
            headers: default_headers(),
            expose: Vec::new(),
            credentials: false,
            max_age: default_max_age(),
        }
    }

    fn written(headers: &HeaderList) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn only_the_named_origins_are_told_yes() {
        let cors = Cors::new(&CorsConfig {
            credentials: true,
            expose: texts(&["x-total"]),
            ..config(&["https://app.example.org", "http://localhost:3000"])
        })
        .unwrap();
        for yes in ["https://app.example.org", "http://localhost:3000"] {
            assert_eq!(
                written(&cors.of_answer(Some(yes))),
                [
                    "vary: Origin",
                    &format!("access-control-allow-origin: {yes}"),
                    "access-control-allow-credentials: true",
                    "access-control-expose-headers: x-total",
                ]
            );
            assert_eq!(
                written(&cors.of_preflight(yes)),
                [
                    "vary: Origin",
                    &format!("access-control-allow-origin: {yes}"),
                    "access-control-allow-credentials: true",
                    "access-control-allow-methods: GET, HEAD, POST",
                    "access-control-allow-headers: authorization, content-type",
                    "access-control-max-age: 600",
                ]
            );
        }
        for no in [
            "https://app.example.org.evil.example",
            "https://evil.app.example.org",
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://APP.example.org",
            "https://app.example.org/",
            "null",
            "*",
            "",
        ] {
            assert_eq!(written(&cors.of_answer(Some(no))), ["vary: Origin"], "{no}");
            assert_eq!(written(&cors.of_preflight(no)), ["vary: Origin"], "{no}");
        }
        assert_eq!(written(&cors.of_answer(None)), ["vary: Origin"]);
        let open = Cors::new(&config(&["*"])).unwrap();
        assert_eq!(written(&open.of_answer(Some("null"))), ["access-control-allow-origin: *"]);
    }

    #[test]
    fn what_would_let_too_many_in_is_no_configuration() {
        for bad in [
            config(&[]),
            config(&["*", "https://a"]),
            config(&["null"]),
            config(&["https://*.example.org"]),
            config(&["https://a.example/"]),
            config(&["https://A.example"]),
            config(&["a.example"]),
            CorsConfig { credentials: true, ..config(&["*"]) },
            CorsConfig { headers: texts(&["*"]), ..config(&["https://a"]) },
            CorsConfig { methods: texts(&["GET\nx"]), ..config(&["https://a"]) },
            CorsConfig { max_age: "3h".into(), ..config(&["https://a"]) },
        ] {
            assert!(Cors::new(&bad).is_err(), "{bad:?}");
        }
        assert!(Cors::new(&config(&["http://[::1]:3000"])).is_ok());
    }
}
