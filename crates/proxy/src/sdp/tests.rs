use super::*;

const PWD: &str = "0123456789abcdefghijkl";

/// As SRS 6 answers, with what else may be among candidates.
const ANSWER: &str = "v=0\r\no=SRS/6.0 1 2 IN IP4 0.0.0.0\r\ns=SRSPublishSession\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:origin\r\na=ice-pwd:0123456789abcdefghijkl\r\na=mid:0\r\n\
a=candidate:0 1 tcp 1015022079 10.0.0.2 8000 typ host tcptype passive\r\n\
a=candidate:0 1 udp 2130706431 192.168.7.7 8001 typ host generation 0\r\n\
a=candidate:1 1 udp 2130706430 10.0.0.2 8000 typ host generation 0\r\n\
a=candidate:2 1 udp 1694498815 203.0.113.7 8000 typ srflx raddr 10.0.0.2 rport 8000\r\n\
a=candidate:3 2 udp 2130706430 10.0.0.2 8000 typ host\r\na=rtcp-mux\r\na=x-unknown:stays as \u{e4} it is\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:origin\r\na=ice-pwd:0123456789abcdefghijkl\r\na=mid:1\r\n\
a=candidate:0 1 UDP 2130706431 10.0.0.2 8000 typ host\r\na=end-of-candidates\r\n";

fn ours() -> [SocketAddr; 2] {
    ["198.51.100.1:18000", "[2001:db8::1]:18000"].map(|text| text.parse().expect("an address"))
}

fn rewritten(answer: &str) -> String {
    Description::parse(answer.as_bytes()).and_then(|answer| answer.with_candidates(&ours())).expect("an answer")
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.split("\r\n").filter(|line| line.starts_with(start)).collect()
}

fn offer(ufrag: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    )
}

#[test]
fn candidates_become_ours_and_all_else_stays_in_its_place() {
    let text = rewritten(ANSWER);
    let ours = "a=candidate:1 1 udp 2130706431 198.51.100.1 18000 typ host\r\n\
                a=candidate:2 1 udp 2130706175 2001:db8::1 18000 typ host\r\n";
    let mut expected: Vec<String> = Vec::new();
    for line in ANSWER.split_inclusive("\r\n") {
        match line {
            line if line.contains("2130706431") => expected.push(ours.to_owned()),
            line if line.starts_with("a=candidate") => {}
            line => expected.push(line.to_owned()),
        }
    }
    assert_eq!(text, expected.concat());
}

#[test]
fn candidates_of_all_sections_and_of_none_are_dropped_too() {
    let text = ANSWER
        .replace("a=ice-lite\r\n", "a=candidate:0 1 udp 1 10.0.0.9 1 typ host\r\na=remote-candidates:1 10.0.0.9 1\r\n");
    assert!(!rewritten(&text).contains("10.0.0.9"));
    let without_host = ANSWER.replace("typ host", "typ relay raddr 10.0.0.3 rport 1");
    let text = rewritten(&without_host);
    let found = lines(&text, "a=candidate");
    assert_eq!(found.len(), 2, "in the section that counts only: {text}");
    assert!(text.find("a=candidate") < text.find("m=video"), "{text}");
    let named = ANSWER.replace("10.0.0.2", "0e1f.local");
    assert!(!rewritten(&named).contains(".local"));
    let answer = Description::parse(ANSWER.as_bytes()).expect("an answer");
    assert_eq!(answer.with_candidates(&[]).err(), Some(SdpError::NoCandidate));
}

#[test]
fn a_default_destination_of_the_origin_becomes_ours() {
    let real = ANSWER
        .replacen("m=audio 9", "m=audio 8000", 1)
        .replacen("c=IN IP4 0.0.0.0", "c=IN IP4 10.0.0.2", 1)
        .replace("a=rtcp-mux", "a=rtcp:8001 IN IP4 10.0.0.2\r\na=rtcp-mux");
    let text = rewritten(&real);
    assert_eq!(lines(&text, "m="), ["m=audio 18000 UDP/TLS/RTP/SAVPF 111", "m=video 9 UDP/TLS/RTP/SAVPF 106"]);
    assert_eq!(lines(&text, "c="), ["c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0"]);
    assert_eq!(lines(&text, "a=rtcp:"), ["a=rtcp:18000 IN IP4 198.51.100.1"]);
    assert!(!text.contains("10.0.0.2"), "{text}");
    let general = ANSWER.replace("c=IN IP4 0.0.0.0\r\n", "").replace("t=0 0", "c=IN IP4 10.0.0.2\r\nt=0 0");
    let text = rewritten(&general);
    assert!(!text.contains("10.0.0.2"), "{text}");
    assert_eq!(lines(&text, "m=").len(), 2);
    let refused = real.replace("m=audio 8000", "m=audio 0");
    let text = rewritten(&refused);
    assert_eq!(lines(&text, "m=")[0], "m=audio 0 UDP/TLS/RTP/SAVPF 111", "a section that is refused stays so");
    assert!(!text.contains("10.0.0.2"), "{text}");
    let silent = ANSWER.replace("a=rtcp-mux", "a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux");
    assert_eq!(lines(&rewritten(&silent), "a=rtcp:"), ["a=rtcp:9 IN IP4 0.0.0.0"]);
}

