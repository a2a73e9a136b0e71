//! STUN as a client writes it, right or wrong, attribute by attribute; answers are read by `stun-types`.

use std::net::SocketAddr;

use stun_types::attribute::{ErrorCode, Fingerprint, MessageIntegrity, UnknownAttributes, XorMappedAddress};
use stun_types::message::{Message, MessageClass, MessageIntegrityCredentials, ShortTermCredentials};

pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const PRIORITY: u16 = 0x0024;
pub(crate) const USE_CANDIDATE: u16 = 0x0025;
pub(crate) const FINGERPRINT: u16 = 0x8028;
pub(crate) const ICE_CONTROLLED: u16 = 0x8029;
pub(crate) const ICE_CONTROLLING: u16 = 0x802a;

pub(crate) const BINDING_REQUEST: u16 = 0x0001;

const HEADER: usize = 20;
/// RFC 8489 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A message in the making. Each attribute sets the length in the header to what is there.
#[derive(Clone)]
pub(crate) struct Writing(Vec<u8>);

impl Writing {
    pub(crate) fn new(kind: u16, transaction: [u8; 12]) -> Writing {
        let [a, b] = kind.to_be_bytes();
        Writing([&[a, b, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &transaction].concat())
    }

    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Writing {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.announce(0)
    }

    /// Sets the length in the header to what is there and `more` bytes.
    pub(crate) fn announce(mut self, more: usize) -> Writing {
        let length = (self.0.len() - HEADER + more) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Appends a MESSAGE-INTEGRITY that is right for this password.
    pub(crate) fn sign(self, pwd: &str) -> Writing {
        let covered = self.announce(24);
        let key = ShortTermCredentials::new(pwd.to_owned()).make_key();
        let hmac = MessageIntegrity::compute(&[&covered.0], &key).expect("an HMAC takes any message");
        covered.with(MESSAGE_INTEGRITY, &hmac)
    }

    /// Appends a right FINGERPRINT.
    pub(crate) fn print(self) -> Writing {
        let covered = self.announce(8);
        let crc = u32::from_be_bytes(Fingerprint::compute(&[&covered.0])) ^ FINGERPRINT_XOR;
        covered.with(FINGERPRINT, &crc.to_be_bytes())
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// An answer of the server, with its integrity and fingerprint proven.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) transaction: [u8; 12],
    /// The address the server saw, or the error and the attributes it did not know.
    pub(crate) outcome: Result<SocketAddr, (u16, Vec<u16>)>,
}

impl Reply {
    /// Reads an answer that must be signed with `pwd`.
    #[track_caller]
    pub(crate) fn read(bytes: &[u8], pwd: &str) -> Reply {
        let message = Message::from_bytes(bytes).unwrap_or_else(|error| panic!("{error:?}: {bytes:02x?}"));
        let credentials = MessageIntegrityCredentials::ShortTerm(ShortTermCredentials::new(pwd.to_owned()));
        message.validate_integrity(&credentials).unwrap_or_else(|error| panic!("{error:?}: {bytes:02x?}"));
        let last = message.iter_attributes().last().map(|(_, attribute)| attribute.header.get_type().value());
        assert_eq!(last, Some(FINGERPRINT), "RFC 8489 14.7: the last attribute");
        let outcome = match message.class() {
            MessageClass::Success => {
                Ok(message.attribute::<XorMappedAddress>().expect("a success has it").addr(message.transaction_id()))
            }
            MessageClass::Error => {
                let code = message.attribute::<ErrorCode>().expect("an error has it").code();
                let unknown = message.raw_attribute(0x000a.into()).map(|raw| raw.value.to_vec()).unwrap_or_default();
                assert!(unknown.is_empty() || message.attribute::<UnknownAttributes>().is_ok());
                Err((code, unknown.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()))
            }
            class => panic!("the server sent a {class:?}"),
        };
        Reply { transaction: bytes[8..20].try_into().expect("a header"), outcome }
    }
}
