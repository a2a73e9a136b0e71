//! Trickle and restart bodies (RFC 8840 9, RFC 9725 4.3).

use super::*;

const CREDENTIALS: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
const CANDIDATE: &str = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n";

#[test]
fn fragments_of_real_clients_are_read() {
    let section = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n";
    for (client, text, candidates) in [
        ("RFC 9725", format!("{section}{CREDENTIALS}{CANDIDATE}a=end-of-candidates\r\n"), 1),
        ("medooze", format!("{CREDENTIALS}m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{CANDIDATE}{CANDIDATE}"), 2),
        ("meetecho", format!("a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\n{CREDENTIALS}{section}{CANDIDATE}"), 1),
        ("only credentials", CREDENTIALS.to_owned(), 0),
        (
            "LF, no last newline",
            format!("{section}{CREDENTIALS}{CANDIDATE}").replace("\r\n", "\n").trim_end().to_owned(),
            1,
        ),
        ("blank lines", format!("\r\n{CREDENTIALS}\r\n\r\n"), 0),
        ("an m= line of nonsense", format!("{CREDENTIALS}m=what\r\n{CANDIDATE}"), 1),
        ("unknown lines", format!("v=0\r\n{CREDENTIALS}y=1\r\na=what:ever\r\n"), 0),
    ] {
        let fragment = parse_fragment(&text).unwrap_or_else(|error| panic!("{client}: {error}"));
        assert_eq!(fragment.credentials.ufrag, "EsAw", "{client}");
        assert_eq!(fragment.credentials.pwd, "P2uYro0UCOQ4zxjKXaWCBui1", "{client}");
        assert_eq!(fragment.candidates, candidates, "{client}");
    }
}

#[test]
fn candidates_that_cannot_be_used_are_left_out() {
    for (rule, candidate, usable) in [
        ("UDP host", "1 1 udp 1 192.0.2.1 9 typ host", true),
        ("any letter case", "1 1 UDP 1 192.0.2.1 9 typ HOST", true),
        ("IPv6, relayed", "1 1 udp 1 2001:db8::1 9 typ relay raddr 192.0.2.1 rport 9", true),
        ("no ufrag extension", "1 1 udp 1 192.0.2.1 9 typ srflx raddr 0.0.0.0 rport 9 generation 0", true),
        ("TCP", "1 1 tcp 1 192.0.2.1 9 typ host tcptype active", false),
        ("component 0 (Eyevinn)", "1 0 udp 1 192.0.2.1 9 typ host", false),
        ("component 2", "1 2 udp 1 192.0.2.1 9 typ host", false),
        (".local", "1 1 udp 1 x.local 9 typ host", false),
        ("unknown type", "1 1 udp 1 192.0.2.1 9 typ what", false),
        ("doubled prefix", "candidate:1 1 udp 1 192.0.2.1 9 typ host", false),
        ("another generation", "1 1 udp 1 192.0.2.1 9 typ host ufrag else", false),
        ("cut short", "1 1 udp 1 192.0.2.1", false),
        ("empty", "", false),
    ] {
        let text = format!("{CREDENTIALS}m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:{candidate}\r\n");
        let fragment = parse_fragment(&text).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(fragment.candidates, usize::from(usable), "{rule}");
    }
}

#[test]
fn credentials_of_a_section_win_over_the_sessions() {
    let section = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n";
    let second = CREDENTIALS.replace("EsAw", "second");
    for (rule, text, ufrag) in [
        ("section", format!("{second}{section}{CREDENTIALS}"), "EsAw"),
        ("the first section", format!("{section}{CREDENTIALS}{section}{second}"), "EsAw"),
        ("one of each", format!("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n{section}a=ice-ufrag:mixed\r\n"), "mixed"),
    ] {
        assert_eq!(parse_fragment(&text).expect(rule).credentials.ufrag, ufrag, "{rule}");
    }
}

#[test]
fn what_is_no_fragment_is_refused() {
    use Refused::Syntax;
    for (rule, text, expected) in [
        ("empty", String::new(), Syntax("ice-ufrag")),
        ("JSON (react-native)", "{\"candidate\":\"candidate:1 1 udp\",\"sdpMid\":\"0\"}".to_owned(), Syntax("line 1")),
        ("JSON with an equals sign", "{\"a\":\"b=c\"}".to_owned(), Syntax("line 1")),
        ("binary", "\u{1}\u{2}=\u{3}".to_owned(), Syntax("line 1")),
        ("control characters", format!("{CREDENTIALS}a=x\0\r\n"), Syntax("line 3")),
        ("a line without =", format!("{CREDENTIALS}end-of-candidates\r\n"), Syntax("line 3")),
        ("no ufrag", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n".to_owned(), Syntax("ice-ufrag")),
        ("no password", "a=ice-ufrag:EsAw\r\n".to_owned(), Syntax("ice-pwd")),
        ("a short ufrag", changed(CREDENTIALS, &[("EsAw", "EsA")]), Syntax("a=ice-ufrag has 3")),
        (
            "a short password",
            "a=ice-ufrag:EsAw\r\na=ice-pwd:abcdefghijklmnopqrstu\r\n".to_owned(),
            Syntax("a=ice-pwd has 21"),
        ),
        ("other characters", changed(CREDENTIALS, &[("EsAw", "Es_w")]), Syntax("a=ice-ufrag")),
        (
            "over 16 KiB",
            format!("{CREDENTIALS}{}", "a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(500)),
            Syntax("bytes"),
        ),
        ("over 64 candidates", format!("{CREDENTIALS}{}", CANDIDATE.repeat(65)), Syntax("line 67")),
    ] {
        assert_refused(rule, parse_fragment(&text), expected);
    }
    assert_eq!(parse_fragment(&format!("{CREDENTIALS}{}", CANDIDATE.repeat(64))).expect("64 are taken").candidates, 64);
}

#[test]
fn the_answer_to_a_restart_reads_like_this_and_parses_back() {
    let text = write_fragment(&our_credentials(), Some("a"), &addresses()[1..2]);
    assert_eq!(
        text,
        "a=ice-lite\r\na=ice-options:trickle\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\r\na=ice-ufrag:OurUfrag12345678\r\n\
         a=ice-pwd:OurPasswordOurPasswordOurPasswor\r\na=candidate:1 1 udp 2130706431 203.0.113.5 8189 typ host\r\n\
         a=candidate:2 1 tcp 1520435199 203.0.113.5 8189 typ host tcptype passive\r\n\
         a=end-of-candidates\r\n"
    );
    let fragment = parse_fragment(&text).expect("a fragment");
    assert_eq!((fragment.credentials, fragment.candidates), (our_credentials(), 1));
    assert!(!write_fragment(&our_credentials(), None, &[]).contains("a=mid"));
}
