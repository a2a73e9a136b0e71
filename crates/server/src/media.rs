//! The face of the media plane as HTTP sees it: [`Gateway`], or a script in tests of races and refusals. Calls are
//! short (about a millisecond of CPU) and block; `http` makes them off its own threads.

use std::net::SocketAddr;
use std::sync::Arc;

use whipstitch_stream::{SessionId, StreamKey};

pub use whipstitch_webrtc::{
    Accepted, BOUNDS, ClosedSession, Counters, Counts, Gateway, Histogram, Join, Measured, NotFound, PatchRefusal,
    Patched, Refusal, Role, SessionReport, SessionStats, StreamReport, Totals, WorkerReport,
};

/// What HTTP asks of the media plane. Each method is the one of [`Gateway`] of that name.
#[expect(missing_docs, reason = "documented at Gateway")]
pub trait Media: Send + Sync + 'static {
    fn publish(&self, join: &Join<'_>) -> Result<Accepted, Refusal>;

    fn watch(&self, join: &Join<'_>) -> Result<Accepted, Refusal>;

    fn patch(
        &self,
        role: Role,
        stream: &StreamKey,
        resource: &str,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, PatchRefusal>;

    fn delete(&self, role: Role, stream: &StreamKey, resource: &str) -> Result<(), NotFound>;

    fn exists(&self, role: Role, stream: &StreamKey, resource: &str) -> bool;

    fn subject(&self, role: Role, stream: &StreamKey, resource: &str) -> Option<Arc<str>>;

    fn close_publisher(&self, stream: &StreamKey) -> bool;

    fn kick(&self, session: SessionId) -> bool;

    fn streams(&self) -> Vec<StreamReport>;

    fn stream(&self, stream: &StreamKey) -> Option<StreamReport>;

    fn closed(&self) -> Vec<ClosedSession>;

    fn counts(&self) -> Counts;

    fn measure(&self) -> Measured;

    fn knows(&self, stream: &StreamKey) -> bool;

    fn local_addrs(&self) -> &[SocketAddr];
}

impl Media for Gateway {
    fn publish(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        self.publish(join)
    }

    fn watch(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        self.watch(join)
    }

    fn patch(
        &self,
        role: Role,
        stream: &StreamKey,
        resource: &str,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, PatchRefusal> {
        self.patch(role, stream, resource, if_match, fragment)
    }

    fn delete(&self, role: Role, stream: &StreamKey, resource: &str) -> Result<(), NotFound> {
        self.delete(role, stream, resource)
    }

    fn exists(&self, role: Role, stream: &StreamKey, resource: &str) -> bool {
        self.exists(role, stream, resource)
    }

    fn subject(&self, role: Role, stream: &StreamKey, resource: &str) -> Option<Arc<str>> {
        self.subject(role, stream, resource)
    }

    fn close_publisher(&self, stream: &StreamKey) -> bool {
        self.close_publisher(stream)
    }

    fn kick(&self, session: SessionId) -> bool {
        self.kick(session)
    }

    fn streams(&self) -> Vec<StreamReport> {
        self.streams()
    }

    fn stream(&self, stream: &StreamKey) -> Option<StreamReport> {
        self.stream(stream)
    }

    fn closed(&self) -> Vec<ClosedSession> {
        self.closed()
    }

    fn counts(&self) -> Counts {
        self.counts()
    }

    fn measure(&self) -> Measured {
        self.measure()
    }

    fn knows(&self, stream: &StreamKey) -> bool {
        self.knows(stream)
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        self.local_addrs()
    }
}
