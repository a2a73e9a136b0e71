//! Firefox's own remote control, which geckodriver would translate WebDriver into: commands have the names and arguments
//! of WebDriver and travel as `length:json` over one TCP connection.
//!
//! Used directly because geckodriver is neither in Debian nor quick to build.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection with one session.
#[derive(Debug)]
pub(crate) struct Marionette {
    stream: BufReader<TcpStream>,
    next: u64,
}

impl Marionette {
    /// Connects to a listening Firefox and opens a session.
    pub(crate) async fn connect(port: u16) -> Marionette {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("Marionette listens");
        let mut marionette = Marionette { stream: BufReader::new(stream), next: 0 };
        let greeting = marionette.receive().await;
        assert_eq!(greeting["marionetteProtocol"], 3, "unknown protocol: {greeting}");
        marionette.command("WebDriver:NewSession", json!({})).await.expect("a session");
        marionette
    }

    /// Runs one command; its result, or the error object of WebDriver.
    pub(crate) async fn command(&mut self, name: &str, arguments: Value) -> Result<Value, Value> {
        let id = self.next;
        self.next += 1;
        let text = json!([0, id, name, arguments]).to_string();
        self.stream.write_all(format!("{}:{text}", text.len()).as_bytes()).await.expect("Firefox runs");
        let mut reply = self.receive().await;
        assert_eq!((&reply[0], &reply[1]), (&json!(1), &json!(id)), "a reply to {name}");
        match reply[2].take() {
            Value::Null => Ok(reply[3].take()),
            error => Err(error),
        }
    }

    async fn receive(&mut self) -> Value {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length).await.expect("Firefox runs");
        let digits = length.strip_suffix(b":").expect("Firefox keeps the connection");
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).expect("a length");
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).await.expect("Firefox sends whole messages");
        serde_json::from_slice(&text).expect("JSON")
    }
}
