//! Password hashes that other systems have made. They are checked as those systems did, with what was typed as it was typed, and replaced
//! by our own at the first right password.
//!
//! `$2a$ $2b$ $2y$` (bcrypt), `$scrypt$ln=,r=,p=$`, `$pbkdf2-sha256$i=,l=$`, `$pbkdf2-sha512$…`, `$argon2i$ $argon2d$ $argon2id$` in the PHC
//! string format, and `pbkdf2_sha256$iterations$salt$hash` as Django writes it.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier as _};
use margrave_shared::base64;
use margrave_shared::secret::equal_in_constant_time;
use sha2::{Sha256, Sha512};

/// How the hash of another system lies in the database, so that none is taken for our own.
pub(crate) const MARK: &str = "imported:";

/// The longest that checking one may take, in milliseconds: attempts of all merchants wait in one queue.
const MOST_MS: u64 = 1_500;

/// A hash that is not of our own making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// bcrypt, by its logarithmic cost.
    Bcrypt {
        /// As it was written.
        text: String,
        /// 4 to 14.
        cost: u32,
    },
    /// scrypt (RFC 7914).
    Scrypt {
        /// The logarithm of N.
        log_n: u8,
        /// r
        r: u32,
        /// p
        p: u32,
        /// The salt.
        salt: Vec<u8>,
        /// What comes out.
        hash: Vec<u8>,
    },
    /// PBKDF2 (RFC 8018).
    Pbkdf2 {
        /// Whether by HMAC-SHA-512, and not -256.
        long: bool,
        /// How often.
        rounds: u32,
        /// The salt.
        salt: Vec<u8>,
        /// What comes out.
        hash: Vec<u8>,
    },
    /// argon2 of another kind or other parameters.
    Argon2 {
        /// As it was written.
        text: String,
        /// `argon2i`, `argon2d` or `argon2id`.
        kind: String,
        /// KiB.
        memory: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

/// Why a hash is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHash {
    /// Of no kind that is known.
    #[error("it is of no kind that is known: bcrypt, scrypt, pbkdf2-sha256, pbkdf2-sha512 or argon2")]
    Unknown,
    /// Its parameters would let a login take seconds or gigabytes, or anybody guess.
    #[error("its parameters are beyond all measure")]
    Parameters,
}

