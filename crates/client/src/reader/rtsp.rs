//! The client's side of RTSP 1.0 (RFC 2326): requests one after the other, and frames between the answers.

use std::collections::VecDeque;
use std::io;

use rtsp_types::headers::{self, HeaderName};
use rtsp_types::{Message, Method, ParseError, Request, Response, StatusCode, Url, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use whipstitch_media::sdp::Section;

use super::{described, ended};
use crate::error::Error;

/// One read of the socket.
const READ: usize = 64 * 1024;

/// Bytes that are no whole message: a server that sends more is no server.
const MOST: usize = 4 << 20;

/// What comes over a connection.
#[derive(Debug)]
pub enum Item {
    /// An answer.
    Response(Response<Vec<u8>>),
    /// A frame of a channel (RFC 2326 10.12).
    Frame(u8, Vec<u8>),
}

/// A connection, and the session that was set up over it.
pub struct Connection {
    stream: TcpStream,
    url: String,
    received: Vec<u8>,
    /// Bytes of `received` that are done with.
    taken: usize,
    /// Frames that came while an answer was waited for.
    frames: VecDeque<(u8, Vec<u8>)>,
    cseq: u32,
    /// What relative control URLs are relative to, and whether an answer said so.
    base: (String, bool),
    session: Option<String>,
}

impl Connection {
    /// Connects to the host of an `rtsp://` URL, which has to name a port.
    ///
    /// # Errors
    /// [`Error::Url`], or no connection.
    pub async fn open(url: &str) -> Result<Connection, Error> {
        let wrong = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let host = parsed.host_str().ok_or_else(|| wrong("no host"))?;
        let stream = TcpStream::connect((host, parsed.port().unwrap_or(554))).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            url: url.to_owned(),
            received: Vec::new(),
            taken: 0,
            frames: VecDeque::new(),
            cseq: 0,
            base: (format!("{}/", url.trim_end_matches('/')), false),
            session: None,
        })
    }

    /// The next request has the number after this one.
    pub fn count_from(&mut self, cseq: u32) {
        self.cseq = cseq;
    }

    /// The `Content-Base` of the description, if it had one.
    pub fn base(&self) -> Option<&str> {
        self.base.1.then_some(&*self.base.0)
    }

    /// The id of the session, once there is one.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Sends a request, with the session if there is one, and waits for its answer. Frames that come before it are kept.
    ///
    /// # Errors
    /// The connection ended. A status is none.
    pub async fn request(
        &mut self,
        method: Method,
        uri: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Response<Vec<u8>>, Error> {
        self.cseq += 1;
        let parsed = Url::parse(uri).map_err(|error| Error::Url { url: uri.to_owned(), reason: error.to_string() })?;
        let mut request =
            Request::builder(method, Version::V1_0).request_uri(parsed).header(headers::CSEQ, self.cseq.to_string());
        if let Some(session) = &self.session {
            request = request.header(headers::SESSION, session.clone());
        }
        for (name, value) in fields {
            request = request.header(name.clone(), (*value).to_owned());
        }
        let mut bytes = Vec::new();
        request.empty().write(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        self.write(&bytes).await?;
        loop {
            match self.receive().await? {
                Item::Response(response) => return Ok(response),
                Item::Frame(channel, bytes) => self.frames.push_back((channel, bytes)),
            }
        }
    }

    /// The same, of which anything but 200 is an error.
    ///
    /// # Errors
    /// [`Error::Refused`]; the connection ended.
    pub async fn ask(
        &mut self,
        method: Method,
        uri: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Response<Vec<u8>>, Error> {
        let response = self.request(method, uri, fields).await?;
        if response.status() == StatusCode::Ok {
            return Ok(response);
        }
        let (status, detail) = (u16::from(response.status()), response.reason_phrase().to_owned());
        Err(Error::Refused { url: uri.to_owned(), status, retry_after: None, detail })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// DESCRIBE: the sections, video first.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Answer`]; the connection ended.
    pub async fn describe(&mut self) -> Result<Vec<Section>, Error> {
        let url = self.url.clone();
        let response = self.ask(Method::Describe, &url, &[(headers::ACCEPT, "application/sdp")]).await?;
        if let Some(base) = response.header(&headers::CONTENT_BASE) {
            self.base = (base.as_str().to_owned(), true);
        }
        described(&url, &String::from_utf8_lossy(response.body()))
    }

    /// SETUP of a section that was described; the answer's `Transport`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Answer`]; the connection ended.
    pub async fn set_up(&mut self, section: &Section, transport: &str) -> Result<String, Error> {
        let uri = format!("{}{}", self.base.0, section.control.as_deref().unwrap_or_default());
        let response = self.ask(Method::Setup, &uri, &[(headers::TRANSPORT, transport)]).await?;
        let field = |name: &HeaderName| {
            let missing = || Error::Answer { url: uri.clone(), reason: format!("no {}", name.as_str()) };
            response.header(name).map(|value| value.as_str().to_owned()).ok_or_else(missing)
        };
        let session = field(&headers::SESSION)?;
        self.session = Some(session.split(';').next().unwrap_or_default().to_owned());
        field(&headers::TRANSPORT)
    }

    /// PLAY of the session.
    ///
    /// # Errors
    /// [`Error::Refused`]; the connection ended.
    pub async fn play(&mut self) -> Result<Response<Vec<u8>>, Error> {
        let base = self.base.0.clone();
        self.ask(Method::Play, &base, &[(headers::RANGE, "npt=0.000-")]).await
    }

    /// A sign of life: GET_PARAMETER without a body.
    ///
    /// # Errors
    /// [`Error::Refused`]; the connection ended.
    pub async fn keep_alive(&mut self) -> Result<(), Error> {
        let base = self.base.0.clone();
        self.ask(Method::GetParameter, &base, &[]).await.map(drop)
    }

    /// TEARDOWN of the session; then the connection is closed.
    ///
    /// # Errors
    /// [`Error::Refused`]; the connection ended.
    pub async fn tear_down(mut self) -> Result<(), Error> {
        let base = self.base.0.clone();
        self.ask(Method::Teardown, &base, &[]).await.map(drop)
    }

    /// Waits for what comes next. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] at the end of the connection.
    pub async fn next(&mut self) -> Result<Item, Error> {
        match self.frames.pop_front() {
            Some((channel, bytes)) => Ok(Item::Frame(channel, bytes)),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Result<Item, Error> {
        loop {
            if let Some(item) = self.item()? {
                return Ok(item);
            }
            self.received.drain(..self.taken);
            self.taken = 0;
            if self.received.len() > MOST {
                return Err(ended());
            }
            self.received.reserve(READ);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(ended());
            }
        }
    }

    /// What has come whole.
    fn item(&mut self) -> Result<Option<Item>, Error> {
        let rest = self.received.get(self.taken..).unwrap_or_default();
        let (message, len) = match Message::<Vec<u8>>::parse(rest) {
            Ok(parsed) => parsed,
            Err(ParseError::Incomplete(_)) => return Ok(None),
            Err(ParseError::Error) => {
                return Err(Error::Answer { url: self.url.clone(), reason: "not RTSP".to_owned() });
            }
        };
        self.taken += len;
        match message {
            Message::Response(response) => Ok(Some(Item::Response(response))),
            Message::Data(data) => Ok(Some(Item::Frame(data.channel_id(), data.into_body()))),
            Message::Request(_) => self.item(),
        }
    }

    /// The socket, and what was read of it and not given out.
    pub(super) fn part(mut self) -> Result<(std::net::TcpStream, Vec<u8>), Error> {
        let mut rest = Vec::new();
        for (channel, bytes) in self.frames {
            rest.extend_from_slice(&[b'$', channel]);
            rest.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            rest.extend_from_slice(&bytes);
        }
        rest.extend(self.received.drain(self.taken..));
        Ok((self.stream.into_std()?, rest))
    }
}
