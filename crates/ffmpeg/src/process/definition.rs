//! What a process is: the JSON of datarhei Core v16, extended by what comes from WHIP and goes to WHEP.
//!
//! Definitions come from strangers: every count and length has a bound ([`check`](Definition::check)), every mistake names
//! its field. What nobody here knows is kept and given back.

mod check;
mod read;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use whipstitch_stream::StreamKey;

pub use self::read::Unreadable;
use super::templates::{self, Names};
use super::wiring::{Ingest, Legs, Transport, Wired};

/// A field of a definition, and why it cannot stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// As in `input[0].address`; empty for the whole.
    pub field: String,
    /// Why, in words.
    pub why: String,
}

impl Mistake {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.why),
            field => write!(f, "{field}: {}", self.why),
        }
    }
}

/// What `type` says when it says nothing.
const FFMPEG: &str = "ffmpeg";

/// A process as it is defined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProcessConfig)]
pub struct Definition {
    /// Its name. Without one it gets a random one. With `whip_ingest` or `whep_egress` what a stream may be named.
    #[serde(default, deserialize_with = "given")]
    pub id: String,
    /// `ffmpeg`.
    #[serde(rename = "type", default = "ffmpeg", deserialize_with = "given_kind")]
    pub kind: String,
    /// Any text, to find processes by.
    #[serde(default, deserialize_with = "given")]
    pub reference: String,
    /// What it reads.
    #[serde(default, deserialize_with = "given")]
    pub input: Vec<End>,
    /// What it writes.
    #[serde(default, deserialize_with = "given")]
    pub output: Vec<End>,
    /// Options of FFmpeg before all others, each word one argument.
    #[serde(default, deserialize_with = "given")]
    pub options: Vec<String>,
    /// Whether it is started again when it has ended, however it did.
    #[serde(default, deserialize_with = "given")]
    pub reconnect: bool,
    /// Seconds until then.
    #[serde(default, deserialize_with = "given")]
    pub reconnect_delay_seconds: u64,
    /// Whether it starts once it is defined.
    #[serde(default = "yes", deserialize_with = "given_yes")]
    pub autostart: bool,
    /// Seconds without progress after which it is ended as stuck. 0: never.
    #[serde(default, deserialize_with = "given")]
    pub stale_timeout_seconds: u64,
    /// What it may take.
    #[serde(default, deserialize_with = "given")]
    pub limits: Limits,
    /// Media published to `/whip/{id}` is its first input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whip_ingest: Option<WhipIngest>,
    /// Its last output is a stream for viewers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whep_egress: Option<WhepEgress>,
    /// What is not known here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// An input or an output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProcessConfigIO)]
pub struct End {
    /// Its name among the inputs, or outputs, of the process. Without one it gets a random one.
    #[serde(default, deserialize_with = "given")]
    pub id: String,
    /// What is read or written; may hold templates such as `{whip:cam}`.
    #[serde(default, deserialize_with = "given")]
    pub address: String,
    /// Options of FFmpeg for it, each word one argument.
    #[serde(default, deserialize_with = "given")]
    pub options: Vec<String>,
    /// What is not known here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// What a process may take before it is ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProcessConfigLimits)]
pub struct Limits {
    /// Percent of all the machine's CPUs. 0: no limit.
    #[serde(default, deserialize_with = "given")]
    pub cpu_usage: f64,
    /// MiB. 0: no limit.
    #[serde(default, deserialize_with = "given")]
    pub memory_mbytes: u64,
    /// Seconds that it may be above a limit.
    #[serde(default, deserialize_with = "given")]
    pub waitfor_seconds: u64,
    /// What is not known here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// Media that comes by WHIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WhipIngest {
    /// Whether it does.
    #[serde(default = "yes", deserialize_with = "given_yes")]
    pub enabled: bool,
    /// How it reaches the process.
    #[serde(default, deserialize_with = "given")]
    pub transport: Transport,
    /// Over RTP, the payload type of video. 0: the publisher's.
    #[serde(default, deserialize_with = "given")]
    pub video_pt: u8,
    /// Over RTP, the payload type of audio. 0: the publisher's.
    #[serde(default, deserialize_with = "given")]
    pub audio_pt: u8,
    /// Whether a publisher starts the process, where it else were refused because it is ordered to stop.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "std::ops::Not::not")]
    pub start_on_publish: bool,
    /// What is not known here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// A stream for viewers that the process feeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WhepEgress {
    /// Whether it does.
    #[serde(default = "yes", deserialize_with = "given_yes")]
    pub enabled: bool,
    /// How it comes from the process.
    #[serde(default, deserialize_with = "given")]
    pub transport: Transport,
    /// The name of the stream; may hold `{id}` and `{reference}`. Empty: `{id}-out`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// Options of FFmpeg for it. For a kind of media that they name no codec for, H.264 without B-frames and Opus are used.
    #[serde(default, deserialize_with = "given")]
    pub options: Vec<String>,
    /// What is not known here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// The stream of a `whep_egress` that names none.
const EGRESS: &str = "{id}-out";

impl Definition {
    /// The `whip_ingest` that is on.
    pub fn ingest(&self) -> Option<&WhipIngest> {
        self.whip_ingest.as_ref().filter(|ingest| ingest.enabled)
    }

