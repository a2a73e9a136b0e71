use axum::body::Body;
use axum::http::Request as HttpRequest;
use tower::Service as _;
use whipstitch_proxy::origins::probe::HttpProbe;
use whipstitch_proxy::registry::{Memory, exercise};
use whipstitch_proxy::state::StateConfig;
use whipstitch_proxy::trust::Trust;

use super::*;

const HEARTBEAT: &str = r#"{"id":"a","http":"http://0.0.0.0:8555","rtc":"0.0.0.0:8189","kind":"whipstitch",
    "load":{"cpu":0.5,"egress_bps":1000,"sessions":3,"streams":1},"streams":["cam"],"draining":false,"interval_seconds":2}"#;

struct Site {
    state: Arc<State>,
    routes: Router,
}

struct Answer {
    status: u16,
    body: String,
    retry_after: Option<String>,
}

impl Site {
    fn start(secret: Option<&str>) -> Self {
        let config = StateConfig { origins: Vec::new(), most_sessions: 10 };
        let state =
            State::start(Arc::new(Memory::new(10)), Arc::new(HttpProbe::new(&Trust::nobody()).unwrap()), config);
        let secret = secret.map(|secret| Token::parse(secret).unwrap());
        let routes = routes(Arc::clone(&state), secret, Arc::new(Vec::new));
        Self { state, routes }
    }

    async fn from(&self, peer: &str, request: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let (method, target) = request.split_once(' ').unwrap();
        let mut request = HttpRequest::builder().method(method).uri(target).header("host", "localhost:12025");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        let request = request.extension(Connection::of(peer)).body(Body::from(body.to_owned())).unwrap();
        let response = self.routes.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, body: String::from_utf8_lossy(&body).into_owned(), retry_after }
    }

    async fn ask(&self, request: &str, body: &str) -> Answer {
        self.from("127.0.0.1:9", request, &[], body).await
    }

    async fn json(&self, request: &str) -> serde_json::Value {
        let answer = self.ask(request, "").await;
        assert_eq!(answer.status, 200, "{request}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// Every route but the open ones.
const GUARDED: [&str; 10] = [
    "GET /api/v1/origins",
    "POST /api/v1/origins",
    "DELETE /api/v1/origins/a",
    "POST /api/v1/origins/a/drain",
    "DELETE /api/v1/origins/a/drain",
    "POST /api/v1/srs/register",
    "GET /api/v1/versions",
    "GET /api/v1/streams",
    "GET /api/v1/sessions",
    "GET /metrics",
];

#[tokio::test]
async fn an_origin_registers_is_drained_and_says_goodbye() {
    let site = Site::start(None);
    assert_eq!(site.ask("POST /api/v1/origins/a/drain", "").await.status, 404);
    assert_eq!(site.ask("POST /api/v1/origins", HEARTBEAT).await.status, 200);
    let shown = site.json("GET /api/v1/origins").await;
    let origin = &shown["origins"][0];
    assert_eq!((origin["id"].as_str(), origin["state"].as_str()), (Some("a"), Some("up")));
    assert_eq!(origin["http"], "http://127.0.0.1:8555/", "the peer's address");
    assert_eq!(origin["rtc"], "127.0.0.1:8189");
    assert_eq!((&shown["registry_up"], &origin["load"]["sessions"]), (&json!(true), &json!(3)));
    assert_eq!(site.json("GET /api/v1/streams").await["streams"][0]["origin"], "a");
    assert_eq!(site.ask("POST /api/v1/origins/a/drain", "").await.status, 204);
    assert_eq!(site.json("GET /api/v1/origins").await["origins"][0]["state"], "draining");
    assert_eq!(site.ask("DELETE /api/v1/origins/a/drain", "").await.status, 204);
    assert_eq!(site.json("GET /api/v1/origins").await["origins"][0]["state"], "up");
    assert_eq!(site.ask("DELETE /api/v1/origins/a", "").await.status, 204);
    assert_eq!(site.ask("DELETE /api/v1/origins/a", "").await.status, 404);
    assert_eq!(site.json("GET /api/v1/origins").await["origins"], json!([]));
}

#[tokio::test]
async fn srs_registers_with_its_own_json() {
    let site = Site::start(Some("shared"));
    let body = r#"{"device_id":"d","ip":"10.0.0.3","server":"vid-1","service":"s","pid":"77","rtmp":["1935"],"http":["8080"],
        "api":["1985"],"srt":["10080"],"rtc":["8000"]}"#;
    let answer = site.from("10.0.0.3:9", "POST /api/v1/srs/register?secret=shared", &[], body).await;
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &said["code"]), (200, &json!(0)));
    assert_eq!(said["pid"], std::process::id().to_string());
    let origin = &site.state.origins()[0].record.origin;
    assert_eq!((origin.id.as_str(), origin.url.as_str()), ("10.0.0.3:1985", "http://10.0.0.3:1985/"));
    for target in ["/api/v1/srs/register?secret=wrong", "/api/v1/srs/register?secret=", "/api/v1/srs/register"] {
        assert_eq!(site.from("10.0.0.3:9", &format!("POST {target}"), &[], body).await.status, 401, "{target}");
    }
    let elsewhere = site.from("10.0.0.3:9", "GET /api/v1/origins?secret=shared", &[], "").await;
    assert_eq!(elsewhere.status, 401, "secrets stand in no other URL");
    let bearer = [("authorization", "Bearer shared")];
    assert_eq!(site.from("10.0.0.3:9", "POST /api/v1/srs/register", &bearer, body).await.status, 200);
}

