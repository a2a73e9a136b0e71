//! What the API shows of processes: the fields of datarhei Core v16, and a few more.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use whipstitch_ffmpeg::process::{self, Definition, Progress, Run, RunState};

/// A definition as it is answered.
#[derive(Serialize)]
pub(super) struct Config<'a>(pub(super) &'a Definition);

/// A process, as far as it was asked for.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Process {
    pub(super) id: String,
    /// `ffmpeg`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) reference: String,
    /// Unix time in seconds.
    pub(super) created_at: i64,
    /// Unix time in seconds.
    pub(super) updated_at: i64,
    /// The configuration declares it (`[[process]]`), which alone can change it.
    pub(super) read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Definition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Report>,
    /// What is kept with it, by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<Value>,
}

/// What a process is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessState)]
pub(in super::super) struct State {
    /// `start` or `stop`.
    order: &'static str,
    /// `finished`, `starting`, `running`, `finishing`, `failed` or `killed`.
    exec: &'static str,
    /// Seconds it has been doing that.
    runtime_seconds: u64,
    /// Seconds until it is started by itself; -1: it will not be.
    reconnect_seconds: i64,
    last_logline: String,
    progress: Progress,
    /// Resident memory.
    memory_bytes: u64,
    /// Percent of all the machine's CPUs.
    cpu_usage: f64,
    /// The arguments of the child that is there or was last; `***` stands for secrets.
    command: Vec<String>,
    /// What it reads has no publisher: it may be silent.
    waiting: bool,
    /// Of the child that is there.
    pid: Option<u32>,
    /// How many children it has had since it was last ordered to run, but for the first.
    restarts: u64,
    /// How often what it sends to streams has failed, since it was defined or changed.
    leg_failures: Vec<LegFailure>,
}

/// How often a child ended unordered that sent this to a stream, or was to.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessLegFailure)]
struct LegFailure {
    /// The stream.
    stream: String,
    /// `video` or `audio`.
    leg: &'static str,
    /// How it ended: `crashed`, `stale`, `limits`, `not_started`.
    reason: &'static str,
    /// So often.
    count: u64,
}

impl State {
    pub(super) fn of(process: &process::Process) -> Self {
        let state: RunState = process.state();
        let failure = |one: process::LegFailure| {
            let process::LegFailure { stream, leg, reason, count } = one;
            LegFailure { stream, leg, reason, count }
        };
        let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self {
            order: state.order.word(),
            exec: state.exec.word(),
            runtime_seconds: state.runtime.as_secs(),
            reconnect_seconds: state.reconnect.map_or(-1, seconds),
            last_logline: state.last_line.map(|line| line.to_string()).unwrap_or_default(),
            progress: state.progress,
            memory_bytes: state.usage.memory,
            cpu_usage: (state.usage.cpu * 1000.0).round() / 1000.0,
            command: state.command,
            waiting: state.waiting,
            pid: state.pid,
            restarts: state.restarts,
            leg_failures: process.leg_failures().into_iter().map(failure).collect(),
        }
    }
}

/// What a process has said.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessReport)]
pub(in super::super) struct Report {
    #[serde(flatten)]
    current: Said,
    /// The runs before, the oldest first.
    history: Vec<Said>,
}

/// What one child has said.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessReportEntry)]
struct Said {
    /// When it was started, Unix time in seconds. 0: there was none yet.
    created_at: u64,
    /// Its first lines, until its first progress.
    prelude: Vec<String>,
    /// Its last lines, each with its Unix time in seconds, as text.
    log: Vec<[String; 2]>,
    /// When it ended, Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    exited_at: Option<u64>,
    /// How it ended, in one word: `stopped`, `restarted`, `exited`, `crashed`, `stale`, `limits`, `not_started`.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_state: Option<&'static str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_reason: Option<String>,
}

impl Report {
    pub(super) fn of(report: process::Report) -> Self {
        Self { current: Said::of(report.current), history: report.history.into_iter().map(Said::of).collect() }
    }
}

impl Said {
    fn of(run: Run) -> Self {
        Self {
            created_at: run.created_at,
            prelude: run.prelude.iter().map(ToString::to_string).collect(),
            log: run.log.iter().map(|line| [line.at.to_string(), line.text.to_string()]).collect(),
            exited_at: run.ended.as_ref().map(|(at, _)| *at),
            exit_state: run.ended.as_ref().map(|(_, how)| how.word()),
            exit_reason: run.ended.as_ref().map(|(_, how)| how.to_string()),
        }
    }
}