/// bcrypt's own base64.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Foreign {
    /// Reads a hash.
    ///
    /// # Errors
    /// [`BadHash`].
    pub(crate) fn parse(text: &str) -> Result<Self, BadHash> {
        if text.len() > 512 {
            return Err(BadHash::Unknown);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|kind| text.starts_with(kind)) {
            return Self::bcrypt(text);
        }
        if let Some(rest) = text.strip_prefix("pbkdf2_sha256$") {
            return Self::django(rest);
        }
        let phc = PasswordHash::new(text).map_err(|_| BadHash::Unknown)?;
        let number = |name: &str| phc.params.get_decimal(name).ok_or(BadHash::Unknown);
        let salt = phc.salt.as_ref().ok_or(BadHash::Unknown)?.as_ref().to_vec();
        let hash = phc.hash.as_ref().ok_or(BadHash::Unknown)?.as_bytes().to_vec();
        let kind = phc.algorithm.as_str();
        let read = match kind {
            "scrypt" => {
                let log_n = u8::try_from(number("ln")?).map_err(|_| BadHash::Parameters)?;
                Self::Scrypt { log_n, r: number("r")?, p: number("p")?, salt, hash }
            }
            "pbkdf2-sha256" | "pbkdf2-sha512" => {
                Self::Pbkdf2 { long: kind.ends_with("512"), rounds: number("i")?, salt, hash }
            }
            "argon2i" | "argon2d" | "argon2id" => {
                // Without one it would be 1.0, which is not made here.
                if phc.version != Some(0x13) {
                    return Err(BadHash::Unknown);
                }
                let (memory, passes, lanes) = (number("m")?, number("t")?, number("p")?);
                Self::Argon2 { text: text.to_owned(), kind: kind.to_owned(), memory, passes, lanes }
            }
            _ => return Err(BadHash::Unknown),
        };
        read.within_measure()
    }

    fn bcrypt(text: &str) -> Result<Self, BadHash> {
        let (cost, rest) = text.get(4..).and_then(|rest| rest.split_once('$')).ok_or(BadHash::Unknown)?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit());
        let cost = cost.parse().ok().filter(|_| two_digits).ok_or(BadHash::Unknown)?;
        // 16 bytes of salt and 23 of hash: what is left over of the last letters is zero.
        let place = |b: u8| ALPHABET.iter().position(|letter| *letter == b);
        let places: Option<Vec<usize>> = rest.bytes().map(place).collect();
        let places = places.filter(|places| places.len() == 53).ok_or(BadHash::Unknown)?;
        let is_whole = |at: usize, of: usize| places.get(at).is_some_and(|place| place % of == 0);
        if !is_whole(21, 16) || !is_whole(52, 4) {
            return Err(BadHash::Unknown);
        }
        Self::Bcrypt { text: text.to_owned(), cost }.within_measure()
    }

    fn django(rest: &str) -> Result<Self, BadHash> {
        let mut parts = rest.split('$');
        let (Some(rounds), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadHash::Unknown);
        };
        let hash = base64::decode_standard(hash).map_err(|_| BadHash::Unknown)?;
        let rounds = rounds.parse().map_err(|_| BadHash::Unknown)?;
        Self::Pbkdf2 { long: false, rounds, salt: salt.as_bytes().to_vec(), hash }.within_measure()
    }

    fn within_measure(self) -> Result<Self, BadHash> {
        let within = match &self {
            Self::Bcrypt { cost, .. } => (4..=14).contains(cost),
            Self::Scrypt { log_n, r, p, salt, hash } => {
                // 128 · N · r bytes: at most 128 MiB.
                (10..=20).contains(log_n)
                    && (1..=32).contains(r)
                    && (1..=16).contains(p)
                    && (u64::from(*r) << log_n) <= 1 << 20
                    && salt.len() >= 4
                    && (16..=64).contains(&hash.len())
            }
            Self::Pbkdf2 { rounds, salt, hash, .. } => {
                (1_000..=5_000_000).contains(rounds) && salt.len() >= 4 && (16..=64).contains(&hash.len())
            }
            Self::Argon2 { memory, passes, lanes, .. } => {
                (1..=16).contains(lanes)
                    && (8 * lanes..=131_072).contains(memory)
                    && (1..=64).contains(passes)
            }
        };
        let within = within && self.cost_ms() <= MOST_MS;
        if within { Ok(self) } else { Err(BadHash::Parameters) }
    }

    /// Whether a password is the one.
    pub(crate) fn is_right(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt { text, .. } => bcrypt::verify(password, text).unwrap_or(false),
            Self::Scrypt { log_n, r, p, salt, hash } => {
                let mut made = vec![0; hash.len()];
                let done = scrypt::Params::new(*log_n, *r, *p)
                    .is_ok_and(|params| scrypt::scrypt(password, salt, &params, &mut made).is_ok());
                done && equal_in_constant_time(&made, hash)
            }
            Self::Pbkdf2 { long, rounds, salt, hash } => {
                let mut made = vec![0; hash.len()];
                if *long {
                    pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut made);
                } else {
                    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut made);
                }
                equal_in_constant_time(&made, hash)
            }
            Self::Argon2 { text, .. } => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }

    /// About how long it takes, in milliseconds, on a processor of 2025.
    pub(crate) fn cost_ms(&self) -> u64 {
        match self {
            Self::Bcrypt { cost, .. } => (1_u64 << cost.min(&40)) / 20,
            Self::Scrypt { log_n, r, p, .. } => {
                ((u64::from(*r) * u64::from(*p)) << u32::from(*log_n).min(32)) / 2_600
            }
            Self::Pbkdf2 { rounds, hash, long, .. } => {
                let block = if *long { 64 } else { 32 };
                u64::from(*rounds) * (hash.len().div_ceil(block) as u64) / 2_000
            }
            Self::Argon2 { memory, passes, .. } => u64::from(*memory) * u64::from(*passes) / 900,
        }
    }

    /// A hash that costs as much, and that nothing matches.
    pub(crate) fn like_it(&self) -> String {
        match self {
            Self::Bcrypt { cost, .. } => format!("$2b${cost:02}${}", ".".repeat(53)),
            Self::Scrypt { log_n, r, p, hash, .. } => {
                format!("$scrypt$ln={log_n},r={r},p={p}${}${}", "A".repeat(22), unpadded(hash.len()))
            }
            Self::Pbkdf2 { long, rounds, hash, .. } => {
                let kind = if *long { "sha512" } else { "sha256" };
                let length = hash.len();
                format!("$pbkdf2-{kind}$i={rounds},l={length}${}${}", "A".repeat(22), unpadded(length))
            }
            Self::Argon2 { kind, memory, passes, lanes, .. } => {
                let salt = "A".repeat(22);
                format!("${kind}$v=19$m={memory},t={passes},p={lanes}${salt}${}", unpadded(32))
            }
        }
    }
}

