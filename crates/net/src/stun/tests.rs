//! Every rule of the checks as a row, over the samples of RFC 5769 and messages built by hand.

use super::attributes::MESSAGE_INTEGRITY_SHA256;
use super::written::TRANSACTION;
use super::*;
use crate::random::Random;

/// RFC 5769 section 2.1. Its agent is controlled.
const SAMPLE_REQUEST: &str = "\
    000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a6836765920202000080014\
    9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf\
";

/// RFC 5769 section 2.2.
const SAMPLE_RESPONSE_V4: &str = "\
    0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200008\
    0001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96\
";

/// RFC 5769 section 2.3.
const SAMPLE_RESPONSE_V6: &str = "\
    010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200014\
    0002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275\
    bfe3ed4180280004c8fb0b4c\
";

/// The password of all samples.
const SAMPLE_PWD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const SAMPLE_TRANSACTION: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

const LOCAL: &str = "server";
const REMOTE: &str = "client";
const PWD: &str = "a password of the server";

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A message in the making.
#[derive(Clone)]
struct Hand(Vec<u8>);

impl Hand {
    fn new(kind: u16) -> Hand {
        Hand(written::header(kind))
    }

    /// A request with our USERNAME, the beginning of a good one.
    fn request() -> Hand {
        Hand(written::binding(b"server:client"))
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Hand {
        written::append(&mut self.0, kind, value);
        self
    }

    /// Sets the length field.
    fn announce(mut self, len: usize) -> Hand {
        self.0[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        self
    }

    fn sign(mut self, pwd: &str) -> Hand {
        written::sign(&mut self.0, pwd);
        self
    }

    fn print(mut self) -> Hand {
        written::print(&mut self.0);
        self
    }

    /// Signed and printed: a good one.
    fn done(self) -> Vec<u8> {
        self.sign(PWD).print().0
    }
}

fn checked(bytes: &[u8]) -> Check {
    check(bytes, LOCAL, REMOTE, PWD)
}

fn plain() -> Binding {
    Binding { transaction: TRANSACTION, use_candidate: false, priority: None }
}

#[test]
fn request_that_keeps_the_rules_is_valid() {
    let tie_breaker = [0; 8];
    let nominating = Binding { use_candidate: true, ..plain() };
    let rows = [
        ("username, signature and fingerprint are enough", Hand::request().done(), plain()),
        ("FFmpeg 8.0", Hand::request().with(USE_CANDIDATE, &[]).done(), nominating),
        (
            "a browser; a tie-breaker of 0 is lawful",
            Hand::request()
                .with(0xc057, &[0, 0, 0, 10]) // GOOG-NETWORK-INFO
                .with(ICE_CONTROLLING, &tie_breaker)
                .with(USE_CANDIDATE, &[])
                .with(PRIORITY, &0x6e00_01ff_u32.to_be_bytes())
                .done(),
            Binding { priority: Some(0x6e00_01ff), ..nominating },
        ),
        ("a PRIORITY of another size is not one", Hand::request().with(PRIORITY, &[1]).done(), plain()),
        (
            "unknown optional attributes are ignored",
            Hand::request().with(0x8000, b"x").with(0xffff, b"").done(),
            plain(),
        ),
        ("REALM and NONCE are known", Hand::request().with(0x0014, b"realm").with(0x0015, b"nonce").done(), plain()),
        ("SHA256 may follow", Hand::request().sign(PWD).with(MESSAGE_INTEGRITY_SHA256, &[1; 32]).print().0, plain()),
        (
            "what follows the signature is ignored, whatever it is",
            Hand::request()
                .sign(PWD)
                .with(USE_CANDIDATE, &[])
                .with(PRIORITY, &[0; 4])
                .with(ICE_CONTROLLED, &tie_breaker)
                .with(0x7fff, b"unknown")
                .with(MESSAGE_INTEGRITY, &[0; 20])
                .with(USERNAME, b"other:name")
                .print()
                .0,
            plain(),
        ),
        ("the first USERNAME counts", Hand::request().with(USERNAME, b"other:name").done(), plain()),
    ];
    for (rule, bytes, binding) in rows {
        assert_eq!(checked(&bytes), Check::Valid(binding), "{rule}");
        assert_eq!(local_ufrag(&bytes), Some(LOCAL), "{rule}");
    }
}

#[test]
fn request_that_breaks_a_rule_is_dropped() {
    let named = |username: &[u8]| Hand::new(BINDING_REQUEST).with(USERNAME, username).done();
    let kind = |kind| Hand::new(kind).with(USERNAME, b"server:client").done();
    let longer = |by: &[u8]| [&Hand::request().done(), by].concat();
    let announcing = |len: usize| Hand(Hand::request().done()).announce(len).0;
    let whole = Hand::request().done().len() - 20;
    let mut other_cookie = Hand::request().done();
    other_cookie[7] ^= 1;
    let mut beyond = Hand::request().sign(PWD);
    beyond.0.extend([0x80, 0x22, 0x00, 0x05, 1, 2, 3, 4]);
    let len = beyond.0.len() - 20;
    let mut cut = Hand::request().sign(PWD);
    cut.0.extend([0x80, 0x22, 0x00]);
    let cut_len = cut.0.len() - 20;

    let rows = [
        ("empty", Vec::new(), DropReason::NotStun),
        ("header too short", Hand::new(BINDING_REQUEST).0[..19].to_vec(), DropReason::NotStun),
        ("another cookie", other_cookie, DropReason::NotStun),
        ("a top bit set", kind(0x4001), DropReason::NotStun),
        ("bytes behind the length", longer(&[0; 4]), DropReason::NotStun),
        ("length beyond the datagram", announcing(whole + 4), DropReason::NotStun),
        ("length short of the datagram", announcing(whole - 4), DropReason::NotStun),
        ("length not a multiple of 4", cut.announce(cut_len).0, DropReason::NotStun),
        ("an attribute beyond the end", beyond.announce(len).0, DropReason::Malformed),
        (
            "a fingerprint of another size",
            Hand::request().sign(PWD).with(FINGERPRINT, &[0; 8]).0,
            DropReason::Malformed,
        ),
        (
            "an integrity of another size",
            Hand::request().with(MESSAGE_INTEGRITY, &[0; 24]).print().0,
            DropReason::Malformed,
        ),
        ("indication", kind(0x0011), DropReason::NotARequest),
        ("success response", kind(0x0101), DropReason::NotARequest),
        ("error response", kind(0x0111), DropReason::NotARequest),
        ("another method: Allocate", kind(0x0003), DropReason::NotBinding),
        ("no fingerprint", Hand::request().sign(PWD).0, DropReason::Fingerprint),
        ("no attributes at all", Hand::new(BINDING_REQUEST).0, DropReason::Fingerprint),
        ("a wrong fingerprint", Hand::request().sign(PWD).with(FINGERPRINT, &[0; 4]).0, DropReason::Fingerprint),
        ("a fingerprint not last", Hand::request().print().sign(PWD).0, DropReason::Fingerprint),
        ("two fingerprints", Hand::request().sign(PWD).print().print().0, DropReason::Fingerprint),
        ("no username", Hand::new(BINDING_REQUEST).done(), DropReason::Username),
        (
            "username behind the signature",
            Hand::new(BINDING_REQUEST).sign(PWD).with(USERNAME, b"server:client").print().0,
            DropReason::Username,
        ),
        ("username without a colon", named(b"server"), DropReason::Username),
        ("another local ufrag", named(b"serves:client"), DropReason::Username),
        ("another remote ufrag", named(b"server:clienu"), DropReason::Username),
        ("ufrags the wrong way round", named(b"client:server"), DropReason::Username),
        ("a prefix of the remote ufrag", named(b"server:clien"), DropReason::Username),
        ("more than the remote ufrag", named(b"server:client:x"), DropReason::Username),
        ("no integrity", Hand::request().print().0, DropReason::Integrity),
        ("an integrity with another password", Hand::request().sign("another").print().0, DropReason::Integrity),
        ("an integrity of zeros", Hand::request().with(MESSAGE_INTEGRITY, &[0; 20]).print().0, DropReason::Integrity),
        (
            "SHA256 instead of SHA1",
            Hand::request().with(MESSAGE_INTEGRITY_SHA256, &[0; 32]).print().0,
            DropReason::Integrity,
        ),
        (
            "SHA1 behind SHA256",
            Hand::request().with(MESSAGE_INTEGRITY_SHA256, &[0; 32]).sign(PWD).print().0,
            DropReason::Integrity,
        ),
    ];
    for (rule, bytes, reason) in rows {
        assert_eq!(checked(&bytes), Check::Drop(reason), "{rule}");
    }
}

#[test]
fn changed_bit_is_never_valid() {
    let good = Hand::request().with(USE_CANDIDATE, &[]).done();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(checked(&bytes), Check::Drop(_)), "bit {bit}");

        // The fingerprint is no secret: with a right one it is for the signature to find out.
        let signed = Hand(bytes[..good.len() - 8].to_vec()).print();
        let in_signed_length = (16..32).contains(&bit);
        let in_fingerprint = bit >= (good.len() - 8) * 8;
        if !in_signed_length && !in_fingerprint {
            assert!(matches!(checked(&signed.0), Check::Drop(_)), "bit {bit}, with a right fingerprint");
        }
    }
}

