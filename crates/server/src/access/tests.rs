use super::*;
use Decision::{Allowed, Insufficient, Malformed, Missing, Wrong};
use axum::http::HeaderValue;

const RIGHTS: [Right; 5] =
    [Right::Publish, Right::Play, Right::Session(Role::Publisher), Right::Observe, Right::Control];

/// One way to come: peer address, host in the URL, header fields.
struct Way {
    what: &'static str,
    peer: &'static str,
    host: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
}

const fn way(
    what: &'static str,
    peer: &'static str,
    host: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> Way {
    Way { what, peer, host: Some(host), headers }
}

const LOCAL: &[Way] = &[
    way("loopback by address", "127.0.0.1", "127.0.0.1:8555", &[]),
    way("loopback by name", "127.0.0.1", "localhost:8555", &[]),
    way("the name in capitals", "127.0.0.1", "LOCALHOST", &[]),
    way("IPv6 loopback", "::1", "[::1]:8555", &[]),
    way("IPv4 on an IPv6 socket", "::ffff:127.0.0.1", "127.0.0.1:8555", &[]),
    way("another loopback address", "127.0.0.7", "127.0.0.7:8555", &[]),
    way("own page", "127.0.0.1", "localhost:8555", &[("origin", "http://localhost:8555")]),
    way("own page, capitals", "127.0.0.1", "localhost:8555", &[("origin", "http://LocalHost:8555")]),
    way("own page, default port", "127.0.0.1", "localhost:80", &[("origin", "http://localhost")]),
];

const FOREIGN: &[Way] = &[
    way("from the network", "192.0.2.7", "192.0.2.1:8555", &[]),
    way("from the network, posing as local", "192.0.2.7", "localhost:8555", &[]),
    way("from the network, IPv6", "2001:db8::7", "[2001:db8::1]:8555", &[]),
    way("through a proxy (Forwarded)", "127.0.0.1", "localhost:8555", &[("forwarded", "for=192.0.2.7")]),
    way("through a proxy (X-Forwarded-For)", "127.0.0.1", "localhost:8555", &[("x-forwarded-for", "127.0.0.1")]),
    way("through a proxy (X-Forwarded-Proto)", "127.0.0.1", "localhost:8555", &[("x-forwarded-proto", "https")]),
    way("through a proxy (X-Real-IP)", "127.0.0.1", "localhost:8555", &[("x-real-ip", "192.0.2.7")]),
    way("through a proxy (Via)", "127.0.0.1", "localhost:8555", &[("via", "1.1 cache")]),
    way("a name rebound to loopback", "127.0.0.1", "evil.example:8555", &[]),
    way("a name that only begins local", "127.0.0.1", "localhost.evil.example", &[]),
    way("an address of the network on loopback", "127.0.0.1", "192.0.2.1:8555", &[]),
    way("foreign page", "127.0.0.1", "localhost:8555", &[("origin", "https://evil.example")]),
    way("page of another port", "127.0.0.1", "localhost:8555", &[("origin", "http://localhost:3000")]),
    way("page of another scheme", "127.0.0.1", "localhost:8555", &[("origin", "https://localhost:8555")]),
    way("page of another local name", "127.0.0.1", "localhost:8555", &[("origin", "http://127.0.0.1:8555")]),
    way("sandboxed page", "127.0.0.1", "localhost:8555", &[("origin", "null")]),
    way(
        "two origins",
        "127.0.0.1",
        "localhost:8555",
        &[("origin", "http://localhost:8555"), ("origin", "http://localhost:8555")],
    ),
    Way { what: "no host at all", peer: "127.0.0.1", host: None, headers: &[] },
];

fn token(text: &str) -> Option<Token> {
    Some(Token::parse(text).unwrap())
}

fn nothing_configured() -> Policy {
    Policy { admin: token("admin"), ..Policy::default() }
}

fn with_token() -> Policy {
    Policy { token: token("good"), ..Policy::default() }
}

/// The decisions for every right, in the order of [`RIGHTS`].
fn decisions(policy: &Policy, way: &Way, extra: &[(&str, &str)], query: Option<&str>) -> [Decision; 5] {
    let mut headers = HeaderMap::new();
    for (name, value) in way.headers.iter().chain(extra) {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    let authority = way.host.map(|host| host.parse::<Authority>().unwrap());
    let caller = Caller {
        peer: SocketAddr::new(way.peer.parse().unwrap(), 40_000),
        authority: authority.as_ref(),
        headers: &headers,
        query,
        ours: false,
    };
    RIGHTS.map(|right| policy.decide(right, None, &caller, SystemTime::UNIX_EPOCH).decision)
}

#[test]
fn nothing_configured_opens_watching_to_all_and_publishing_and_lists_to_this_machine() {
    for way in LOCAL {
        let expected = [Allowed, Allowed, Allowed, Allowed, Missing];
        assert_eq!(decisions(&nothing_configured(), way, &[], None), expected, "{}", way.what);
    }
    for way in FOREIGN {
        let expected = [Missing, Allowed, Allowed, Missing, Missing];
        assert_eq!(decisions(&nothing_configured(), way, &[], None), expected, "{}", way.what);
    }
}

#[test]
fn open_publish_opens_publishing_and_nothing_else() {
    for way in LOCAL {
        let policy = Policy { open_publish: true, ..nothing_configured() };
        assert_eq!(decisions(&policy, way, &[], None), [Allowed, Allowed, Allowed, Allowed, Missing], "{}", way.what);
        let policy = Policy { open_publish: true, ..with_token() };
        assert_eq!(decisions(&policy, way, &[], None), [Allowed, Missing, Allowed, Missing, Missing], "{}", way.what);
    }
    for way in FOREIGN {
        let policy = Policy { open_publish: true, ..nothing_configured() };
        assert_eq!(decisions(&policy, way, &[], None), [Allowed, Allowed, Allowed, Missing, Missing], "{}", way.what);
    }
}

#[test]
fn a_configured_token_is_needed_for_everything_but_a_session_url_from_everywhere() {
    for way in LOCAL.iter().chain(FOREIGN) {
        let none = decisions(&with_token(), way, &[], None);
        assert_eq!(none, [Missing, Missing, Allowed, Missing, Missing], "{}", way.what);
        let right = decisions(&with_token(), way, &[("authorization", "Bearer good")], None);
        assert_eq!(right, [Allowed; 5], "{}", way.what);
        let wrong = decisions(&with_token(), way, &[("authorization", "Bearer bad")], None);
        assert_eq!(wrong, [Wrong; 5], "{}", way.what);
    }
}

#[test]
fn an_authorization_field_is_read_as_rfc_6750_says() {
    let at = &FOREIGN[0];
    for (field, expected) in [
        ("Bearer good", Allowed),
        ("bearer good", Allowed),
        ("BEARER   good", Allowed),
        ("Bearer Good", Wrong),
        ("Bearer goodgood", Wrong),
        ("Bearer goo", Wrong),
        ("Bearer", Malformed),
        ("Bearer ", Malformed),
        ("Bearer good good", Malformed),
        ("Bearer good,", Malformed),
        ("Bearer\tgood", Missing),
        ("Bearer gööd", Malformed),
        ("good", Missing),
        ("Basic Z29vZDpnb29k", Missing),
        ("Bearergood", Missing),
        ("", Missing),
    ] {
        let decided = decisions(&with_token(), at, &[("authorization", field)], None);
        assert_eq!(decided, [expected; 5], "{field:?}");
    }
    let twice = [("authorization", "Bearer good"), ("authorization", "Bearer good")];
    assert_eq!(decisions(&with_token(), at, &twice, None), [Malformed; 5]);
}

#[test]
fn a_token_in_the_query_counts_on_media_routes_and_the_header_wins() {
    let at = &FOREIGN[0];
    let by_query = |query| decisions(&with_token(), at, &[], Some(query));
    assert_eq!(by_query("token=good"), [Allowed, Allowed, Allowed, Missing, Missing]);
    assert_eq!(by_query("a=b&token=g%6Fod&c=d"), [Allowed, Allowed, Allowed, Missing, Missing]);
    assert_eq!(by_query("token=bad"), [Wrong, Wrong, Wrong, Missing, Missing]);
    assert_eq!(by_query("token=good&token=good"), [Malformed, Malformed, Malformed, Missing, Missing]);
    assert_eq!(by_query("token=a%20b"), [Malformed, Malformed, Malformed, Missing, Missing]);
    assert_eq!(by_query("token="), [Missing, Missing, Allowed, Missing, Missing]);

    let header = |field, query| decisions(&with_token(), at, &[("authorization", field)], Some(query));
    assert_eq!(header("Bearer good", "token=bad"), [Allowed; 5]);
    assert_eq!(header("Bearer bad", "token=good"), [Wrong; 5]);
    assert_eq!(header("Basic Zm9v", "token=good"), [Missing; 5]);
}

#[test]
fn the_generated_admin_token_reads_and_kicks_but_does_not_publish() {
    let admin = [("authorization", "Bearer admin")];
    let wrong = [("authorization", "Bearer undefined")];
    for way in FOREIGN {
        let expected = [Insufficient, Allowed, Allowed, Allowed, Allowed];
        assert_eq!(decisions(&nothing_configured(), way, &admin, None), expected, "{}", way.what);
        let expected = [Wrong, Allowed, Allowed, Wrong, Wrong];
        assert_eq!(decisions(&nothing_configured(), way, &wrong, None), expected, "{}", way.what);
    }
    for way in LOCAL {
        assert_eq!(decisions(&nothing_configured(), way, &admin, None), [Allowed; 5], "{}", way.what);
        let expected = [Allowed, Allowed, Allowed, Allowed, Wrong];
        assert_eq!(decisions(&nothing_configured(), way, &wrong, None), expected, "{}", way.what);
    }
    let without_any = Policy::default();
    assert_eq!(decisions(&without_any, &LOCAL[0], &admin, None)[4], Wrong);
}

#[test]
fn what_is_shown_for_a_childs_is_that_or_nothing_however_open_the_server_is() {
    let cam = StreamKey::parse("cam").unwrap();
    let headers = HeaderMap::new();
    for policy in [nothing_configured(), with_token(), Policy { open_publish: true, ..nothing_configured() }] {
        let credential = policy.issued.issue("p", Right::Play, &cam).unwrap();
        let secret = credential.reveal().to_owned();
        let decide_from = |right, peer: &str, query: &str, ours| {
            let authority = "localhost:8555".parse::<Authority>().unwrap();
            let peer = peer.parse().unwrap();
            let caller = Caller {
                peer: SocketAddr::new(peer, 40_000),
                authority: Some(&authority),
                headers: &headers,
                query: Some(query),
                ours,
            };
            policy.decide(right, Some(&cam), &caller, SystemTime::UNIX_EPOCH)
        };
        let decide = |right, peer: &str, query: &str| decide_from(right, peer, query, true);
        let shown = format!("video_pt=102&process={secret}");
        let good = decide(Right::Play, "127.0.0.1", &shown);
        assert_eq!((good.decision, good.subject), (Allowed, Some(Subject::Process("p".into()))));
        assert_eq!(decide(Right::Publish, "127.0.0.1", &shown).decision, Insufficient);
        assert_eq!(decide(Right::Play, "192.0.2.7", &shown).decision, Wrong, "not of this machine");
        assert_eq!(decide_from(Right::Play, "127.0.0.1", &shown, false).decision, Wrong, "another user's");
        for wrong in ["process=x", "process=", "process=x&process=x", &format!("{shown}&process=x")] {
            assert_eq!(decide(Right::Play, "127.0.0.1", wrong).decision, Wrong, "{wrong}");
        }
        assert_ne!(decide(Right::Control, "127.0.0.1", &shown).decision, Allowed);
        drop(credential);
        assert_eq!(decide(Right::Play, "127.0.0.1", &shown).decision, Wrong, "its child has ended");
    }
}
