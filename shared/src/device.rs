//! Known devices (D3): what a client holds after a completed login, so that its next attempts are counted by themselves
//! and a stranger's flood on the same login does not keep its owner out.
//!
//! A device token is no credential: with it a password is still needed. It is a message authenticated by the edge
//! (HMAC-SHA-256), which names the account, the keyed hashes of its logins, a device id and the account's device
//! generation. It counts for 90 days.

use crate::base64;
use crate::id::AccountId;
use crate::limiter::LimiterKeys;
use crate::login::login_key;
use crate::secret::SecretKey;
use crate::time::UnixMs;
use subtle::ConstantTimeEq as _;

/// How long a device token counts, in seconds: 90 days.
pub const LIFE_S: i64 = 90 * 86_400;

/// After so many wrong attempts a device is known no more.
pub const MAX_WRONG: i64 = 10;

/// The wrong attempts that a device may make in one window.
pub const ATTEMPTS: i64 = 5;

/// The wrong attempts that all devices of one account may make in one window: every login makes one more device known.
pub const ATTEMPTS_OF_ALL: i64 = 10;

/// The most tokens that a browser holds: it may have several people.
pub const MAX_HELD: usize = 4;

/// What stands between two tokens in a cookie.
pub const SEPARATOR: char = '.';

/// The most logins of one account that a token names.
const MAX_LOGINS: usize = 8;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;
/// Version, time, generation, device, number of logins.
const HEAD_BYTES: usize = 1 + 8 + 8 + 16 + 1;
/// The longest text: the parts above, eight logins, an id of 64 bytes and the tag, in base64url.
const MAX_TEXT: usize = (HEAD_BYTES + 16 * MAX_LOGINS + 64 + TAG_BYTES).div_ceil(3) * 4;

/// What a device token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The account that was logged in to.
    pub account: AccountId,
    /// The account's device generation then: a later one has forgotten this device.
    pub generation: i64,
    /// This device, 128 random bits.
    pub id: [u8; 16],
    /// Unix second of the login.
    pub issued_at: i64,
    logins: Vec<[u8; 16]>,
}

/// A text that is no device token, or one whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a device token")]
pub struct NotADevice;

/// Signs and reads device tokens, and names what is counted of them. The first key signs; while keys are changed, a token of each is
/// believed, and what is counted is counted under each.
#[derive(Debug, Clone)]
pub struct DeviceKeys(LimiterKeys);

/// What is counted of a device, under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNames {
    /// What its attempts are counted under.
    pub device: [u8; 16],
    /// What is remembered of all devices of its account under.
    pub account: [u8; 16],
}

impl DeviceKeys {
    /// The keys for devices of an edge's limiter keys.
    pub fn of(limiter_keys: &LimiterKeys) -> Self {
        Self(limiter_keys.derive("known devices"))
    }

    /// A new device of an account with these logins.
    pub fn device(
        &self,
        account: AccountId,
        generation: i64,
        logins: &[String],
        id: [u8; 16],
        now: UnixMs,
    ) -> Device {
        let logins =
            logins.iter().take(MAX_LOGINS).map(|login| login_hash(self.0.first(), &login_key(login)));
        let logins = logins.collect();
        Device { account, generation, id, issued_at: now.seconds(), logins }
    }

    /// The token's text, base64url.
    pub fn print(&self, device: &Device) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(device.issued_at.to_be_bytes());
        bytes.extend(device.generation.to_be_bytes());
        bytes.extend(device.id);
        bytes.push(u8::try_from(device.logins.len()).unwrap_or(0));
        bytes.extend(device.logins.iter().flatten());
        bytes.extend(device.account.as_str().as_bytes());
        let tag = self.0.first().tag(&[b"token", &bytes]);
        bytes.extend(tag);
        base64::encode_url(&bytes)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`NotADevice`] for whatever none of these keys has signed, and after 90 days.
    pub fn read(&self, text: &str, now: UnixMs) -> Result<Device, NotADevice> {
        if text.len() > MAX_TEXT {
            return Err(NotADevice);
        }
        let bytes = base64::decode_url(text).map_err(|_| NotADevice)?;
        let (said, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(NotADevice)?;
        if !self.0.each().any(|key| bool::from(key.tag(&[b"token", said]).ct_eq(tag))) {
            return Err(NotADevice);
        }
        let device = read_said(said).ok_or(NotADevice)?;
        let age_s = now.seconds().saturating_sub(device.issued_at);
        if age_s < LIFE_S { Ok(device) } else { Err(NotADevice) }
    }

    /// Whether a login, in its normal form, is one of the device's account.
    pub fn knows(&self, device: &Device, login_key: &str) -> bool {
        self.0.each().any(|key| device.logins.contains(&login_hash(key, login_key)))
    }

    /// What is counted of a device, under each key.
    pub fn names(&self, device: &Device) -> impl Iterator<Item = DeviceNames> {
        self.0.each().map(|key| DeviceNames {
            device: short(key, &[b"device", device.account.as_str().as_bytes(), &device.id]),
            account: account_hash(key, &device.account),
        })
    }

    /// What is remembered of all devices of an account under, for each key.
    pub fn accounts(&self, account: &AccountId) -> impl Iterator<Item = [u8; 16]> {
        self.0.each().map(|key| account_hash(key, account))
    }
}

fn account_hash(key: &SecretKey, account: &AccountId) -> [u8; 16] {
    short(key, &[b"account", account.as_str().as_bytes()])
}