#[test]
fn request_cut_at_any_byte_is_dropped() {
    for good in [Hand::request().with(USE_CANDIDATE, &[]).done(), hex(SAMPLE_REQUEST)] {
        for len in 0..good.len() {
            assert!(matches!(checked(&good[..len]), Check::Drop(_)), "{len} bytes");
            local_ufrag(&good[..len]);
            answer(&good[..len], PWD);
            // The same with a length that pretends to be whole.
            if len >= 20 {
                let cut = Hand(good[..len].to_vec()).announce(len - 20);
                assert!(matches!(checked(&cut.0), Check::Drop(_)), "{len} bytes, announced");
                local_ufrag(&cut.0);
            }
        }
    }
}

#[test]
fn unknown_required_attributes_are_answered_with_420() {
    let request = Hand::request().with(0x0002, b"").with(USE_CANDIDATE, &[]).with(0x7ffe, b"x").done();
    let Check::Reply(reply) = checked(&request) else { panic!("not answered") };
    let refused = Answer { transaction: TRANSACTION, outcome: Err(420) };
    assert_eq!(answer(&reply, PWD), Some(refused));
    let listed = Message::parse(&reply).unwrap().protected().find(|attribute| attribute.kind == 0x000a).unwrap();
    assert_eq!(listed.value, [0x00, 0x02, 0x7f, 0xfe]);
}

