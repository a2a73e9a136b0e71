//! Asking an origin whether it lives, and what it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use tracing::warn;
use whipstitch_net::brake::Brake;

use super::record::{Kind, Origin};
use crate::trust::{Trust, distrusted};

/// For the whole answer. A server that needs longer to say that it lives does not serve anybody in time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of an answer that is read: SRS's versions are below 200 bytes.
const MOST_BYTES: usize = 16 * 1024;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It answered.
    Alive {
        /// It takes no more sessions.
        draining: bool,
        /// What it is, where that was asked and found.
        kind: Option<Kind>,
    },
    /// It did not, or with an error of its own.
    Silent,
}

/// Who asks. [`HttpProbe`], or a script in tests.
pub trait Probe: Send + Sync {
    /// Asks; `detect` wants to know the kind as well. Takes at most 2 s.
    fn probe<'a>(&'a self, origin: &'a Origin, detect: bool) -> Pin<Box<dyn Future<Output = Probed> + Send + 'a>>;
}

/// Asks over HTTP: `GET /readyz` of Whipstitch, `GET /api/v1/versions` of SRS, `GET /` of others; what answers with less
/// than 500 lives. Redirections are not followed, nothing but the status and the first bytes is looked at.
#[derive(Debug, Clone)]
pub struct HttpProbe {
    client: Client,
    distrusted: Arc<Brake>,
}

impl HttpProbe {
    /// One that trusts those.
    ///
    /// # Errors
    /// The HTTP client cannot be made: the system gives it no random numbers, or the like.
    pub fn new(trust: &Trust) -> Result<Self, reqwest::Error> {
        let client = trust.client().timeout(PATIENCE).pool_max_idle_per_host(1).build()?;
        Ok(Self { client, distrusted: Arc::default() })
    }

    async fn ask(&self, origin: &Origin, path: &str) -> Option<(StatusCode, Vec<u8>)> {
        let mut response = match self.client.get(origin.url.join(path).ok()?).send().await {
            Ok(response) => response,
            Err(error) => {
                // The operator alone can help it; all else is seen in how origins stand.
                if let Some(what) = distrusted(&error)
                    && let Some(more) = self.distrusted.pass(Instant::now())
                {
                    let origin = origin.id.as_str();
                    warn!(origin, what, more, "the certificate of an origin is not trusted (see origin_ca)");
                }
                return None;
            }
        };
        let status = response.status();
        let mut body = Vec::new();
        while body.len() < MOST_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        Some((status, body))
    }

    async fn look(&self, origin: &Origin, detect: bool) -> Probed {
        if detect {
            match self.ask(origin, "/api/v1/versions").await {
                None => return Probed::Silent,
                Some((status, body)) if status.is_success() && is_srs(&body) => {
                    return Probed::Alive { draining: false, kind: Some(Kind::Srs) };
                }
                Some(_) => {}
            }
            return match self.ask(origin, "/readyz").await {
                Some((status, body)) if is_whipstitch(&body) => {
                    Probed::Alive { draining: status == StatusCode::SERVICE_UNAVAILABLE, kind: Some(Kind::Whipstitch) }
                }
                answer => lives(answer.map(|(status, _)| status)),
            };
        }
        match origin.kind {
            Kind::Whipstitch => match self.ask(origin, "/readyz").await {
                Some((status, body)) if is_whipstitch(&body) => {
                    Probed::Alive { draining: status == StatusCode::SERVICE_UNAVAILABLE, kind: None }
                }
                answer => lives(answer.map(|(status, _)| status)),
            },
            Kind::Srs => lives(self.ask(origin, "/api/v1/versions").await.map(|(status, _)| status)),
            Kind::Whip => lives(self.ask(origin, "/").await.map(|(status, _)| status)),
        }
    }
}

fn lives(status: Option<StatusCode>) -> Probed {
    match status {
        Some(status) if status.as_u16() < 500 => Probed::Alive { draining: false, kind: None },
        _ => Probed::Silent,
    }
}

/// `{"code":0,"server":"vid-…","data":{"major":6,…,"version":"6.0.48"}}`
fn is_srs(body: &[u8]) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| said["code"] == 0 && said["data"]["version"].is_string())
}

/// `{"status":"ready"}`
fn is_whipstitch(body: &[u8]) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| said["status"] == "ready" || said["status"] == "draining")
}

impl Probe for HttpProbe {
    fn probe<'a>(&'a self, origin: &'a Origin, detect: bool) -> Pin<Box<dyn Future<Output = Probed> + Send + 'a>> {
        Box::pin(self.look(origin, detect))
    }
}
