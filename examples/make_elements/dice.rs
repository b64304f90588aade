//! Deterministic choice: a hash of a label decides, so the same label always
//! gives the same choice, on every platform and in every run.
//!
//! The border: nothing here knows about elements; no clock, no system
//! randomness, no floating point.

/// The 64-bit FNV-1a hash of a label, stirred once more so that labels which
/// differ in one letter land far apart.
pub fn mark(label: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in label.bytes() {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A number below `limit` that follows from the label; 0 when `limit` is 0.
pub fn below(label: &str, limit: usize) -> usize {
    let Ok(wide) = u64::try_from(limit) else {
        return 0;
    };
    if wide == 0 {
        return 0;
    }
    usize::try_from(mark(label) % wide).unwrap_or(0)
}

/// One of the choices, always the same one for the same label.
pub fn pick<'a, T: ?Sized>(label: &str, choices: &[&'a T]) -> &'a T {
    choices[below(label, choices.len())]
}
