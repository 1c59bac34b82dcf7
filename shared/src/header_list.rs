//! The headers of a message as one text, in which they cross from the runtime into wasm and back: a line for each
//! name, a line for its value. Neither can hold a line feed (RFC 9110 §5.5), so nothing needs to be escaped.

/// Headers, with their names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList {
    headers: Vec<(String, String)>,
}

/// A name without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lines are not pairs of name and value")]
pub struct Unpaired;

impl HeaderList {
    /// Reads `name`, `value`, `name`, `value`, … . Names come in lower case, as the runtime gives them.
    ///
    /// # Errors
    /// `Unpaired`.
    pub fn read<'a>(mut lines: impl Iterator<Item = &'a str>) -> Result<Self, Unpaired> {
        let mut headers = Vec::with_capacity(24);
        while let Some(name) = lines.next() {
            headers.push((name.to_owned(), lines.next().ok_or(Unpaired)?.to_owned()));
        }
        Ok(Self { headers })
    }

    /// The value of a header; the first where it is repeated, which only `set-cookie` is: the runtime joins the others
    /// with a comma.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds a header, after those that bear the same name.
    pub fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Writes what `read` reads, each line after a line feed.
    pub fn write_to(&self, text: &mut String) {
        for (name, value) in self.iter() {
            for line in [name, value] {
                text.push('\n');
                text.push_str(line);
            }
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for HeaderList {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(headers: I) -> Self {
        let mut list = Self::default();
        for (name, value) in headers {
            list.add(name, value);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let list: HeaderList =
            [("accept", "*/*"), ("x-empty", ""), ("cookie", "a=1; b=\u{e9}")].into_iter().collect();
        let mut text = "GET".to_owned();
        list.write_to(&mut text);
        assert_eq!(text, "GET\naccept\n*/*\nx-empty\n\ncookie\na=1; b=\u{e9}");
        assert_eq!(HeaderList::read(text.split('\n').skip(1)), Ok(list));
        assert_eq!(HeaderList::read(["accept"].into_iter()), Err(Unpaired));
    }
}
