//! The whole proxy in this process, before an origin that says what it is told to, over real HTTP.

use std::sync::Mutex;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request as RawRequest;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use super::*;
use crate::rates::Rate;
use crate::tls::{self, tests::make};

const PWD: &str = "0123456789abcdefghijkl";

fn offer() -> String {
    description("clnt", "")
}

fn description(ufrag: &str, candidate: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
         a=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\n{candidate}a=rtcp-mux\r\n"
    )
}

/// A request as the origin heard it.
type Heard = (Method, String, HeaderMap, String);

/// An origin that accepts every offer, and 204 for all else.
struct Origin {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (app, heard) = Self::app();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard }
    }

    /// The same over HTTPS, for as long as what is returned is kept.
    async fn start_over_tls(files: tls::Files) -> (Self, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (app, heard) = Self::app();
        let (stop, stopped) = watch::channel(false);
        let (app, tls) = (NormalizePath::trim_trailing_slash(app), Tls::open(files).unwrap());
        tokio::spawn(connection::serve(listener, app, stopped, Bounds::of_this_process(GRACE), Some(tls)));
        (Self { url, heard }, stop)
    }

    fn app() -> (Router, Arc<Mutex<Vec<Heard>>>) {
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let log = Arc::clone(&heard);
        let app = Router::new().fallback(async move |request: RawRequest| -> Response {
            let (parts, body) = request.into_parts();
            let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
            // The proxy looks whether it lives.
            if parts.method == Method::GET {
                return axum::http::StatusCode::NOT_FOUND.into_response();
            }
            let (method, target) = (parts.method.clone(), parts.uri.to_string());
            log.lock().unwrap().push((method, target, parts.headers, body));
            match parts.method {
                Method::POST => {
                    let answer = description("orgn", "a=candidate:1 1 udp 1 10.0.0.2 9000 typ host\r\n");
                    let fields = [("content-type", "application/sdp"), ("location", "/at-origin"), ("etag", "\"1\"")];
                    (axum::http::StatusCode::CREATED, fields, answer).into_response()
                }
                _ => axum::http::StatusCode::NO_CONTENT.into_response(),
            }
        });
        (app, heard)
    }

    fn last(&self) -> Heard {
        self.heard.lock().unwrap().last().cloned().expect("a request")
    }
}

/// A configuration of free ports.
fn config(origin: &str) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let origins = vec![origin.parse().unwrap()];
    Config {
        http: any,
        rtc: any,
        admin: any,
        public_ip: vec![[127, 0, 0, 1].into()],
        workers: 1,
        origins,
        ..Config::default()
    }
}

/// A client of the proxy.
struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn of(proxy: &Proxy) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), base: format!("http://{}", proxy.http()) }
    }

    async fn ask(&self, method: Method, target: &str, fields: &[(&str, &str)], body: String) -> reqwest::Response {
        let mut request = self.http.request(method, format!("{}{target}", self.base)).body(body);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn post(&self, target: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        self.ask(Method::POST, target, fields, offer()).await
    }
}

fn field(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_session_is_begun_trickled_to_and_ended_through_the_listener() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(config(&origin.url)).await.unwrap();
    let client = Client::of(&proxy);
    let created = client.post("/rtc/v1/whip/?app=live&stream=cam&token=t", &[("authorization", "Bearer t")]).await;
    assert_eq!(created.status().as_u16(), 201);
    let location = field(&created, "location");
    assert!(
        location.starts_with("/rtc/v1/whip/cam/") && location.len() == "/rtc/v1/whip/cam/".len() + 32,
        "{location}"
    );
    let answer = created.text().await.unwrap();
    let port = proxy.rtc[0].port();
    let expected = format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n");
    assert!(answer.contains(&expected) && !answer.contains("10.0.0.2"), "{answer}");
    let (method, target, headers, body) = origin.last();
    assert_eq!((method, target.as_str(), body), (Method::POST, "/whip/cam?token=t", offer()));
    assert_eq!(headers["authorization"], "Bearer t");

    let fragment = format!("a=ice-ufrag:clnt\r\na=ice-pwd:{PWD}\r\n");
    let trickled = client.ask(Method::PATCH, &location, &[("if-match", "\"1\"")], fragment.clone()).await;
    assert_eq!(trickled.status().as_u16(), 204);
    let (method, target, headers, body) = origin.last();
    assert_eq!((method, target.as_str(), body), (Method::PATCH, "/at-origin", fragment));
    assert_eq!(headers["if-match"], "\"1\"");
    for status in [204, 404] {
        let ended = client.ask(Method::DELETE, &location, &[], String::new()).await;
        assert_eq!(ended.status().as_u16(), status, "the origin's, and then nobody's");
    }
    assert_eq!(client.ask(Method::GET, "/readyz", &[], String::new()).await.status().as_u16(), 200);
    proxy.stop().await;
}

