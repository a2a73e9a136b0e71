//! What must not be guessed, from the system's generator by way of aws-lc-rs: names of sessions, SSRCs, where RTP begins.

/// Fills a buffer.
///
/// # Panics
/// When the system has no randomness to give: then nothing here is safe to go on.
pub fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system's random generator works");
}

/// A random number.
///
/// # Panics
/// As [`fill`].
pub fn u16() -> u16 {
    u16::from_be_bytes(array())
}

/// A random number.
///
/// # Panics
/// As [`fill`].
pub fn u32() -> u32 {
    u32::from_be_bytes(array())
}

/// A random number.
///
/// # Panics
/// As [`fill`].
pub fn u64() -> u64 {
    u64::from_be_bytes(array())
}

/// An SSRC; 0 means "none" to some.
///
/// # Panics
/// As [`fill`].
pub fn ssrc() -> u32 {
    other_than_0(u32)
}

/// 128 bits in hexadecimal digits, which need no escape anywhere.
///
/// # Panics
/// As [`fill`].
pub fn text() -> String {
    format!("{:016x}{:016x}", u64(), u64())
}

fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

fn other_than_0(mut draw: impl FnMut() -> u32) -> u32 {
    loop {
        match draw() {
            0 => {}
            number => return number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssrc_is_never_0() {
        let mut drawn = [0, 0, 7, 0].into_iter();
        assert_eq!(other_than_0(|| drawn.next().expect("no more than it needs")), 7);
    }

    #[test]
    fn nothing_comes_twice() {
        assert_ne!(text(), text());
        assert_eq!(text().len(), 32);
        assert_ne!([u64(), u64()], [u64(), u64()]);
    }
}
