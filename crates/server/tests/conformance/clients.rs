//! What clients in use do over HTTP, played as their sources do it (protocol.md 14.1, 14.2): what each needs is there,
//! and what each does wrong costs it nothing but that.

use crate::kit::sdp::Sdp;
use crate::kit::{Answer, FRAGMENT, Live, SDP, Site, changed, offers};

const BEARER: &str = "Authorization: Bearer good";

/// A server as an operator runs it: a token, STUN and TURN.
fn site() -> Site {
    Site::configured(
        "token = 'good'
         ice_server = [
             'stun:stun.example.net:3478',
             'turn:turn.example.net:3478?transport=udp username=u credential=c/d+e=',
         ]",
    )
}

/// A fragment of the credentials of `offer`, with these lines after them.
fn fragment(offer: &str, rest: &str) -> String {
    let offer = Sdp::parse(offer);
    let of_first = |name| offer.inherited(&offer.sections[0], name)[0];
    format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n{rest}", of_first("ice-ufrag"), of_first("ice-pwd"))
}

/// OBS reads a field by cutting its line at the first space, and keeps the last of a name.
fn as_obs_reads<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let is_it = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
    answer.lines.iter().rfind(is_it)?.split_once(' ').map(|(_, value)| value)
}

/// OBS splits `Link` at every comma and semicolon.
fn ice_servers_as_obs_reads(answer: &Answer) -> Vec<Vec<String>> {
    let links = answer.fields("link").into_iter().flat_map(|value| value.split(','));
    let words = links.map(|link| link.split(';').map(|word| word.trim().to_owned()).collect());
    words.collect()
}

#[test]
fn obs_finds_everything_by_its_own_rules_and_deletes_last() {
    let site = site();
    let agent = "User-Agent: Mozilla/5.0 (OBS-Studio/32.0.0; Linux x86_64; en-US)";
    let accepted = site.ask("POST", "/whip/cam?token=good", &[SDP, BEARER, agent], offers::offer("obs-32")).is(201);
    let location = as_obs_reads(&accepted, "location").expect("a Location");
    // It puts the value in the place of the path of its URL and drops the query.
    assert!(location.starts_with("/whip/cam/") && !location.contains("http") && !location.contains(['?', '#']));
    assert!(location.len() - "/whip/cam/".len() >= 22, "128 bits: {location}");
    assert_eq!(
        ice_servers_as_obs_reads(&accepted),
        [
            vec!["<stun:stun.example.net:3478>", "rel=\"ice-server\""],
            vec![
                "<turn:turn.example.net:3478?transport=udp>",
                "rel=\"ice-server\"",
                "username=\"u\"",
                "credential=\"c/d+e=\"",
                "credential-type=\"password\"",
            ],
        ]
    );
    site.ask("DELETE", location, &[BEARER, agent], "").is(200);
}

/// protocol.md 3.3: OBS closes its connection, which ends the session, and sends DELETE after.
#[test]
fn a_session_that_its_client_closed_is_deleted_with_200_all_the_same() {
    let site = Site::start();
    let publisher = site.live("cam", "obs-32");
    publisher.hang_up();
    site.until(|| site.stream("cam")["live"] != true);
    site.until(|| site.ask("GET", publisher.url(), &[], "").status == 404);
    for _ in 0..2 {
        site.ask("DELETE", publisher.url(), &[], "").is(200);
    }
    site.post("/whip/cam", &offers::offer("obs-32")).is(201);
}

/// One `Link` as MediaMTX's client and scripts want it: this shape exactly.
fn is_link_of_mediamtx(link: &str) -> bool {
    let Some((url, rest)) = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"ice-server\"")) else {
        return false;
    };
    let credentials = |rest: &str| -> Option<bool> {
        let rest = rest.strip_prefix("; username=\"")?;
        let (username, rest) = rest.split_once("\"; credential=\"")?;
        let (credential, rest) = rest.split_once("\"; credential-type=\"password\"")?;
        Some(rest.is_empty() && !username.contains('"') && !credential.contains('"'))
    };
    !url.contains('>') && (rest.is_empty() || credentials(rest) == Some(true))
}

