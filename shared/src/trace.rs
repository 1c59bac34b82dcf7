//! `traceparent` (W3C Trace Context, level 1): continued where a client sends a good one, started otherwise.

/// The parts of a trace that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// 32 lower-case hexadecimal digits, not all zero.
    id: String,
    /// `00` or another pair of hexadecimal digits.
    flags: String,
    /// Whether a client had begun it.
    continued: bool,
}

impl Trace {
    /// The trace that a client's header names, or a new one of these 16 random bytes, to be recorded by whoever comes after.
    pub fn of(traceparent: Option<&str>, random: [u8; 16]) -> Self {
        traceparent.and_then(Self::parse).unwrap_or_else(|| Self {
            id: format!("{:032x}", u128::from_be_bytes(random).max(1)),
            flags: "01".to_owned(),
            continued: false,
        })
    }

    /// The trace's id, the caller's span and whether it is recorded, of a good header.
    pub fn parent(text: &str) -> Option<(&str, &str, bool)> {
        Self::parse(text)?;
        let mut fields = text.split('-').skip(1);
        let (id, parent, flags) = (fields.next()?, fields.next()?, fields.next()?);
        Some((id, parent, u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)))
    }

    /// Reads the header (§3.2); a version above 00 may have more fields, which are not passed on.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let (version, id, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        let set = |text: &str| text.bytes().any(|b| b != b'0');
        let known = hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
        let good = known && hex(id, 32) && set(id) && hex(parent, 16) && set(parent) && hex(flags, 2);
        good.then(|| Self { id: id.to_owned(), flags: flags.to_owned(), continued: true })
    }

    /// Its id, for logs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a client had begun it: then its `tracestate` belongs to it.
    pub fn is_continued(&self) -> bool {
        self.continued
    }

    /// The header for the next in line, whose caller is a span of these 8 random bytes.
    pub fn print(&self, span: [u8; 8]) -> String {
        format!("00-{}-{:016x}-{}", self.id, u64::from_be_bytes(span).max(1), self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_caller_is_named_by_a_good_one_only() {
        let (id, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        assert_eq!(Trace::parent(GOOD), Some((id, span, false)));
        assert_eq!(Trace::parent(&format!("00-{id}-{span}-03")), Some((id, span, true)));
        for bad in [
            "",
            "00",
            &format!("00-{id}-{span}"),
            &format!("00-{id}-{span}-0g"),
            &format!("ff-{id}-{span}-01"),
        ] {
            assert_eq!(Trace::parent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_good_one_is_continued_with_another_span() {
        let trace = Trace::of(Some(GOOD), [9; 16]);
        assert!(trace.is_continued());
        assert_eq!(trace.print([1; 8]), "00-4bf92f3577b34da6a3ce929d0e0e4736-0101010101010101-00");
        // A later version may say more.
        let later = Trace::of(Some(&format!("cc{}-what-else", &GOOD[2..])), [9; 16]);
        assert_eq!(later, trace);
    }

    #[test]
    fn anything_else_starts_a_new_one() {
        let new = Trace::of(None, [9; 16]);
        assert_eq!(new.print([0; 8]), format!("00-{}-0000000000000001-01", "09".repeat(16)));
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &format!("ff{}", &GOOD[2..]),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4bf9", "4bf"),
            &GOOD.replace("-00", "-0x"),
            &format!("{GOOD}, {GOOD}"),
        ] {
            assert_eq!(Trace::of(Some(bad), [9; 16]), new, "{bad}");
        }
        assert_eq!(Trace::of(None, [0; 16]).id(), format!("{:032x}", 1));
    }
}
