//! Whether a definition can stand: bounds, names, and what must be there.

use std::collections::HashSet;

use super::{Definition, End, FFMPEG, Mistake, WhepEgress, WhipIngest, stream_name};
use crate::process::templates::{self, WHEP, WHIP};

/// The longest id, in bytes: it has to fit a file name.
const LONGEST_ID: usize = 128;
/// The longest reference, in bytes.
const LONGEST_REFERENCE: usize = 1024;
/// The longest address or option, in bytes: graphs of filters are long, and Linux takes no argument above 128 KiB.
const LONGEST_WORD: usize = 65_536;
/// Inputs, or outputs, of one process.
const MOST_ENDS: usize = 64;
/// Options of one list.
const MOST_OPTIONS: usize = 1024;
/// All of it as JSON, in bytes: what [`Definition::merged`] may grow it to.
const LARGEST: usize = 1 << 20;
/// A year: no time here is longer.
const LONGEST_TIME: u64 = 365 * 86_400;
/// 16 TiB in MiB.
const MOST_MEMORY: u64 = 1 << 24;

impl Definition {
    /// Everything that is wrong with it.
    ///
    /// # Errors
    /// Each mistake with its field.
    pub fn check(&self) -> Result<(), Vec<Mistake>> {
        let mut wrong = Wrong(Vec::new());
        wrong.id(self);
        if self.kind != FFMPEG {
            wrong.add("type", format!("{:?} is not supported: processes are of type {FFMPEG:?}", self.kind));
        }
        wrong.text("reference", &self.reference, LONGEST_REFERENCE);
        wrong.options("options", &self.options);
        wrong.ends(self, "input", &self.input);
        wrong.ends(self, "output", &self.output);
        if self.input.is_empty() && self.ingest().is_none() {
            wrong.add("input", "at least one input is needed, or whip_ingest");
        }
        if self.output.is_empty() && self.egress().is_none() {
            wrong.add("output", "at least one output is needed, or whep_egress");
        }
        wrong.number("reconnect_delay_seconds", self.reconnect_delay_seconds, LONGEST_TIME);
        wrong.number("stale_timeout_seconds", self.stale_timeout_seconds, LONGEST_TIME);
        wrong.number("limits.memory_mbytes", self.limits.memory_mbytes, MOST_MEMORY);
        wrong.number("limits.waitfor_seconds", self.limits.waitfor_seconds, LONGEST_TIME);
        if !(0.0..=100.0).contains(&self.limits.cpu_usage) {
            wrong.add("limits.cpu_usage", "is a percentage from 0 to 100");
        }
        if let Some(ingest) = &self.whip_ingest {
            wrong.ingest(ingest);
        }
        if let Some(egress) = &self.whep_egress {
            wrong.egress(self, egress);
        }
        let mut fed = HashSet::new();
        for (field, stream) in self.feeds() {
            if !fed.insert(stream.clone()) {
                wrong.add(field, format!("the stream {stream:?} is fed by another output, too"));
            }
        }
        if serde_json::to_vec(self).map_or(usize::MAX, |json| json.len()) > LARGEST {
            wrong.add("", format!("a definition has at most {LARGEST} bytes"));
        }
        if wrong.0.is_empty() { Ok(()) } else { Err(wrong.0) }
    }
}

/// Whether a text can name a process that has nothing to do with streams. It also names a folder.
///
/// # Errors
/// Why not.
fn process_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("is empty"),
        "." | ".." => Err("is no name but a path"),
        _ if id.len() > LONGEST_ID => Err("has more than 128 bytes"),
        _ if id.contains(['/', '\\']) => Err("must not contain / or \\"),
        _ if id.contains(char::is_control) => Err("contains a control character"),
        _ if id.trim() != id => Err("begins or ends with a space"),
        _ => Ok(()),
    }
}

struct Wrong(Vec<Mistake>);

