//! 802.1Q tags: reading the tag of a frame, taking it off and putting it on, in place.

/// A VLAN, 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(core::num::NonZeroU16);

impl VlanId {
    /// The VLAN with this number; `None` for 0 and from 4095 on.
    pub const fn new(number: u16) -> Option<Self> {
        match core::num::NonZeroU16::new(number) {
            Some(id) if number < 4095 => Some(Self(id)),
            _ => None,
        }
    }

    /// The number in the tag.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// The length of a tag.
pub const TAG: usize = 4;

/// The EtherType of a tag.
const TAGGED: [u8; 2] = [0x81, 0x00];
/// The priority in the tags that we put on: 6, Internetwork Control.
const CONTROL: u8 = 0xc0;
/// Destination and source address.
const ADDRESSES: usize = 12;

/// Which VLAN a frame belongs to; `None` if it has no tag, or one that only tells a priority (VLAN 0), or 4095.
/// By it the driver of a chip with several VLANs finds the interface that a frame is for.
pub fn vlan_of(frame: &[u8]) -> Option<VlanId> {
    number(frame).and_then(VlanId::new)
}

/// The number in the tag of a frame that has one.
fn number(frame: &[u8]) -> Option<u16> {
    let (tag, _) = frame.get(ADDRESSES..)?.split_first_chunk::<TAG>()?;
    let [high, low, control, vlan] = *tag;
    ([high, low] == TAGGED).then(|| u16::from_be_bytes([control & 0x0f, vlan]))
}

/// The frame without its tag, if it belongs to `vlan`; `None` if it belongs elsewhere. A tag of VLAN 0 only tells
/// a priority, and counts as none.
pub(crate) fn untag(frame: &mut [u8], vlan: Option<VlanId>) -> Option<&mut [u8]> {
    let Some(number) = number(frame) else { return if vlan.is_none() { Some(frame) } else { None } };
    if number != vlan.map_or(0, VlanId::get) {
        return None;
    }
    let addresses = *frame.first_chunk::<ADDRESSES>()?;
    let frame = frame.get_mut(TAG..)?;
    *frame.first_chunk_mut()? = addresses;
    Some(frame)
}

/// Puts a tag on the frame that is the first `length` bytes of `buffer`; its length then. `None` if there is no
/// room. `control`: what is in it keeps the network together.
pub(crate) fn tag(buffer: &mut [u8], length: usize, vlan: Option<VlanId>, control: bool) -> Option<usize> {
    let Some(vlan) = vlan else { return (length <= buffer.len()).then_some(length) };
    let tagged = length.checked_add(TAG).filter(|_| length >= ADDRESSES)?;
    let [high, low] = vlan.get().to_be_bytes();
    let [a, b] = TAGGED;
    let mut carried = [a, b, high | if control { CONTROL } else { 0 }, low];
    // Each four bytes make room for those before them.
    let (chunks, rest) = buffer.get_mut(ADDRESSES..tagged)?.as_chunks_mut::<TAG>();
    for chunk in chunks {
        core::mem::swap(chunk, &mut carried);
    }
    for (place, byte) in rest.iter_mut().zip(carried) {
        *place = byte;
    }
    Some(tagged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_1_to_4094() {
        assert_eq!([0, 4095, 4096, u16::MAX].map(VlanId::new), [None; 4]);
        assert_eq!([1, 4094].map(|number| VlanId::new(number).map(VlanId::get)), [Some(1), Some(4094)]);
    }

    #[test]
    fn a_tag_is_put_on_and_taken_off_at_every_length() {
        let vlan = VlanId::new(0x123);
        for length in 0..80 {
            let original: [u8; 84] = core::array::from_fn(|at| at as u8);
            let mut frame = original;
            let Some(tagged) = tag(&mut frame, length, vlan, true) else {
                assert!(length < 12, "{length}");
                continue;
            };
            assert_eq!(tagged, length + 4);
            assert_eq!(frame[..12], original[..12]);
            assert_eq!(frame[12..16], [0x81, 0, 0xc1, 0x23]);
            assert_eq!(frame[16..tagged], original[12..length]);
            assert_eq!(vlan_of(&frame), vlan);
            assert_eq!(untag(&mut frame[..tagged], VlanId::new(0x124)), None);
            assert_eq!(untag(&mut frame[..tagged], None), None);
            assert_eq!(untag(&mut frame[..tagged], vlan).unwrap(), &original[..length]);
        }
    }

    #[test]
    fn without_a_vlan_there_is_no_tag() {
        let mut frame = [7; 60];
        assert_eq!(tag(&mut frame, 60, None, true), Some(60));
        assert_eq!(tag(&mut frame, 61, None, true), None);
        assert_eq!(tag(&mut frame, 57, VlanId::new(1), true), None);
        assert_eq!(untag(&mut frame, None).unwrap(), [7; 60]);
        assert_eq!(untag(&mut frame, VlanId::new(1)), None);
        assert_eq!(vlan_of(&frame), None);
    }

    #[test]
    fn a_tag_that_only_tells_a_priority_counts_as_none() {
        let mut frame: [u8; 20] = core::array::from_fn(|at| at as u8);
        frame[12..16].copy_from_slice(&[0x81, 0, 0xe0, 0]);
        assert_eq!(vlan_of(&frame), None);
        assert_eq!(untag(&mut frame, VlanId::new(1)), None);
        assert_eq!(untag(&mut frame, None).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19]);
    }
}
