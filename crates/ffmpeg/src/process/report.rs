//! What children have said: the log of this run, its first lines, and the runs before. Secrets are masked before anything
//! is kept. One [`Log`] per process; everything in it is bounded, the oldest goes first.

use std::collections::VecDeque;
use std::sync::Arc;

use super::order::Ended;

/// Lines of one run, as datarhei Core keeps them by default.
const LINES: usize = 300;

/// And their bytes: a run costs no more, however long its lines are.
const BYTES: usize = 128 * 1024;

/// Lines before the first progress: what FFmpeg says of itself, its inputs and outputs; and their bytes.
const PRELUDE: usize = 100;
const PRELUDE_BYTES: usize = 64 * 1024;

/// Past runs: with [`BYTES`] and [`PRELUDE_BYTES`] the most that a process that fails again and again leaves behind.
const RUNS: usize = 10;

/// What stands where a secret was.
const MASK: &str = "***";

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Unix time in seconds.
    pub at: u64,
    /// Without secrets; at most 4 KiB.
    pub text: Arc<str>,
}

/// What one child has said, or why there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Unix time in seconds at which it was started.
    pub created_at: u64,
    /// At most 100 lines and 64 KiB from before its first progress.
    pub prelude: Vec<Arc<str>>,
    /// Its last lines, at most 300 and 128 KiB, oldest first.
    pub log: VecDeque<Line>,
    /// Unix time in seconds at which it ended, and how. None: it has not.
    pub ended: Option<(u64, Ended)>,
}

/// What children have said: the one that is there or was last, and those before it, oldest first, at most ten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The run that is on, or the last one.
    pub current: Run,
    /// The runs before.
    pub history: VecDeque<Run>,
}

/// Words that nobody is to read.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn new(mut words: Vec<String>) -> Self {
        words.retain(|word| !word.is_empty());
        // One that contains another is masked whole.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        Self(words)
    }

    /// The text without them.
    pub(crate) fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
    }
}

/// Where what a child says is put.
#[derive(Default)]
pub(crate) struct Log {
    report: Report,
    /// Of the current run's log, and of its prelude.
    bytes: usize,
    prelude_bytes: usize,
    /// Its first progress has come.
    past_prelude: bool,
}

impl Log {
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// The last line that was said.
    pub(crate) fn last_line(&self) -> Option<Arc<str>> {
        self.report.current.log.back().map(|line| Arc::clone(&line.text))
    }

    /// Runs of before, oldest first, that another log had kept.
    pub(crate) fn remember(&mut self, runs: impl IntoIterator<Item = Run>) {
        self.report.history.extend(runs);
        self.forget();
    }

    /// A child is about to be started.
    pub(crate) fn begin(&mut self, unix: u64) {
        let new = Run { created_at: unix, ..Run::default() };
        let past = std::mem::replace(&mut self.report.current, new);
        (self.bytes, self.prelude_bytes, self.past_prelude) = (0, 0, false);
        // Starts that fail for ever for the same reason are one entry: the run before them is what people look for.
        let repeats = self.report.history.back().is_some_and(|last| last.says_the_same(&past));
        if past.ended.is_some() && !repeats {
            self.report.history.push_back(past);
            self.forget();
        }
    }

    fn forget(&mut self) {
        let excess = self.report.history.len().saturating_sub(RUNS);
        self.report.history.drain(..excess);
    }

    /// A line without secrets.
    pub(crate) fn line(&mut self, unix: u64, text: &str) {
        let text: Arc<str> = text.into();
        let run = &mut self.report.current;
        let fits = run.prelude.len() < PRELUDE && self.prelude_bytes + text.len() <= PRELUDE_BYTES;
        if !self.past_prelude && fits {
            self.prelude_bytes += text.len();
            run.prelude.push(Arc::clone(&text));
        }
        self.bytes += text.len();
        run.log.push_back(Line { at: unix, text });
        while run.log.len() > LINES || self.bytes > BYTES {
            let Some(first) = run.log.pop_front() else { break };
            self.bytes -= first.text.len();
        }
    }

