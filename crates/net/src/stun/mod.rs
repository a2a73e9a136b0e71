//! The STUN of an ICE-lite agent: judging connectivity checks and answering them (RFC 8489, RFC 8445 section 7.3).
//!
//! Pure functions of bytes and credentials: which session a ufrag belongs to, which address is bound and how often an
//! error may be answered is the caller's. Integrity, fingerprint and everything written are `stun-types`'.
//! Unauthenticated requests are never answered, so this cannot be made to reflect or to tell which sessions exist.

use std::net::SocketAddr;
use std::str;

use stun_types::attribute::{
    AttributeType, ErrorCode, Fingerprint, MessageIntegrity, RawAttribute, UnknownAttributes, XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, Message as Builder, MessageClass, MessageType, MessageWriteVec,
    ShortTermCredentials, TransactionId,
};
use stun_types::prelude::{AttributeFromRaw, AttributeStaticType, AttributeWrite, MessageWrite, MessageWriteExt};

mod attributes;
mod seen;
#[cfg(test)]
mod tests;
pub(crate) mod written;

use attributes::{
    FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING, MESSAGE_INTEGRITY, Message, PRIORITY, USE_CANDIDATE, USERNAME,
};
pub use seen::{Seen, TRANSACTIONS};

/// The bits of the class (RFC 8489 section 5); the others are the method's.
const CLASS: u16 = 0x0110;

/// Class and method on the wire.
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// What to do with a STUN datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An authentic connectivity check: bind what it says and answer with [`success`].
    Valid(Binding),
    /// An authentic request that must be refused: send these bytes back.
    Reply(Vec<u8>),
    /// Nothing to answer.
    Drop(DropReason),
}

/// What an authentic connectivity check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Names the request; the same one seen again is a repetition, or a replay from another address.
    pub transaction: [u8; 12],
    /// The peer nominates the pair of addresses on which this arrived.
    pub use_candidate: bool,
    /// Priority of the peer-reflexive candidate, if sent (FFmpeg 8.0 does not).
    pub priority: Option<u32>,
}

/// Why a STUN datagram is dropped, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// No STUN header, or its length is not the datagram's.
    NotStun,
    /// A response or an indication.
    NotARequest,
    /// A request of another method than Binding.
    NotBinding,
    /// An attribute runs past the end, or one of fixed size has another.
    Malformed,
    /// No FINGERPRINT, not as the last attribute, or a wrong one.
    Fingerprint,
    /// No USERNAME, or not that of the session.
    Username,
    /// No MESSAGE-INTEGRITY, or a wrong one.
    Integrity,
}

impl DropReason {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::NotStun => "not_stun",
            DropReason::NotARequest => "not_a_request",
            DropReason::NotBinding => "not_binding",
            DropReason::Malformed => "malformed",
            DropReason::Fingerprint => "fingerprint",
            DropReason::Username => "username",
            DropReason::Integrity => "integrity",
        }
    }
}

/// The class of a message (RFC 8489 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// A request was done.
    Success,
    /// A request was refused.
    Error,
}

/// What a message says of itself; nothing is authenticated, and the fingerprint not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Request or answer.
    pub class: Class,
    /// Its method is Binding, the only one of ICE.
    pub is_binding: bool,
    /// Names the request and its answers.
    pub transaction: [u8; 12],
    /// The whole USERNAME: of a check the ufrags of receiver and sender with a colon between them.
    pub username: Option<&'a [u8]>,
}

/// Reads what finding the session of a message needs.
///
/// # Errors
/// [`DropReason::NotStun`] for what is no message of the length it announces.
pub fn head(bytes: &[u8]) -> Result<Head<'_>, DropReason> {
    let message = Message::parse(bytes)?;
    let class = match message.kind & CLASS {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    Ok(Head {
        class,
        is_binding: message.kind & !CLASS == BINDING_REQUEST,
        transaction: message.transaction,
        username: message.protected().find(|attribute| attribute.kind == USERNAME).map(|attribute| attribute.value),
    })
}

/// The receiver's ufrag a request names: its USERNAME up to the first colon. For finding the session; nothing is
/// authenticated, and the fingerprint not looked at.
pub fn local_ufrag(bytes: &[u8]) -> Option<&str> {
    let message = Message::parse(bytes).ok()?;
    let username = message.protected().find(|attribute| attribute.kind == USERNAME)?;
    let colon = username.value.iter().position(|&byte| byte == b':')?;
    str::from_utf8(username.value.get(..colon)?).ok()
}

/// Judges a datagram against the credentials of the session (or of one ICE generation of it) that [`local_ufrag`] found:
/// the ufrags of both sides and our password.
pub fn check(bytes: &[u8], local_ufrag: &str, remote_ufrag: &str, local_pwd: &str) -> Check {
    match authenticate(bytes, local_ufrag, remote_ufrag, local_pwd) {
        Ok((message, key)) => judge(message, &key),
        Err(reason) => Check::Drop(reason),
    }
}

