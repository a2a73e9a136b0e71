//! Who may do what is decided elsewhere; this is how it is asked.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use whipstitch_stream::StreamKey;

use crate::auth::Proof;

/// What a player or a source wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Receive a stream.
    Play,
    /// Send one.
    Publish,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Go on: this is the child of the process of this id, which may.
    Child(Arc<str>),
    /// A password is needed, and none that is known was shown.
    Unknown,
    /// A known one that does not carry this right.
    Forbidden,
    /// A child's credential, which is good on connections of children only: [find out](Access::is_ours) whether this is one.
    Whose,
    /// Too many that nobody knows came from there; after this time another is looked at.
    TooOften(Duration),
}

/// An answer that takes time, but does not keep the thread that waits for it.
pub type Asked = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Decides. Depends on who asks and on the configuration, never on which streams exist.
pub trait Access: Send + Sync + 'static {
    /// Whether a client at `peer` that shows `proof` may do this.
    fn judge(&self, right: Right, stream: &StreamKey, peer: IpAddr, proof: Option<&Proof<'_>>) -> Verdict;

    /// Whether who shows `credential` for that of a child may do this: it is what it says, however open the server is, or
    /// may nothing. Never [`Verdict::Allowed`]. `ours`: what [`is_ours`](Self::is_ours) says of the connection, once it was
    /// asked; then never [`Verdict::Whose`].
    fn judge_child(
        &self,
        right: Right,
        stream: &StreamKey,
        peer: IpAddr,
        ours: Option<bool>,
        credential: &str,
    ) -> Verdict;

    /// Whether who has connected from `client` to our port is a child, or at least our own user.
    fn is_ours(&self, client: SocketAddr, port: u16) -> Asked;

    /// Whether a stream may have this name here.
    fn serves(&self, stream: &StreamKey) -> bool;
}