#[test]
fn mediamtx_as_a_client_asks_first_trickles_and_deletes() {
    let site = site();
    let _publisher = publish(&site);
    for (target, fixture) in [("/whip/cam", "obs-32"), ("/whep/live", "chromium-156-viewer")] {
        let options = site.ask("OPTIONS", target, &[BEARER], "").is(200);
        let links = options.fields("link");
        assert!(links.len() == 2 && links.iter().all(|link| is_link_of_mediamtx(link)), "{links:?}");
        assert!(options.field("access-control-allow-methods").is_some_and(|methods| methods.contains("PATCH")));

        let offer = offers::offer(fixture);
        let accepted = site.ask("POST", target, &[SDP, BEARER], &offer).is(201);
        assert_eq!(accepted.field("content-type"), Some("application/sdp"));
        assert!(accepted.fields("link").iter().all(|link| is_link_of_mediamtx(link)));
        let tag = format!("If-Match: {}", accepted.etag());
        for (index, port) in [(0, 5000), (1, 5001), (0, 5002)] {
            // It numbers the sections where mids belong.
            let rest = format!(
                "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{index}\r\na=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n"
            );
            let fields = [FRAGMENT, BEARER, &tag];
            site.ask("PATCH", accepted.location(), &fields, fragment(&offer, &rest)).is(204);
        }
        site.ask("DELETE", accepted.location(), &[BEARER], "").is(200);
    }
}

/// A live stream at the site with a token.
fn publish(site: &Site) -> Live {
    let live = Live::connect(site, "/whip/live?token=good", &offers::offer("chromium-156-publisher"));
    let is_live = || site.ask("POST", "/whep/live", &[SDP, BEARER], "v=0\r\n").status != 409;
    site.until(is_live);
    live
}

#[test]
fn mediamtx_in_a_browser_trickles_with_the_wildcard_and_without_a_token() {
    let site = site();
    let _publisher = publish(&site);
    let origin = "Origin: https://page.example";
    for target in ["/whip/cam", "/whep/live"] {
        // A script that fetches with OPTIONS is itself asked for beforehand.
        let preflight =
            [origin, "Access-Control-Request-Method: OPTIONS", "Access-Control-Request-Headers: authorization"];
        let asked = site.ask("OPTIONS", target, &preflight, "").is(200);
        assert!(asked.fields("link").is_empty(), "a preflight is nobody's question");
        assert_eq!(site.ask("OPTIONS", target, &[origin, BEARER], "").is(200).fields("link").len(), 2);
        let fixture = if target == "/whep/live" { "mediamtx-reader" } else { "chromium-156-publisher" };
        let data =
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\na=sctp-port:5000\r\n";
        let mut offer = offers::offer(fixture);
        if !offer.contains("m=application") {
            offer += data;
        }
        let accepted = site.ask("POST", target, &[SDP, BEARER, origin], &offer).is(201);
        let answer = Sdp::parse(accepted.text());
        assert_eq!(answer.section("application").port(), 0);
        assert!(answer.sections.iter().filter(|part| part.port() != 0).count() == 2, "{answer:?}");
        for _ in 0..2 {
            let body = fragment(
                &offer,
                "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=candidate:1 1 udp 1 x.local 9 typ host\r\n",
            );
            site.ask("PATCH", accepted.location(), &[FRAGMENT, "If-Match: *", origin], body).is(204);
        }
        site.ask("DELETE", accepted.location(), &[origin], "").is(200);
    }
    // 400 has JSON with `error`, which every problem has; 404 is for what is not there.
    site.ask("POST", "/whep/live", &[SDP, BEARER, origin], "no offer").is(400);
    site.ask("POST", "/nowhere/live", &[SDP, BEARER, origin], "no offer").is(404);
}

