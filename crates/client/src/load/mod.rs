//! Many viewers on one stream, and proof of what reached them.
//!
//! A run is a synthetic publisher on a thread of its own, viewers spread over a few more, and whoever awaits [`run`] as
//! coordinator: viewers join at a steady rate; when the last one sees a picture the measuring window opens; when it has
//! closed the publisher stops, and a moment later the viewers. Every thread ends when the run does, also when it is
//! dropped half-way.

mod churn;
mod counter;
mod histogram;
mod process;
mod publisher;
mod readers;
mod reading;
mod report;
mod stamp;
mod synthetic;
mod tally;
mod viewer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::{runtime, task};

pub use churn::{ChurnOptions, ChurnReport, churn};
pub use process::{Usage, usage};
pub use publisher::{Published, Publisher};
pub use readers::{ReadersOptions, ReadersReport, readers};
pub use report::{LoadReport, Quantiles, ServerUse};

use crate::error::Error;
use crate::reader::Way;
use crate::signalling::{self, Endpoint};
use counter::Counter;
use report::{Reading, Readings};
use synthetic::Shape;
use viewer::{By, Plan, Seen};

/// From the publisher's first packet to the first POST of a viewer: a gateway counts a stream as live once media came.
const HEAD_START: Duration = Duration::from_millis(250);

/// What to do. The default is the measurement of design.md 2.2 with one viewer of each sort.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where the synthetic publisher publishes. Without it the stream is somebody else's, and transit and integrity of
    /// payloads are not measured.
    pub whip_url: Option<String>,
    /// Where viewers watch.
    pub whep_url: String,
    /// Viewers come without WebRTC, this way and to this URL; `whep_url`, `token` and `tcp` mean nothing to them then.
    pub readers: Option<(Way, String)>,
    /// Sent as `Authorization: Bearer` by all.
    pub token: Option<String>,
    /// Publishers in all, 1 at least. The further ones publish to `whip_url` with `-2`, `-3` and so on at its end, and nobody
    /// watches them.
    pub publishers: usize,
    /// Viewers in all.
    pub viewers: usize,
    /// How many of them decrypt everything; the others read only headers after their first picture.
    pub full_viewers: usize,
    /// How long is measured after the last join.
    pub duration: Duration,
    /// Viewers that post within a second.
    pub joins_per_second: f64,
    /// Threads for the viewers.
    pub threads: usize,
    /// Video payload of the publisher, bits a second; 30 pictures a second.
    pub bitrate: u32,
    /// From one keyframe to the next.
    pub gop: Duration,
    /// Spread a picture's packets over its time, 5 ms apart, instead of one burst.
    pub paced: bool,
    /// Answer keyframe requests with the next picture; false ignores them, as OBS and FFmpeg do.
    pub obeys_keyframe_requests: bool,
    /// Everybody reaches the gateway over TCP (RFC 6544), and no other way.
    pub tcp: bool,
    /// A process of this machine whose CPU time and memory are read beside: the gateway.
    pub watch_process: Option<u32>,
}

impl LoadOptions {
    /// Two viewers, one of them full, for 10 s.
    pub fn new(whip_url: Option<String>, whep_url: impl Into<String>) -> LoadOptions {
        LoadOptions {
            whip_url,
            whep_url: whep_url.into(),
            readers: None,
            token: None,
            publishers: 1,
            viewers: 2,
            full_viewers: 1,
            duration: Duration::from_secs(10),
            joins_per_second: 20.0,
            threads: 1,
            bitrate: 2_500_000,
            gop: Duration::from_secs(2),
            paced: false,
            obeys_keyframe_requests: true,
            tcp: false,
            watch_process: None,
        }
    }

    fn shape(&self) -> Shape {
        const PICTURES_PER_SECOND: u32 = 30;
        Shape {
            bitrate: self.bitrate,
            pictures_per_second: PICTURES_PER_SECOND,
            gop: (self.gop.as_secs_f64() * f64::from(PICTURES_PER_SECOND)).round().max(1.0) as u32,
            paced: self.paced,
            obeys: self.obeys_keyframe_requests,
        }
    }
}

