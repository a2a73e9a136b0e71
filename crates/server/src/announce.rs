//! What is said at start, one fact per line, on standard output: where the server listens, the URLs to use, and what
//! is open to whom. Scripts read the first word of a line and the last; a line that ends with a colon is a heading.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use whipstitch_ffmpeg::Input;
use whipstitch_media::Kind;

use crate::config::Config;

/// What the lines are made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) config: &'a Config,
    /// Where HTTP really listens.
    pub(crate) http: SocketAddr,
    /// Where media really arrives.
    pub(crate) rtc: &'a [SocketAddr],
    /// Where RTSP players are served, if they are.
    pub(crate) rtsp: Option<SocketAddr>,
    /// Addresses of this machine that others can reach, best first.
    pub(crate) machine: &'a [IpAddr],
    /// The file with the generated admin token; why there is none; or nothing because a token is configured.
    pub(crate) admin: Option<&'a Result<PathBuf, String>>,
    /// The stream a built-in source publishes.
    pub(crate) demo: Option<&'a str>,
    /// Where streams of the configuration are taken as plain RTP.
    pub(crate) inputs: Vec<&'a Input>,
    /// Why FFmpeg processes cannot be changed, if that is so.
    pub(crate) processes: Option<&'a str>,
}

/// The lines.
pub(crate) fn lines(facts: &Facts<'_>) -> Vec<String> {
    let mut lines = vec![format!("listening on http {}", facts.http)];
    for transport in ["udp", "tcp"] {
        lines.extend(facts.rtc.iter().map(|address| format!("listening on rtc {transport} {address}")));
    }
    lines.extend(facts.rtsp.map(|address| format!("listening on rtsp tcp {address}")));
    for input in &facts.inputs {
        lines.extend([Kind::Video, Kind::Audio].into_iter().filter_map(|kind| {
            let address = SocketAddr::new(input.local, input.tracks[kind]?.port);
            Some(format!("listening on rtp udp for {kind} of {} {address}", input.stream))
        }));
    }
    let here = format!("http://{}", local(facts.http));
    lines.push("STREAM in the URLs below: a name of your choice".to_owned());
    if facts.config.needs_token() {
        lines.push(
            "the token goes to the end of a page's URL, ?token=..., or into the field that asks for it, and in the \
             place of TOKEN"
                .to_owned(),
        );
    }
    lines.push("on this machine:".to_owned());
    lines.push(format!("overview {here}/"));
    lines.extend(watching(&here, facts.demo));
    lines.push(format!("publish from a browser {here}/publish/STREAM"));
    lines.push(format!("publish (WHIP: OBS, FFmpeg) {here}/whip/STREAM"));
    lines.extend(facts.rtsp.into_iter().flat_map(|address| over_rtsp(&local(address), true, facts)));
    if let Some(there) = elsewhere(facts.http, facts) {
        lines.push("from other machines:".to_owned());
        lines.push(format!("overview http://{there}/"));
        lines.extend(watching(&format!("http://{there}"), facts.demo));
        // No browser gives a camera to a page of that URL, and without either of these nobody may publish there.
        let may_publish = facts.config.needs_token() || facts.config.open_publish;
        if may_publish {
            lines.push(format!("publish (WHIP: OBS, FFmpeg) http://{there}/whip/STREAM"));
        }
        let rtsp = facts.rtsp.and_then(|rtsp| elsewhere(rtsp, facts));
        lines.extend(rtsp.into_iter().flat_map(|there| over_rtsp(&there, may_publish, facts)));
    }
    lines.extend(access(facts));
    let config = facts.config;
    if config.join.is_empty() && (config.secret.is_some() || config.origin_id.is_some()) {
        lines.push("note: --secret and --origin-id are for proxies, and none is joined (--join)".to_owned());
    }
    lines
}

/// The player page of the built-in source.
pub(crate) fn demo_page(http: SocketAddr, stream: &str) -> String {
    format!("http://{}/watch/{stream}", local(http))
}

fn watching(base: &str, demo: Option<&str>) -> [String; 2] {
    let stream = demo.unwrap_or("STREAM");
    [format!("watch {base}/watch/{stream}"), format!("watch (WHEP) {base}/whep/{stream}")]
}

/// The URLs of RTSP, where a token is the password.
fn over_rtsp(host: &str, may_publish: bool, facts: &Facts<'_>) -> Vec<String> {
    let base = format!("rtsp://{}{host}/live", if facts.config.needs_token() { "x:TOKEN@" } else { "" });
    let publish = may_publish.then(|| format!("publish (RTSP: FFmpeg, GStreamer) {base}/STREAM"));
    let read = format!("read (RTSP: FFmpeg, VLC) {base}/{}", facts.demo.unwrap_or("STREAM"));
    publish.into_iter().chain([read]).collect()
}

