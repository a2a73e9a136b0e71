//! The routes without a socket: any peer address, and time that only tests move.

use axum::body::Body;
use http_body_util::BodyExt as _;

use super::*;

/// The routes with a scripted media plane.
pub(super) struct Direct {
    pub(super) media: Arc<Script>,
    state: State,
}

impl Direct {
    pub(super) fn new(policy: Policy, settings: Settings) -> Self {
        let media = Arc::new(Script::default());
        let state = State::new(Arc::clone(&media) as Arc<dyn Media>, policy, local_announcer(), settings);
        Self { media, state }
    }

    pub(super) fn with_session(&self, role: Role, stream: &str) {
        self.media.sessions.lock().unwrap().insert((role, stream.to_owned(), "secret".to_owned()));
    }

    /// One request of `peer`, which calls this server `localhost`.
    pub(super) async fn ask(&self, peer: &str, method: &str, target: &str, fields: &[&str], body: &str) -> Answer {
        let mut request = axum::http::Request::builder().method(method).uri(target);
        request = request.header("host", "localhost:8555").header("content-length", body.len());
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Connection::of(SocketAddr::new(peer.parse().unwrap(), 50_000)));
        let Ok(response) = tower::Service::call(&mut app(self.state.clone()), request).await;
        let (parts, body) = response.into_parts();
        let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = parts.headers.iter().map(|(name, field)| (name.to_string(), value(field))).collect();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), fields, body: String::from_utf8_lossy(&body).into_owned() }
    }
}
