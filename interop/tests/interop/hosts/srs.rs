//! An SRS origin behind a proxy, each on a machine of its own: what SRS speaks, before and behind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use whipstitch_interop::{Host, Lan, Process, Proxy};

use super::{PATIENCE, until};
use crate::clients::script;

const SECRET: &str = "shared";

/// As a client could make it.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:clnt\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
    a=fingerprint:sha-256 AB\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";

const SDP: &str = "Content-Type: application/sdp";
const JSON: &str = "Content-Type: application/json";

struct Stage {
    client: Host,
    edge: Host,
    _proxy: Proxy,
    srs: Process,
    _lan: Lan,
}

impl Stage {
    async fn build() -> Stage {
        let lan = Lan::new();
        let [edge, home, client] = [11, 21, 31].map(|number| lan.host(number));
        let [http, rtc, admin] = [11985, 18000, 12025].map(|port| edge.at(port).to_string());
        let flags = ["--http", &http, "--rtc", &rtc, "--admin", &admin, "--secret", SECRET];
        let proxy = Proxy::inside(edge.network(), &flags);
        let register = |secret| format!("http://{admin}/api/v1/srs/register?secret={secret}");
        let start = |host: &Host, secret| {
            let ip = host.ip().to_string();
            Process::start("srs", &host.inside(script("srs").args([&ip, &register(secret)])))
        };
        let stranger = lan.host(22);
        let wrong = start(&stranger, "wrong");
        wrong.line(PATIENCE, "a refusal", |line| (line == "refused 401").then_some(()));
        let srs = start(&home, "shared");
        srs.line(PATIENCE, "a registration", |line| (line == "registered 200 0").then_some(()));
        let stage = Stage { client, edge, _proxy: proxy, srs, _lan: lan };
        let known = stage.origins();
        assert_eq!(known, [("srs".to_owned(), "198.51.100.21:8000".to_owned(), "up".to_owned())], "who registered");
        stage
    }

    fn origins(&self) -> Vec<(String, String, String)> {
        let url = format!("http://{}/api/v1/origins", self.edge.at(12025));
        let reply = self.edge.ask("GET", &url, &[&format!("Authorization: Bearer {SECRET}")], "");
        let said: Value = serde_json::from_str(&reply.body).expect("JSON");
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let origins = said["origins"].as_array().expect("a list");
        origins.iter().map(|one| (text(one, "kind"), text(one, "rtc"), text(one, "state"))).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.edge.at(11985))
    }

    /// What a client hears that checks with what this answer says, and then sends media.
    fn checks(&self, answer: &str) -> String {
        let of = attributes(answer);
        let (to, username) = (self.edge.at(18000).to_string(), format!("{}:clnt", of["ice-ufrag"]));
        let check = self.client.inside(script("check").args([&*to, &username, of["ice-pwd"]]));
        let check = Process::start("check", &check);
        check.end(PATIENCE);
        check.said()
    }

    /// The same, with the session that there is to be: everything comes from the proxy.
    fn passes(&self, answer: &str) {
        assert_eq!(
            self.checks(answer),
            "answered RESPONSE True by 198.51.100.11:18000\nechoed 102 by 198.51.100.11:18000"
        );
        let heard = format!("check {}:clnt", attributes(answer)["ice-ufrag"]);
        self.srs.line(PATIENCE, "a check", |line| (line == heard).then_some(()));
    }

    fn heard(&self, request: &str) {
        self.srs.line(PATIENCE, request, |line| line.strip_prefix("request ")?.starts_with(request).then_some(()));
    }
}

/// Attributes of an answer by name, the last of each name.
fn attributes(sdp: &str) -> BTreeMap<&str, &str> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=")?.split_once(':'));
    lines.collect()
}

/// All candidates: that of the proxy in place of SRS's one over UDP.
fn announces_the_proxy(answer: &str) {
    let candidates: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert!(candidates.len() == 1 && candidates[0].contains(" udp "), "{candidates:?}");
    assert!(candidates[0].contains(" 198.51.100.11 18000 typ host"), "{candidates:?}");
}

#[tokio::test]
async fn whip_whep_and_the_json_of_srs_reach_an_srs_that_registered_and_its_sessions_end_by_their_location() {
    let stage = Stage::build().await;
    for (path, at_srs) in [
        ("/rtc/v1/whip/?app=live&stream=cam", "POST /rtc/v1/whip/?app=live&stream=cam"),
        ("/rtc/v1/whep/?app=live&stream=cam", "POST /rtc/v1/whep/?app=live&stream=cam"),
        ("/whip/show.other?token=t", "POST /rtc/v1/whip/?app=show&stream=other"),
    ] {
        let reply = stage.client.ask("POST", &stage.url(path), &[SDP], OFFER);
        assert_eq!(reply.status, 201, "{path}: {reply:?}");
        stage.heard(at_srs);
        announces_the_proxy(&reply.body);
        stage.passes(&reply.body);
        let location = reply.field("location").expect("a session's URL").to_owned();
        assert!(!location.contains('?') && !location.contains("token"), "{path}: {location}");
        let patched = stage.client.ask(
            "PATCH",
            &stage.url(&location),
            &["Content-Type: application/trickle-ice-sdpfrag"],
            "a=ice-ufrag:clnt\r\n",
        );
        assert!((400..600).contains(&patched.status), "SRS knows no PATCH: {patched:?}");
        let ended = stage.client.ask("DELETE", &stage.url(&location), &[], "");
        assert_eq!(ended.status, 200, "{path}: {ended:?}");
        stage.heard(&format!("DELETE {}?action=delete&token=", at_srs.split(['?', ' ']).nth(1).expect("a path")));
        assert_eq!(stage.checks(&reply.body), "nothing came", "{path}: after its end");
        assert_eq!(stage.client.ask("DELETE", &stage.url(&location), &[], "").status, 404, "{path}: twice");
    }

    for (path, stream) in [("/rtc/v1/publish/", "json"), ("/rtc/v1/play/", "json")] {
        let url = format!("webrtc://{}/live/{stream}", stage.edge.ip());
        let asked = json!({"api": stage.url(path), "streamurl": url, "clientip": null, "tid": "aa", "sdp": OFFER});
        let reply = stage.client.ask("POST", &stage.url(path), &[JSON], &asked.to_string());
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let said: Value = serde_json::from_str(&reply.body).expect("JSON");
        let fields: BTreeSet<&str> = said.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "pid", "sdp", "server", "service", "sessionid"].into(), "{path}");
        assert_eq!((&said["code"], &said["server"], &said["pid"]), (&json!(0), &json!("vid-1"), &json!("7")), "{path}");
        let answer = said["sdp"].as_str().expect("an answer");
        announces_the_proxy(answer);
        stage.passes(answer);
    }
    let url = format!("webrtc://{}/live/forbidden", stage.edge.ip());
    let asked = json!({"streamurl": url, "sdp": OFFER}).to_string();
    let refused = stage.client.ask("POST", &stage.url("/rtc/v1/play/"), &[JSON], &asked);
    assert_eq!((refused.status, refused.body.as_str()), (200, "{\"code\": 400}"), "what SRS refuses");
    until("SRS heard of media", || stage.srs.said().contains("media 102")).await;
}
