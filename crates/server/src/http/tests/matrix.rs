//! Who may do what, over everything there is: every route of the router's own table, every method, every credential,
//! every configuration. The expectations are the two small tables below; whoever is refused has asked the media plane
//! nothing, and is told the same whether or not there is such a stream.

use std::time::SystemTime;

use Right::{Control, Observe, Play, Publish, Session};

use super::direct::Direct;
use super::*;
use crate::access::SessionAuth;
use crate::tokens::{Listed, Rights};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const READ: [&str; 2] = ["GET", "HEAD"];

/// The credentials, in the order of the columns below.
const CREDENTIALS: [Option<&str>; 10] = [
    None,
    Some("nobodys"),
    Some("mal formed"),
    Some("expired"),
    Some("publish"),
    Some("play"),
    Some("other-stream"),
    Some("admin"),
    Some("owner"),
    Some("generated"),
];

/// One column each for: none, nobody's, malformed, expired, publish, play, other stream, admin, owner, generated.
/// `.` is allowed, `1` is 401, `3` is 403, `0` is 400.
struct Row {
    what: &'static str,
    publish: &'static str,
    play: &'static str,
    /// Session URLs of publishers, and of viewers.
    sessions: [&'static str; 2],
    observe: &'static str,
    control: &'static str,
}

const OPEN: &str = "..........";
const GENERATED: &str = "110111111.";
const OWNER: &str = "11011111.1";

fn rows() -> Vec<(Row, Policy, Way)> {
    let generated = Some(Token::parse("generated").unwrap());
    let nothing = || Policy { admin: generated.clone(), ..Policy::default() };
    let owner = || Policy { token: Some(Token::parse("owner").unwrap()), ..Policy::default() };
    let list = || Policy { tokens: list(), ..Policy::default() };
    let local = Row {
        what: "nothing configured, local",
        publish: OPEN,
        play: OPEN,
        sessions: [OPEN, OPEN],
        observe: OPEN,
        control: GENERATED,
    };
    let away = |what| Row {
        what,
        publish: "1101111113",
        play: OPEN,
        sessions: [OPEN, OPEN],
        observe: GENERATED,
        control: GENERATED,
    };
    let token = |what| Row {
        what,
        publish: OWNER,
        play: OWNER,
        sessions: [".1011111.1", ".1011111.1"],
        observe: OWNER,
        control: OWNER,
    };
    let listed = |what| Row {
        what,
        publish: "1101.33311",
        play: "11013.3311",
        sessions: [".101.33311", ".1013.3311"],
        observe: "1101333.11",
        control: "1101333.11",
    };
    vec![
        (local, nothing(), Way::Local),
        (away("nothing configured, remote"), nothing(), Way::Remote),
        (away("nothing configured, forwarded"), nothing(), Way::Forwarded),
        (
            Row { publish: OPEN, ..away("open_publish, remote") },
            Policy { open_publish: true, ..nothing() },
            Way::Remote,
        ),
        (token("--token, local"), owner(), Way::Local),
        (token("--token, remote"), owner(), Way::Remote),
        (
            Row { publish: ".1011111.1", ..token("--token and open_publish, remote") },
            Policy { open_publish: true, ..owner() },
            Way::Remote,
        ),
        (
            Row {
                what: "token list and --token, forwarded",
                publish: "1101.333.1",
                play: "11013.33.1",
                sessions: [".101.333.1", ".1013.33.1"],
                observe: "1101333..1",
                control: "1101333..1",
            },
            Policy { token: owner().token, ..list() },
            Way::Forwarded,
        ),
        (
            Row {
                what: "token list without admin, local",
                publish: "1101.33113",
                play: "11013.3113",
                sessions: [".101.33113", ".1013.3113"],
                observe: "110133311.",
                control: "110133311.",
            },
            Policy { tokens: list().tokens.into_iter().filter(|token| !token.rights.admin).collect(), ..nothing() },
            Way::Local,
        ),
        (
            Row { sessions: ["1101.33311", "11013.3311"], ..listed("token list and session_auth = token, remote") },
            Policy { session_auth: SessionAuth::Token, ..list() },
            Way::Remote,
        ),
        (
            Row { publish: ".101.33311", ..listed("token list and open_publish, remote") },
            Policy { open_publish: true, ..list() },
            Way::Remote,
        ),
        (listed("token list, remote"), list(), Way::Remote),
    ]
}

/// The tokens of the list, each its own name.
fn list() -> Vec<Listed> {
    let rights = |publish, play, admin| Rights { publish, play, admin };
    let table = [
        ("expired", rights(true, true, false), &[][..]),
        ("publish", rights(true, false, false), &["a", "nowhere"]),
        ("play", rights(false, true, false), &["a", "no*"]),
        ("other-stream", rights(true, true, false), &["other", "a-*"]),
        ("admin", rights(false, false, true), &[]),
    ];
    let listed = table.into_iter().map(|(name, rights, streams)| Listed {
        name: name.into(),
        token: Token::parse(name).unwrap(),
        rights,
        streams: streams.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
        expires: (name == "expired").then_some(SystemTime::UNIX_EPOCH),
    });
    listed.collect()
}

/// How a request comes.
#[derive(Clone, Copy)]
enum Way {
    Local,
    Remote,
    Forwarded,
}

/// What a route needs with a method; `None` where everybody may. The methods that are not here are 405.
fn needs(path: &str) -> Vec<(&'static str, Option<Right>)> {
    let all = |methods: &[&'static str], right| methods.iter().map(|method| (*method, right)).collect::<Vec<_>>();
    for mount in MOUNTS {
        let role = mount.role;
        if path == mount.session {
            return all(&["GET", "HEAD", "PATCH", "DELETE"], Some(Session(role)));
        }
        if path == mount.endpoint {
            return match role {
                Role::Publisher => all(&["GET", "HEAD", "POST", "DELETE"], Some(Publish)),
                Role::Subscriber => all(&["GET", "HEAD", "POST"], Some(Play)),
            };
        }
    }
    match path {
        "/openapi.json"
        | "/docs"
        | "/metrics"
        | "/api/v3/webrtc/stats"
        | "/api/v1/streams"
        | "/api/v1/streams/{stream}"
        | "/api/v1/sessions" => all(&READ, Some(Observe)),
        "/whip/{stream}/sdp" => all(&READ, Some(Play)),
        "/api/v1/streams/{stream}/rtp" => all(&["GET", "HEAD", "POST", "DELETE"], Some(Publish)),
        "/api/v3/process" => all(&["GET", "HEAD", "POST"], Some(Control)),
        "/api/v3/process/{id}" => all(&["GET", "HEAD", "PUT", "DELETE"], Some(Control)),
        "/api/v3/process/{id}/command" => all(&["PUT"], Some(Control)),
        "/api/v3/process/{id}/metadata/{key}" | "/api/v3/metadata/{key}" => all(&["GET", "HEAD", "PUT"], Some(Control)),
        "/api/v3/process/{id}/config"
        | "/api/v3/process/{id}/state"
        | "/api/v3/process/{id}/report"
        | "/api/v3/process/{id}/probe"
        | "/api/v3/process/{id}/metadata"
        | "/api/v3/metadata"
        | "/api/v3/skills"
        | "/api/v3/skills/reload" => all(&READ, Some(Control)),
        "/api/v1/sessions/{session}" => [all(&READ, Some(Observe)), all(&["DELETE"], Some(Control))].concat(),
        "/" | "/processes" | "/watch" | "/publish" | "/watch/{stream}" | "/publish/{stream}" | "/assets/{file}"
        | "/docs/{file}" | "/healthz" | "/readyz" => all(&READ, None),
        new => panic!("{new}: who may use it?"),
    }
}

/// A URL of the route, with this stream.
fn target(path: &str, stream: &str) -> String {
    let session = if path.starts_with("/api/v1/") { "0000000000000007" } else { "secret" };
    let query =
        if ["/rtc/v1/whip", "/rtc/v1/whep"].contains(&path) { format!("?stream={stream}") } else { String::new() };
    let file = if path == "/docs/{file}" { "swagger-ui.css" } else { "style.css" };
    let path = path.replace("{id}", stream).replace("{key}", "k");
    path.replace("{stream}", stream).replace("{session}", session).replace("{file}", file) + &query
}

async fn ask(direct: &Direct, way: Way, method: &str, target: &str, credential: Option<&str>) -> Answer {
    let field = credential.map(|token| format!("authorization: Bearer {token}"));
    let mut fields = vec![if method == "PATCH" { FRAGMENT_TYPE } else { SDP_TYPE }];
    fields.extend(field.as_deref());
    fields.extend(matches!(way, Way::Forwarded).then_some("x-forwarded-for: 127.0.0.1"));
    let peer = if matches!(way, Way::Remote) { "192.0.2.1" } else { "127.0.0.1" };
    let body = if ["POST", "PATCH"].contains(&method) { OFFER } else { "" };
    direct.ask(peer, method, target, &fields, body).await
}

/// What an answer says of access, in the signs of [`Row`].
fn sign(answer: &Answer) -> char {
    match (answer.status, answer.field("www-authenticate").is_some()) {
        (401, true) => '1',
        (403, true) => '3',
        (400, true) => '0',
        (200..308 | 404, false) => '.',
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn every_route_method_credential_and_configuration() {
    let mut refused = 0;
    for (row, policy, way) in rows() {
        let direct = Direct::new(policy, Settings::default());
        for role in [Role::Publisher, Role::Subscriber] {
            direct.with_session(role, "a");
        }
        for ((path, _), method) in table().iter().flat_map(|route| METHODS.map(|method| (route, method))) {
            let need = needs(path).into_iter().find(|(other, _)| *other == method).map(|(_, right)| right);
            let column = match need {
                Some(Some(Publish)) => row.publish,
                Some(Some(Play)) => row.play,
                Some(Some(Session(Role::Publisher))) => row.sessions[0],
                Some(Some(Session(Role::Subscriber))) => row.sessions[1],
                Some(Some(Observe)) => row.observe,
                Some(Some(Control)) => row.control,
                Some(None) | None => OPEN,
            };
            for (credential, expected) in CREDENTIALS.into_iter().zip(column.chars()) {
                let case = format!("{}: {method} {path} {credential:?}", row.what);
                let touched = direct.media.touched.load(Ordering::Relaxed);
                let answer = ask(&direct, way, method, &target(path, "a"), credential).await;
                match need {
                    None if method == "OPTIONS" => assert_eq!(answer.status, 200, "{case}"),
                    None => assert_eq!(answer.status, 405, "{case}"),
                    Some(_) => assert_eq!(sign(&answer), expected, "{case}"),
                }
                if expected != '.' {
                    let missing = ask(&direct, way, method, &target(path, "nowhere"), credential).await;
                    assert_eq!((answer.fields, answer.body), (missing.fields, missing.body), "{case}");
                    assert_eq!(direct.media.touched.load(Ordering::Relaxed), touched, "{case}: it was asked");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}