#[test]
fn eyevinns_sdk_stops_trickling_and_keeps_its_session() {
    let site = site();
    let origin = "Origin: https://page.example";
    let preflight =
        [origin, "Access-Control-Request-Method: PATCH", "Access-Control-Request-Headers: content-type,etag"];
    let asked = site.ask("OPTIONS", "/whip/cam", &[BEARER, origin], "").is(200);
    assert!(asked.field("access-control-allow-methods").is_some_and(|methods| methods.contains("PATCH")));
    let offer = offers::offer("chromium-156-publisher");
    let accepted = site.ask("POST", "/whip/cam", &[SDP, BEARER, origin], &offer).is(201);
    let asked = site.ask("OPTIONS", accepted.location(), &preflight, "").is(200);
    assert!(asked.field("access-control-allow-headers").is_some_and(|names| names.contains("ETag")));
    let rest = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 0 udp 1 192.0.2.1 9 typ host\r\n\
                m=audio 9 RTP/AVP 0\r\na=mid:1\r\na=candidate:1 0 udp 1 192.0.2.1 9 typ host\r\n";
    let tag = format!("ETag: {}", accepted.etag());
    site.ask("PATCH", accepted.location(), &[FRAGMENT, &tag, origin], fragment(&offer, rest)).is(428);
    site.ask("GET", accepted.location(), &[], "").is(204);
    site.ask("DELETE", accepted.location(), &[origin], "").is(200);
}

/// The player sends the user's text as the whole field, and answers 400 with an empty POST, 406 with fewer sections.
#[test]
fn eyevinns_player_is_never_sent_into_its_fallbacks() {
    let site = site();
    let _publisher = publish(&site);
    let offer = offers::offer("eyevinn-player");
    site.ask("POST", "/whep/live", &[SDP, "Authorization: good"], &offer).is(401);
    let accepted = site.ask("POST", "/whep/live", &[SDP, BEARER], &offer).is(201);
    let answer = Sdp::parse(accepted.text());
    assert_eq!(answer.sections.iter().map(|part| part.kind()).collect::<Vec<_>>(), ["video", "audio"]);
    site.ask("DELETE", accepted.location(), &[BEARER], "").is(200);
    // A codec too few is 422; the legacy way of an empty POST is 400.
    let speex = changed(&changed(&offer, &[("opus/48000/2", "speex/16000")]), &[("VP8/90000", "H266/90000")]);
    let refused = site.ask("POST", "/whep/live", &[SDP, BEARER, "Accept: application/sdp"], &speex).is(422);
    assert!(refused.detail().contains("VP8") && refused.detail().contains("opus"), "{}", refused.detail());
    site.ask("POST", "/whep/live", &[SDP, BEARER], "").is(400);
}

#[test]
fn medooze_trickles_once_a_tick_restarts_and_reads_the_answer_by_pattern() {
    let site = Site::start();
    let offer = offers::offer("chromium-156-publisher");
    let accepted = site.post("/whip/cam", &offer).is(201);
    let rest = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\
                m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=end-of-candidates\r\n";
    let tag = format!("If-Match: {}", accepted.etag());
    site.ask("PATCH", accepted.location(), &[FRAGMENT, &tag], fragment(&offer, rest)).is(204);
    let fresh = "a=ice-ufrag:ABCD\r\na=ice-pwd:0123456789012345678901\r\n";
    let restarted = site.ask("PATCH", accepted.location(), &[FRAGMENT, "If-Match: *"], fresh).is(200);
    // `/a=ice-ufrag:(.*)\r\n/` and the like.
    let found = |name: &str| restarted.text().split(name).nth(1).and_then(|rest| rest.split("\r\n").next());
    for name in ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"] {
        assert!(found(name).is_some_and(|value| !value.is_empty()), "{name}: {}", restarted.text());
    }
    let tag = format!("If-Match: {}", restarted.etag());
    site.ask("PATCH", accepted.location(), &[FRAGMENT, &tag], format!("{fresh}{rest}")).is(204);
    site.ask("DELETE", accepted.location(), &[], "").is(200);
}

