//! The value of `Margrave-Session-Seen`: `<sid>;<unix ms>`.

use crate::id::SessionId;
use crate::time::UnixMs;

/// When an edge last saw activity in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeen {
    /// The session.
    pub sid: SessionId,
    /// The last acknowledged activity.
    pub seen_at: UnixMs,
}

impl SessionSeen {
    /// Reads the header; `None` for anything else, the empty text included.
    pub fn parse(text: &str) -> Option<Self> {
        let (sid, ms) = text.split_once(';')?;
        let plain = !ms.is_empty() && ms.len() <= 15 && ms.bytes().all(|b| b.is_ascii_digit());
        if !plain {
            return None;
        }
        Some(Self { sid: SessionId::parse(sid).ok()?, seen_at: UnixMs(ms.parse().ok()?) })
    }

    /// Writes the header.
    pub fn print(&self) -> String {
        format!("{};{}", self.sid, self.seen_at.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_undoes_writing_and_nothing_else_is_read() {
        let seen = SessionSeen { sid: SessionId::parse("s").unwrap(), seen_at: UnixMs(17) };
        assert_eq!(SessionSeen::parse(&seen.print()), Some(seen));
        for bad in ["", "s", "s;", ";1", "s;-1", "s;+1", "s;1;2", "s/;1", "s; 1", "s;99999999999999999999"] {
            assert_eq!(SessionSeen::parse(bad), None, "{bad}");
        }
    }
}
