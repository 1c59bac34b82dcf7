//! Base64 in the two spellings that Margrave reads and writes, strict: a value has exactly one accepted text.
//!
//! Tokens use base64url without padding (RFC 7515 §2), HTTP message signatures use standard base64 with padding
//! (RFC 8941 §3.3.5). Bits that carry no data must be zero (RFC 4648 §3.5), otherwise one signature would have
//! several spellings.

const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A text that is not canonical base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64")]
pub struct NotBase64;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a bad index does not build")]
const fn reverse(alphabet: &[u8; 64]) -> [u8; 256] {
    let mut table = [255_u8; 256];
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table
}

const FROM_URL: [u8; 256] = reverse(URL);
const FROM_STANDARD: [u8; 256] = reverse(STANDARD);

fn encode(bytes: &[u8], alphabet: &[u8; 64], out: &mut String) {
    let letter = |six: u32| char::from(alphabet.get((six & 63) as usize).copied().unwrap_or(b'A'));
    let mut chunks = bytes.chunks_exact(3);
    for chunk in &mut chunks {
        if let [a, b, c] = *chunk {
            let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            out.push(letter(bits >> 18));
            out.push(letter(bits >> 12));
            out.push(letter(bits >> 6));
            out.push(letter(bits));
        }
    }
    match *chunks.remainder() {
        [a] => {
            out.push(letter(u32::from(a) >> 2));
            out.push(letter(u32::from(a) << 4));
        }
        [a, b] => {
            let bits = u32::from(a) << 8 | u32::from(b);
            out.push(letter(bits >> 10));
            out.push(letter(bits >> 4));
            out.push(letter(bits << 2));
        }
        _ => {}
    }
}

fn decode(text: &[u8], table: &[u8; 256]) -> Result<Vec<u8>, NotBase64> {
    let value = |letter: u8| match table.get(usize::from(letter)).copied() {
        Some(six) if six < 64 => Ok(u32::from(six)),
        _ => Err(NotBase64),
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut chunks = text.chunks_exact(4);
    for chunk in &mut chunks {
        if let [a, b, c, d] = *chunk {
            let bits = value(a)? << 18 | value(b)? << 12 | value(c)? << 6 | value(d)?;
            out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
        }
    }
    match *chunks.remainder() {
        [] => {}
        [a, b] => {
            let bits = value(a)? << 6 | value(b)?;
            if bits & 0xf != 0 {
                return Err(NotBase64);
            }
            out.push((bits >> 4) as u8);
        }
        [a, b, c] => {
            let bits = value(a)? << 12 | value(b)? << 6 | value(c)?;
            if bits & 0x3 != 0 {
                return Err(NotBase64);
            }
            out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]);
        }
        _ => return Err(NotBase64),
    }
    Ok(out)
}

/// Base64url without padding.
pub fn encode_url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    encode(bytes, URL, &mut out);
    out
}

/// Reads base64url without padding.
///
/// # Errors
/// [`NotBase64`] for padding, any other character, an impossible length or unused bits that are not zero.
pub fn decode_url(text: &str) -> Result<Vec<u8>, NotBase64> {
    decode(text.as_bytes(), &FROM_URL)
}

/// Standard base64 with padding.
pub fn encode_standard(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    encode(bytes, STANDARD, &mut out);
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

/// Reads standard base64 with its padding.
///
/// # Errors
/// [`NotBase64`] for missing or surplus padding and whatever [`decode_url`] refuses.
pub fn decode_standard(text: &str) -> Result<Vec<u8>, NotBase64> {
    if !text.len().is_multiple_of(4) {
        return Err(NotBase64);
    }
    let bare = text.trim_end_matches('=');
    if text.len() - bare.len() > 2 {
        return Err(NotBase64);
    }
    decode(bare.as_bytes(), &FROM_STANDARD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_4648_vectors() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode_standard(plain.as_bytes()), text);
            assert_eq!(decode_standard(text).unwrap(), plain.as_bytes());
            assert_eq!(encode_url(plain.as_bytes()), text.trim_end_matches('='));
        }
    }

    #[test]
    fn one_value_has_one_spelling() {
        for bad in ["Zg==", "Zh", "Zm9", "Z", "Zm+v", "Zm/v", "Zm v", "Zm9v\n", "Zm%76", "é"] {
            assert_eq!(decode_url(bad), Err(NotBase64), "{bad}");
        }
        for bad in ["Zg", "Zg=", "Zh==", "====", "Zm9v====", "Z===", "Zm9-"] {
            assert_eq!(decode_standard(bad), Err(NotBase64), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode_url(&encode_url(&bytes)).unwrap(), bytes.clone());
            prop_assert_eq!(decode_standard(&encode_standard(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "[A-Za-z0-9_=+/-]{0,40}") {
            if let Ok(bytes) = decode_url(&text) {
                prop_assert_eq!(encode_url(&bytes), text);
            }
        }
    }
}
