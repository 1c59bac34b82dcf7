//! The path of a request, judged: one reading only, the same for the route table and for the origin (A4.1.4).
//!
//! Whatever two programs might read differently is refused before routing: empty and dot segments, back-slashes,
//! path parameters, encoded separators, double encodings, control characters and a host that ends in a dot. What is
//! left is decoded once, judged, and written anew for the origin.

use core::fmt::Write as _;

/// A target that could be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's target can be read in more than one way")]
pub struct Ambiguous;

/// A judged request target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    segments: Vec<Vec<u8>>,
    query: Option<String>,
    host: String,
}

impl Target {
    /// Judges the absolute URL of a request as the runtime gives it, not normalised.
    ///
    /// # Errors
    /// [`Ambiguous`].
    pub fn parse(url: &str) -> Result<Self, Ambiguous> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(Ambiguous)?;
        let path_start = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(path_start);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        if name.is_empty()
            || name.ends_with('.')
            || host.contains('@')
            || !host.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(Ambiguous);
        }
        // One question mark ends the path; a fragment never reaches a server.
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if path.contains('#') || query.is_some_and(|q| !is_plain_query(q)) {
            return Err(Ambiguous);
        }
        let path = path.strip_prefix('/').ok_or(Ambiguous)?;
        let mut segments = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if part.is_empty() && !last {
                return Err(Ambiguous);
            }
            segments.push(judge_segment(part)?);
        }
        Ok(Self { segments, query: query.map(str::to_owned), host: host.to_ascii_lowercase() })
    }

    /// The decoded segments; a trailing slash is a last, empty one.
    pub fn segments(&self) -> &[Vec<u8>] {
        &self.segments
    }

    /// The host as the client wrote it, in lower case, with its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path in its one canonical spelling.
    pub fn path(&self) -> String {
        let mut out = String::new();
        for segment in &self.segments {
            out.push('/');
            for byte in segment {
                if is_segment_byte(*byte) {
                    out.push(char::from(*byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
        out
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Path and query for the outgoing URL.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path(),
        }
    }

    /// The target below a prefix of segments, compared exactly; `None` when it does not lie there.
    pub fn below(&self, prefix: &str) -> Option<String> {
        let (first, rest) = self.segments.split_first()?;
        if first != prefix.as_bytes() || rest.is_empty() {
            return None;
        }
        Some(Self { segments: rest.to_vec(), query: self.query.clone(), host: self.host.clone() }.path())
    }
}

/// pchar of RFC 3986 §3.3 without `%` and without `;`.
const fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        )
}

fn is_plain_query(query: &str) -> bool {
    query.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\'))
}

fn judge_segment(part: &str) -> Result<Vec<u8>, Ambiguous> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or(Ambiguous);
                let (high, low) = (hex(bytes.next())?, hex(bytes.next())?);
                let decoded = (high << 4 | low) as u8;
                if matches!(decoded, b'/' | b'\\' | b'%' | b';') || decoded < 0x20 || decoded == 0x7f {
                    return Err(Ambiguous);
                }
                decoded
            }
            b if is_segment_byte(b) => b,
            // A few more that browsers send bare; they are encoded on the way out.
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => byte,
            _ => return Err(Ambiguous),
        };
        out.push(byte);
    }
    if out == b"." || out == b".." { Err(Ambiguous) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_reading_or_none() {
        let table: &[(&str, Option<&str>)] = &[
            ("/", Some("/")),
            ("/api/x", Some("/api/x")),
            ("/api/", Some("/api/")),
            ("/%61pi/x", Some("/api/x")),
            ("/a%20b", Some("/a%20b")),
            ("/a%c3%a9", Some("/a%C3%A9")),
            ("/a?b=/../c;d", Some("/a?b=/../c;d")),
            ("/a?", Some("/a?")),
            ("/a|b", Some("/a%7Cb")),
            ("", None),
            ("//", None),
            ("/api//x", None),
            ("//evil/x", None),
            ("/./x", None),
            ("/api/../x", None),
            ("/api/..", None),
            ("/api/%2e%2e/x", None),
            ("/api/.%2E/x", None),
            ("/api/%2e", None),
            ("/api%2fx", None),
            ("/api%2Fx", None),
            ("/api%5cx", None),
            ("/api\\x", None),
            ("\\api", None),
            ("/api;v=1", None),
            ("/api%3bv", None),
            ("/api%25", None),
            ("/api%252f", None),
            ("/api%00", None),
            ("/api%0a", None),
            ("/api%7f", None),
            ("/api%", None),
            ("/api%2", None),
            ("/api%zz", None),
            ("/api x", None),
            ("/api#x", None),
            ("/api?x#y", None),
            ("/api?x y", None),
            ("/api?a\\b", None),
            ("/é", None),
        ];
        for (target, verdict) in table {
            let judged = Target::parse(&format!("http://h:80{target}")).ok().map(|t| t.path_and_query());
            assert_eq!(judged.as_deref(), *verdict, "{target}");
        }
    }

    #[test]
    fn the_host_has_one_name() {
        for (url, host) in [("http://H.example/x", Some("h.example")), ("https://h:8443/x", Some("h:8443"))] {
            assert_eq!(Target::parse(url).ok().map(|t| t.host().to_owned()).as_deref(), host);
        }
        for bad in
            ["http://h./x", "http://h.:80/x", "http:///x", "http://u@h/x", "ftp://h/x", "/x", "http://é/x"]
        {
            assert_eq!(Target::parse(bad), Err(Ambiguous), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_a_whole_segment() {
        let below = |path: &str| Target::parse(&format!("http://h{path}")).unwrap().below("auth");
        assert_eq!(below("/auth/oauth/token").as_deref(), Some("/oauth/token"));
        assert_eq!(below("/auth/").as_deref(), Some("/"));
        assert_eq!(below("/auth"), None);
        assert_eq!(below("/authx/y"), None);
        assert_eq!(below("/AUTH/y"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_judged_the_same(path in "(/[ -~]{0,8}){1,4}") {
            if let Ok(target) = Target::parse(&format!("http://h{path}")) {
                let again = Target::parse(&format!("http://h{}", target.path_and_query())).unwrap();
                prop_assert_eq!(again, target);
            }
        }

        #[test]
        fn never_panics(url in ".{0,60}") {
            let _ = Target::parse(&url);
        }
    }
}
