//! The places where WHIP and WHEP are served. All of one role lead to the same sessions; a place decides where the name
//! of the stream stands, what session URLs look like, and which manners its clients expect.

use whipstitch_stream::StreamKey;

use super::error::Error;
use super::request::Request;
use crate::media::Role;

/// One place.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) role: Role,
    /// Takes offers.
    pub(super) endpoint: &'static str,
    /// The session URLs it hands out, with `{stream}` and `{session}` to be filled in.
    pub(super) session: &'static str,
    naming: Naming,
    pub(super) manners: Manners,
}

/// Where the URL of an endpoint names the stream. A session URL names it in the path always: `Location` has no query,
/// because OBS would drop it.
#[derive(Debug)]
enum Naming {
    Path,
    /// `?app=&stream=`, as SRS has it.
    Query,
}

/// How a session URL behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// As `protocol.md` 3 and 4 say.
    Standard,
    /// As clients of the media core behind `/api/v3` know it (S1-R5, S1-R6): DELETE is 204 whether or not there was
    /// something to end, and a PATCH without `If-Match` counts as one with the wildcard.
    Core,
}

/// An alias is another line here, and one in the table of its test.
pub(super) static MOUNTS: &[Mount] = &[
    Mount {
        role: Role::Publisher,
        endpoint: "/whip/{stream}",
        session: "/whip/{stream}/{session}",
        naming: Naming::Path,
        manners: Manners::Standard,
    },
    Mount {
        role: Role::Subscriber,
        endpoint: "/whep/{stream}",
        session: "/whep/{stream}/{session}",
        naming: Naming::Path,
        manners: Manners::Standard,
    },
    // No session of the first place is called `whep`: those are 128 random bits.
    Mount {
        role: Role::Subscriber,
        endpoint: "/whip/{stream}/whep",
        session: "/whip/{stream}/whep/{session}",
        naming: Naming::Path,
        manners: Manners::Standard,
    },
    Mount {
        role: Role::Publisher,
        endpoint: "/api/v3/whip/{stream}",
        session: "/api/v3/whip/{stream}/{session}",
        naming: Naming::Path,
        manners: Manners::Core,
    },
    Mount {
        role: Role::Subscriber,
        endpoint: "/api/v3/whep/{stream}",
        session: "/api/v3/whep/{stream}/{session}",
        naming: Naming::Path,
        manners: Manners::Core,
    },
    Mount {
        role: Role::Publisher,
        endpoint: "/rtc/v1/whip",
        session: "/rtc/v1/whip/{stream}/{session}",
        naming: Naming::Query,
        manners: Manners::Standard,
    },
    Mount {
        role: Role::Subscriber,
        endpoint: "/rtc/v1/whep",
        session: "/rtc/v1/whep/{stream}/{session}",
        naming: Naming::Query,
        manners: Manners::Standard,
    },
];

/// The application whose streams have no prefix: the one in everybody's examples.
const DEFAULT_APP: &str = "live";

impl Mount {
    /// The stream that a request to the endpoint names.
    ///
    /// # Errors
    /// The name is illegal or missing.
    pub(super) fn stream(&self, request: &Request) -> Result<StreamKey, Error> {
        request.stream_called(&self.written(request)?)
    }

    /// The stream that a request to the endpoint names, if its name is legal; for access, before which nothing is noted.
    pub(super) fn named(&self, request: &Request) -> Option<StreamKey> {
        StreamKey::parse(&self.written(request).ok()?).ok()
    }

    fn written(&self, request: &Request) -> Result<String, Error> {
        match self.naming {
            Naming::Path => Ok(request.name("stream").to_owned()),
            Naming::Query => {
                let stream = request.parameter("stream", Error::StreamQuery)?.ok_or(Error::StreamQuery)?;
                match request.parameter("app", Error::StreamQuery)? {
                    Some(app) if app != DEFAULT_APP => Ok(format!("{app}.{stream}")),
                    _ => Ok(stream),
                }
            }
        }
    }

    /// The URL of a session: an absolute path inside the prefix that was called (`protocol.md` 2.1).
    pub(super) fn location(&self, stream: &StreamKey, resource: &str) -> String {
        self.session.replace("{stream}", stream.as_str()).replace("{session}", resource)
    }
}
