//! The instructions of classic BPF that our socket filters use. The filters themselves are in
//! [`crate::socket`].

/// Offset of the network header, wherever the filter is called.
pub const NETWORK: i32 = libc::SKF_NET_OFF;
/// Offset at which a load gives the type of the packet (PACKET_HOST, PACKET_OUTGOING, ...).
pub const PACKET_TYPE: i32 = libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE;
/// Offset at which a load looks for the netlink attribute whose type is in the index, from the offset in the
/// accumulator on: its own offset, 0 if there is none.
pub const ATTRIBUTE: i32 = libc::SKF_AD_OFF + libc::SKF_AD_NLATTR;

/// One instruction.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Instruction(libc::sock_filter);

impl Instruction {
    const fn new(code: u32, jt: u8, jf: u8, k: u32) -> Self {
        Self(libc::sock_filter { code: code as u16, jt, jf, k })
    }

    /// Loads 4 bytes from `offset` in network order.
    pub const fn load_word(offset: i32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset.cast_unsigned())
    }

    /// Loads 2 bytes from `offset` in network order.
    pub const fn load_half(offset: i32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, offset.cast_unsigned())
    }

    /// Loads the byte at `offset`.
    pub const fn load_byte(offset: i32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset.cast_unsigned())
    }

    /// Loads a constant.
    pub const fn load(value: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_IMM, 0, 0, value)
    }

    /// Puts a constant into the index.
    pub const fn index(value: u32) -> Self {
        Self::new(libc::BPF_LDX | libc::BPF_IMM, 0, 0, value)
    }

    /// Loads 4 bytes from `offset` after the index, in network order.
    pub const fn load_word_after(offset: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 0, offset)
    }

    /// Loads the byte at `offset` after the index.
    pub const fn load_byte_after(offset: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0, 0, offset)
    }

    /// Skips `then` instructions if what was loaded equals the index, else `otherwise`.
    pub const fn if_index(then: u8, otherwise: u8) -> Self {
        Self::new(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X, then, otherwise, 0)
    }

    /// Skips `then` instructions if what was loaded equals `value`, else `otherwise`.
    pub const fn if_equal(value: u32, then: u8, otherwise: u8) -> Self {
        Self::new(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, value)
    }

    /// Skips `then` instructions if what was loaded shares a bit with `bits`, else `otherwise`.
    pub const fn if_any(bits: u32, then: u8, otherwise: u8) -> Self {
        Self::new(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, then, otherwise, bits)
    }

    /// Skips `then` instructions if what was loaded is at least `value`, else `otherwise`.
    pub const fn if_at_least(value: u32, then: u8, otherwise: u8) -> Self {
        Self::new(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, then, otherwise, value)
    }

    /// Puts what was loaded into the index.
    pub const TO_INDEX: Self = Self::new(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0);
    /// Keeps what was loaded.
    pub const KEEP: Self = Self::new(libc::BPF_ST, 0, 0, 0);
    /// Puts what was kept into the index.
    pub const INDEX_KEPT: Self = Self::new(libc::BPF_LDX | libc::BPF_MEM, 0, 0, 0);
    /// Ends: the packet is queued.
    pub const ACCEPT: Self = Self::new(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX);
    /// Ends: the packet never was.
    pub const REJECT: Self = Self::new(libc::BPF_RET | libc::BPF_K, 0, 0, 0);
}
