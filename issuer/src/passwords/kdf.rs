//! argon2id in a bounded pool: as many at once as there are processors, a limited queue, and no more than a fair
//! share of it for one address, or for what was imported. A flood of logins can neither exhaust memory nor starve everybody else.

use super::foreign::{Foreign, MARK};
use super::own_hash::{Memory, hash, is_hash_of};
use crate::clock::Stopwatch;
use crate::config::PasswordConfig;
use crate::failure::Failure;
use crate::metrics;
use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use margrave_shared::limiter::rule::address_key;
use margrave_shared::password::policy::normal_form;
use margrave_shared::secret::SecretText;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// What a password was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Right.
    Right,
    /// Right, and this is its hash with today's parameters.
    RightRehashed(String),
    /// Wrong, or there is no hash to be right against.
    Wrong,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Kdf {
    params: Params,
    running: Arc<Semaphore>,
    /// Of those that run, what is not ours may be so many: half.
    running_foreign: Arc<Semaphore>,
    queue: usize,
    waiting: Mutex<Waiting>,
    /// What was filled by hashes that ended, kept as long as others wait.
    spare: Arc<Mutex<Vec<Memory>>>,
    /// A hash of nothing anybody knows, so that an unknown login costs what a wrong password costs.
    dummy: String,
}

/// What is hashed. The hashes of another system may cost fifty times ours, and whoever imports them chooses that for everybody who tries
/// to log in at one merchant: the other merchants' people do not wait behind those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Own,
    Foreign,
}

#[derive(Debug, Default)]
struct Waiting {
    total: usize,
    foreign: usize,
    by_address: HashMap<String, usize>,
}

/// A place in the queue; leaving it is dropping this.
struct Place<'a> {
    kdf: &'a Kdf,
    lane: Lane,
    key: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.kdf.waiting();
        waiting.total = waiting.total.saturating_sub(1);
        if self.lane == Lane::Foreign {
            waiting.foreign = waiting.foreign.saturating_sub(1);
        }
        if let Some(count) = waiting.by_address.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.by_address.remove(&self.key);
            }
        }
        if waiting.total == 0 {
            drop(waiting);
            self.kdf.spare().clear();
        }
    }
}

/// No address gets more than this part of the queue.
const FAIR_SHARE: usize = 4;

