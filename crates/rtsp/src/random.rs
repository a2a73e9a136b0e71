//! What must not be guessed, from the system's generator.

/// Fills a buffer.
///
/// # Panics
/// When the system has no randomness to give: then nothing here is safe to go on.
pub(crate) fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system's random generator works");
}

/// A random number.
pub(crate) fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// An SSRC; 0 means "none" to some.
pub(crate) fn ssrc() -> u32 {
    loop {
        let mut bytes = [0; 4];
        fill(&mut bytes);
        match u32::from_be_bytes(bytes) {
            0 => {}
            ssrc => return ssrc,
        }
    }
}

/// 128 bits in hexadecimal digits, which need no escape anywhere.
pub(crate) fn text() -> String {
    format!("{:016x}{:016x}", u64(), u64())
}