#[test]
fn the_generation_is_that_of_the_section_that_counts() {
    let offer_of = |text: &str| Description::parse(text.as_bytes()).expect("an offer");
    let answer = Description::parse(ANSWER.as_bytes()).expect("an answer");
    let generation = answer.generation(&offer_of(&offer("client"))).expect("credentials");
    assert_eq!(generation.pair().as_str(), "origin:client");
    assert_eq!(generation.origin.pwd(), PWD);

    // The first section is refused: the second one's credentials count on both sides.
    let sections = |first: u16| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio {first} UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:one1\r\n\
             a=ice-pwd:{PWD}\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:two2\r\na=ice-pwd:{PWD}\r\n"
        )
    };
    let generation = offer_of(&sections(0)).generation(&offer_of(&sections(9))).expect("credentials");
    assert_eq!(generation.pair().as_str(), "two2:two2");

    for without in [offer("abc"), offer("a:bcd"), offer("client").replace("ice-pwd", "ice-pxd")] {
        assert_eq!(offer_of(&without).has_credentials(), Err(SdpError::NoCredentials), "{without}");
        assert_eq!(answer.generation(&offer_of(&without)).err(), Some(SdpError::NoCredentials));
    }
}

#[test]
fn media_goes_to_where_http_came_from_at_the_port_of_that_address() {
    let answer = Description::parse(ANSWER.as_bytes()).expect("an answer");
    for (http, media) in [
        ("10.0.0.2", "10.0.0.2:8000"),
        ("::ffff:10.0.0.2", "10.0.0.2:8000"),
        ("172.16.0.1", "172.16.0.1:8001"),
        ("2001:db8::9", "[2001:db8::9]:8001"),
    ] {
        let found = answer.media_address(http.parse().expect("an address"));
        assert_eq!(found, Some(media.parse().expect("an address")), "{http}");
    }
    let tcp =
        Description::parse(ANSWER.replace(" udp ", " tcp ").replace(" UDP ", " TCP ").as_bytes()).expect("an answer");
    assert_eq!(tcp.media_address(IpAddr::from([10, 0, 0, 2])), None);
}

#[test]
fn fragments_are_read_and_rewritten_without_a_head() {
    let restart = format!(
        "a=ice-lite\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:newo\r\na=ice-pwd:{PWD}\r\n\
         a=candidate:1 1 udp 1 10.0.0.2 8000 typ host\r\na=candidate:2 1 tcp 1 10.0.0.2 8000 typ host tcptype passive\r\n\
         a=end-of-candidates\r\n"
    );
    let asked = format!("a=ice-ufrag:newc\na=ice-pwd:{PWD}\nm=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\n");
    let fragment = |text: &str| Description::parse_fragment(text.as_bytes()).expect("a fragment");
    let generation = fragment(&restart).generation(&fragment(&asked)).expect("credentials");
    assert_eq!(generation.pair().as_str(), "newo:newc");
    let in_second = format!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\nm=video 9 RTP/AVP 0\r\na=mid:1\r\n{asked}");
    assert_eq!(fragment(&restart).generation(&fragment(&in_second)).expect("credentials").pair().as_str(), "newo:newc");

    let text = fragment(&restart).with_candidates(&ours()[..1]).expect("a fragment");
    let expected = format!(
        "a=ice-lite\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:newo\r\na=ice-pwd:{PWD}\r\n\
         a=candidate:1 1 udp 2130706431 198.51.100.1 18000 typ host\r\na=end-of-candidates\r\n"
    );
    assert_eq!(text, expected);
    for garbage in ["", "{\"candidate\":\"x\"}", "\u{0}"] {
        let read = Description::parse_fragment(garbage.as_bytes());
        assert!(read.and_then(|read| read.has_credentials()).is_err(), "{garbage}");
    }
}

#[test]
fn what_is_no_description_or_over_a_bound_is_refused() {
    let many = format!("{ANSWER}{}", "m=video 9 X 1\r\n".repeat(MOST_SECTIONS));
    let long = format!("{ANSWER}a=x:{}\r\n", "x".repeat(MOST_BYTES));
    let headless = ANSWER.trim_start_matches("v=0\r\n");
    for text in ["", "v=0\r\n", "{}", headless, &many, &long] {
        assert_eq!(Description::parse(text.as_bytes()).err(), Some(SdpError::Syntax), "{:.40}", text);
    }
}
