//! Names for people: of merchants, applications, edges. They identify nothing.

/// A text that is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`name` is 1 to 200 printable characters")]
pub struct NotALabel;

/// A label without the white space around it: 1 to 200 characters, none of them a control character.
///
/// # Errors
/// [`NotALabel`].
pub fn check_label(text: &str) -> Result<&str, NotALabel> {
    let text = text.trim();
    let printable = !text.chars().any(char::is_control);
    if (1..=200).contains(&text.chars().count()) && printable { Ok(text) } else { Err(NotALabel) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_printable() {
        assert_eq!(check_label("  Müller & Söhne "), Ok("Müller & Söhne"));
        assert!(check_label(&"ж".repeat(200)).is_ok());
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(201)] {
            assert_eq!(check_label(bad), Err(NotALabel), "{bad:?}");
        }
    }
}