#[tokio::test]
async fn with_a_secret_everybody_needs_it_and_without_one_only_this_machine_is_served() {
    let (open, closed) = (Site::start(None), Site::start(Some("shared")));
    for request in GUARDED {
        let statuses = async |site: &Site, peer: &str, field: Option<(&str, &str)>| {
            site.from(peer, request, field.as_slice(), HEARTBEAT).await.status
        };
        let bearer = |secret| Some(("authorization", secret));
        for peer in ["10.0.0.3:9", "[2001:db8::1]:9"] {
            assert_eq!(statuses(&open, peer, None).await, 403, "{request}");
        }
        for foreign in [("x-forwarded-for", "10.0.0.3"), ("origin", "http://evil.example")] {
            assert_eq!(statuses(&open, "127.0.0.1:9", Some(foreign)).await, 403, "{request}: {foreign:?}");
        }
        for peer in ["127.0.0.1:9", "[::ffff:127.0.0.1]:9"] {
            assert_ne!(statuses(&open, peer, None).await, 403, "{request}");
        }
        assert_eq!(statuses(&closed, "127.0.0.1:9", None).await, 401, "{request}");
        assert_eq!(statuses(&closed, "127.0.0.1:9", bearer("Bearer wrong")).await, 401, "{request}");
        assert_eq!(statuses(&closed, "127.0.0.1:9", bearer("Bearer a b")).await, 400, "{request}");
        let shown = statuses(&closed, "10.0.0.3:9", bearer("Bearer shared")).await;
        assert!(![401, 403].contains(&shown), "{request}: {shown}");
    }
    for request in ["GET /healthz", "GET /", "GET /assets/map.js", "GET /assets/style.css"] {
        assert_eq!(closed.from("10.0.0.3:9", request, &[], "").await.status, 200, "{request}");
    }
    assert_eq!(closed.from("10.0.0.3:9", "GET /nowhere", &[], "").await.status, 404);
    assert_eq!(closed.from("10.0.0.3:9", "GET /assets/watch.html", &[], "").await.status, 404);
}