/// S4-B22, and `protocol.md` 2: errors too, or a browser sees none.
#[tokio::test]
async fn every_reply_has_what_browsers_need() {
    let origin = Origin::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (alive, dead) = (Proxy::start(config(&origin.url)).await.unwrap(), Proxy::start(config(&dead)).await.unwrap());
    let (client, other) = (Client::of(&alive), Client::of(&dead));
    let long = "x".repeat(whipstitch_proxy::sdp::MOST_BYTES + 1);
    let preflight = [("origin", "https://page.example"), ("access-control-request-method", "POST")];
    for (client, method, target, fields, body, status) in [
        (&client, Method::POST, "/whip/cam", &[][..], offer(), 201),
        (&client, Method::POST, "/whip/cam", &[], "no offer".to_owned(), 400),
        (&client, Method::POST, "/elsewhere", &[], offer(), 404),
        (&client, Method::PUT, "/whip/cam", &[], String::new(), 405),
        (&client, Method::POST, "/whip/cam", &[], long, 413),
        (&client, Method::OPTIONS, "/whip/cam", &preflight, String::new(), 200),
        (&other, Method::POST, "/whip/cam", &[], offer(), 502),
    ] {
        let response = client.ask(method.clone(), target, fields, body).await;
        assert_eq!(response.status().as_u16(), status, "{method} {target}");
        assert_eq!(field(&response, "access-control-allow-origin"), "*");
        assert!(field(&response, "access-control-allow-headers").contains("Authorization"));
        for name in ["Location", "ETag", "Link", "Retry-After", "WWW-Authenticate", "Accept-Post", "Accept-Patch"] {
            assert!(field(&response, "access-control-expose-headers").contains(name), "{name}");
        }
        assert_eq!(field(&response, "cache-control"), "no-store");
        assert_eq!(status == 405, response.headers().contains_key("allow") && status != 200, "{status}");
        if status >= 400 {
            assert_eq!(field(&response, "content-type"), "application/problem+json");
            assert_eq!(status >= 500, response.headers().contains_key("retry-after"), "{status}");
            let problem: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(problem["status"], status);
            assert!(!problem["detail"].as_str().unwrap().contains("127.0.0.1"), "{problem}");
        }
    }
}

#[tokio::test]
async fn who_a_request_is_from_is_the_peer_or_what_a_trusted_proxy_says() {
    let origin = Origin::start().await;
    let said = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "media.example.net"),
        ("cookie", "secret"),
    ];
    for (trusted, expected) in [
        (Vec::new(), ["127.0.0.1", "http", ""]),
        (vec!["127.0.0.0/8".parse().unwrap()], ["203.0.113.7", "https", "media.example.net"]),
    ] {
        let proxy = Proxy::start(Config { trusted_proxies: trusted, ..config(&origin.url) }).await.unwrap();
        assert_eq!(Client::of(&proxy).post("/whep/cam", &said).await.status().as_u16(), 201);
        let (_, _, headers, _) = origin.last();
        let own = proxy.http().to_string();
        assert_eq!(headers["x-forwarded-for"], expected[0]);
        assert_eq!(headers["x-forwarded-proto"], expected[1]);
        assert_eq!(headers["x-forwarded-host"], if expected[2].is_empty() { own.as_str() } else { expected[2] });
        assert!(!headers.contains_key("cookie"));
    }
}

