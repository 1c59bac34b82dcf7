//! Our own hashes: argon2id in the PHC string format. A hash fills megabytes; to get those from the system anew each time, page by
//! page, costs a fifth of it, so that they are handed in.

use crate::failure::Failure;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};

/// What is filled while hashing. What a former hash has left there changes nothing.
pub(super) type Memory = Vec<Block>;

const FAILED: Failure = Failure::Internal("argon2 failed");

/// Hashes a password.
pub(super) fn hash(
    params: &Params,
    password: &[u8],
    salt: [u8; 16],
    memory: &mut Memory,
) -> Result<String, Failure> {
    let salt = Salt::new(&salt).map_err(|_| FAILED)?;
    let output = output(params, password, &salt, Params::DEFAULT_OUTPUT_LEN, memory)?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| FAILED)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// Whether it is the hash of a password, by the hash's own parameters and in a time that does not tell.
///
/// # Errors
/// [`Failure::Internal`] for what this module has not written.
pub(super) fn is_hash_of(hash: &PasswordHash, password: &[u8], memory: &mut Memory) -> Result<bool, Failure> {
    let unread = Failure::Internal("a stored password hash cannot be read");
    let is_ours = hash.algorithm == ARGON2ID_IDENT && hash.version == Some(Version::V0x13.into());
    let (Some(salt), Some(expected), true) = (&hash.salt, &hash.hash, is_ours) else { return Err(unread) };
    let params = Params::try_from(hash).map_err(|_| unread)?;
    Ok(output(&params, password, salt, expected.len(), memory)? == *expected)
}

fn output(
    params: &Params,
    password: &[u8],
    salt: &Salt,
    length: usize,
    memory: &mut Memory,
) -> Result<Output, Failure> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let count = params.block_count();
    if memory.len() < count {
        // Not by growing, which would hold both and more.
        *memory = Memory::new();
        memory.try_reserve_exact(count).map_err(|_| FAILED)?;
        memory.resize(count, Block::new());
    }
    let blocks = memory.get_mut(..count).ok_or(FAILED)?;
    let mut buffer = [0; Output::MAX_LENGTH];
    let out = buffer.get_mut(..length).ok_or(FAILED)?;
    argon2.hash_password_into_with_memory(password, salt, out, blocks).map_err(|_| FAILED)?;
    Output::new(out).map_err(|_| FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier as _;

    #[test]
    fn what_was_in_the_memory_changes_nothing_and_the_crate_agrees() {
        let mut memory = Memory::new();
        let mut before = String::new();
        for (kib, iterations) in [(64, 2), (8, 1), (256, 1), (64, 2)] {
            let params = Params::new(kib, iterations, 1, None).unwrap();
            for password in ["correct horse", "", "correct horse"] {
                let of_used = hash(&params, password.as_bytes(), [7; 16], &mut memory).unwrap();
                assert_eq!(of_used, hash(&params, password.as_bytes(), [7; 16], &mut Memory::new()).unwrap());
                let read = PasswordHash::new(&of_used).unwrap();
                assert!(Argon2::default().verify_password(password.as_bytes(), &read).is_ok(), "{of_used}");
                assert!(is_hash_of(&read, password.as_bytes(), &mut memory).unwrap());
                assert!(!is_hash_of(&read, b"correct horsE", &mut memory).unwrap());
                before = of_used;
            }
        }
        for (from, to) in [("argon2id", "argon2i"), ("v=19", "v=16"), ("v=19$", "")] {
            let strange = before.replace(from, to);
            let read = PasswordHash::new(&strange).unwrap();
            assert!(is_hash_of(&read, b"correct horse", &mut memory).is_err(), "{strange}");
        }
    }
}
