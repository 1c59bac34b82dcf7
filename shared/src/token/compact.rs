//! The JWS compact serialisation (RFC 7515 §7.1): exactly three non-empty parts of canonical base64url.

use crate::base64;
use crate::json::Json;
use crate::token::verify::Refusal;

/// A token taken apart, nothing verified.
#[derive(Debug)]
pub struct Compact<'a> {
    /// The header, a strict JSON value.
    pub header: Json,
    /// The payload's bytes; to be read only after the signature is verified.
    pub payload: Vec<u8>,
    /// The 64 bytes of the signature.
    pub signature: [u8; 64],
    /// What was signed: the first two parts with their dot.
    pub signed: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token of at most `max_bytes` apart.
    ///
    /// # Errors
    /// The [`Refusal`] that says which form was broken.
    pub fn parse(token: &'a str, max_bytes: usize) -> Result<Self, Refusal> {
        if token.len() > max_bytes {
            return Err(Refusal::TooLarge);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::NotCompact);
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Refusal::NotCompact);
        }
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(Refusal::NotCompact)?;
        let decode = |part| base64::decode_url(part).map_err(|_| Refusal::NotBase64);
        Ok(Self {
            header: Json::parse(&decode(header)?).map_err(|_| Refusal::NotJson)?,
            payload: decode(payload)?,
            signature: decode(signature)?.try_into().map_err(|_| Refusal::BadSignature)?,
            signed,
        })
    }
}

/// The first two parts of a token, ready to be signed.
pub fn signing_input(header_json: &str, claims_json: &str) -> String {
    format!("{}.{}", base64::encode_url(header_json.as_bytes()), base64::encode_url(claims_json.as_bytes()))
}

/// The whole token from [`signing_input`] and its signature.
pub fn assemble(signing_input: &str, signature: &[u8; 64]) -> String {
    format!("{signing_input}.{}", base64::encode_url(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const MAX_TOKEN_BYTES: usize = 8 * 1024;

    #[test]
    fn only_three_full_parts_are_a_token() {
        let signature = base64::encode_url(&[0; 64]);
        let good = format!("e30.e30.{signature}");
        assert!(Compact::parse(&good, MAX_TOKEN_BYTES).is_ok());
        let table = [
            (String::new(), Refusal::NotCompact),
            ("e30".into(), Refusal::NotCompact),
            ("e30.e30".into(), Refusal::NotCompact),
            ("e30.e30.".into(), Refusal::NotCompact),
            (format!(".e30.{signature}"), Refusal::NotCompact),
            (format!("e30..{signature}"), Refusal::NotCompact),
            (format!("e30.e30.{signature}."), Refusal::NotCompact),
            (format!("e30.e30.{signature}.a.b"), Refusal::NotCompact),
            (format!("e30=.e30.{signature}"), Refusal::NotBase64),
            (format!("e30.e30.{signature}="), Refusal::NotBase64),
            (format!("e30.e30. {signature}"), Refusal::NotBase64),
            (format!("e30.e3+.{signature}"), Refusal::NotBase64),
            ("e30.e30.AAAA".into(), Refusal::BadSignature),
            (format!("e30.e30.{}", base64::encode_url(&[0; 65])), Refusal::BadSignature),
            (format!("eyI.e30.{signature}"), Refusal::NotJson),
            ("{\"payload\":\"e30\"}".into(), Refusal::NotCompact),
            ("a".repeat(MAX_TOKEN_BYTES + 1), Refusal::TooLarge),
        ];
        for (token, refusal) in table {
            assert_eq!(Compact::parse(&token, MAX_TOKEN_BYTES).err(), Some(refusal), "{token:.60}");
        }
    }

    #[test]
    fn unused_bits_of_the_last_letter_make_no_second_spelling() {
        let good = format!("e30.e30.{}", base64::encode_url(&[0; 64]));
        let stem = &good[..good.len() - 1];
        let accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .chars()
            .filter(|last| Compact::parse(&format!("{stem}{last}"), MAX_TOKEN_BYTES).is_ok())
            .count();
        assert_eq!(accepted, 4, "64 bytes leave two bits of data in the last letter");
    }

    proptest! {
        #[test]
        fn taking_apart_undoes_putting_together(claims in any::<Vec<u8>>(), signature in any::<[u8; 32]>()) {
            prop_assume!(!claims.is_empty());
            let mut full = [7_u8; 64];
            full[..32].copy_from_slice(&signature);
            let input = format!("e30.{}", base64::encode_url(&claims));
            let token = assemble(&input, &full);
            prop_assume!(token.len() <= MAX_TOKEN_BYTES);
            let compact = Compact::parse(&token, MAX_TOKEN_BYTES).unwrap();
            prop_assert_eq!(compact.payload, claims);
            prop_assert_eq!(compact.signature, full);
            prop_assert_eq!(compact.signed, input);
        }

        #[test]
        fn never_panics(token in ".{0,100}") {
            let _ = Compact::parse(&token, MAX_TOKEN_BYTES);
        }
    }
}
