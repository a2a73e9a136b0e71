//! `whipstitch-load`: a synthetic publisher and many viewers against a running gateway; the report as `key=value` lines.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use whipstitch_client::load::{self, LoadOptions};
use whipstitch_client::reader::Way;

/// Puts viewers on one stream and reports what reached them.
#[derive(Parser)]
#[command(name = "whipstitch-load", version)]
struct Arguments {
    /// WHIP endpoint for the synthetic publisher; without it the stream must exist already.
    #[arg(long)]
    whip: Option<String>,
    /// WHEP endpoint of the viewers.
    #[arg(long, default_value = "", required_unless_present_any = ["rtsp", "sdp"])]
    whep: String,
    /// Viewers read over RTSP from this URL instead, in the connection or, with --udp, over UDP.
    #[arg(long, conflicts_with = "sdp")]
    rtsp: Option<String>,
    /// Viewers read plain RTP on the ports that a GET of this URL leases.
    #[arg(long)]
    sdp: Option<String>,
    /// Over UDP, with --rtsp.
    #[arg(long, requires = "rtsp")]
    udp: bool,
    /// Bearer token for both.
    #[arg(long, env = "WHIPSTITCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Publishers in all; those beyond the first publish to the URL of --whip with -2, -3 and so on at its end.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Viewers in all.
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// Viewers that decrypt and check everything; the others count headers after their first picture.
    #[arg(long, default_value_t = 5)]
    full: usize,
    /// Seconds measured after the last join.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Viewers that post within a second.
    #[arg(long, default_value_t = 20.0)]
    joins_per_second: f64,
    /// Threads for the viewers.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Bits a second of video.
    #[arg(long, default_value_t = 2_500_000)]
    bitrate: u32,
    /// Seconds from keyframe to keyframe.
    #[arg(long, default_value_t = 2.0)]
    gop: f64,
    /// Send in bursts 5 ms apart instead of a picture at once.
    #[arg(long)]
    paced: bool,
    /// Ignore keyframe requests, as OBS and FFmpeg do.
    #[arg(long)]
    ignore_keyframe_requests: bool,
    /// Reach the gateway over TCP.
    #[arg(long)]
    tcp: bool,
    /// Process id of the gateway, to report its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

impl From<Arguments> for LoadOptions {
    fn from(arguments: Arguments) -> LoadOptions {
        let rtsp = if arguments.udp { Way::Udp } else { Way::Tcp };
        let by_rtsp = arguments.rtsp.map(|url| (rtsp, url));
        LoadOptions {
            readers: by_rtsp.or(arguments.sdp.map(|url| (Way::Leased, url))),
            token: arguments.token,
            publishers: arguments.publishers,
            viewers: arguments.viewers,
            full_viewers: arguments.full,
            duration: seconds(arguments.duration),
            joins_per_second: arguments.joins_per_second,
            threads: arguments.threads,
            bitrate: arguments.bitrate,
            gop: seconds(arguments.gop),
            paced: arguments.paced,
            obeys_keyframe_requests: !arguments.ignore_keyframe_requests,
            tcp: arguments.tcp,
            watch_process: arguments.pid,
            ..LoadOptions::new(arguments.whip, arguments.whep)
        }
    }
}

/// Negative and absurd values become zero and a day.
fn seconds(value: f64) -> Duration {
    const DAY: f64 = 86_400.0;
    Duration::try_from_secs_f64(value.min(DAY)).unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(EnvFilter::from_default_env()).init();
    match load::run(Arguments::parse().into()).await {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