/// Its player forgets the tag, as many small clients do: 428, and watching goes on.
#[test]
fn a_client_without_if_match_is_told_so_and_goes_on() {
    let site = Site::start();
    let _publisher = site.live("cam", "obs-32");
    let viewer = Live::connect(&site, "/whep/cam", &offers::offer("chromium-156-viewer"));
    for body in [fragment(&viewer.offer, "a=end-of-candidates\r\n"), "{\"candidate\":\"\"}".to_owned()] {
        let answer = site.ask("PATCH", viewer.url(), &[FRAGMENT], body).is(428);
        assert!(answer.detail().contains("If-Match"), "{}", answer.detail());
    }
    // What react-native sends is no fragment whatever stands around it.
    let json = "{\"candidate\":\"candidate:1 1 udp 1 192.0.2.1 9 typ host\",\"sdpMLineIndex\":0}";
    site.ask("PATCH", viewer.url(), &[FRAGMENT, "If-Match: *"], json).is(400);
    site.ask("GET", viewer.url(), &[], "").is(204);
    assert!(!viewer.is_closed());
}

#[test]
fn meetecho_sends_if_match_with_everything() {
    let site = Site::start();
    let _publisher = site.live("live", "obs-32");
    for (target, fixture) in [("/whip/cam", "gstreamer-1.22-publisher"), ("/whep/live", "gstreamer-1.22-viewer")] {
        site.ask("OPTIONS", target, &[], "").is(200);
        let offer = offers::offer(fixture);
        let accepted = site.post(target, &offer).is(201);
        let answer = Sdp::parse(accepted.text());
        assert!(answer.sections[0].has("candidate"), "it looks in the first section only");
        // It takes a value with `http` in it for a whole URL.
        assert!(accepted.location().starts_with('/') && !accepted.location().contains("http"));
        let tag = format!("If-Match: {}", accepted.etag());
        let rest = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:audio0\r\n".to_owned()
            + &"a=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n".repeat(5);
        site.ask("PATCH", accepted.location(), &[FRAGMENT, &tag], fragment(&offer, &rest)).is(204);
        site.ask("DELETE", accepted.location(), &[&tag], "").is(200);
    }
}

/// WHEP -04 4.2 and 4.3.9: found by HEAD, told to wait, let in.
#[test]
fn a_player_of_the_newest_draft_discovers_waits_and_watches() {
    let site = Site::start();
    let origin = "Origin: https://page.example";
    for method in ["HEAD", "GET"] {
        let found = site.ask(method, "/whep/cam", &[origin], "").is(200);
        assert_eq!((found.field("content-type"), found.field("content-length")), (Some("application/sdp"), Some("0")));
    }
    let offer = offers::offer("firefox-153-viewer-openh264");
    let wait = site.ask("POST", "/whep/cam", &[SDP, origin], &offer).is(409);
    let seconds: u32 = wait.field("retry-after").expect("when to come back").parse().expect("whole seconds");
    assert!((1..=10).contains(&seconds));
    let exposed = wait.field("access-control-expose-headers").expect("a list");
    assert!(exposed.contains("Retry-After"), "a page could not read it: {exposed}");
    let _publisher = site.live("cam", "obs-32");
    let viewer = Live::connect(&site, "/whep/cam", &offer);
    assert!(viewer.url().starts_with("/whep/cam/"));
}

/// GStreamer's whepclientsrc takes every 406 for a counter-offer; whatever is wrong, it is not that (the kit sees to it
/// for all answers), and whatever a client would rather have, it gets SDP.
#[test]
fn what_a_client_accepts_never_matters() {
    let site = Site::start();
    let _publisher = site.live("cam", "obs-32");
    let offer = offers::offer("gstreamer-1.22-viewer");
    for accept in ["Accept: text/html", "Accept: application/sdp;q=0", "Accept: application/json", "Accept: ,,;"] {
        let accepted = site.ask("POST", "/whep/cam", &[SDP, accept, "Accept-Language: tlh"], &offer).is(201);
        assert_eq!(accepted.field("content-type"), Some("application/sdp"));
    }
    let vp8 = site.live("vp8", "firefox-153-publisher");
    let no_audio = offers::offer("gstreamer-1.22-viewer");
    let no_audio = changed(&no_audio, &[("OPUS/48000/2", "PCMU/8000")]);
    site.post("/whep/vp8", &no_audio).is(422);
    assert!(!vp8.is_closed());
}