fn login_hash(key: &SecretKey, login_key: &str) -> [u8; 16] {
    short(key, &[b"login", login_key.as_bytes()])
}

fn short(key: &SecretKey, parts: &[&[u8]]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(key.tag(parts).first_chunk::<16>().unwrap_or(&[0; 16]));
    short
}

fn read_said(said: &[u8]) -> Option<Device> {
    let (&version, rest) = said.split_first()?;
    let (issued_at, rest) = rest.split_first_chunk::<8>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (&count, mut rest) = rest.split_first()?;
    let mut logins = Vec::new();
    for _ in 0..count {
        let (login, more) = rest.split_first_chunk::<16>()?;
        logins.push(*login);
        rest = more;
    }
    let account = AccountId::parse(core::str::from_utf8(rest).ok()?).ok()?;
    (version == VERSION).then(|| Device {
        account,
        generation: i64::from_be_bytes(*generation),
        id: *id,
        issued_at: i64::from_be_bytes(*issued_at),
        logins,
    })
}

/// What an edge does with a device that comes with an attempt: the rule of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRow {
    /// Wrong attempts so far, those under way included.
    pub wrong: i64,
    /// The lowest device generation of the account that counts.
    pub lowest_generation: i64,
}

impl DeviceRow {
    /// Whether a device of this generation is known still.
    pub const fn knows(self, generation: i64) -> bool {
        self.wrong < MAX_WRONG && generation >= self.lowest_generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs::from_seconds(1_800_000_000);

    fn keys(bytes: &[u8]) -> DeviceKeys {
        let texts = bytes.iter().map(|byte| SecretKey::from_bytes([*byte; 32]).to_text().expose().to_owned());
        DeviceKeys::of(&LimiterKeys::parse(&texts.collect::<Vec<_>>().join(",")).unwrap())
    }

    fn key() -> DeviceKeys {
        keys(&[3])
    }

    fn device() -> Device {
        let logins = ["Alïce".to_owned(), "x:alice".to_owned()];
        key().device(AccountId::parse("a-1").unwrap(), 7, &logins, [9; 16], NOW)
    }

    #[test]
    fn reading_undoes_writing_for_ninety_days() {
        let text = key().print(&device());
        for (later_s, read) in [(0, true), (-60, true), (LIFE_S - 1, true), (LIFE_S, false)] {
            assert_eq!(key().read(&text, NOW.plus_seconds(later_s)).ok(), read.then(device), "{later_s}");
        }
        assert!(text.len() <= MAX_TEXT);
    }

    #[test]
    fn a_device_stays_known_while_keys_are_changed() {
        let text = key().print(&device());
        for (by, known) in [(&[3][..], true), (&[3, 4], true), (&[4, 3], true), (&[4], false)] {
            let keys = keys(by);
            let read = keys.read(&text, NOW);
            assert_eq!(read.as_ref().ok(), known.then(device).as_ref(), "{by:?}");
            assert_eq!(read.is_ok_and(|device| keys.knows(&device, &login_key("x:alice"))), known, "{by:?}");
        }
        // What it says is hashed by the key that signs it.
        let made =
            keys(&[4, 3]).device(AccountId::parse("a-1").unwrap(), 7, &["alice".to_owned()], [9; 16], NOW);
        let text = keys(&[4, 3]).print(&made);
        let read = keys(&[4]).read(&text, NOW).unwrap();
        assert!(keys(&[4]).knows(&read, &login_key("alice")));
        let names = |by: &[u8]| keys(by).names(&made).collect::<Vec<_>>();
        assert_eq!(names(&[3, 4]), [names(&[3]), names(&[4])].concat());
        let accounts = |by: &[u8]| keys(by).accounts(&made.account).collect::<Vec<_>>();
        assert_eq!(accounts(&[3, 4]), names(&[3, 4]).iter().map(|name| name.account).collect::<Vec<_>>());
    }

    #[test]
    fn only_logins_of_its_account_count() {
        for (login, known) in
            [("ALÏCE", true), ("ａlïce", true), ("x:alice", true), ("alice", false), ("", false)]
        {
            assert_eq!(key().knows(&device(), &login_key(login)), known, "{login}");
        }
    }

    #[test]
    fn a_device_is_known_until_ten_were_wrong_or_it_was_forgotten() {
        for (wrong, lowest_generation, known) in
            [(0, 0, true), (9, 7, true), (10, 0, false), (0, 8, false), (11, 9, false)]
        {
            assert_eq!(DeviceRow { wrong, lowest_generation }.knows(7), known, "{wrong} {lowest_generation}");
        }
    }

    #[test]
    fn what_is_counted_differs_by_device_and_account() {
        let other = Device { id: [8; 16], ..device() };
        let foreign = Device { account: AccountId::parse("a-2").unwrap(), ..device() };
        let names = |device: &Device| key().names(device).next().unwrap();
        assert_ne!(names(&device()).device, names(&other).device);
        assert_ne!(names(&device()).device, names(&foreign).device);
        assert_ne!(names(&device()).account, names(&foreign).account);
    }

    proptest! {
        #[test]
        fn whatever_is_changed_is_refused(at in 0_usize..170, with in any::<u8>()) {
            let text = key().print(&device());
            let mut bytes = text.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != with);
            bytes[at] = with;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert_eq!(key().read(&changed, NOW), Err(NotADevice));
            }
        }

        #[test]
        fn anything_can_be_read_without_harm(text in ".{0,500}") {
            prop_assert_eq!(key().read(&text, NOW), Err(NotADevice));
        }
    }
}
