//! What signalling asks of whoever knows the origins and the sessions.

use std::future::Future;
use std::sync::Arc;

use crate::ice::Generation;
use crate::origins::Origin;
use crate::record::{OriginId, Role, Session, SessionId};
use crate::registry::Away;
use crate::state::{Full, NoOrigin, Picked, State};

/// Who knows.
pub trait Directory: Send + Sync + 'static {
    /// Which origin has the stream, or is to have it from now on.
    fn pick(&self, stream: &str, role: Role) -> impl Future<Output = Result<Picked, NoOrigin>> + Send;
    /// Which origin has the stream, or could have it: to be asked about it, which makes it nobody's.
    fn look(&self, stream: &str, role: Role) -> impl Future<Output = Result<Origin, NoOrigin>> + Send;
    /// Nobody listens there: the next pick gives another one.
    fn failed(&self, origin: &OriginId);
    /// What came of a request to it. Where nothing did, a stream that became its own for that is nobody's again.
    fn answered(&self, stream: &str, picked: &Picked, ok: bool) -> impl Future<Output = ()> + Send;
    /// A session has begun: its datagrams are passed on from now on, and every proxy may know of it.
    fn opened(&self, session: Arc<Session>) -> impl Future<Output = Result<(), Full>> + Send;
    /// A session by its name in the proxy's URLs.
    fn session(&self, id: &SessionId) -> impl Future<Output = Result<Option<Arc<Session>>, Away>> + Send;
    /// An ICE restart has given it another generation.
    fn restarted(
        &self,
        id: &SessionId,
        generation: Generation,
        etag: Option<String>,
    ) -> impl Future<Output = ()> + Send;
    /// It has been ended by request.
    fn closed(&self, id: &SessionId) -> impl Future<Output = ()> + Send;
}

impl Directory for State {
    async fn pick(&self, stream: &str, role: Role) -> Result<Picked, NoOrigin> {
        self.pick(stream, role).await
    }

    async fn look(&self, stream: &str, role: Role) -> Result<Origin, NoOrigin> {
        self.look(stream, role).await
    }

    fn failed(&self, origin: &OriginId) {
        self.failed(origin);
    }

    async fn answered(&self, stream: &str, picked: &Picked, ok: bool) {
        self.answered(stream, picked, ok).await;
    }

    async fn opened(&self, session: Arc<Session>) -> Result<(), Full> {
        self.opened(session).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Arc<Session>>, Away> {
        self.session(id).await
    }

    async fn restarted(&self, id: &SessionId, generation: Generation, etag: Option<String>) {
        self.restarted(id, generation, etag).await;
    }

    async fn closed(&self, id: &SessionId) {
        self.closed(id).await;
    }
}
