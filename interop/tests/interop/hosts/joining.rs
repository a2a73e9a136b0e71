//! Gateways join a proxy on another machine, or do not.

use serde_json::Value;
use whipstitch_interop::{Gateway, Host, Lan, Process, Proxy};

use super::{PATIENCE, until};

const ADMIN: u16 = 12025;

/// What the admin listener says of origins: names and states.
fn origins(edge: &Host, secret: &str) -> Vec<(String, String)> {
    let url = format!("http://{}/api/v1/origins", edge.at(ADMIN));
    let reply = edge.ask("GET", &url, &[&format!("Authorization: Bearer {secret}")], "");
    let said: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    said["origins"].as_array().into_iter().flatten().map(|one| (text(one, "id"), text(one, "state"))).collect()
}

fn serve(host: &Host, edge: &Host, secret: Option<&str>) -> Gateway {
    let http = host.at(8000 + u16::from(host.ip().octets()[3])).to_string();
    let (rtc, join) = (host.at(8189).to_string(), format!("http://{}", edge.at(ADMIN)));
    let mut flags = vec!["--http", &http, "--rtc", &rtc, "--join", &join];
    if let Some(secret) = secret {
        flags.extend(["--secret", secret]);
    }
    Gateway::inside(host.network(), &flags)
}

fn says(process: &Process, words: &str) {
    process.line(PATIENCE, words, |line| line.contains(words).then_some(()));
}

fn proxy(edge: &Host, flags: &[&str]) -> Proxy {
    let [http, rtc, admin] = [11985, 18000, ADMIN].map(|port| edge.at(port).to_string());
    let own = ["--http", &http, "--rtc", &rtc, "--admin", &admin];
    Proxy::inside(edge.network(), &[&own[..], flags].concat())
}

#[tokio::test]
async fn who_shows_the_secret_is_an_origin_until_it_says_goodbye_and_nobody_else_is() {
    let lan = Lan::new();
    let [edge, friend, stranger, silent] = [11, 21, 22, 23].map(|number| lan.host(number));
    let proxy = proxy(&edge, &["--secret", "right-one"]);
    let joined = serve(&friend, &edge, Some("right-one"));
    let wrong = serve(&stranger, &edge, Some("wrong-one"));
    let none = serve(&silent, &edge, None);
    says(joined.process(), "joined proxy=\"198.51.100.11:12025\"");
    says(wrong.process(), "the proxy has another --secret");
    says(none.process(), "the proxy wants a --secret, and this server has none");
    says(proxy.process(), "a request to the admin listener was denied peer=198.51.100.22");
    let known = origins(&edge, "right-one");
    assert_eq!(known.len(), 1, "{known:?}");
    assert!(known[0].0.ends_with(":8021") && known[0].1 == "up", "{known:?}");
    assert_eq!(origins(&edge, "wrong-one"), []);
    for said in [proxy.process().said(), joined.process().said(), wrong.process().said()] {
        assert!(!said.contains("right-one") && !said.contains("wrong-one"), "no secret is said: {said}");
    }
    assert_eq!(joined.stop().code(), Some(0), "{}", joined.process().said());
    says(proxy.process(), "an origin said goodbye");
    assert_eq!(origins(&edge, "right-one"), []);
}

#[tokio::test]
async fn without_a_secret_origins_of_the_same_machine_join_and_those_of_others_do_not() {
    let lan = Lan::new();
    let [edge, other] = [11, 21].map(|number| lan.host(number));
    let proxy = proxy(&edge, &["--admin", "127.0.0.1:12025"]);
    let join = proxy.admin("");
    let flags = ["--http", "127.0.0.1:8555", "--join", &join];
    let here = Gateway::inside(edge.network(), &flags);
    says(here.process(), "joined");
    drop(proxy);
    let proxy = self::proxy(&edge, &[]);
    let there = serve(&other, &edge, None);
    says(there.process(), "the proxy has no --secret and takes origins of its own machine only");
    until("the proxy has said so", || proxy.process().said().contains("denied peer=198.51.100.21")).await;
}