#[test]
fn unknown_attributes_of_a_stranger_are_not_answered() {
    let request = Hand::request().with(0x0002, b"").sign("guessed").print().0;
    assert_eq!(checked(&request), Check::Drop(DropReason::Integrity));
}

#[test]
fn controlled_peer_is_told_of_the_role_conflict() {
    let request = Hand::request().with(ICE_CONTROLLED, &[0; 8]).done();
    let Check::Reply(reply) = checked(&request) else { panic!("not answered") };
    assert_eq!(answer(&reply, PWD), Some(Answer { transaction: TRANSACTION, outcome: Err(487) }));
}

#[test]
fn answers_are_hardly_longer_than_requests() {
    // The shortest requests there are: ufrags of 4 characters.
    let request = |kind| Hand::new(BINDING_REQUEST).with(USERNAME, b"abcd:efgh").with(kind, &[0; 0]).done();
    for kind in [0x0002, ICE_CONTROLLED, USE_CANDIDATE] {
        let request = request(kind);
        let reply = match check(&request, "abcd", "efgh", PWD) {
            Check::Reply(reply) => reply,
            Check::Valid(_) => success(&request, ([192, 0, 2, 1], 5000).into(), PWD),
            Check::Drop(reason) => panic!("{reason:?}"),
        };
        let mapped = 12;
        assert!(reply.len() <= request.len() + mapped, "{} for {}", reply.len(), request.len());
    }
}

#[test]
fn sample_request_of_rfc_5769_is_authentic() {
    let sample = hex(SAMPLE_REQUEST);
    assert_eq!(local_ufrag(&sample), Some("evtj"));
    let Check::Reply(reply) = check(&sample, "evtj", "h6vY", SAMPLE_PWD) else { panic!("not authentic") };
    assert_eq!(answer(&reply, SAMPLE_PWD), Some(Answer { transaction: SAMPLE_TRANSACTION, outcome: Err(487) }));
    assert_eq!(check(&sample, "evtj", "h6vY", "VOkJxbRl1RmTxUk/WvJxBu"), Check::Drop(DropReason::Integrity));
}