/// Host and port in the URLs for other machines, where the listener can be reached from those.
fn elsewhere(listener: SocketAddr, facts: &Facts<'_>) -> Option<String> {
    seen_from_elsewhere(listener, facts.config.public_ip.iter().chain(facts.machine))
}

/// The same of any listener, by the first of these addresses that fits it.
pub(crate) fn seen_from_elsewhere<'a>(
    listener: SocketAddr,
    mut addresses: impl Iterator<Item = &'a IpAddr>,
) -> Option<String> {
    if !listener.ip().is_unspecified() {
        return None;
    }
    let ip = addresses.find(|ip| listener.is_ipv6() || ip.is_ipv4())?;
    Some(SocketAddr::new(*ip, listener.port()).to_string())
}

/// Host and port that reach the listener from this machine. By name where that works: browsers give camera and
/// microphone to `localhost`, and access rules know it.
pub(crate) fn local(http: SocketAddr) -> String {
    let ip = http.ip();
    if ip.is_unspecified() || ip == IpAddr::from([127, 0, 0, 1]) {
        format!("localhost:{}", http.port())
    } else {
        http.to_string()
    }
}

fn access(facts: &Facts<'_>) -> Vec<String> {
    let config = facts.config;
    let mut lines = Vec::new();
    let mut say = |line: &str| lines.push(format!("access: {line}"));
    match (config.needs_token(), config.open_publish) {
        (true, open) if !config.tokens.is_empty() => {
            let tokens = config.tokens.len() + usize::from(config.token.is_some());
            let publishing = if open { "publishing is open to everybody; watching" } else { "publishing, watching" };
            say(&format!("{publishing}, lists and statistics need a token with that right; {tokens} are known"));
        }
        (true, false) => say("publishing, watching, lists and statistics need the token"),
        (true, true) => say("publishing is open to everybody; watching, lists and statistics need the token"),
        (false, open) => {
            say("watching is open to everybody who reaches this server");
            if open {
                say("publishing is open to everybody who reaches this server (--open-publish)");
            } else {
                say("publishing is open to this machine only; from elsewhere it needs a token (--token)");
            }
            let or_admin = if matches!(facts.admin, Some(Ok(_))) { ", or with the admin token" } else { "" };
            say(&format!("lists and statistics are open to this machine only{or_admin}"));
            say("a reverse proxy in front of this server needs a token: its clients could pass for this machine");
        }
    }
    match facts.admin {
        Some(Ok(path)) => {
            say(&format!("ending sessions of others and FFmpeg processes need the token in {}", path.display()))
        }
        Some(Err(error)) => say(&format!(
            "nobody can end sessions of others or define FFmpeg processes: no admin token ({error}); give --data a \
             folder that this program may write to, or set --token"
        )),
        None => {}
    }
    if let Some(why) = facts.processes {
        say(&format!("FFmpeg processes cannot be changed: {why}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Token;

    fn said(config: &Config, http: &str, admin: Option<&Result<PathBuf, String>>, demo: Option<&str>) -> String {
        let facts = Facts {
            config,
            http: http.parse().unwrap(),
            rtc: &["0.0.0.0:8189".parse().unwrap(), "[::]:8189".parse().unwrap()],
            rtsp: config.rtsp,
            machine: &["192.168.1.5".parse().unwrap()],
            admin,
            demo,
            inputs: Vec::new(),
            processes: None,
        };
        lines(&facts).join("\n")
    }

    #[test]
    fn every_listener_and_url_and_who_may_use_it_is_said() {
        let admin = Ok(PathBuf::from("/data/admin-token"));
        let text = said(&Config::default(), "0.0.0.0:8555", Some(&admin), None);
        let expected = "\
listening on http 0.0.0.0:8555
listening on rtc udp 0.0.0.0:8189
listening on rtc udp [::]:8189
listening on rtc tcp 0.0.0.0:8189
listening on rtc tcp [::]:8189
listening on rtsp tcp 127.0.0.1:8554
STREAM in the URLs below: a name of your choice
on this machine:
overview http://localhost:8555/
watch http://localhost:8555/watch/STREAM
watch (WHEP) http://localhost:8555/whep/STREAM
publish from a browser http://localhost:8555/publish/STREAM
publish (WHIP: OBS, FFmpeg) http://localhost:8555/whip/STREAM
publish (RTSP: FFmpeg, GStreamer) rtsp://localhost:8554/live/STREAM
read (RTSP: FFmpeg, VLC) rtsp://localhost:8554/live/STREAM
from other machines:
overview http://192.168.1.5:8555/
watch http://192.168.1.5:8555/watch/STREAM
watch (WHEP) http://192.168.1.5:8555/whep/STREAM
access: watching is open to everybody who reaches this server
access: publishing is open to this machine only; from elsewhere it needs a token (--token)
access: lists and statistics are open to this machine only, or with the admin token
access: a reverse proxy in front of this server needs a token: its clients could pass for this machine
access: ending sessions of others and FFmpeg processes need the token in /data/admin-token";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_secret_that_nobody_is_shown_is_noted() {
        let secret = Some(Token::parse("very-secret").unwrap());
        let config = Config { secret, ..Config::default() };
        let text = said(&config, "0.0.0.0:1", None, None);
        assert!(text.ends_with("none is joined (--join)") && !text.contains("very-secret"), "{text}");
        let joined = Config { join: vec!["http://10.0.0.1:12025".parse().unwrap()], ..config };
        assert!(!said(&joined, "0.0.0.0:1", None, None).contains("--secret"));
        assert!(!said(&Config::default(), "0.0.0.0:1", None, None).contains("--secret"));
    }

    #[test]
    fn the_urls_are_those_that_reach_the_listener() {
        let config = Config::default();
        for (http, url) in [
            ("127.0.0.1:1", "http://localhost:1/"),
            ("[::1]:1", "http://[::1]:1/"),
            ("192.168.1.5:1", "http://192.168.1.5:1/"),
        ] {
            let text = said(&config, http, None, None);
            let overviews: Vec<&str> = text.lines().filter(|line| line.starts_with("overview")).collect();
            assert_eq!(overviews, [format!("overview {url}")], "{http}");
        }
        let public = Config { public_ip: vec!["203.0.113.7".parse().unwrap()], ..config };
        assert!(said(&public, "0.0.0.0:80", None, None).contains("overview http://203.0.113.7:80/"));
        let demo = said(&public, "[::]:80", None, Some("demo"));
        for line in ["watch http://localhost:80/watch/demo", "watch (WHEP) http://localhost:80/whep/demo"] {
            assert!(demo.contains(line), "{demo}");
        }
    }

    #[test]
    fn rtsp_is_told_to_those_who_reach_it_and_publishing_to_those_who_may() {
        let open = Config { rtsp: Some("0.0.0.0:8554".parse().unwrap()), ..Config::default() };
        let others = |config: &Config| {
            let text = said(config, "0.0.0.0:1", None, None);
            let there = text.split_once("from other machines:").unwrap().1;
            there.lines().filter(|line| line.contains("rtsp://")).map(str::to_owned).collect::<Vec<_>>()
        };
        let read = "read (RTSP: FFmpeg, VLC) rtsp://192.168.1.5:8554/live/STREAM";
        assert_eq!(others(&open), [read]);
        let publish = "publish (RTSP: FFmpeg, GStreamer) rtsp://192.168.1.5:8554/live/STREAM";
        assert_eq!(others(&Config { open_publish: true, ..open }), [publish, read]);
        assert_eq!(others(&Config::default()), [""; 0], "RTSP listens on this machine only");
    }

    #[test]
    fn what_a_token_and_open_publish_change_is_said_and_the_token_is_not() {
        let token = Some(Token::parse("very-secret").unwrap());
        let with_token = Config { token, ..Config::default() };
        let text = said(&with_token, "0.0.0.0:1", None, None);
        assert!(text.contains("access: publishing, watching, lists and statistics need the token"));
        assert!(!text.contains("very-secret") && !text.contains("reverse proxy"));
        assert!(text.contains("publish (WHIP: OBS, FFmpeg) http://192.168.1.5:1/whip/STREAM"));
        assert!(text.contains("?token=..."), "{text}");
        for (what, url) in [("publish", "rtsp://x:TOKEN@localhost:8554/live/STREAM"), ("read", "rtsp://x:TOKEN@")] {
            assert!(text.lines().any(|line| line.starts_with(what) && line.contains(url)), "{text}");
        }
        let listed = crate::tokens::Listed {
            name: "studio".into(),
            token: Token::parse("also-secret").unwrap(),
            rights: crate::tokens::Rights::default(),
            streams: Vec::new(),
            expires: None,
        };
        let text = said(&Config { tokens: vec![listed], ..with_token.clone() }, "0.0.0.0:1", None, None);
        assert!(
            text.contains("access: publishing, watching, lists and statistics need a token with that right; 2 are")
        );
        assert!(!text.contains("secret"));
        let open = Config { open_publish: true, ..with_token };
        assert!(said(&open, "0.0.0.0:1", None, None).contains("publishing is open to everybody; watching"));
        let open = Config { token: None, ..open };
        let failed = Err("disk full".to_owned());
        let text = said(&open, "0.0.0.0:1", Some(&failed), None);
        assert!(text.contains("publishing is open to everybody who reaches this server (--open-publish)"));
        let told =
            "nobody can end sessions of others or define FFmpeg processes: no admin token (disk full); give --data a";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("access: lists and statistics are open to this machine only\n"), "{text}");
    }
}