/// Runs a load and reports. It takes the joins, the duration and about a second.
///
/// # Errors
/// The publisher could not connect or lost its session, a URL is not one, the watched process does not exist, or a
/// thread could not be started. Viewers that fail are counted, not errors.
pub async fn run(options: LoadOptions) -> Result<LoadReport, Error> {
    let epoch = Instant::now();
    let published = Arc::new(AtomicU64::new(0));
    let mut publishers = Vec::new();
    for number in 1..=options.publishers.max(1) {
        let Some(url) = &options.whip_url else { break };
        let url = if number == 1 { url.clone() } else { format!("{url}-{number}") };
        publishers.push(Publisher::start(&url, &options, epoch, published.clone()).await?);
    }

    let (stop, stopped) = watch::channel(false);
    let (joined, mut joins) = mpsc::channel(options.viewers.max(1));
    let packets = Arc::new(AtomicU64::new(0));
    // One for all: making them would be a good part of this process's work at a join.
    let certificate = str0m::crypto::from_feature_flags().dtls_provider.generate_certificate();
    let by = match &options.readers {
        Some((way, url)) => By::Reading(*way, url.clone()),
        None => {
            let endpoint = Endpoint::new(signalling::client(), &options.whep_url, options.token.as_deref())?;
            By::Whep { endpoint, certificate, tcp: options.tcp }
        }
    };
    let counter = Counter::start(options.viewers, packets.clone(), stopped.clone())?;
    let read = || read(&options, &packets, &published);
    let before = read()?;
    let start = Instant::now() + HEAD_START;
    let plans = (0..options.viewers).map(|index| Plan {
        by: by.clone(),
        begins: start + Duration::from_secs_f64(index as f64 / options.joins_per_second.max(0.01)),
        full: index < options.full_viewers,
        stamped: options.whip_url.is_some(),
        epoch,
        stop: stopped.clone(),
        packets: packets.clone(),
        counter: counter.clone(),
        joined: joined.clone(),
    });
    let crowds = start_viewers(plans.collect(), options.threads.max(1))?;
    drop(joined);
    for _ in 0..options.viewers {
        // None when every viewer has ended, which is as final as a join.
        if joins.recv().await.is_none() {
            break;
        }
    }

    let opened = read()?;
    tokio::time::sleep(options.duration).await;
    let readings = Readings { before, opened, closed: read()? };

    let mut published = Vec::new();
    for publisher in &mut publishers {
        publisher.stop();
    }
    for publisher in &mut publishers {
        published.push(publisher.quiet().await?);
    }
    stop.send_replace(true);
    let mut viewers = Vec::with_capacity(options.viewers);
    for crowd in crowds {
        viewers.extend(crowd.await.unwrap_or_default());
    }
    for publisher in publishers {
        publisher.close().await;
    }
    if let Some(published) = published.first() {
        let to_the_end = |seen: &&mut Seen| seen.full && seen.closed.is_none() && seen.error.is_none();
        for seen in viewers.iter_mut().filter(to_the_end) {
            seen.audio.numbers.sent_up_to(published.audio_packets);
            seen.video.numbers.sent_up_to(published.video_packets);
        }
    }
    Ok(LoadReport::new(&viewers, &published, &readings))
}

fn read(options: &LoadOptions, packets: &AtomicU64, published: &AtomicU64) -> Result<Reading, Error> {
    let process = |pid| Ok::<_, Error>((process::usage(pid)?, process::dropped(pid)?));
    Ok(Reading {
        at: Instant::now(),
        packets: packets.load(Ordering::Relaxed),
        published: published.load(Ordering::Relaxed),
        own: process(std::process::id())?,
        server: options.watch_process.map(process).transpose()?,
    })
}

/// What the viewers of one thread saw, when they are done.
type Crowd = oneshot::Receiver<Vec<Seen>>;

fn start_viewers(plans: Vec<Plan>, threads: usize) -> Result<Vec<Crowd>, Error> {
    let mut crowds: Vec<Vec<Plan>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, plan) in plans.into_iter().enumerate() {
        crowds[index % threads].push(plan);
    }
    crowds.into_iter().map(start_crowd).collect()
}

/// A thread for some viewers. It is not joined: it ends by itself once they have left, and they leave when the run
/// says so or is dropped.
fn start_crowd(plans: Vec<Plan>) -> Result<Crowd, Error> {
    let (done, crowd) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("load-viewers".to_owned()).spawn(move || {
        let seen = runtime.block_on(async {
            let viewers: task::JoinSet<Seen> = plans.into_iter().map(viewer::watch).collect();
            viewers.join_all().await
        });
        // The run was dropped: nobody wants to know.
        let _ = done.send(seen);
    })?;
    Ok(crowd)
}
