//! One connection to the server, made anew when it breaks.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::registry::Failure;

/// For a command, and for making a connection: a client waits for its answer meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two tries to connect: from here, doubled with each that fails,
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// up to here. Short, as all proxies of a site are without their registry until then.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a server says to everything that it serves nobody now, or only lets itself be read.
const NO_USE: [&str; 5] = ["READONLY", "MASTERDOWN", "LOADING", "NOAUTH", "CLUSTERDOWN"];

/// Letters of what a server says that go into the log.
const MOST_OF_A_CAUSE: usize = 200;

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
    /// What came of connecting, as it was logged last: each cause is said once until there is a connection again.
    said: Mutex<Option<Result<(), String>>>,
}

impl Connection {
    pub(super) fn new(url: RedisUrl) -> Self {
        let state = Mutex::new(State::Broken { again: Instant::now(), pause: FIRST_PAUSE });
        Self { url, state, connecting: tokio::sync::Mutex::new(()), said: Mutex::default() }
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
        self.say(made.as_ref().err());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(connection) => {
                *state = State::Connected(connection.clone());
                Ok(connection)
            }
            Err(_) => {
                let pause = match &*state {
                    State::Broken { pause, .. } => (*pause * 2).min(LONGEST_PAUSE),
                    State::Connected(_) => FIRST_PAUSE,
                };
                *state = State::Broken { again: Instant::now() + jittered(pause), pause };
                Err(Failure::Away)
            }
        }
    }

    /// Says why no connection can be made, or that there is one again.
    fn say(&self, error: Option<&RedisError>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = error.map_or(Ok(()), |error| Err(cause_of(error, &self.url)));
        if said.as_ref() == Some(&now) {
            return;
        }
        match &now {
            Ok(()) => info!(registry = self.url.address(), "connected to the registry"),
            Err(cause) => warn!(registry = self.url.address(), cause, "cannot use the registry"),
        }
        *said = Some(now);
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

/// What is wrong, for whoever wrote the URL: the server's own words where it said any, and never the password.
fn cause_of(error: &RedisError, url: &RedisUrl) -> String {
    if error.code() == Some("NOAUTH") {
        return "it wants a password: redis://:PASSWORD@HOST".to_owned();
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "it refuses the user or the password".to_owned();
    }
    let text = match error.is_timeout() {
        true => format!("no answer in {} ms", PATIENCE.as_millis()),
        false => error.to_string(),
    };
    let settings = url.0.get_connection_info().redis_settings().clone();
    let text = match settings.password().filter(|password| !password.is_empty()) {
        Some(password) => text.replace(password, "(the password)"),
        None => text,
    };
    text.chars().filter(|c| !c.is_control()).take(MOST_OF_A_CAUSE).collect()
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is said of a server at this address.
    async fn said(address: &str) -> Option<Result<(), String>> {
        let url = RedisUrl::parse(&format!("redis://{address}/")).unwrap();
        let connection = Connection::new(url);
        let answer: Result<Value, Failure> = connection.query(&redis::cmd("PING")).await;
        assert!(answer.is_err());
        connection.said.into_inner().unwrap()
    }

    #[tokio::test]
    async fn why_the_registry_cannot_be_used_is_said_without_the_password() {
        for (login, line, words) in [
            (
                ":hunter2@",
                "-WRONGPASS invalid username-password pair or user is disabled.",
                "refuses the user or the password",
            ),
            ("", "-NOAUTH Authentication required.", "wants a password"),
            ("", "-LOADING Redis is loading the dataset in memory", "loading the dataset"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("{login}{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                while let Ok(many @ 1..) = stream.read(&mut asked).await {
                    // A line for each command, and no command has an asterisk but at its beginning.
                    let commands = asked[..many].iter().filter(|byte| **byte == b'*').count();
                    if stream.write_all(format!("{line}\r\n").repeat(commands).as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
            let cause = said(&address).await.unwrap().unwrap_err();
            assert!(cause.contains(words) && !cause.contains("hunter2"), "{line}: {cause}");
            server.abort();
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let cause = said(&nobody).await.unwrap().unwrap_err();
        assert!(cause.to_lowercase().contains("refused"), "{cause}");
        let url = RedisUrl::parse("redis://:hunter2@127.0.0.1/").unwrap();
        let error = RedisError::from((ErrorKind::UnexpectedReturnType, "no", "hunter2 is wrong".to_owned()));
        let cause = cause_of(&error, &url);
        assert!(cause.contains("(the password) is wrong"), "{cause}");
    }
}
