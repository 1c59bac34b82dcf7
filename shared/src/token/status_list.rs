//! Token Status Lists (draft-ietf-oauth-status-list): a bit for each token, for verifiers that do not follow the feed.

use crate::secret::SecretKey;
use serde::Serialize;

/// How many tokens a list holds: 2 KiB before it is compressed.
pub const LIST_LEN: i64 = 1 << 14;

/// Half of an index's bits.
const HALF: u16 = 7;
const HALF_MASK: u16 = (1 << HALF) - 1;

/// A token's place (§6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusPlace {
    /// Its bit.
    pub idx: i64,
    /// The list.
    pub uri: String,
}

/// The lists of one epoch: below a URL, their tokens in an order that nobody can follow.
#[derive(Debug, Clone)]
pub struct Lists {
    key: SecretKey,
    epoch: String,
    base: String,
}

impl Lists {
    /// The lists `<base>/<epoch>/<number>`.
    pub fn new(key: &SecretKey, base: &str, epoch: &str) -> Self {
        Self { key: key.derive(epoch), epoch: epoch.to_owned(), base: base.to_owned() }
    }

    /// A list's URI.
    pub fn uri(&self, list: i64) -> String {
        format!("{}/{}/{list}", self.base, self.epoch)
    }

    /// The place of the token with this number.
    pub fn place(&self, number: i64) -> StatusPlace {
        let list = number.div_euclid(LIST_LEN);
        let order = |round: u16, half: u16| self.scramble(list, round, half);
        StatusPlace { idx: permuted(number.rem_euclid(LIST_LEN), order), uri: self.uri(list) }
    }

    /// The bits of the tokens with these numbers, all of one list.
    pub fn indices(&self, list: i64, numbers: impl Iterator<Item = i64>) -> Vec<i64> {
        // What the rounds do to each half is the same for all of them.
        let table: Vec<u16> = (0..ROUNDS)
            .flat_map(|round| (0..=HALF_MASK).map(move |half| (round, half)))
            .map(|(round, half)| self.scramble(list, round, half))
            .collect();
        let order =
            |round: u16, half: u16| table.get(usize::from(round << HALF | half)).copied().unwrap_or_default();
        numbers.map(|number| permuted(number.rem_euclid(LIST_LEN), order)).collect()
    }

    fn scramble(&self, list: i64, round: u16, half: u16) -> u16 {
        let tag = self.key.tag(&[b"order", &list.to_be_bytes(), &round.to_be_bytes(), &half.to_be_bytes()]);
        let [first, ..] = tag;
        u16::from(first) & HALF_MASK
    }
}

/// Enough that neighbours do not tell each other (a Feistel network, as in NIST SP 800-38G).
const ROUNDS: u16 = 8;

/// Where one of a list's numbers stands: a bijection, so that no two share a bit. In turn they would say how many tokens were
/// minted between two of one's own, and whose were neighbours in time (§12.5).
fn permuted(low: i64, order: impl Fn(u16, u16) -> u16) -> i64 {
    let low = u16::try_from(low).unwrap_or_default();
    let (mut left, mut right) = (low >> HALF & HALF_MASK, low & HALF_MASK);
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ order(round, right));
    }
    i64::from(left << HALF | right)
}

/// The byte array of a list with one bit for each token (§4.1): the first is the lowest bit of the first byte, and a bit that
/// is set is a token that counts no more (§7.1, `INVALID`).
pub fn pack(ended: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut bytes = vec![0; (LIST_LEN / 8) as usize];
    for idx in ended {
        let at = usize::try_from(idx).ok();
        if let Some((at, byte)) = at.and_then(|at| Some((at, bytes.get_mut(at / 8)?))) {
            *byte |= 1 << (at % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_as_in_the_draft() {
        // §4.1: the statuses 1 0 0 1 1 1 0 1 1 1 0 0 0 1 0 1 are the bytes b9 a3.
        let packed = pack([0, 3, 4, 5, 7, 8, 9, 13, 15]);
        assert_eq!(packed[..3], [0xb9, 0xa3, 0]);
        assert_eq!(packed.len() as i64, LIST_LEN / 8);
        assert_eq!(pack([LIST_LEN - 1]).last(), Some(&0x80));
        assert_eq!(pack([-1, LIST_LEN, i64::MAX]), pack([]));
    }

    #[test]
    fn every_number_has_a_place_of_its_own_and_no_order() {
        let lists = Lists::new(&SecretKey::from_bytes([1; 32]), "https://a/v1/status-lists", "e1");
        let first: Vec<i64> = (0..LIST_LEN).map(|number| lists.place(number).idx).collect();
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..LIST_LEN).collect::<Vec<_>>(), "each bit once");
        assert_eq!(lists.indices(0, 0..LIST_LEN), first);
        let neighbours = first.windows(2).filter(|pair| pair[1] - pair[0] == 1).count();
        assert!(neighbours < 20, "{neighbours} numbers stand beside the next one");
        assert_eq!(lists.place(1).uri, "https://a/v1/status-lists/e1/0");
        assert_eq!(lists.place(LIST_LEN).uri, "https://a/v1/status-lists/e1/1");
        let second: Vec<i64> = (LIST_LEN..2 * LIST_LEN).map(|number| lists.place(number).idx).collect();
        let other = Lists::new(&SecretKey::from_bytes([1; 32]), "https://a/v1/status-lists", "e2");
        assert!(second != first && other.indices(0, 0..LIST_LEN) != first, "each list has its own");
    }
}