    /// The `whep_egress` that is on.
    pub fn egress(&self) -> Option<&WhepEgress> {
        self.whep_egress.as_ref().filter(|egress| egress.enabled)
    }

    /// The name of the stream that its `whep_egress` feeds, if that is on.
    pub fn egress_stream(&self) -> Option<String> {
        let named = Some(self.egress()?.stream.as_str()).filter(|name| !name.is_empty()).unwrap_or(EGRESS);
        Some(self.names().expand(named))
    }

    /// What it has to do with streams.
    pub fn legs(&self) -> Legs {
        let pt = |pt: u8| Some(pt).filter(|pt| *pt != 0);
        let ingest = self.ingest().map(|ingest| Ingest {
            stream: self.id.clone(),
            transport: ingest.transport,
            video_pt: pt(ingest.video_pt),
            audio_pt: pt(ingest.audio_pt),
            start_on_publish: ingest.start_on_publish,
        });
        let egress = self.egress_stream().zip(self.egress());
        let egress = egress.map(|(stream, egress)| Wired { stream, transport: egress.transport });
        let streams = |ends: &[End], names: fn(&Names<'_>, &End) -> Vec<String>| {
            let mut all: Vec<String> = ends.iter().flat_map(|end| names(&self.names(), end)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        Legs {
            ingest,
            egress,
            reads: streams(&self.input, |names, end| {
                templates::streams(&names.input(end).expand(&end.address), templates::WHIP)
            }),
            writes: streams(&self.output, |names, end| {
                templates::streams(&names.output(end).expand(&end.address), templates::WHEP)
            }),
        }
    }

    /// Every stream that it feeds, after the field that says so.
    pub(super) fn feeds(&self) -> Vec<(String, String)> {
        let of_output = |(at, end): (usize, &End)| {
            let streams = templates::streams(&self.names().output(end).expand(&end.address), templates::WHEP);
            streams.into_iter().map(move |stream| (format!("output[{at}].address"), stream)).collect::<Vec<_>>()
        };
        let outputs = self.output.iter().enumerate().flat_map(of_output);
        outputs.chain(self.egress_stream().map(|stream| ("whep_egress.stream".to_owned(), stream))).collect()
    }

    /// What templates of its own may name.
    pub(super) fn names(&self) -> Names<'_> {
        Names::of(&self.id, &self.reference)
    }

    /// The fields that nobody here knows, as in `input[0].cleanup`.
    pub fn unknown(&self) -> Vec<String> {
        let of = |place: String, other: &Map<String, Value>| {
            other.keys().map(|name| format!("{place}{name}")).collect::<Vec<_>>()
        };
        let mut all = of(String::new(), &self.other);
        for (name, ends) in [("input", &self.input), ("output", &self.output)] {
            all.extend(ends.iter().enumerate().flat_map(|(at, end)| of(format!("{name}[{at}]."), &end.other)));
        }
        all.extend(of("limits.".to_owned(), &self.limits.other));
        all.extend(self.whip_ingest.iter().flat_map(|ingest| of("whip_ingest.".to_owned(), &ingest.other)));
        all.extend(self.whep_egress.iter().flat_map(|egress| of("whep_egress.".to_owned(), &egress.other)));
        all
    }

    /// Names for what came without one.
    pub fn name_the_nameless(&mut self) {
        if self.id.is_empty() {
            self.id = random_id();
        }
        for end in self.input.iter_mut().chain(&mut self.output).filter(|end| end.id.is_empty()) {
            end.id = random_id();
        }
    }
}

/// 16 hex digits nobody has used.
fn random_id() -> String {
    format!("{:016x}", whipstitch_plane::random::u64())
}

/// Whether a text can be the name of a stream (design 1.2).
fn stream_name(name: &str) -> Result<(), String> {
    StreamKey::parse(name).map(drop).map_err(|error| error.to_string())
}

fn ffmpeg() -> String {
    FFMPEG.to_owned()
}

fn yes() -> bool {
    true
}

/// A value, or what stands for none: `null` is how some clients write that.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn given_yes<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(true))
}

fn given_kind<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let kind: Option<String> = Option::deserialize(from)?;
    Ok(kind.filter(|kind| !kind.is_empty()).unwrap_or_else(ffmpeg))
}

#[cfg(test)]
mod tests;
