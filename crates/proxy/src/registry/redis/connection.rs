//! One connection to the server, made anew when it breaks.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::registry::Failure;

/// For a command, and for making a connection: a client waits for its answer meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two tries to connect: from here, doubled with each that fails,
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// up to here. Short, as all proxies of a site are without their registry until then.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a server says to everything that it serves nobody now, or only lets itself be read.
const NO_USE: [&str; 5] = ["READONLY", "MASTERDOWN", "LOADING", "NOAUTH", "CLUSTERDOWN"];

/// Is written when a connection is made, and read by nobody: a server that cannot be written to is no registry.
const WRITABLE: &str = "whipstitch:writable";

/// Where the server is, and how to log in there. Shows nothing of it: there is a password in it.
#[derive(Clone)]
pub struct RedisUrl(Client, String);

impl RedisUrl {
    /// Judges `redis://[user:password@]host[:port][/database]` or `redis+unix:///path`.
    ///
    /// # Errors
    /// It is none; without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mistake = "is no URL such as redis://10.0.0.1:6379 or redis://:password@10.0.0.1:6379/0";
        if text.starts_with("rediss:") || text.starts_with("valkeys:") {
            return Err("TLS to Redis is not supported: use a tunnel or a private network".to_owned());
        }
        let client = Client::open(text).map_err(|_| mistake.to_owned())?;
        let address = client.get_connection_info().addr().to_string();
        Ok(Self(client, address))
    }

    /// Host and port, for logs.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.1
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({}, …)", self.1)
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        let of = |url: &Self| {
            let settings = url.0.get_connection_info().redis_settings().clone();
            (settings.db(), settings.username().map(str::to_owned), settings.password().map(str::to_owned))
        };
        self.1 == other.1 && of(self) == of(other)
    }
}

enum State {
    Connected(MultiplexedConnection),
    /// Until then nobody tries.
    Broken {
        again: Instant,
        pause: Duration,
    },
}

pub(super) struct Connection {
    url: RedisUrl,
    state: Mutex<State>,
    /// One connects, others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Connection {
    pub(super) fn new(url: RedisUrl) -> Self {
        let state = Mutex::new(State::Broken { again: Instant::now(), pause: FIRST_PAUSE });
        Self { url, state, connecting: tokio::sync::Mutex::new(()) }
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.connected().await?;
        let answer = timeout(PATIENCE, command.query_async(&mut connection)).await;
        self.judged(answer.unwrap_or_else(|_| Err(late())))
    }

    /// The text of a key. One that holds something else than a text was written by somebody else: `Err` within.
    pub(super) async fn text(&self, key: String) -> Result<Result<Option<Vec<u8>>, ()>, Failure> {
        let mut connection = self.connected().await?;
        let mut get = redis::cmd("GET");
        let answer = timeout(PATIENCE, get.arg(key).query_async(&mut connection)).await;
        match answer.unwrap_or_else(|_| Err(late())) {
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Err(())),
            answer => self.judged(answer).map(Ok),
        }
    }

    pub(super) async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failure> {
        let mut connection = self.connected().await?;
        let answer = timeout(PATIENCE, script.invoke_async(&mut connection)).await;
        self.judged(answer.unwrap_or_else(|_| Err(late())))
    }

    /// After an answer that never came nobody knows what stands in the connection, nor whether the next would come. A server
    /// that serves nobody now, or is a replica now, is left too: another may have its name.
    fn judged<T>(&self, answer: Result<T, RedisError>) -> Result<T, Failure> {
        answer.map_err(|error| {
            let is_no_use = error.code().is_some_and(|code| NO_USE.contains(&code));
            if is_no_use || error.is_timeout() || error.is_io_error() || error.is_unrecoverable_error() {
                self.broken(&error);
                Failure::Away
            } else {
                // Out of memory, or the like: it is there, and takes other calls.
                debug!(registry = self.url.address(), code = error.code(), "the registry refuses");
                Failure::Refused
            }
        })
    }

    fn broken(&self, error: &RedisError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Connected(_) = *state {
            debug!(registry = self.url.address(), kind = ?error.kind(), code = error.code(), "the connection broke");
            *state = State::Broken { again: Instant::now() + jittered(FIRST_PAUSE), pause: FIRST_PAUSE };
        }
    }

    /// The connection there is, without waiting.
    fn there(&self) -> Result<Option<MultiplexedConnection>, Failure> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Connected(connection) => Ok(Some(connection.clone())),
            State::Broken { again, .. } if *again > Instant::now() => Err(Failure::Away),
            State::Broken { .. } => Ok(None),
        }
    }

    async fn connected(&self) -> Result<MultiplexedConnection, Failure> {
        if let Some(connection) = self.there()? {
            return Ok(connection);
        }
        let _one = self.connecting.lock().await;
        if let Some(connection) = self.there()? {
            return Ok(connection);
        }
        let made = timeout(PATIENCE, self.connect()).await.unwrap_or_else(|_| Err(late()));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(connection) => {
                debug!(registry = self.url.address(), "connected");
                *state = State::Connected(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let pause = match &*state {
                    State::Broken { pause, .. } => (*pause * 2).min(LONGEST_PAUSE),
                    State::Connected(_) => FIRST_PAUSE,
                };
                debug!(registry = self.url.address(), kind = ?error.kind(), "could not connect");
                *state = State::Broken { again: Instant::now() + jittered(pause), pause };
                Err(Failure::Away)
            }
        }
    }

    /// A server that is stopped has its connections made by the kernel: only an answer tells. And a replica answers, too.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let mut connection = self.url.0.get_multiplexed_async_connection_with_config(&config).await?;
        let mut write = redis::cmd("SET");
        let _: Value = write.arg(WRITABLE).arg("1").arg("PX").arg(1000).query_async(&mut connection).await?;
        Ok(connection)
    }
}

fn late() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// Between a half and the whole of it, so that proxies do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    rand::fill(&mut byte).expect("the system has random numbers");
    pause.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}
