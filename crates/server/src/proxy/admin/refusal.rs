//! What the admin listener answers when it does not do what was asked, as problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::LARGEST;

#[derive(Debug)]
pub(super) enum Refusal {
    NoSuchRoute,
    NoSuchOrigin,
    /// 401: the secret is needed, or what came is not it; 403 where there is none.
    Denied {
        has_secret: bool,
        invalid: bool,
    },
    /// 400, RFC 6750 3.1.
    Credential,
    /// 429.
    Guessing {
        wait: Duration,
    },
    Malformed(String),
    TooLarge,
    Late,
    Taken,
    TooMany,
    RegistryAway,
    Internal,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute | Self::NoSuchOrigin => StatusCode::NOT_FOUND,
            Self::Denied { has_secret: true, .. } => StatusCode::UNAUTHORIZED,
            Self::Denied { has_secret: false, .. } => StatusCode::FORBIDDEN,
            Self::Credential | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Guessing { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Taken => StatusCode::CONFLICT,
            Self::TooMany | Self::RegistryAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        let text = match self {
            Self::Malformed(what) => return what.clone(),
            Self::TooLarge => return format!("the body is larger than {LARGEST} bytes"),
            Self::NoSuchRoute => "there is nothing at this URL",
            Self::NoSuchOrigin => "no origin of this id is known",
            Self::Denied { has_secret: false, .. } => {
                "without --secret the admin listener serves programs on the same machine only"
            }
            Self::Denied { invalid: true, .. } => "this is not the secret",
            Self::Denied { .. } => "the secret is needed (Authorization: Bearer)",
            Self::Credential => "the credential is malformed",
            Self::Guessing { .. } => "too many wrong secrets came from this address",
            Self::Late => "the body took too long",
            Self::Taken => "another server that is alive has this id: each needs its own",
            Self::TooMany => "there are as many origins as there may be",
            Self::RegistryAway => "the registry does not answer, so the other proxies would not hear of it",
            Self::Internal => "an error of the proxy itself",
        };
        text.to_owned()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, detail) = (self.status(), self.detail());
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "error": detail,
        });
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Denied { has_secret: true, invalid } => {
                let challenge = if invalid { "Bearer error=\"invalid_token\"" } else { "Bearer" };
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Guessing { wait } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            }
            Self::TooMany | Self::RegistryAway => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
