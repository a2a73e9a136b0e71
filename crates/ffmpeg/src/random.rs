//! Random numbers of the system: for names that nobody guesses, and where RTP begins.

/// # Panics
/// When the system has no randomness to give: then nothing here is safe to go on.
pub(crate) fn u64() -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    u64::from_be_bytes(bytes)
}