    /// The first progress has come.
    pub(crate) fn end_prelude(&mut self) {
        self.past_prelude = true;
    }

    pub(crate) fn ended(&mut self, unix: u64, how: Ended) {
        self.report.current.ended = Some((unix, how));
    }
}

impl Run {
    /// Whether both were never started, for the same reason.
    fn says_the_same(&self, other: &Run) -> bool {
        let not_started = |run: &Run| matches!(run.ended, Some((_, Ended::NotStarted(_))));
        not_started(self) && not_started(other) && self.prelude == other.prelude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(log: &mut Log, at: u64, lines: &[&str], how: Ended) {
        log.begin(at);
        for line in lines {
            log.line(at, line);
        }
        log.ended(at + 1, how);
    }

    #[test]
    fn secrets_are_masked_whole_wherever_they_stand() {
        let secrets = Secrets::new(vec!["key".into(), String::new(), "longkey".into()]);
        assert_eq!(secrets.mask("rtsp://u:longkey@h/?a=key&b=keykey, Key"), "rtsp://u:***@h/?a=***&b=******, Key");
        assert_eq!(Secrets::default().mask("as it is"), "as it is");
    }

    #[test]
    fn a_log_keeps_its_last_lines_and_a_bounded_number_of_bytes() {
        let mut log = Log::default();
        log.begin(5);
        for n in 0..LINES + 7 {
            log.line(6, &n.to_string());
        }
        let kept = &log.report().current.log;
        assert_eq!((kept.len(), &*kept[0].text, kept[0].at), (LINES, "7", 6));
        assert_eq!(log.last_line().as_deref(), Some("306"));
        for _ in 0..LINES {
            log.line(7, &"x".repeat(4096));
        }
        let bytes: usize = log.report().current.log.iter().map(|line| line.text.len()).sum();
        assert_eq!(bytes, BYTES, "as many as fit");
    }

    #[test]
    fn the_prelude_ends_with_the_first_progress_or_when_it_is_full() {
        let mut log = Log::default();
        log.begin(0);
        log.line(0, "Input #0");
        log.end_prelude();
        log.line(0, "later");
        assert_eq!(log.report().current.prelude, ["Input #0".into()]);
        log.begin(0);
        (0..PRELUDE + 5).for_each(|_| log.line(0, "line"));
        assert_eq!(log.report().current.prelude.len(), PRELUDE);
        log.begin(0);
        (0..PRELUDE).for_each(|_| log.line(0, &"x".repeat(4096)));
        assert_eq!(log.report().current.prelude.len(), PRELUDE_BYTES / 4096);
    }

    #[test]
    fn past_runs_are_kept_with_their_ends_and_the_oldest_goes() {
        let mut log = Log::default();
        for n in 0..RUNS as i32 + 3 {
            run(&mut log, 10 * n as u64, &["a line"], Ended::Exited(n));
        }
        let report = log.report();
        assert_eq!(report.current.ended, Some((121, Ended::Exited(12))));
        let codes: Vec<_> = report.history.iter().map(|run| run.ended.clone().expect("it has").1).collect();
        assert_eq!(codes, (2..12).map(Ended::Exited).collect::<Vec<_>>());
        assert_eq!(report.history[0].created_at, 20);
    }

    #[test]
    fn starts_that_fail_alike_do_not_push_the_crash_out() {
        let mut log = Log::default();
        run(&mut log, 1, &["it broke"], Ended::Exited(1));
        for at in 0..50 {
            run(&mut log, at, &["no such program"], Ended::NotStarted(String::new()));
        }
        run(&mut log, 60, &["no such folder"], Ended::NotStarted(String::new()));
        let told: Vec<&str> = log.report().history.iter().map(|run| &*run.prelude[0]).collect();
        assert_eq!(told, ["it broke", "no such program"]);
    }

    #[test]
    fn a_new_log_takes_over_what_the_old_one_kept() {
        let mut log = Log::default();
        let past = (0..RUNS as u64 + 1).map(|at| Run { created_at: at, ..Run::default() });
        log.remember(past);
        assert_eq!((log.report().history.len(), log.report().history[0].created_at), (RUNS, 1));
    }
}