#[tokio::test]
async fn wrong_secrets_are_counted_and_soon_not_looked_at() {
    let site = Site::start(Some("shared"));
    let mut last = None;
    for _ in 0..150 {
        let answer = site.from("10.0.0.3:9", "GET /api/v1/origins", &[("authorization", "Bearer guess")], "").await;
        last = Some((answer.status, answer.retry_after.is_some()));
    }
    assert_eq!(last, Some((429, true)));
    let right = [("authorization", "Bearer shared")];
    assert_eq!(site.from("10.0.0.3:9", "GET /api/v1/origins", &right, "").await.status, 429, "nor the right one");
    let metrics = site.from("10.0.0.4:9", "GET /metrics", &right, "").await;
    assert_eq!(metrics.status, 200);
    for line in ["whipstitch_proxy_admin_denied_total{reason=\"wrong\"} 100", "whipstitch_proxy_registry_up 1"] {
        assert!(metrics.body.lines().any(|other| other == line), "{line}: {}", metrics.body);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said_and_counted() {
    let site = Site::start(None);
    for (target, body, status, word) in [
        ("/api/v1/origins", "{", 400, "no heartbeat"),
        ("/api/v1/origins", r#"{"id":"a","http":"http://h:1","streams":[".."]}"#, 400, "streams"),
        ("/api/v1/srs/register", r#"{"ip":"10.0.0.3"}"#, 400, "api"),
    ] {
        let answer = site.ask(&format!("POST {target}"), body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.body.contains(word), "{}", answer.body);
    }
    let large = " ".repeat(LARGEST + 1);
    assert_eq!(site.ask("POST /api/v1/origins", &large).await.status, 413);
    assert_eq!(site.ask("PUT /api/v1/origins", "").await.status, 405);
    assert_eq!(site.ask("POST /api/v1/origins", HEARTBEAT).await.status, 200);
    let other = HEARTBEAT.replace("0.0.0.0:8555", "10.0.0.7:8555").replace("\"id\"", "\"instance\":\"2\",\"id\"");
    assert_eq!(site.ask("POST /api/v1/origins", &other).await.status, 409, "two of one name");
    let metrics = site.ask("GET /metrics", "").await.body;
    assert!(metrics.contains("whipstitch_proxy_malformed_registrations_total 3"), "{metrics}");
}

#[tokio::test]
async fn nothing_that_is_shown_lets_anybody_use_a_session() {
    let site = Site::start(None);
    site.ask("POST /api/v1/origins", HEARTBEAT).await;
    let session = exercise::session("secretu", "cam", &OriginId::parse("a").unwrap());
    site.state.opened(Arc::new(session.clone())).await.unwrap();
    let shown = site.json("GET /api/v1/sessions").await;
    assert_eq!(shown["sessions"][0]["stream"], "cam");
    assert_eq!(shown["sessions"][0]["created"], "1970-01-01T00:00:00.007Z");
    assert_eq!(site.json("GET /api/v1/streams").await["streams"][0]["sessions"], 1);
    for request in ["GET /api/v1/sessions", "GET /api/v1/streams", "GET /api/v1/origins", "GET /metrics"] {
        let body = site.ask(request, "").await.body;
        for secret in [session.id.as_str(), "secretu", "0123", "pppp"] {
            assert!(!body.contains(secret), "{request}: {body}");
        }
    }
}

#[tokio::test]
async fn versions_are_told_as_srs_does() {
    let said = Site::start(None).json("GET /api/v1/versions").await;
    assert_eq!((&said["code"], &said["data"]["version"]), (&json!(0), &json!(env!("CARGO_PKG_VERSION"))));
}

/// Name and type of every metric on a page of the text format, or in the tables of the documentation.
#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let page = Site::start(None).ask("GET /metrics", "").await.body;
    let exposed = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned);
    let exposed: std::collections::BTreeSet<String> = exposed.collect();
    let (serve, proxy) =
        include_str!("../../../../../docs/metrics.md").split_once("\n# The metrics of a proxy\n").unwrap();
    let (_, process) = serve.split_once("\n## Process\n").unwrap();
    let registry = proxy.split_once("\n## Origins and registry\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = process.lines().chain(registry.lines()).filter(|line| line.starts_with("| `whipstitch_"));
    let rows = rows.filter(|line| line.matches('|').count() == 5).map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        format!("{} {}", cells[1], cells[2])
    });
    assert_eq!(exposed, rows.collect());
}
