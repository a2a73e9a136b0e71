//! `whipstitch-churn`: publishers and viewers that come and go on three streams of a running gateway; the report as
//! `key=value` lines.

use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use whipstitch_client::load::{ChurnOptions, churn};

/// Comes and goes on three streams and reports what did not hold.
#[derive(Parser)]
#[command(name = "whipstitch-churn", version)]
struct Arguments {
    /// WHIP endpoint; -1, -2 and -3 are put at its end. The gateway has to run with on_conflict = "takeover".
    #[arg(long)]
    whip: String,
    /// WHEP endpoint; likewise.
    #[arg(long)]
    whep: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Viewers of each stream at once.
    #[arg(long, default_value_t = 15)]
    viewers: usize,
    /// Of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(EnvFilter::from_default_env()).init();
    let Arguments { whip, whep, seconds, viewers, seed } = Arguments::parse();
    let duration = Duration::from_secs(seconds);
    print!("{}", churn(ChurnOptions { whip_url: whip, whep_url: whep, duration, viewers, seed }).await);
}
