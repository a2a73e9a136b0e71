//! Failures of what feeds streams (S3-R8): how often a child ended unordered that was to feed a stream, by the stream, by what
//! it sent there (its leg), and by how it ended: a stop is none (S3-B6). The names of streams are bounded in number; those that
//! come later are counted together.

use std::collections::{BTreeMap, BTreeSet};

use super::Ended;
use super::command::outputs;
use super::definition::Definition;
use super::progress::Progress;
use super::templates::{self, WHEP};

/// What a stream is called that came after so many others.
const OTHER: &str = "other";

/// What a child sends to a stream.
const LEGS: [&str; 2] = ["audio", "video"];

/// The words of [`Ended`] that are failures.
const REASONS: [&str; 4] = ["crashed", "limits", "not_started", "stale"];

/// How often a leg has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegFailure {
    /// The stream that was fed; `other` for those beyond the first hundred.
    pub stream: String,
    /// `video` or `audio`: what was sent there, or would have been.
    pub leg: &'static str,
    /// `crashed`, `stale`, `limits` or `not_started`.
    pub reason: &'static str,
    /// So often.
    pub count: u64,
}

/// Counts them, of at most so many streams.
#[derive(Debug)]
pub(super) struct Failures {
    most: usize,
    streams: BTreeSet<String>,
    counts: BTreeMap<(String, &'static str, &'static str), u64>,
}

impl Failures {
    pub(super) fn new(most: usize) -> Self {
        Self { most, streams: BTreeSet::new(), counts: BTreeMap::new() }
    }

    /// What has no stream of its own is there before it is counted.
    pub(super) fn with_other(mut self) -> Self {
        let all = LEGS.into_iter().flat_map(|leg| REASONS.map(|reason| (OTHER.to_owned(), leg, reason)));
        self.counts.extend(all.map(|key| (key, 0)));
        self
    }

    /// A child has ended that fed this stream these legs.
    pub(super) fn count(&mut self, stream: &str, legs: &[&'static str], how: &Ended) {
        if how.is_clean() {
            return;
        }
        let is_known = self.streams.contains(stream);
        let stream = if is_known || self.streams.len() < self.most { stream } else { OTHER };
        self.streams.insert(stream.to_owned());
        for leg in legs {
            *self.counts.entry((stream.to_owned(), leg, how.word())).or_default() += 1;
        }
    }

    pub(super) fn all(&self) -> Vec<LegFailure> {
        let failure = |((stream, leg, reason), count): (&(String, &'static str, &'static str), &u64)| LegFailure {
            stream: stream.clone(),
            leg,
            reason,
            count: *count,
        };
        self.counts.iter().map(failure).collect()
    }
}

/// The streams that a process feeds, each with the number of the output that does.
pub(super) fn fed(definition: &Definition) -> Vec<(String, u64)> {
    // Where its files are is in no name of a stream.
    let outputs = outputs(definition, std::path::Path::new("/"));
    let own = definition.egress_stream().map(|stream| (stream, outputs.len() as u64));
    let of_output =
        |(at, address): (u64, String)| templates::streams(&address, WHEP).into_iter().map(move |name| (name, at));
    (0..).zip(outputs.into_iter().map(|end| end.address)).flat_map(of_output).chain(own).collect()
}

/// What a child has sent to one of its outputs; of one that had not got so far, all that there may be.
pub(super) fn legs(progress: &Progress, output: u64) -> Vec<&'static str> {
    let sent = |leg: &&'static str| progress.outputs.iter().any(|io| io.index == output && io.kind == **leg);
    let sent: Vec<&'static str> = LEGS.into_iter().filter(sent).collect();
    if sent.is_empty() { LEGS.to_vec() } else { sent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Io, Limit};

    fn told(failures: &Failures) -> Vec<String> {
        let one = |one: LegFailure| format!("{} {} {} {}", one.stream, one.leg, one.reason, one.count);
        failures.all().into_iter().map(one).collect()
    }

    #[test]
    fn a_stop_is_no_failure_and_a_crash_is_one_of_each_leg() {
        let mut failures = Failures::new(9);
        for how in [Ended::Stopped, Ended::Restarted, Ended::Exited(0)] {
            failures.count("cam", &LEGS, &how);
        }
        assert_eq!(told(&failures), Vec::<String>::new());
        let ends = [
            Ended::Exited(1),
            Ended::Signal(9),
            Ended::Stale,
            Ended::Limits(Limit::Cpu),
            Ended::NotStarted("why".into()),
        ];
        for how in ends {
            failures.count("cam", &["video"], &how);
        }
        failures.count("cam", &LEGS, &Ended::Stale);
        let expected = [
            "cam audio stale 1",
            "cam video crashed 2",
            "cam video limits 1",
            "cam video not_started 1",
            "cam video stale 2",
        ];
        assert_eq!(told(&failures), expected);
    }

    #[test]
    fn streams_beyond_the_bound_are_counted_together() {
        let mut failures = Failures::new(2).with_other();
        for stream in ["a", "b", "c", "d", "a"] {
            failures.count(stream, &["video"], &Ended::Stale);
        }
        let counted: Vec<String> = told(&failures).into_iter().filter(|one| !one.ends_with(" 0")).collect();
        assert_eq!(counted, ["a video stale 2", "b video stale 1", "other video stale 2"]);
        assert_eq!(told(&failures).len(), 10, "those of the others are there from the beginning");
    }

    #[test]
    fn streams_belong_to_the_outputs_that_feed_them() {
        let json = r#"{"id": "p", "whep_egress": {"enabled": true},
            "input": [{"address": "a"}],
            "output": [{"address": "-"}, {"address": "[f=flv]x|{whep:{id}-tee}|{whep:b}"}, {"address": "{whep:c,transport=rtp}"}]}"#;
        let fed: Vec<_> = fed(&Definition::read(json.as_bytes()).unwrap());
        let expected = [("p-tee", 1), ("b", 1), ("c", 2), ("p-out", 3)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(fed, expected);
    }

    #[test]
    fn legs_are_what_was_sent_or_all_before_that_is_known() {
        let io = |index, kind: &str| Io { index, kind: kind.to_owned(), ..Io::default() };
        let outputs = vec![io(0, "video"), io(1, "audio"), io(2, "subtitle")];
        let progress = Progress { outputs, ..Progress::default() };
        let cases: [(u64, &[&str]); 4] = [(0, &["video"]), (1, &["audio"]), (2, &LEGS), (3, &LEGS)];
        for (output, expected) in cases {
            assert_eq!(legs(&progress, output), expected, "{output}");
        }
    }
}
