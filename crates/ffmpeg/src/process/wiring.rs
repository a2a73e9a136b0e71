//! How streams reach a process and come back from it: asked of whoever has the streams.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Order;

/// How media goes between the gateway and a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// RTSP over TCP: nothing is lost, no ports.
    #[default]
    Rtsp,
    /// Plain RTP to leased ports of loopback.
    Rtp,
}

/// One stream that a child reads or feeds, for one start of it.
pub struct Leg {
    /// What follows `-i`, or what is written to.
    pub url: String,
    /// Options right before it, each word an argument.
    pub options: Vec<String>,
    /// Words in `url` and `options` that nobody may see: masked in logs and in the command that is shown.
    pub secrets: Vec<String>,
    /// Of what is read: true while its publisher is missing, so that the child may be silent.
    pub waiting: Option<watch::Receiver<bool>>,
    /// Dropped when the child has ended: leases, credentials.
    pub kept: Box<dyn Send>,
}

/// What a process has to do with streams, whatever it is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legs {
    /// Its `whip_ingest`: the stream of its own id, which is published for this process. Ordered to stop, its publisher
    /// is closed and nobody may publish it.
    pub ingest: Option<Ingest>,
    /// Its `whep_egress`: the stream that is its own output. Ordered to stop, its viewers are closed.
    pub egress: Option<Wired>,
    /// Streams that an input names as `{whip:NAME}`: others', which this process only reads. Sorted, each once.
    pub reads: Vec<String>,
    /// Streams that an output names as `{whep:NAME}`: fed by this process, as `egress` is. Sorted, each once.
    pub writes: Vec<String>,
}

impl Legs {
    /// Whether it has nothing to do with any stream.
    pub fn is_empty(&self) -> bool {
        *self == Legs::default()
    }

    /// The stream that is published for the process.
    pub fn published(&self) -> impl Iterator<Item = &str> {
        self.ingest.iter().map(|ingest| ingest.stream.as_str())
    }

    /// What of these is not among the others, each of its kind.
    pub fn without(&self, others: &Legs) -> Legs {
        let published = others.ingest.as_ref().map(|ingest| &ingest.stream);
        let fed: Vec<&str> = others.fed().collect();
        Legs {
            ingest: self.ingest.clone().filter(|ingest| Some(&ingest.stream) != published),
            egress: self.egress.clone().filter(|egress| !fed.contains(&egress.stream.as_str())),
            reads: self.reads.iter().filter(|name| !others.reads.contains(name)).cloned().collect(),
            writes: self.writes.iter().filter(|name| !fed.contains(&name.as_str())).cloned().collect(),
        }
    }

    /// Every stream that the process feeds.
    pub fn fed(&self) -> impl Iterator<Item = &str> {
        self.egress.iter().map(|egress| egress.stream.as_str()).chain(self.writes.iter().map(String::as_str))
    }
}

/// A stream, and how it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    /// Its name.
    pub stream: String,
    /// How its media goes.
    pub transport: Transport,
}

/// The stream that is published for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Its name: the process' id.
    pub stream: String,
    /// How its media goes to the child.
    pub transport: Transport,
    /// The payload type that the child is to see its video with, over RTP. None: the publisher's.
    pub video_pt: Option<u8>,
    /// The same for audio.
    pub audio_pt: Option<u8>,
    /// Whether a publisher starts the process that is ordered to stop, instead of being refused.
    pub start_on_publish: bool,
}

/// Whoever has the streams. Every call is short: it waits for nothing and holds no lock on return. None is made while
/// [`Processes`](super) holds a lock that its answers to others need.
pub trait Wiring: Send + Sync + 'static {
    /// An input that reads a stream, for this start of this process. The order, and with it [`Legs`], was told before.
    ///
    /// # Errors
    /// Why it cannot be had, in words for the operator; counts as a failed start.
    fn read(&self, process: &str, stream: &str, transport: Transport) -> Result<Leg, String>;

    /// The same for an output that feeds a stream.
    ///
    /// # Errors
    /// As of [`Wiring::read`]; also when another process that is to run feeds the stream.
    fn write(&self, process: &str, stream: &str, transport: Transport) -> Result<Leg, String>;

    /// The process is ordered to run: its streams are kept for viewers, publishers of its own are let in, and nobody else
    /// may publish what it feeds, while no child runs either. Or it no longer is, or is gone: its publisher and the viewers
    /// of what it feeds are closed. Told whenever the order or the legs change; what is its own before and after goes on
    /// without a break, and of a stream that is no longer among its legs the publisher or the viewers are closed.
    fn ordered(&self, process: &str, legs: &Legs, order: Order);

    /// It is called so from now on: what it has under its old id goes over to it without a break. No child is there.
    fn renamed(&self, process: &str, to: &str);

    /// A child of the process is about to be started: what was let go when it [rested](Self::rests) is its own again.
    fn begins(&self, process: &str);

    /// The last child of the process has ended, and no other one comes unless somebody starts it, although it is ordered to
    /// run: what it feeds and reads is not kept for it meanwhile.
    fn rests(&self, process: &str);
}