/// Judges a datagram as [`check`] does, for who passes it on to the agent that answers it. A request that a lite agent would
/// refuse (an attribute it does not know, a role that conflicts) is authentic too; nominating takes the controlling role.
///
/// # Errors
/// Why it is no authentic connectivity check of this session.
pub fn verify(bytes: &[u8], local_ufrag: &str, remote_ufrag: &str, local_pwd: &str) -> Result<Binding, DropReason> {
    let (message, _) = authenticate(bytes, local_ufrag, remote_ufrag, local_pwd)?;
    let mut binding = said(message);
    binding.use_candidate &= !message.protected().any(|attribute| attribute.kind == ICE_CONTROLLED);
    Ok(binding)
}

fn authenticate<'a>(
    bytes: &'a [u8],
    local: &str,
    remote: &str,
    pwd: &str,
) -> Result<(Message<'a>, IntegrityKey), DropReason> {
    let message = Message::parse(bytes)?;
    if message.kind & CLASS != 0 {
        return Err(DropReason::NotARequest);
    }
    if message.kind != BINDING_REQUEST {
        return Err(DropReason::NotBinding);
    }
    verify_fingerprint(message)?;
    let username = message.protected().find(|attribute| attribute.kind == USERNAME).ok_or(DropReason::Username)?;
    let named = split_at_colon(username.value).ok_or(DropReason::Username)?;
    if named != (local.as_bytes(), remote.as_bytes()) {
        return Err(DropReason::Username);
    }
    let key = key(pwd);
    verify_integrity(message, &key)?;
    Ok((message, key))
}

fn split_at_colon(username: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = username.iter().position(|&byte| byte == b':')?;
    Some((username.get(..colon)?, username.get(colon + 1..)?))
}

/// What an authentic request gets.
fn judge(message: Message<'_>, key: &IntegrityKey) -> Check {
    let unknown: Vec<_> =
        message.protected().map(|attribute| attribute.kind).filter(|&kind| is_unknown(kind)).collect();
    if !unknown.is_empty() {
        let types: Vec<_> = unknown.into_iter().map(AttributeType::new).collect();
        let attributes: [&dyn AttributeWrite; 2] = [&error_code(420, "Unknown"), &UnknownAttributes::new(&types)];
        return Check::Reply(write(MessageClass::Error, message.transaction, &attributes, key));
    }
    if message.protected().any(|attribute| attribute.kind == ICE_CONTROLLED) {
        // RFC 8445 7.3.1.1, without comparing tie-breakers: a lite agent is never controlling.
        let attributes: [&dyn AttributeWrite; 1] = [&error_code(487, "Role Conflict")];
        return Check::Reply(write(MessageClass::Error, message.transaction, &attributes, key));
    }
    Check::Valid(said(message))
}

fn said(message: Message<'_>) -> Binding {
    let find = |kind| message.protected().find(|attribute| attribute.kind == kind);
    Binding {
        transaction: message.transaction,
        use_candidate: find(USE_CANDIDATE).is_some(),
        priority: find(PRIORITY).and_then(|attribute| attribute.value.try_into().ok()).map(u32::from_be_bytes),
    }
}

/// Whether an attribute must be understood and is not: neither RFC 8489's own nor ICE's.
fn is_unknown(kind: u16) -> bool {
    let of_stun = matches!(kind, 0x0001 | 0x0006 | 0x0008..=0x000a | 0x0014 | 0x0015 | 0x001c..=0x001e | 0x0020);
    let of_ice = matches!(kind, PRIORITY | USE_CANDIDATE);
    kind < 0x8000 && !of_stun && !of_ice
}

/// Demands a right FINGERPRINT as the last attribute (RFC 8445 7.1), and with it that all attributes end in bounds.
fn verify_fingerprint(message: Message<'_>) -> Result<(), DropReason> {
    let mut last = None;
    for attribute in message.attributes() {
        if last.replace(attribute?).is_some_and(|attribute| attribute.kind == FINGERPRINT) {
            return Err(DropReason::Fingerprint);
        }
    }
    let found = last.filter(|attribute| attribute.kind == FINGERPRINT).ok_or(DropReason::Fingerprint)?;
    let value: [u8; 4] = found.value.try_into().map_err(|_| DropReason::Malformed)?;
    let covered = message.bytes.get(..found.at).ok_or(DropReason::Malformed)?;
    let computed = u32::from_be_bytes(Fingerprint::compute(&[covered])) ^ FINGERPRINT_XOR;
    if computed == u32::from_be_bytes(value) { Ok(()) } else { Err(DropReason::Fingerprint) }
}