#[tokio::test]
async fn limits_hold_before_an_origin_is_asked() {
    let origin = Origin::start().await;
    let requests = Rate { per_second: 1, burst: 1 };
    let proxy =
        Proxy::start(Config { requests, cors_origin: vec!["https://page.example".to_owned()], ..config(&origin.url) });
    let proxy = proxy.await.unwrap();
    let client = Client::of(&proxy);
    let foreign = client.post("/whip/cam", &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.status().as_u16(), 403);
    assert_eq!(client.post("/whip/cam", &[("origin", "https://page.example")]).await.status().as_u16(), 201);
    let often = client.post("/whip/cam", &[]).await;
    assert_eq!((often.status().as_u16(), field(&often, "retry-after").as_str()), (429, "1"));
    // Questions cost an origin as much; what a browser asks first is answered here.
    for (fields, status) in
        [(&[][..], 429), (&[("origin", "https://page.example"), ("access-control-request-method", "POST")][..], 200)]
    {
        let asked = client.ask(Method::OPTIONS, "/whip/cam", fields, String::new()).await;
        assert_eq!(asked.status().as_u16(), status);
    }
    assert_eq!(client.ask(Method::GET, "/whip/cam", &[], String::new()).await.status().as_u16(), 429);
    assert_eq!(origin.heard.lock().unwrap().len(), 1);
    proxy.entry.drain();
    let late = client.post("/whip/cam", &[]).await;
    assert_eq!((late.status().as_u16(), late.headers().contains_key("retry-after")), (503, true));
    assert_eq!(client.ask(Method::GET, "/readyz", &[], String::new()).await.status().as_u16(), 503);
    assert_eq!(client.ask(Method::GET, "/healthz", &[], String::new()).await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_proxy_without_origins_lives_and_is_not_ready_and_says_why() {
    let proxy = Proxy::start(Config { origins: Vec::new(), ..config("http://127.0.0.1:9") }).await.unwrap();
    let client = Client::of(&proxy);
    let alive = client.ask(Method::GET, "/healthz", &[], String::new()).await;
    assert_eq!((alive.status().as_u16(), alive.text().await.unwrap().as_str()), (200, r#"{"status":"ok"}"#));
    let offered = client.post("/whip/cam", &[]).await;
    assert_eq!(offered.status().as_u16(), 503, "and so the registry has answered");
    let ready = client.ask(Method::GET, "/readyz", &[], String::new()).await;
    assert_eq!(ready.status().as_u16(), 503);
    let said: serde_json::Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    assert_eq!(said["status"], "unready");
    assert!(said["reason"].as_str().unwrap().contains("no origin"), "{said}");
}

/// What a client that knows this certificate is answered over TLS, or that it does not trust what it sees.
fn ask_over_tls(address: SocketAddr, known: &openssl::x509::X509) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
    builder.cert_store_mut().add_cert(known.clone()).unwrap();
    builder.set_verify(SslVerifyMode::PEER);
    let stream = std::net::TcpStream::connect(address).unwrap();
    let mut stream = builder.build().connect("127.0.0.1", stream).ok()?;
    let (offer, host) = (offer(), address);
    let length = offer.len();
    write!(
        stream,
        "POST /whip/cam HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{offer}"
    )
    .unwrap();
    let mut answer = String::new();
    // Some end without the goodbye of TLS.
    let _ = stream.read_to_string(&mut answer);
    Some(answer)
}

#[tokio::test]
async fn https_is_spoken_with_the_certificate_that_is_in_the_files_now() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = make(folder.path());
    let tls = Tls::open(files.clone()).unwrap();
    let (certificate, key) = (Some(files.certificate), Some(files.key));
    let proxy = Proxy::start(Config { tls_certificate: certificate, tls_key: key, ..config(&origin.url) });
    let proxy = proxy.await.unwrap();
    let address = proxy.http();
    assert!(proxy.announcement()[0].starts_with("listening on https "));
    let known = first.clone();
    let answer = tokio::task::spawn_blocking(move || ask_over_tls(address, &known)).await.unwrap();
    let answer = answer.expect("a trusted certificate");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(origin.last().2["x-forwarded-proto"], "https");

    let (_, second) = make(folder.path());
    assert!(tls.refresh().unwrap(), "another reader of the same files sees that they changed");
    proxy.tls.as_ref().expect("HTTPS").refresh().unwrap();
    let answers = tokio::task::spawn_blocking(move || {
        (ask_over_tls(address, &first).is_some(), ask_over_tls(address, &second).is_some())
    });
    assert_eq!(answers.await.unwrap(), (false, true), "connections from now on see the new one");
}

#[tokio::test]
async fn an_origin_may_speak_https_with_a_certificate_of_the_operators_own() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = make(folder.path());
    let authority = Some(files.certificate.clone());
    let (origin, _serving) = Origin::start_over_tls(files).await;
    let trusting = Config { origin_ca: authority.clone(), ..config(&origin.url) };
    let proxy = Proxy::start(trusting.clone()).await.unwrap();
    let client = Client::of(&proxy);
    let created = client.post("/whip/cam", &[]).await;
    assert_eq!(created.status().as_u16(), 201);
    let location = field(&created, "location");
    assert!(location.starts_with("/whip/cam/"), "{location}");
    let ended = client.ask(Method::DELETE, &location, &[], String::new()).await;
    let (method, target, ..) = origin.last();
    assert_eq!((ended.status().as_u16(), method, target.as_str()), (204, Method::DELETE, "/at-origin"));

    // Registered, by its URL, it is the same.
    let proxy = Proxy::start(Config { origins: Vec::new(), ..trusting.clone() }).await.unwrap();
    let heartbeat = serde_json::json!({ "id": "a", "http": origin.url, "kind": "whip" });
    let admin = format!("http://{}/api/v1/origins", proxy.admin);
    let registered = client.http.post(admin).json(&heartbeat).send().await.unwrap();
    assert!(registered.status().is_success(), "{registered:?}");
    assert_eq!(Client::of(&proxy).post("/whep/cam", &[]).await.status().as_u16(), 201);

    // Nobody vouches for it here, and no offer goes to it.
    let asked = origin.heard.lock().unwrap().len();
    let proxy = Proxy::start(Config { origin_ca: None, ..trusting.clone() }).await.unwrap();
    let refused = Client::of(&proxy).post("/whip/cam", &[]).await;
    assert_eq!(refused.status().as_u16(), 502);
    let problem: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no certificate that the proxy trusts"), "{detail}");
    assert_eq!(origin.heard.lock().unwrap().len(), asked);

    // A certificate of another host is none, whoever vouches for it.
    let named = origin.url.replace("127.0.0.1", "localhost");
    let other = Proxy::start(Config { origins: vec![named.parse().unwrap()], ..trusting }).await.unwrap();
    assert_eq!(Client::of(&other).post("/whip/cam", &[]).await.status().as_u16(), 502);
    assert_eq!(origin.heard.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn a_file_of_roots_that_holds_none_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "no certificate").unwrap();
    let config = Config { origin_ca: Some(path.clone()), ..config("http://127.0.0.1:1") };
    let mistakes = config.load().unwrap_err();
    let (said, place) = (mistakes[0].to_string(), format!("origin_ca: {}: ", path.display()));
    assert!(mistakes.len() == 1 && said.starts_with(&place), "{said}");
    assert!(matches!(Proxy::start(config).await, Err(StartError::Trust(_))));
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = config("http://127.0.0.1:1");
    for (config, flag) in
        [(Config { http: address, ..config.clone() }, "--http"), (Config { admin: address, ..config }, "--admin")]
    {
        let error = Proxy::start(config).await.err().expect("no proxy").to_string();
        assert!(error.starts_with(&format!("{flag} {address}: cannot listen on TCP")), "{error}");
    }
}