impl Wrong {
    fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Mistake::new(field, why));
    }

    fn id(&mut self, definition: &Definition) {
        let wired = definition.ingest().is_some() || definition.egress().is_some();
        match process_id(&definition.id) {
            Err(why) => self.add("id", why),
            Ok(()) if wired => {
                if let Err(why) = stream_name(&definition.id) {
                    self.add("id", format!("with whip_ingest or whep_egress it is the name of a stream too: {why}"));
                }
            }
            Ok(()) => {}
        }
    }

    fn text(&mut self, field: impl Into<String>, text: &str, longest: usize) {
        if text.len() > longest {
            self.add(field, format!("has more than {longest} bytes"));
        } else if text.contains('\0') {
            self.add(field, "contains a NUL character, which no argument can");
        }
    }

    fn options(&mut self, field: &str, options: &[String]) {
        if options.len() > MOST_OPTIONS {
            return self.add(field, format!("has more than {MOST_OPTIONS} options"));
        }
        for (at, option) in options.iter().enumerate() {
            self.text(format!("{field}[{at}]"), option, LONGEST_WORD);
        }
    }

    fn number(&mut self, field: &str, number: u64, most: u64) {
        if number > most {
            self.add(field, format!("is more than {most}"));
        }
    }

    fn ends(&mut self, definition: &Definition, field: &str, ends: &[End]) {
        if ends.len() > MOST_ENDS {
            return self.add(field, format!("has more than {MOST_ENDS} entries"));
        }
        let mut ids = HashSet::new();
        for (at, end) in ends.iter().enumerate() {
            let field = format!("{field}[{at}]");
            self.text(format!("{field}.id"), &end.id, LONGEST_ID);
            if !end.id.is_empty() && !ids.insert(end.id.as_str()) {
                self.add(format!("{field}.id"), format!("{:?} is the id of another one, too", end.id));
            }
            if end.address.trim().is_empty() {
                self.add(format!("{field}.address"), "is empty");
            }
            self.text(format!("{field}.address"), &end.address, LONGEST_WORD);
            self.options(&format!("{field}.options"), &end.options);
            self.streams(definition, &field, end);
        }
    }

    /// The streams that an address names.
    fn streams(&mut self, definition: &Definition, field: &str, end: &End) {
        let is_input = field.starts_with("input");
        let names = if is_input { definition.names().input(end) } else { definition.names().output(end) };
        let address = names.expand(&end.address);
        let field = format!("{field}.address");
        let (own, others) = if is_input { (WHIP, WHEP) } else { (WHEP, WHIP) };
        if !templates::streams(&address, others).is_empty() {
            self.add(&*field, format!("{{{others}:…}} is no {}", if is_input { "input" } else { "output" }));
        }
        for name in templates::streams(&address, own) {
            if let Err(why) = stream_name(&name) {
                self.add(&*field, format!("{name:?} is no stream: {why}"));
            }
        }
        if is_input && !templates::streams(&address, own).is_empty() && templates::whole(&address, own).is_none() {
            self.add(&*field, format!("{{{own}:…}} is a whole address and not a part of one"));
        }
        if let Some(transport) = templates::unknown_transport(&address) {
            self.add(&*field, format!("transport {transport:?} is neither rtsp nor rtp"));
        }
    }

    fn ingest(&mut self, ingest: &WhipIngest) {
        for (field, pt) in [("video_pt", ingest.video_pt), ("audio_pt", ingest.audio_pt)] {
            // Those that a description gives a meaning (RFC 3551 6).
            if pt != 0 && !(96..=127).contains(&pt) {
                self.add(format!("whip_ingest.{field}"), "is a payload type from 96 to 127, or 0");
            }
        }
        if ingest.video_pt == ingest.audio_pt && ingest.video_pt != 0 {
            self.add("whip_ingest.audio_pt", "is that of video, too");
        }
    }

    fn egress(&mut self, definition: &Definition, egress: &WhepEgress) {
        self.options("whep_egress.options", &egress.options);
        let Some(stream) = definition.egress_stream() else { return };
        if let Err(why) = stream_name(&stream) {
            self.add("whep_egress.stream", format!("{stream:?} is no stream: {why}"));
        }
        if definition.ingest().is_some() && stream == definition.id {
            self.add("whep_egress.stream", "is the stream that the process reads");
        }
    }
}
