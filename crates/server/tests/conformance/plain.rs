//! Plain RTP that comes in: WHIP with an offer of `RTP/AVP`, and inputs by API and by configuration (design.md 2.4,
//! components.md S0-R18, B10, B24).

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;
use whipstitch::credentials::Token;
use whipstitch::plain::PlainRtp;
use whipstitch_stream::directory::Conflict;

use crate::kit::{Answer, SDP, Site, changed};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 5004 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=sendonly\r\n\
    m=audio 5006 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n";

/// VP8: the payload descriptor, then a key frame of 576 by 496.
const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x02, 0xf0, 0x01];

/// Where a section of an answer is to be sent.
#[track_caller]
fn port(sdp: &str, kind: &str) -> u16 {
    let line = sdp.lines().find_map(|line| line.strip_prefix(&format!("m={kind} "))).expect(sdp);
    line.split(' ').next().and_then(|port| port.parse().ok()).expect(line)
}

/// A program that sends video.
struct Sender {
    socket: UdpSocket,
    to: SocketAddr,
    ssrc: u32,
    seq: u16,
}

impl Sender {
    fn new(from: &str, port: u16) -> Sender {
        let socket = UdpSocket::bind((from, 0)).expect("an address of loopback");
        Sender { socket, to: SocketAddr::from(([127, 0, 0, 1], port)), ssrc: 77, seq: 0 }
    }

