//! What people see in a browser. A page is one file, with its style and its script in it: the browser is told their hashes, and runs
//! nothing else (Content Security Policy, Level 3).

pub(crate) mod routes;

use margrave_shared::base64::encode_standard;
use sha2::{Digest as _, Sha256};

/// A page and what it may do.
#[derive(Debug)]
struct Page {
    html: &'static str,
    policy: String,
}

impl Page {
    /// A page whose one style and one script are as they stand in it.
    fn new(html: &'static str) -> Self {
        let hash = |element: &str| {
            let (from, to) = (format!("<{element}>"), format!("</{element}>"));
            let text = html
                .split_once(&from)
                .and_then(|(_, rest)| rest.split_once(&to))
                .map_or("", |(text, _)| text);
            encode_standard(&Sha256::digest(text.as_bytes()))
        };
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash("script"),
            hash("style"),
        );
        Self { html, policy }
    }
}