/// As many zeros, in base64.
fn unpadded(bytes: usize) -> String {
    "A".repeat((bytes * 4).div_ceil(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of `correct horse` (bcrypt's of `abc`), made by Python's `hashlib` and by the `bcrypt` package.
    const KNOWN: [(&str, &str); 7] = [
        ("abc", "$2b$04$0K3OH0ZgUnvR9WlrzjwNo.RxtqRUu/SiNHqNe1ekMxRL2t0keONp6"),
        (
            "correct horse",
            "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$6g3umF+uVrJsObaTZhIbbTlgrvOEFcCItdwSjtPF67M",
        ),
        (
            "correct horse",
            "$pbkdf2-sha256$i=2000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$MGoh2Ym969nMJuWoRTjFXPmoi5ptqegZ9PzZ3FTIVOM",
        ),
        (
            "correct horse",
            "$pbkdf2-sha512$i=2000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$JLIbHS/a1pwkuwB4YMVsxfgHL1RpHXfp7kAkuCcl9dhDgXytdhKp4KRA1tfCbROFYAyWs7Bgy1B82eY2dKJ0Uw",
        ),
        ("correct horse", "pbkdf2_sha256$2000$saltsalt$3LqAhBOX3HnV33VBYY0bu7QFCbUib0ie8/+Uvab/YX4="),
        (
            "correct horse",
            "$argon2i$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$+ZM6qIHKWUY4ZEkMSTQpzAefvkLMgPC7fLokalwJpuI",
        ),
        (
            "correct horse",
            "$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$dPtrHTEawLtMiR9+/XloAkXZ+EtyrY+bvmHIbiufhk0",
        ),
    ];

    #[test]
    fn what_others_have_hashed_is_recognised() {
        for (password, hash) in KNOWN {
            let foreign = Foreign::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert!(foreign.is_right(password.as_bytes()), "{hash}");
            for wrong in ["", "Correct horse", "correct horse ", "abd"] {
                assert!(!foreign.is_right(wrong.as_bytes()), "{hash} {wrong}");
            }
            let like = Foreign::parse(&foreign.like_it()).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert_eq!(like.cost_ms(), foreign.cost_ms(), "{hash}");
            assert!(!like.is_right(password.as_bytes()), "{hash}");
        }
    }

    #[test]
    fn what_is_none_or_beyond_all_measure_is_refused() {
        let bcrypt = |cost: &str| format!("$2b${cost}${}", ".".repeat(53));
        for (text, why) in [
            ("", BadHash::Unknown),
            ("correct horse", BadHash::Unknown),
            ("5f4dcc3b5aa765d61d8327deb882cf99", BadHash::Unknown),
            ("$1$salt$hash", BadHash::Unknown),
            (&bcrypt("15"), BadHash::Parameters),
            (&bcrypt("5"), BadHash::Unknown),
            (&bcrypt("012"), BadHash::Unknown),
            (&format!("$2b$10${}", "a".repeat(53)), BadHash::Unknown),
            (
                "$argon2id$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Unknown,
            ),
            (
                "$argon2id$v=19$m=16,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
            (
                "$scrypt$ln=17,r=8,p=16$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
            (&bcrypt("03"), BadHash::Parameters),
            (&bcrypt("xx"), BadHash::Unknown),
            ("$2b$10$short", BadHash::Unknown),
            (
                "$scrypt$ln=24,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
            (
                "$scrypt$ln=20,r=32,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
            (
                "$pbkdf2-sha256$i=10,l=32$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
            ("pbkdf2_sha256$99999999$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", BadHash::Parameters),
            ("pbkdf2_sha256$600000$salt$AAAA$more", BadHash::Unknown),
            (
                "$argon2id$v=19$m=4194304,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                BadHash::Parameters,
            ),
        ] {
            assert_eq!(Foreign::parse(text), Err(why), "{text}");
        }
        assert_eq!(Foreign::parse(&"$".repeat(600)), Err(BadHash::Unknown));
    }
}
