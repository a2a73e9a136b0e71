//! What the proxy says at start, one fact per line, in the words of [`crate::announce`].

use std::net::{IpAddr, SocketAddr};

use whipstitch_proxy::signal::Signalling;

use super::room::Room;
use crate::announce::{local, seen_from_elsewhere};
use crate::config::proxy::{Config, Registry};

/// The lines. `machine` has the addresses of this machine that others can reach, best first.
pub(super) fn lines(
    config: &Config,
    http: SocketAddr,
    rtc: &[SocketAddr],
    admin: SocketAddr,
    machine: &[IpAddr],
    room: Room,
) -> Vec<String> {
    let scheme = if config.tls().is_some() { "https" } else { "http" };
    let mut lines = vec![format!("listening on {scheme} {http}")];
    lines.extend(rtc.iter().map(|address| format!("listening on rtc udp {address}")));
    lines.push(format!("listening on admin http {admin}"));
    lines.push("STREAM in the URLs below: a name of your choice".to_owned());
    lines.push("on this machine:".to_owned());
    lines.extend(urls(scheme, &local(http)));
    let elsewhere = seen_from_elsewhere(http, config.public_ip.iter().chain(machine));
    if let Some(there) = elsewhere {
        lines.push("from other machines:".to_owned());
        lines.extend(urls(scheme, &there));
    }
    lines.extend(config.origins.iter().map(|url| format!("origin {url}")));
    let here = format!("http://{}", local(admin));
    lines.push(format!("origins register (whipstitch serve --join) {here}"));
    lines.push(format!("page of origins, streams and sessions {here}/"));
    lines.push(format!("the same as JSON {here}/api/v1/origins"));
    lines.extend(notes(config).into_iter().map(|note| format!("note: {note}")));
    lines.extend(room.lacks(config.max_sessions).into_iter().map(|lack| format!("note: {lack}")));
    lines
}

fn urls(scheme: &str, host: &str) -> [String; 2] {
    let base = format!("{scheme}://{host}");
    [format!("publish (WHIP: OBS, FFmpeg) {base}/whip/STREAM"), format!("watch (WHEP) {base}/whep/STREAM")]
}

/// What an operator should know who reads nothing else.
fn notes(config: &Config) -> Vec<&'static str> {
    let mut notes = vec!["who may publish and watch is decided by the origins"];
    if config.secret.is_none() && config.origins.is_empty() {
        notes.push("without --secret only origins that connect from 127.0.0.1 or ::1 may register");
    }
    if config.registry == Registry::Memory {
        notes.push(
            "what is known of sessions is in this process only; several proxies share it with --registry redis://",
        );
    }
    if config.signalling == Signalling::Redirect {
        notes.push("clients are sent to the origins and must be able to reach them (signalling = \"redirect\")");
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Token;

    #[test]
    fn every_listener_and_url_is_said_and_no_secret_is() {
        let config = Config {
            secret: Some(Token::parse("very-secret").unwrap()),
            origins: vec!["http://10.0.0.2:8555".parse().unwrap()],
            registry: Registry::Redis("redis://:hidden@10.0.0.3/".to_owned()),
            ..Config::default()
        };
        let [http, admin] = ["0.0.0.0:11985", "127.0.0.1:12025"].map(|text| text.parse().unwrap());
        let rtc = ["0.0.0.0:18000", "[::]:18000"].map(|text| text.parse().unwrap());
        let text = lines(&config, http, &rtc, admin, &["192.168.1.5".parse().unwrap()], Room::default()).join("\n");
        let expected = "\
listening on http 0.0.0.0:11985
listening on rtc udp 0.0.0.0:18000
listening on rtc udp [::]:18000
listening on admin http 127.0.0.1:12025
STREAM in the URLs below: a name of your choice
on this machine:
publish (WHIP: OBS, FFmpeg) http://localhost:11985/whip/STREAM
watch (WHEP) http://localhost:11985/whep/STREAM
from other machines:
publish (WHIP: OBS, FFmpeg) http://192.168.1.5:11985/whip/STREAM
watch (WHEP) http://192.168.1.5:11985/whep/STREAM
origin http://10.0.0.2:8555/
origins register (whipstitch serve --join) http://localhost:12025
page of origins, streams and sessions http://localhost:12025/
the same as JSON http://localhost:12025/api/v1/origins
note: who may publish and watch is decided by the origins";
        assert_eq!(text, expected);
        let text = lines(&Config::default(), http, &rtc, admin, &[], Room::default()).join("\n");
        assert!(text.contains("note: without --secret") && text.contains("note: what is known of sessions"), "{text}");
        let given = Config { origins: config.origins, ..Config::default() };
        let text = lines(&given, http, &rtc, admin, &[], Room::default()).join("\n");
        assert!(!text.contains("note: without --secret"), "nobody is to register: {text}");
    }
}
