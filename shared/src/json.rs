//! A strict JSON reader (RFC 8259) for what strangers send: token parts and login bodies.
//!
//! It refuses what lenient readers settle in different ways, since two programs that read one text differently are
//! an attack: duplicate member names at any depth (compared after escapes are resolved), lone surrogates, a byte
//! order mark, anything after the value, and nesting deeper than [`MAX_DEPTH`].

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction and exponent that fits 64 bits.
    Integer(i64),
    /// Any other number; no rule of Margrave takes one.
    OtherNumber,
    /// A string, escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object: unique names in the order of the text.
    Object(Vec<(String, Self)>),
}

/// A text that is not one strict JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON")]
pub struct NotJson;

impl Json {
    /// Reads one JSON value from UTF-8 bytes.
    ///
    /// # Errors
    /// [`NotJson`] for everything the module's text names.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotJson> {
        let text = core::str::from_utf8(bytes).map_err(|_| NotJson)?;
        let mut reader = Reader { text, at: 0 };
        reader.skip_space();
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.at == text.len() { Ok(value) } else { Err(NotJson) }
    }

    /// The member `name` of an object; `None` when absent or when this is no object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer.
    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, NotJson> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(NotJson)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, NotJson> {
        if depth > MAX_DEPTH {
            return Err(NotJson);
        }
        match self.peek().ok_or(NotJson)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.expect(b'{')?;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            // Quadratic, but the whole text is at most a few KiB and most objects have a dozen members.
            if members.iter().any(|(n, _)| *n == name) {
                return Err(NotJson);
            }
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at).ok_or(NotJson)?);
            if self.take(b'"') {
                return Ok(out);
            }
            self.expect(b'\\')?;
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let letter = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                let code = match unit {
                    0xd800..=0xdbff => {
                        self.expect(b'\\')?;
                        self.expect(b'u')?;
                        let low = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(NotJson);
                        }
                        0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                    }
                    unit => unit,
                };
                char::from_u32(code).ok_or(NotJson)?
            }
            _ => return Err(NotJson),
        })
    }

    fn hex4(&mut self) -> Result<u32, NotJson> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16)).ok_or(NotJson)?;
            value = value << 4 | digit;
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> Result<usize, NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson) } else { Ok(self.at - start) }
    }

    fn number(&mut self) -> Result<Json, NotJson> {
        let start = self.at;
        self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        if self.digits()? > 1 && leading_zero {
            return Err(NotJson);
        }
        let mut integer = true;
        if self.take(b'.') {
            integer = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            integer = false;
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let text = self.text.get(start..self.at).ok_or(NotJson)?;
        // "-0" is refused as an integer: it is a second spelling of 0.
        match text.parse::<i64>() {
            Ok(n) if integer && text != "-0" => Ok(Json::Integer(n)),
            _ => Ok(Json::OtherNumber),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read() {
        let json =
            Json::parse(br#" {"a":[1,-2,1.5,1e3,true,false,null],"b":"x\u00e9\ud83d\ude00\n","c":{}} "#)
                .unwrap();
        assert_eq!(json.get("b").and_then(Json::as_str), Some("xé😀\n"));
        let Some(Json::Array(items)) = json.get("a") else { panic!("no array") };
        assert_eq!(items[0], Json::Integer(1));
        assert_eq!(items[2], Json::OtherNumber);
        assert_eq!(items[3], Json::OtherNumber);
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let deep = "[".repeat(10_000);
        let table: &[&[u8]] = &[
            b"",
            b"{",
            b"{}x",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            b"\xff",
            b"\xc0\xaf",
            br#"{"a":1,"a":2}"#,
            br#"{"sub":1,"s\u0075b":2}"#,
            br#"{"x":{"a":1,"a":2}}"#,
            br#"[{"a":1,"a":2}]"#,
            br#""\ud800""#,
            br#""\udc00""#,
            br#""\ud800\u0041""#,
            b"\"\n\"",
            b"\"\0\"",
            br#""\x""#,
            b"01",
            b"-01",
            b"+1",
            b".5",
            b"1.",
            b"1e",
            b"NaN",
            b"tru",
            b"{a:1}",
            b"{'a':1}",
            b"[1,]",
            b"{\"a\":1,}",
            b"/**/1",
            deep.as_bytes(),
        ];
        for bad in table {
            assert_eq!(Json::parse(bad), Err(NotJson), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_no_integers() {
        for text in ["9223372036854775808", "1e400", "-0", "0.0"] {
            assert_eq!(Json::parse(text.as_bytes()), Ok(Json::OtherNumber), "{text}");
        }
        assert_eq!(Json::parse(b"-9223372036854775808"), Ok(Json::Integer(i64::MIN)));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }

        #[test]
        fn agrees_with_serde_on_strings(text in any::<String>()) {
            let written = serde_json::to_vec(&text).unwrap();
            prop_assert_eq!(Json::parse(&written), Ok(Json::String(text)));
        }

        #[test]
        fn accepts_nothing_that_serde_refuses(text in r#"[\[\]{}",:0-9a-eE.+\\u \-]{0,24}"#) {
            if Json::parse(text.as_bytes()).is_ok() {
                // serde refuses numbers that overflow a double; ours calls them OtherNumber.
                let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&text);
                prop_assert!(parsed.is_ok(), "{}", text);
            }
        }
    }
}