    fn send(&mut self) {
        self.seq += 1;
        let mut packet = vec![0x80, 0x80 | 97];
        packet.extend(self.seq.to_be_bytes());
        packet.extend((u32::from(self.seq) * 3000).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(KEY);
        // Nobody may be there any more.
        let _ = self.socket.send_to(&packet, self.to);
    }
}

/// Sends until it is so.
#[track_caller]
fn until(site: &Site, sender: &mut Sender, happened: impl Fn() -> bool) {
    let sender = std::cell::RefCell::new(sender);
    site.until(|| {
        sender.borrow_mut().send();
        happened()
    });
}

fn is_live(site: &Site) -> bool {
    site.stream("cam")["live"] == true
}

fn ports_in_use(site: &Site) -> u64 {
    let answer = site.ask("GET", "/api/v3/webrtc/stats", &[], "").is(200);
    json(&answer)["udp_ports_in_use"].as_u64().expect("a number")
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[track_caller]
fn are_free(ports: &[u16]) {
    for port in ports {
        UdpSocket::bind(("127.0.0.1", *port)).unwrap_or_else(|error| panic!("{port}: {error}"));
    }
}

#[test]
fn an_offer_of_plain_rtp_is_answered_with_ports_and_its_session_ends_like_any_other() {
    let site = Site::start();
    let before = ports_in_use(&site);
    let accepted = site.post("/whip/cam", OFFER).is(201);
    // Its place is taken, though nothing has come.
    site.post("/whip/cam", OFFER).is(409);
    assert_eq!(accepted.field("content-type"), Some("application/sdp"));
    assert!(accepted.field("accept-patch").is_none() && !accepted.etag().is_empty());
    let (url, sdp) = (accepted.location().to_owned(), accepted.text());
    let (video, audio) = (port(sdp, "video"), port(sdp, "audio"));
    assert!(video.is_multiple_of(2) && audio == video + 2, "{sdp}");
    assert!(sdp.contains("\r\no=- ") && sdp.contains("\r\nc=IN IP4 127.0.0.1\r\n"), "{sdp}");
    let section =
        format!("m=video {video} RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=rtcp:{}\r\na=recvonly\r\n", video + 1);
    assert!(sdp.contains(&section), "{sdp}");
    assert_eq!(ports_in_use(&site), before + 4);

    assert!(!is_live(&site), "not before something comes");
    site.ask("GET", &url, &[], "").is(204);
    let patched =
        site.ask("PATCH", &url, &["Content-Type: application/trickle-ice-sdpfrag", "If-Match: *"], "a=x").is(405);
    assert_eq!(patched.field("allow"), Some("OPTIONS, GET, HEAD, DELETE"));

    let mut sender = Sender::new("127.0.0.1", video);
    until(&site, &mut sender, || is_live(&site));
    let publisher = site.stream("cam")["publisher"].take();
    assert_eq!((&publisher["transport"], &publisher["srtp"]), (&Value::from("udp"), &Value::Null));
    assert_eq!(publisher["remote"], sender.socket.local_addr().unwrap().to_string());
    assert_eq!((&publisher["video"]["codec"], &publisher["video"]["width"]), (&Value::from("VP8"), &Value::from(576)));

    site.ask("DELETE", &url, &[], "").is(200);
    site.until(|| ports_in_use(&site) == before);
    are_free(&[video, video + 1, audio, audio + 1]);
    site.ask("DELETE", &url, &[], "").is(200);
    site.ask("GET", &url, &[], "").is(404);
    let closed = json(&site.ask("GET", "/api/v1/sessions?state=closed", &[], "").is(200));
    assert_eq!(closed["sessions"][0]["close_reason"], "by_request");
    site.post("/whip/cam", OFFER).is(201);
}

#[test]
fn a_head_tells_whether_there_is_something_to_lease_ports_for_and_leases_none() {
    let site = Site::start();
    let head = || site.ask("HEAD", "/whip/cam/sdp", &[], "");
    assert!(head().is(409).field("retry-after").is_some());
    let accepted = site.post("/whip/cam", OFFER).is(201);
    let mut sender = Sender::new("127.0.0.1", port(accepted.text(), "video"));
    until(&site, &mut sender, || is_live(&site));
    let before = ports_in_use(&site);
    head().is(200);
    assert_eq!(ports_in_use(&site), before);
}

#[test]
fn packets_from_another_address_are_dropped_and_counted() {
    let site = Site::start();
    let accepted = site.post("/whip/cam", OFFER).is(201);
    let video = port(accepted.text(), "video");
    let mut sender = Sender::new("127.0.0.1", video);
    until(&site, &mut sender, || is_live(&site));
    let mut mallory = Sender { ssrc: 99, ..Sender::new("127.0.0.2", video) };
    (0..5).for_each(|_| mallory.send());
    let publisher = || site.stream("cam")["publisher"].take();
    let rejected = || {
        let text = site.ask("GET", "/metrics", &[], "").is(200);
        let lines = text.text().lines().filter(|line| line.contains("rejected") && line.contains("publisher"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    until(&site, &mut sender, || rejected() >= 5.0);
    site.until(|| publisher()["packets"] == u64::from(sender.seq));
    assert_eq!(publisher()["remote"], sender.socket.local_addr().unwrap().to_string());
}

#[test]
fn who_is_elsewhere_or_meets_a_server_that_takes_none_is_told_which_setting_says_so() {
    let token = Some(Token::parse("secret").expect("a token"));
    let bearer = "Authorization: Bearer secret";
    let elsewhere = [SDP, bearer, "X-Forwarded-For: 192.0.2.7"];
    for (from, rtp_ports, fields, status, words) in [
        (PlainRtp::Loopback, true, &elsewhere[..2], 201, "127.0.0.1"),
        (PlainRtp::Loopback, true, &elsewhere[..], 403, "plain_rtp = \"loopback\""),
        (PlainRtp::On, true, &elsewhere[..], 201, "192.0.2.1"),
        (PlainRtp::On, true, &elsewhere[..2], 201, "127.0.0.1"),
        (PlainRtp::Off, true, &elsewhere[..2], 422, "plain_rtp = \"off\""),
        (PlainRtp::On, false, &elsewhere[..2], 422, "rtp_ports = \"off\""),
    ] {
        let site = Site::with(|config| {
            (config.token, config.plain_rtp) = (token.clone(), from);
            config.public_ip = vec!["192.0.2.1".parse().expect("an address")];
            config.rtp_ports = config.rtp_ports.take().filter(|_| rtp_ports);
        });
        for target in ["/whip/cam", "/rtc/v1/whip/?stream=cam2", "/api/v1/streams/cam3/rtp"] {
            let answer = site.ask("POST", target, fields, OFFER).is(status);
            match status {
                201 => assert!(answer.text().contains(words), "{target}: {}", answer.text()),
                _ => assert!(answer.detail().contains(words), "{target}: {}", answer.text()),
            }
        }
    }
}

#[test]
fn who_may_not_publish_gets_no_ports_and_learns_nothing() {
    let site = Site::with(|config| config.token = Some(Token::parse("secret").expect("a token")));
    let right = [SDP, "Authorization: Bearer secret"];
    let before = json(&site.ask("GET", "/api/v3/webrtc/stats", &right[1..], "").is(200));
    site.ask("POST", "/api/v1/streams/cam/rtp", &right, OFFER).is(201);
    let during = json(&site.ask("GET", "/api/v3/webrtc/stats", &right[1..], "").is(200));
    for fields in [&[SDP][..], &[SDP, "Authorization: Bearer wrong"]] {
        for stream in ["cam", "nothing"] {
            site.ask("POST", &format!("/whip/{stream}"), fields, OFFER).is(401);
            for method in ["GET", "POST", "DELETE"] {
                site.ask(method, &format!("/api/v1/streams/{stream}/rtp"), fields, OFFER).is(401);
            }
        }
    }
    assert_eq!(json(&site.ask("GET", "/api/v3/webrtc/stats", &right[1..], "").is(200)), during);
    assert_ne!(before["udp_ports_in_use"], during["udp_ports_in_use"]);
}

#[test]
fn offers_that_cannot_be_taken_lease_nothing() {
    let site = Site::start();
    let before = ports_in_use(&site);
    for (offer, status) in [
        (changed(OFFER, &[("VP8", "theora")]), 422),
        (changed(OFFER, &[("a=sendonly", "a=recvonly")]), 422),
        (changed(OFFER, &[("m=video 5004 RTP/AVP", "m=video 5004 UDP/TLS/RTP/SAVPF")]), 422),
        (changed(OFFER, &[("t=0 0", "t=x")]), 400),
    ] {
        site.post("/whip/cam", &offer).is(status);
        site.ask("POST", "/whep/cam", &[SDP], OFFER).is(422);
    }
    assert_eq!(ports_in_use(&site), before);
}

#[test]
fn an_input_by_api_tells_its_ports_and_is_ended_by_who_may_publish() {
    let site = Site::start();
    let before = ports_in_use(&site);
    let url = "/api/v1/streams/cam/rtp";
    site.ask("GET", url, &[], "").is(404);
    site.ask("DELETE", url, &[], "").is(404);
    let opened = site.ask("POST", url, &[SDP], OFFER).is(201);
    site.ask("POST", url, &[SDP], OFFER).is(409);
    assert_eq!(opened.location(), url);
    let input = json(&opened);
    assert_eq!(json(&site.ask("GET", url, &[], "").is(200)), input);
    assert_eq!((&input["stream"], &input["address"]), (&Value::from("cam"), &Value::from("127.0.0.1")));
    assert_eq!((&input["video"]["payload_type"], &input["configured"]), (&Value::from(97), &Value::from(false)));
    assert_eq!((&input["audio"]["codec"], &input["video"]["codec"]), (&Value::from("opus"), &Value::from("VP8")));
    let port = |kind: &str, way: &str| u16::try_from(input[kind][way].as_u64().expect("a number")).expect("a port");
    let ports = [port("video", "rtp"), port("video", "rtcp"), port("audio", "rtp"), port("audio", "rtcp")];
    assert_eq!(ports.map(|port| port - ports[0]), [0, 1, 2, 3]);

    let mut sender = Sender::new("127.0.0.1", ports[0]);
    until(&site, &mut sender, || is_live(&site));
    // BYE does not end it: the next sender may come.
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 77];
    sender.socket.send_to(&bye, ("127.0.0.1", ports[1])).expect("loopback");
    (sender.ssrc, sender.seq) = (78, 40_000);
    let packets = || site.stream("cam")["publisher"]["packets"].as_u64().unwrap_or_default();
    until(&site, &mut sender, || packets() > 4);

    site.ask("DELETE", url, &[], "").is(204);
    site.until(|| ports_in_use(&site) == before);
    are_free(&ports);
    site.ask("GET", url, &[], "").is(404);
}

#[test]
fn a_publisher_takes_over_where_it_may_and_the_ports_of_the_first_are_free() {
    let site = Site::with(|config| config.on_conflict = Conflict::TakeOver);
    let before = ports_in_use(&site);
    let first = site.post("/whip/cam", OFFER).is(201);
    let mut sender = Sender::new("127.0.0.1", port(first.text(), "video"));
    until(&site, &mut sender, || is_live(&site));
    let second = site.post("/whip/cam", OFFER).is(201);
    site.until(|| ports_in_use(&site) == before + 4);
    site.ask("GET", first.location(), &[], "").is(404);
    // What the first goes on to send is nothing to the second.
    sender.send();
    assert!(!is_live(&site));
    let closed = json(&site.ask("GET", "/api/v1/sessions?state=closed", &[], "").is(200));
    assert_eq!(closed["sessions"][0]["close_reason"], "replaced");
    // And everything else that ends a publisher ends it.
    site.ask("DELETE", "/whip/cam", &[], "").is(200);
    site.until(|| ports_in_use(&site) == before);
    site.ask("GET", second.location(), &[], "").is(404);
}

#[test]
fn an_input_of_the_configuration_is_there_from_the_beginning_and_again_after_every_session() {
    let offer = changed(OFFER, &[("m=video 5004", "m=video 0"), ("m=audio 5006", "m=audio 0")]);
    let site = Site::configured(&format!("[[rtp_input]]\nstream = 'cam'\nsdp = '''\n{offer}'''\n"));
    let url = "/api/v1/streams/cam/rtp";
    let input = || json(&site.ask("GET", url, &[], "").is(200));
    assert_eq!((&input()["configured"], &input()["session"]), (&Value::from(true), &Value::Null));
    assert_eq!(site.stream("cam"), Value::Null, "nobody publishes");
    site.ask("DELETE", url, &[], "").is(409);
    let video = u16::try_from(input()["video"]["rtp"].as_u64().expect("a number")).expect("a port");
    let mut sender = Sender::new("127.0.0.1", video);
    until(&site, &mut sender, || is_live(&site));
    let first = input()["session"].clone();
    assert!(first.is_string());
    // Somebody ends the session; whoever goes on to send has another after a while.
    site.ask("DELETE", "/whip/cam", &[], "").is(200);
    site.until(|| !is_live(&site));
    until(&site, &mut sender, || is_live(&site));
    assert_ne!(input()["session"], first);
    // The place is a publisher's as long as it has it, and then it is not fought for.
    site.post("/whip/cam", OFFER).is(409);
}
