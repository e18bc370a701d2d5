//! The keys of `auth_hmac` and `auth_type AH`, and the ciphers, which the core leaves to its ports. A key is nowhere
//! shown, not even by `Debug`, and overwritten when it is dropped.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::Sha256;
use steadfast_core::auth::{Keys, Tag};
use zeroize::Zeroizing;

use crate::source;

/// How many bytes a key has.
const LENGTHS: RangeInclusive<usize> = 32..=64;

/// The longest file of a key: twice its digits.
const LONGEST_FILE: u64 = 256;

/// The bytes of a key.
pub type Secret = Zeroizing<Vec<u8>>;

/// Keys by their numbers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyRing(Vec<(u8, Secret)>);

impl KeyRing {
    /// Adds a key; `false` if there is one of this number.
    pub fn add(&mut self, number: u8, secret: Secret) -> bool {
        let is_new = !self.has(number);
        if is_new {
            self.0.push((number, secret));
        }
        is_new
    }

    /// Whether there is a key of this number.
    pub fn has(&self, number: u8) -> bool {
        self.0.iter().any(|(known, _)| *known == number)
    }
}

impl Keys for KeyRing {
    fn tag(&self, key: u8, parts: &[&[u8]]) -> Option<Tag> {
        let (_, secret) = self.0.iter().find(|(number, _)| *number == key)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().first_chunk().copied()
    }
}

/// The key of `auth_type AH`: the eight bytes of `auth_pass`.
pub struct HeaderKey(Zeroizing<[u8; 8]>);

impl HeaderKey {
    /// For this password, filled up with zeros.
    pub fn new(password: [u8; 8]) -> Self {
        Self(Zeroizing::new(password))
    }
}

impl Keys for HeaderKey {
    fn tag(&self, _: u8, parts: &[&[u8]]) -> Option<Tag> {
        let mut mac = Hmac::<Md5>::new_from_slice(&*self.0).ok()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(number, _)| number)).finish()
    }
}

/// Reads a key as it is written: `hex:` and digits, or its characters.
///
/// # Errors
/// What is wrong with it, in a sentence that does not show it.
pub fn parse(text: &[u8]) -> Result<Secret, &'static str> {
    let secret = match text.strip_prefix(b"hex:") {
        Some(digits) => unhex(digits).ok_or("behind `hex:` there are pairs of hexadecimal digits, and nothing else")?,
        None => Zeroizing::new(text.to_vec()),
    };
    if LENGTHS.contains(&secret.len()) { Ok(secret) } else { Err("a key has 32 to 64 bytes") }
}

fn unhex(digits: &[u8]) -> Option<Secret> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut secret = Zeroizing::new(Vec::with_capacity(pairs.len()));
    let digit = |character: u8| char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for [high, low] in pairs {
        secret.push((digit(*high)? << 4) | digit(*low)?);
    }
    rest.is_empty().then_some(secret)
}

/// A key that is in a file.
pub struct FromFile {
    /// The key, or what is wrong with it.
    pub secret: Result<Secret, &'static str>,
    /// Others than its owner may read it.
    pub is_open: bool,
}

/// Reads the key in a file, written as in a configuration; what is white at its end does not count.
///
/// # Errors
/// Of the system.
pub fn read(path: &Path) -> io::Result<FromFile> {
    let file: File = source::open(path)?;
    let is_open = file.metadata()?.permissions().mode() & 0o077 != 0;
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_FILE as usize + 1));
    file.take(LONGEST_FILE + 1).read_to_end(&mut text)?;
    let is_long = text.len() as u64 > LONGEST_FILE;
    let secret = if is_long { Err("the file is longer than a key") } else { parse(text.trim_ascii_end()) };
    Ok(FromFile { secret, is_open })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 section 4.3, whose key is shorter than ours may be.
    #[test]
    fn rfc4231_4_3_a_tag_is_the_first_half_of_an_hmac() {
        let mut keys = KeyRing::default();
        assert!(keys.add(7, Zeroizing::new(b"Jefe".to_vec())));
        let tag = keys.tag(7, &[b"what do ya want ", b"", b"for nothing?"]).unwrap();
        assert_eq!(tag, 0x5bdc_c146_bf60_754e_6a04_2426_0895_75c7_u128.to_be_bytes());
        assert_eq!(keys.tag(8, &[]), None);
        assert!(!keys.add(7, Zeroizing::new(vec![0; 32])));
    }

    /// RFC 2202 section 2, test case 2.
    #[test]
    fn rfc2202_2_the_tag_of_a_header_is_an_hmac_of_md5() {
        let tag = HeaderKey::new(*b"Jefe\0\0\0\0").tag(0, &[b"what do ya want for nothing?"]).unwrap();
        assert_eq!(tag, 0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738_u128.to_be_bytes());
    }

    #[test]
    fn a_key_is_digits_or_characters_and_never_shown() {
        let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";
        let key = parse(format!("hex:{digits}").as_bytes()).unwrap();
        assert!(key.iter().copied().eq(0..32));
        assert_eq!(parse(digits.as_bytes()).unwrap().len(), 64);
        for wrong in ["hex:", "hex:0g", &format!("hex:{digits}0"), &"x".repeat(31), &"x".repeat(65), ""] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let mut keys = KeyRing::default();
        keys.add(1, key);
        assert_eq!(format!("{keys:?}"), "[1]");
    }
}