impl Kdf {
    /// With the operator's settings; `dummy_salt` and `dummy_password` are random.
    ///
    /// # Errors
    /// [`Failure::Internal`] for parameters that argon2 does not take.
    pub(crate) fn new(
        config: &PasswordConfig,
        dummy_password: [u8; 32],
        dummy_salt: [u8; 16],
    ) -> Result<Self, Failure> {
        let params = Params::new(config.memory_kib, config.iterations, config.lanes, None)
            .map_err(|_| Failure::Internal("argon2 does not take these parameters"))?;
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let parallel = if config.parallel == 0 { processors } else { config.parallel };
        let dummy = hash(&params, &dummy_password, dummy_salt, &mut Memory::new())?;
        Ok(Self {
            params,
            running: Arc::new(Semaphore::new(parallel)),
            running_foreign: Arc::new(Semaphore::new((parallel / 2).max(1))),
            queue: config.queue + parallel,
            waiting: Mutex::default(),
            spare: Arc::default(),
            dummy,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Memory>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are hashed or wait for it.
    pub(crate) fn waits(&self) -> usize {
        self.waiting().total
    }

    fn enter(&self, lane: Lane, address: Option<IpAddr>) -> Result<Place<'_>, Failure> {
        let key = address.map(address_key).unwrap_or_default();
        let mut waiting = self.waiting();
        let share = (self.queue / FAIR_SHARE).max(2);
        let own = waiting.by_address.get(&key).copied().unwrap_or(0);
        let is_full = lane == Lane::Foreign && waiting.foreign >= self.queue.div_ceil(2);
        if waiting.total >= self.queue || is_full || (own >= share && !key.is_empty()) {
            return Err(Failure::Overloaded);
        }
        waiting.total += 1;
        waiting.foreign += usize::from(lane == Lane::Foreign);
        *waiting.by_address.entry(key.clone()).or_insert(0) += 1;
        drop(waiting);
        Ok(Place { kdf: self, lane, key })
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        address: Option<IpAddr>,
        work: impl FnOnce(&Params, &mut Memory) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let watch = Stopwatch::start();
        let _place = self.enter(lane, address).inspect_err(|_| metrics::password_overloaded())?;
        let permit_of =
            async |of: &Arc<Semaphore>| Arc::clone(of).acquire_owned().await.map_err(|_| Failure::Overloaded);
        // Before the other: who waits for this one keeps nobody waiting.
        let foreign = match lane {
            Lane::Foreign => Some(permit_of(&self.running_foreign).await?),
            Lane::Own => None,
        };
        let permits = (permit_of(&self.running).await?, foreign);
        metrics::password_waited(watch);
        let (params, spare) = (self.params.clone(), Arc::clone(&self.spare));
        let span = tracing::debug_span!("password.hash");
        tokio::task::spawn_blocking(move || {
            let _span = span.entered();
            // The permits go with the work: a client that hangs up does not make room for a second hash.
            let _permits = permits;
            let kept = || spare.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let done = work(&params, &mut memory);
            kept().push(memory);
            done
        })
        .await
        .map_err(|_| Failure::Internal("hashing failed"))
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when the queue is full.
    pub(crate) async fn hash(
        &self,
        password: SecretText,
        address: Option<IpAddr>,
        salt: [u8; 16],
    ) -> Result<String, Failure> {
        self.run(Lane::Own, address, move |params, memory| {
            hash(params, password.expose().as_bytes(), salt, memory)
        })
        .await?
    }

    /// Checks a password against a stored hash, or against the dummy when there is none. Where accounts were imported, `import_hash` is
    /// what checking one of those costs: every attempt costs as much.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when the queue is full: nothing was evaluated.
    pub(crate) async fn verify(
        &self,
        password: &SecretText,
        stored: Option<String>,
        import_hash: Option<String>,
        address: Option<IpAddr>,
        salt: [u8; 16],
    ) -> Result<Verdict, Failure> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        // A password beyond all length is wrong, at the price of any other.
        let normal = normal_form(password).unwrap_or_else(|_| SecretText::new(String::new()));
        let typed = password.clone();
        let lane = if import_hash.is_some() || stored.starts_with(MARK) { Lane::Foreign } else { Lane::Own };
        self.run(lane, address, move |params, memory| {
            let (typed, bytes) = (typed.expose().as_bytes(), normal.expose().as_bytes());
            if let Some(imported) = stored.strip_prefix(MARK) {
                let foreign = Foreign::parse(imported)
                    .map_err(|_| Failure::Internal("a stored password hash cannot be read"))?;
                let right = foreign.is_right(typed) && !bytes.is_empty();
                // Right or not, ours is made: it is kept, and a wrong one costs what an unknown login does.
                let own = hash(params, bytes, salt, memory)?;
                return Ok(if right { Verdict::RightRehashed(own) } else { Verdict::Wrong });
            }
            if let Some(like) = import_hash.as_deref().and_then(|like| Foreign::parse(like).ok()) {
                let _ = std::hint::black_box(like.is_right(typed));
            }
            let read = PasswordHash::new(&stored)
                .map_err(|_| Failure::Internal("a stored password hash cannot be read"))?;
            let right = is_hash_of(&read, bytes, memory)? && exists && !bytes.is_empty();
            let weaker = Params::try_from(&read)
                .is_ok_and(|old| old.m_cost() < params.m_cost() || old.t_cost() < params.t_cost());
            if !right {
                // Checking an old, cheaper hash must not be faster than checking the dummy of an unknown login.
                if weaker {
                    hash(params, bytes, salt, memory)?;
                }
                return Ok(Verdict::Wrong);
            }
            if weaker {
                hash(params, bytes, salt, memory).map(Verdict::RightRehashed)
            } else {
                Ok(Verdict::Right)
            }
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kdf(config: &PasswordConfig) -> Kdf {
        Kdf::new(config, [1; 32], [2; 16]).unwrap()
    }

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    fn floor() -> PasswordConfig {
        PasswordConfig { memory_kib: 64, iterations: 1, ..PasswordConfig::default() }
    }

    #[tokio::test]
    async fn right_wrong_absent_and_overlong() {
        let kdf = kdf(&floor());
        let hash = kdf.hash(secret("correct horse"), None, [3; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let table = [
            ("correct horse", Some(hash.clone()), Verdict::Right),
            ("Correct horse", Some(hash.clone()), Verdict::Wrong),
            ("", Some(hash.clone()), Verdict::Wrong),
            ("correct horse", None, Verdict::Wrong),
            (&"x".repeat(2000), Some(hash), Verdict::Wrong),
        ];
        for (password, stored, verdict) in table {
            assert_eq!(
                kdf.verify(&secret(password), stored, None, None, [4; 16]).await.unwrap(),
                verdict,
                "{password:.20}"
            );
        }
    }

    #[tokio::test]
    async fn a_login_rehashes_when_the_parameters_rose() {
        let old = kdf(&floor()).hash(secret("pw"), None, [3; 16]).await.unwrap();
        let stronger = kdf(&PasswordConfig { memory_kib: 128, ..floor() });
        let Verdict::RightRehashed(new) =
            stronger.verify(&secret("pw"), Some(old), None, None, [4; 16]).await.unwrap()
        else {
            panic!("not rehashed")
        };
        assert!(new.contains("m=128"));
        assert_eq!(
            stronger.verify(&secret("pw"), Some(new), None, None, [4; 16]).await.unwrap(),
            Verdict::Right
        );
    }

    #[tokio::test]
    async fn one_address_gets_no_more_than_its_share() {
        let kdf = kdf(&PasswordConfig { queue: 15, parallel: 1, ..floor() });
        let flooder = Some("192.0.2.1".parse().unwrap());
        let places: Vec<_> = (0..10).map(|_| kdf.enter(Lane::Own, flooder)).collect();
        assert_eq!(places.iter().filter(|place| place.is_ok()).count(), 4);
        assert!(kdf.enter(Lane::Own, Some("192.0.2.2".parse().unwrap())).is_ok());
        drop(places);
        assert!(kdf.enter(Lane::Own, flooder).is_ok());
        assert_eq!(kdf.waiting().total, 0);
    }

    #[tokio::test]
    async fn the_hashes_of_another_system_keep_nobody_elses_people_waiting() {
        for parallel in [2, 4] {
            let kdf = Arc::new(kdf(&PasswordConfig { queue: 16 - parallel, parallel, ..floor() }));
            let (go_on, held) = std::sync::mpsc::channel::<()>();
            let held = Arc::new(Mutex::new(held));
            let slow: Vec<_> = (0..8)
                .map(|_| {
                    let (kdf, held) = (Arc::clone(&kdf), Arc::clone(&held));
                    tokio::spawn(async move {
                        kdf.run(Lane::Foreign, None, move |_, _| held.lock().unwrap().recv().is_ok()).await
                    })
                })
                .collect();
            while kdf.waits() < 8 {
                tokio::task::yield_now().await;
            }
            assert!(kdf.enter(Lane::Foreign, None).is_err(), "half of the queue, and no more");
            for number in 0..3 {
                kdf.hash(secret("pw"), None, [number; 16]).await.unwrap();
            }
            for _ in &slow {
                go_on.send(()).unwrap();
            }
            for done in slow {
                assert!(done.await.unwrap().unwrap());
            }
            let waiting = kdf.waiting();
            assert_eq!((waiting.total, waiting.foreign), (0, 0));
        }
    }

    #[tokio::test]
    async fn memory_is_kept_while_others_wait_and_no_longer() {
        let kdf = kdf(&PasswordConfig { parallel: 2, ..floor() });
        let other = kdf.enter(Lane::Own, None).unwrap();
        for number in 0..8 {
            kdf.hash(secret("pw"), None, [number; 16]).await.unwrap();
        }
        assert_eq!(kdf.spare().len(), 1, "one after another they use the same");
        drop(other);
        assert_eq!(kdf.spare().len(), 0);
    }

    #[tokio::test]
    async fn what_was_imported_becomes_ours_at_the_first_right_password() {
        let kdf = kdf(&floor());
        let imported = "pbkdf2_sha256$2000$saltsalt$3LqAhBOX3HnV33VBYY0bu7QFCbUib0ie8/+Uvab/YX4=".to_owned();
        let like = Some(Foreign::parse(&imported).unwrap().like_it());
        let imported = format!("{MARK}{imported}");
        let verify = async |password: &str, stored: &str| {
            let like = like.clone();
            kdf.verify(&secret(password), Some(stored.to_owned()), like, None, [4; 16]).await.unwrap()
        };
        assert_eq!(verify("correct horsE", &imported).await, Verdict::Wrong);
        assert_eq!(verify("", &imported).await, Verdict::Wrong);
        let Verdict::RightRehashed(own) = verify("correct horse", &imported).await else { panic!("wrong") };
        assert!(own.starts_with("$argon2id$"));
        assert_eq!(verify("correct horse", &own).await, Verdict::Right);
        assert_eq!(verify("correct", &own).await, Verdict::Wrong);
        // argon2 of other parameters is another system's too, and of none whatever was not marked.
        let hash =
            "$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$dPtrHTEawLtMiR9+/XloAkXZ+EtyrY+bvmHIbiufhk0";
        let Verdict::RightRehashed(_) = verify("correct horse", &format!("{MARK}{hash}")).await else {
            panic!("not rehashed")
        };
        let stored = "$2b$04$".to_owned() + &".".repeat(53);
        assert!(kdf.verify(&secret("x"), Some(stored), None, None, [4; 16]).await.is_err());
    }
}
