//! Every way a request can fail at the proxy itself, and what the client is told. Texts are for people and name no origin,
//! no address, no session and nothing of a body.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use crate::envelope::EnvelopeError;
use crate::record::OriginId;
use crate::sdp::SdpError;
use crate::urls::UrlError;

/// Origins that fail are found out within seconds, and another one is picked then.
const AFTER_TROUBLE: Duration = Duration::from_secs(2);

/// Why a request was not passed on, or what came back cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The URL leads nowhere.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// No such session, or not under this URL.
    #[error("no such session")]
    NoSession,
    /// The URL has no such method.
    #[error("this URL has no such method")]
    Method {
        /// Those it has.
        allow: &'static str,
    },
    /// The body is no offer that can be passed on.
    #[error("{0}")]
    Offer(#[from] SdpError),
    /// It is no envelope around one.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    /// The request has been here before.
    #[error("the request goes round in circles: a proxy has itself for an origin")]
    Loop,
    /// Nobody can take the stream.
    #[error("no server for this stream is available now")]
    NoOrigin,
    /// Who has the stream or session cannot be found out.
    #[error("it cannot be found out now which server this is for")]
    RegistryAway,
    /// The proxy has as many sessions as it may.
    #[error("the proxy has no room for another session now")]
    Full,
    /// No address is known to announce to this client.
    #[error("the proxy knows no address of its own that you could send to (see --public-ip)")]
    NoAddress,
    /// The origin cannot be reached.
    #[error("the server for this stream cannot be reached")]
    Unreachable(OriginId),
    /// Its certificate is not trusted.
    #[error("the server for this stream has no certificate that the proxy trusts (see --origin-ca)")]
    Distrusted(OriginId),
    /// The connection to it broke off.
    #[error("the server for this stream broke the connection off")]
    Broken(OriginId),
    /// It said too much, or no answer.
    #[error("the server for this stream gave no usable answer")]
    Unusable(OriginId),
    /// It said nothing in time.
    #[error("the server for this stream did not answer in time")]
    Slow(OriginId),
}

impl Refused {
    /// The status of the reply.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Url(UrlError::Nothing) | Self::NoSession => StatusCode::NOT_FOUND,
            Self::Url(UrlError::Name | UrlError::Query) | Self::Offer(SdpError::Syntax) | Self::Envelope(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Offer(SdpError::NoCredentials | SdpError::NoCandidate) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoOrigin | Self::RegistryAway | Self::Full | Self::NoAddress => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable(_) | Self::Distrusted(_) | Self::Broken(_) | Self::Unusable(_) => StatusCode::BAD_GATEWAY,
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// When to try again, where that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.status().is_server_error().then_some(AFTER_TROUBLE)
    }

    /// The origin that is to blame, for the log.
    #[must_use]
    pub fn origin(&self) -> Option<&OriginId> {
        match self {
            Self::Unreachable(id) | Self::Distrusted(id) | Self::Broken(id) | Self::Unusable(id) | Self::Slow(id) => {
                Some(id)
            }
            _ => None,
        }
    }
}
