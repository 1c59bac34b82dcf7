//! `application/x-www-form-urlencoded` bodies of OAuth endpoints, read strictly: no parameter twice (RFC 6749 §3.2),
//! no broken escapes, UTF-8 only.

use core::fmt::Write as _;

/// The largest form that is read, in bytes. A factors grant carries a few tokens.
pub const MAX_FORM_BYTES: usize = 32 * 1024;

/// A form's parameters in the order they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

/// A body that is no strict form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a form, or a parameter stands twice")]
pub struct NotAForm;

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// [`NotAForm`].
    pub fn parse(body: &[u8]) -> Result<Self, NotAForm> {
        if body.len() > MAX_FORM_BYTES {
            return Err(NotAForm);
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().ok_or(NotAForm)?)?;
            if name.is_empty() || pairs.iter().any(|(n, _)| *n == name) {
                return Err(NotAForm);
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A parameter. RFC 6749 §3.2: one without a value counts as omitted.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// Every parameter, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The one spelling in which the edge passes a form on.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            encode(name, &mut out);
            out.push('=');
            encode(value, &mut out);
        }
        out
    }
}

fn decode(bytes: &[u8]) -> Result<String, NotAForm> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or(NotAForm);
                (hex(rest.next())? << 4 | hex(rest.next())?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| NotAForm)
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strict_forms() {
        let form = Form::parse(b"grant_type=urn%3Aa&scope=read+write&empty=&x=a=b").unwrap();
        assert_eq!(form.get("grant_type"), Some("urn:a"));
        assert_eq!(form.get("scope"), Some("read write"));
        assert_eq!(form.get("x"), Some("a=b"));
        assert_eq!(form.get("empty"), None);
        assert_eq!(form.get("absent"), None);
        for bad in
            [&b"a=1&a=2"[..], b"a=1&%61=2", b"a", b"=1", b"a=%", b"a=%2", b"a=%zz", b"a=%ff", b"a=&a=1"]
        {
            assert_eq!(Form::parse(bad), Err(NotAForm), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(Form::parse(&vec![b'a'; MAX_FORM_BYTES + 1]), Err(NotAForm));
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(pairs in proptest::collection::btree_map(".{1,6}", ".{0,6}", 0..5)) {
            let form = Form(pairs.into_iter().collect());
            prop_assert_eq!(Form::parse(form.print().as_bytes()), Ok(form));
        }
    }
}
