//! The Internet checksum (RFC 1071): a ones' complement sum that can be taken over several pieces, and the
//! pseudo-header that IPv6, and version 3 over IPv4 in the form of RFC 5798, put in front of the message.
//! Which form an Advertisement carries is decided in [`super::advertisement`].

use core::net::IpAddr;

/// A ones' complement sum of 16-bit words in network order, folded to 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u32);

impl Sum {
    /// The sum of no words.
    pub const ZERO: Self = Self(0);

    /// The sum of `data`; an odd last byte counts as the high byte of a word.
    pub fn of(data: &[u8]) -> Self {
        Self::ZERO.plus(data)
    }

    /// This sum and that of `data`. Only the last piece of a message may be of odd length.
    #[must_use]
    pub fn plus(self, data: &[u8]) -> Self {
        // Words of 32 bits do as well: 2^16 is 1 in ones' complement arithmetic of 16 bits, and folding
        // at the end brings the upper half down (RFC 1071 section 2 (C)). Room for 2^32 of them: no packet has as many.
        let (words, rest) = data.as_chunks::<4>();
        let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u32::from_be_bytes(*word).into()));
        let tail = match *rest {
            [] => 0,
            [a] => u32::from_be_bytes([a, 0, 0, 0]),
            [a, b] => u32::from_be_bytes([a, b, 0, 0]),
            [a, b, c, ..] => u32::from_be_bytes([a, b, c, 0]),
        };
        let sum = sum.wrapping_add(tail.into());
        self.add(sum as u32).add((sum >> 32) as u32)
    }

    /// What is carried out at the top comes in at the bottom.
    const fn add(self, words: u32) -> Self {
        let (sum, carried) = self.0.overflowing_add(words);
        Self(sum.wrapping_add(carried as u32))
    }

    /// This sum and one more word.
    #[must_use]
    pub const fn plus_word(self, word: u16) -> Self {
        self.add(word as u32)
    }

    /// This sum and another one.
    #[must_use]
    pub const fn plus_sum(self, other: Self) -> Self {
        self.add(other.0)
    }

    /// The sum in 16 bits. Zero only if every word was zero.
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff).wrapping_add(self.0 >> 16);
        sum.wrapping_add(sum >> 16) as u16
    }

    /// The checksum to send: the complement of the sum taken with the checksum field as zero.
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether a received message, summed with its checksum field, is intact.
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The sum of the pseudo-header of a message of `length` bytes: both addresses, the length and the
/// protocol. The IPv4 form (RFC 5798 section 5.2.8) and the IPv6 form (RFC 8200 section 8.1) sum the same
/// words, only in another order. The addresses are of one family.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> Sum {
    address(source).plus_sum(address(destination)).plus_word(protocol.into()).plus_word(length)
}

fn address(address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(address) => Sum::of(&address.octets()),
        IpAddr::V6(address) => Sum::of(&address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn an_odd_last_byte_is_a_high_byte() {
        assert_eq!(Sum::of(&[0x12]).fold(), 0x1200);
        assert_eq!(Sum::of(&[0x00, 0x01, 0x12]).fold(), 0x1201);
        assert_eq!(Sum::of(&[0, 0, 0, 1, 0x12]).fold(), 0x1201);
        assert_eq!(Sum::of(&[0, 0, 0, 1, 0, 2, 0x12]).fold(), 0x1203);
    }

    #[test]
    fn pieces_sum_like_the_whole() {
        let data = [0xff, 0xfe, 0x80, 0x01, 0x7f, 0xff, 0x00, 0x03, 0xaa, 0x55];
        for cut in (0..=data.len()).step_by(2) {
            assert_eq!(Sum::of(&data[..cut]).plus(&data[cut..]).fold(), Sum::of(&data).fold());
        }
    }

    #[test]
    fn folding_carries_all_the_way() {
        assert_eq!(Sum(u32::MAX).fold(), 0xffff);
        assert_eq!(Sum(0x0001_ffff).fold(), 1);
        assert_eq!(Sum(u32::MAX).plus(&[0, 0, 0, 1]).fold(), 1);
        assert_eq!(Sum(u32::MAX).plus_sum(Sum(u32::MAX)).fold(), 0xffff);
        assert_eq!(Sum::of(&[0xff; 1 << 16]).plus_word(2).fold(), 2);
        assert_eq!(Sum(0x1_0000).fold(), 1);
        assert_eq!(Sum::ZERO.fold(), 0);
        assert!(!Sum::ZERO.is_valid());
    }

    #[test]
    fn the_pseudo_header_of_a_captured_advertisement() {
        // keepalived, VRID 14, from 10.99.0.1.
        let message = [0x31, 0x0e, 0xc8, 0x01, 0x00, 0x64, 0x11, 0x28, 0x0a, 0x63, 0x00, 0x0e];
        let pseudo = pseudo_header(Ipv4Addr::new(10, 99, 0, 1).into(), Ipv4Addr::new(224, 0, 0, 18).into(), 112, 12);
        assert!(pseudo.plus(&message).is_valid());
        assert!(!Sum::of(&message).is_valid());
    }

    #[test]
    fn the_pseudo_header_of_ipv6_sums_whole_addresses() {
        let one = Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 8);
        assert_eq!(pseudo_header(one.into(), one.into(), 58, 32).fold(), 2 * 36 + 58 + 32);
    }
}