#[test]
fn sample_responses_of_rfc_5769_are_read() {
    for (sample, mapped) in
        [(SAMPLE_RESPONSE_V4, "192.0.2.1:32853"), (SAMPLE_RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let expected = Answer { transaction: SAMPLE_TRANSACTION, outcome: Ok(mapped.parse().unwrap()) };
        assert_eq!(answer(&hex(sample), SAMPLE_PWD), Some(expected));
        assert_eq!(answer(&hex(sample), "another"), None);
        assert_eq!(success(&hex(SAMPLE_REQUEST), mapped.parse().unwrap(), SAMPLE_PWD).len(), hex(sample).len() - 16);
    }
}

#[test]
fn success_names_the_source_in_its_family() {
    let request = Hand::request().done();
    for from in ["203.0.113.7:40000", "[2001:db8::7]:1"] {
        let from: SocketAddr = from.parse().unwrap();
        let reply = success(&request, from, PWD);
        assert_eq!(answer(&reply, PWD), Some(Answer { transaction: TRANSACTION, outcome: Ok(from) }));
        assert_eq!(checked(&reply), Check::Drop(DropReason::NotARequest));
    }
}

#[test]
fn written_request_is_valid() {
    for use_candidate in [true, false] {
        let bytes = binding_request("server:client", PWD, use_candidate, 42, 77, TRANSACTION);
        let expected = Binding { transaction: TRANSACTION, use_candidate, priority: Some(77) };
        assert_eq!(checked(&bytes), Check::Valid(expected));
        assert_eq!(crate::sort::sort(&bytes), crate::sort::Sort::Stun);
    }
}

#[test]
fn local_ufrag_is_read_from_nothing_but_a_username() {
    let rows: [(&[u8], Option<&str>); 4] =
        [(b"server:client", Some("server")), (b":client", Some("")), (b"server", None), (b"\xff\xfe:client", None)];
    for (username, expected) in rows {
        assert_eq!(local_ufrag(&Hand::new(BINDING_REQUEST).with(USERNAME, username).0), expected);
    }
    assert_eq!(local_ufrag(&Hand::new(BINDING_REQUEST).with(PRIORITY, b"a:b").0), None);
    assert_eq!(local_ufrag(b"a:b"), None);
}

#[test]
fn head_is_read_without_any_proof() {
    let username = b"server:client";
    let rows = [
        (BINDING_REQUEST, Class::Request, true),
        (0x0011, Class::Indication, true),
        (BINDING_SUCCESS, Class::Success, true),
        (BINDING_ERROR, Class::Error, true),
        (0x0003, Class::Request, false),
        (0x3eef, Class::Request, false),
    ];
    for (kind, class, is_binding) in rows {
        let message = Hand::new(kind).with(PRIORITY, &[0; 4]).with(USERNAME, username).0;
        let expected = Head { class, is_binding, transaction: TRANSACTION, username: Some(username) };
        assert_eq!(head(&message), Ok(expected), "{kind:#06x}");
        assert_eq!(head(&message[..message.len() - 1]), Err(DropReason::NotStun));
    }
    let unprotected = Hand::new(BINDING_REQUEST).sign(PWD).with(USERNAME, username).0;
    assert_eq!(head(&unprotected).map(|head| head.username), Ok(None));
}

#[test]
fn what_another_agent_answers_is_judged_alike() {
    let verified = |bytes: &[u8]| verify(bytes, LOCAL, REMOTE, PWD);
    let nominating = Hand::request().with(USE_CANDIDATE, &[]);
    assert_eq!(verified(&nominating.clone().done()), Ok(Binding { use_candidate: true, ..plain() }));
    let unknown = nominating.clone().with(0x0002, b"").done();
    assert_eq!(verified(&unknown), Ok(Binding { use_candidate: true, ..plain() }), "it may know what we do not");
    let controlled = nominating.clone().with(ICE_CONTROLLED, &[0; 8]).done();
    assert_eq!(verified(&controlled), Ok(plain()), "nothing is nominated by who is controlled");
    let rows = [
        (nominating.clone().sign("guessed").print().0, DropReason::Integrity),
        (nominating.clone().print().0, DropReason::Integrity),
        (nominating.sign(PWD).0, DropReason::Fingerprint),
        (Hand::new(BINDING_REQUEST).with(USERNAME, b"server:other").done(), DropReason::Username),
        (Hand::new(BINDING_SUCCESS).with(USERNAME, b"server:client").done(), DropReason::NotARequest),
    ];
    for (bytes, reason) in rows {
        assert_eq!(verified(&bytes), Err(reason));
    }
}

#[test]
fn mutated_messages_never_panic_and_never_validate() {
    let seeds = [Hand::request().with(USE_CANDIDATE, &[]).done(), hex(SAMPLE_REQUEST), hex(SAMPLE_RESPONSE_V6)];
    let mut random = Random::new(0x5eed);
    for round in 0..30_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(6) {
            random.mutate(&mut bytes);
        }
        if bytes == seeds[0] {
            continue;
        }
        if random.below(2) == 0 {
            // Let more than one in 2^32 pass the fingerprint.
            bytes.truncate(bytes.len() / 4 * 4);
            if bytes.len() >= 28 {
                bytes.truncate(bytes.len() - 8);
                bytes = Hand(bytes).print().0;
            }
        }
        let verdict = checked(&bytes);
        // Whoever changes only the unsigned tail still sent an authentic request.
        let signed = seeds[0].len() - 8;
        let authentic = bytes.get(4..signed) == seeds[0].get(4..signed) && bytes.get(..2) == seeds[0].get(..2);
        assert!(matches!(verdict, Check::Drop(_)) || authentic, "{bytes:02x?}");
        local_ufrag(&bytes);
        answer(&bytes, PWD);
        success(&bytes, ([127, 0, 0, 1], 1).into(), PWD);
    }
}