/// RFC 8489 14.7: "STUN", so that the checksum differs from one the application may put at the same place.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Demands a right MESSAGE-INTEGRITY: HMAC-SHA1 over what is before it, the length field ending at it (RFC 8489 14.5).
fn verify_integrity(message: Message<'_>, key: &IntegrityKey) -> Result<(), DropReason> {
    let found =
        message.protected().find(|attribute| attribute.kind == MESSAGE_INTEGRITY).ok_or(DropReason::Integrity)?;
    let value: &[u8; 20] = found.value.try_into().map_err(|_| DropReason::Malformed)?;
    let covered = message.bytes.get(4..found.at).ok_or(DropReason::Malformed)?;
    let [a, b] = message.kind.to_be_bytes();
    // 4 bytes of the header are not in `covered`, 16 are; the attribute has 24. A datagram's length fits in u16.
    let [c, d] = ((covered.len() - 16 + 24) as u16).to_be_bytes();
    // Compares in constant time.
    if MessageIntegrity::verify(&[&[a, b, c, d], covered], key, value) { Ok(()) } else { Err(DropReason::Integrity) }
}

/// The answer to a valid connectivity check: where it came from, signed. To be sent from the address that received it.
pub fn success(request: &[u8], from: SocketAddr, local_pwd: &str) -> Vec<u8> {
    let transaction = request.get(8..20).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    let mapped = XorMappedAddress::new(from, transaction_id(transaction));
    write(MessageClass::Success, transaction, &[&mapped], &key(local_pwd))
}

/// A connectivity check of a controlling agent: `username` is `<receiver's ufrag>:<sender's ufrag>`, `pwd` the
/// receiver's. For nominating a pair to an engine, and for scripted clients.
pub fn binding_request(
    username: &str,
    pwd: &str,
    use_candidate: bool,
    tie_breaker: u64,
    priority: u32,
    transaction: [u8; 12],
) -> Vec<u8> {
    let (priority, tie_breaker) = (priority.to_be_bytes(), tie_breaker.to_be_bytes());
    let raw = |kind, value| RawAttribute::new(AttributeType::new(kind), value);
    // Two ufrags of at most 256 characters and a colon (RFC 8445 section 5.3).
    let username = raw(USERNAME, username.as_bytes().get(..513).unwrap_or(username.as_bytes()));
    let (priority, controlling, nominate) =
        (raw(PRIORITY, &priority), raw(ICE_CONTROLLING, &tie_breaker), raw(USE_CANDIDATE, &[]));
    let attributes: [&dyn AttributeWrite; 4] = [&username, &priority, &controlling, &nominate];
    let count = if use_candidate { 4 } else { 3 };
    write(MessageClass::Request, transaction, &attributes[..count], &key(pwd))
}

/// An authentic answer to one of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// That of the request.
    pub transaction: [u8; 12],
    /// The address the request was seen from, or the error code.
    pub outcome: Result<SocketAddr, u16>,
}

/// Reads an answer to a [`binding_request`] signed with `pwd`; None if it is anything else, malformed or not authentic.
pub fn answer(bytes: &[u8], pwd: &str) -> Option<Answer> {
    let message = Message::parse(bytes).ok()?;
    verify_fingerprint(message).ok()?;
    verify_integrity(message, &key(pwd)).ok()?;
    let transaction = message.transaction;
    let outcome = match message.kind {
        BINDING_SUCCESS => Ok(value::<XorMappedAddress>(message)?.addr(transaction_id(transaction))),
        BINDING_ERROR => Err(value::<ErrorCode>(message)?.code()),
        _ => return None,
    };
    Some(Answer { transaction, outcome })
}

fn value<'a, A: AttributeStaticType + AttributeFromRaw<'a>>(message: Message<'a>) -> Option<A> {
    let found = message.protected().find(|attribute| attribute.kind == A::TYPE.value())?;
    A::from_raw(RawAttribute::new(A::TYPE, found.value)).ok()
}

fn error_code(code: u16, reason: &str) -> ErrorCode {
    ErrorCode::new(code, reason).expect("the code is between 300 and 699")
}

fn key(pwd: &str) -> IntegrityKey {
    ShortTermCredentials::new(pwd.to_owned()).make_key()
}

fn transaction_id(bytes: [u8; 12]) -> TransactionId {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(&bytes);
    u128::from_be_bytes(wide).into()
}

/// Writes a Binding message, signed and with its fingerprint.
fn write(
    class: MessageClass,
    transaction: [u8; 12],
    attributes: &[&dyn AttributeWrite],
    key: &IntegrityKey,
) -> Vec<u8> {
    // Room for a usual request, username and all.
    let room = MessageWriteVec::with_capacity(160);
    let mut message =
        Builder::builder(MessageType::from_class_method(class, BINDING), transaction_id(transaction), room);
    for attribute in attributes {
        message.add_attribute(*attribute).expect("a vector has room, and neither signature is there yet");
    }
    message.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1).expect("a vector has room");
    message.add_fingerprint().expect("a vector has room");
    message.finish()
}
