//! Messages written attribute by attribute, right or wrong: for tests and fuzz targets.

use stun_types::attribute::{Fingerprint, MessageIntegrity};

use super::attributes::{FINGERPRINT, HEADER, MESSAGE_INTEGRITY, USERNAME};
use super::{BINDING_REQUEST, FINGERPRINT_XOR, key};

/// The transaction of every message here.
pub(crate) const TRANSACTION: [u8; 12] = *b"transaction1";

/// A Binding request with a USERNAME, neither signed nor printed.
pub(crate) fn binding(username: &[u8]) -> Vec<u8> {
    let mut message = header(BINDING_REQUEST);
    append(&mut message, USERNAME, username);
    message
}

/// A message without attributes.
pub(crate) fn header(kind: u16) -> Vec<u8> {
    let [a, b] = kind.to_be_bytes();
    [&[a, b, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &TRANSACTION].concat()
}

/// Sets the length field to what is there and `more` bytes.
pub(crate) fn announce(message: &mut [u8], more: usize) {
    let len = (message.len() - HEADER + more) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
}

pub(crate) fn append(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    announce(message, 0);
}

/// Appends a right MESSAGE-INTEGRITY.
pub(crate) fn sign(message: &mut Vec<u8>, pwd: &str) {
    announce(message, 24);
    let hmac = MessageIntegrity::compute(&[message], &key(pwd)).expect("an HMAC takes any message");
    append(message, MESSAGE_INTEGRITY, &hmac);
}

/// Appends a right FINGERPRINT.
pub(crate) fn print(message: &mut Vec<u8>) {
    announce(message, 8);
    let crc = u32::from_be_bytes(Fingerprint::compute(&[message])) ^ FINGERPRINT_XOR;
    append(message, FINGERPRINT, &crc.to_be_bytes());
}
