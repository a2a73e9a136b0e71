//! From a definition to the arguments of one start: templates are put in, then streams are asked for.
//!
//! Everything is an argument of its own from beginning to end; no shell ever sees it.

use std::path::Path;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::addresses::{slave_options, slaves};
use super::definition::{Definition, End, Mistake};
use super::templates::{self, Names, Stream, WHEP, WHIP};
use super::wiring::{Leg, Transport, Wiring};

/// What browsers can play, for outputs whose options name no codec for video: they know no B-frames in H.264. FFmpeg makes no
/// keyframe when it is asked for one, so that there is one every two seconds, however few pictures those hold.
const VIDEO: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-tune",
    "zerolatency",
    "-bf",
    "0",
    "-pix_fmt",
    "yuv420p",
    "-g",
    "60",
    "-force_key_frames",
    "expr:gte(t,n_forced*2)",
];
/// The same for audio.
const AUDIO: &[&str] = &["-c:a", "libopus", "-b:a", "96k", "-ar", "48000", "-ac", "2"];

/// A definition with its templates put in, but for streams.
#[derive(Debug)]
pub(super) struct Expanded {
    pub(super) options: Vec<String>,
    pub(super) inputs: Vec<ExpandedEnd>,
    pub(super) outputs: Vec<ExpandedEnd>,
    pub(super) egress_options: Vec<String>,
}

/// An input or an output of it.
#[derive(Debug)]
pub(super) struct ExpandedEnd {
    /// Where it stands in the definition: `input[0]`.
    pub(super) field: String,
    pub(super) address: String,
    pub(super) options: Vec<String>,
}

/// Puts templates in. `own` is the folder of the process' files; `output_of` tells the address of an output of another
/// process, which an input names as `#process:output=id`.
pub(super) fn expand(
    definition: &Definition,
    own: &Path,
    output_of: &dyn Fn(&str, &str) -> Option<String>,
) -> Result<Expanded, Vec<Mistake>> {
    let data = own.display().to_string();
    let names = definition.names().data(&data);
    let mut wrong = Vec::new();
    let mut inputs = Vec::new();
    for (at, end) in definition.input.iter().enumerate() {
        let (field, names) = (format!("input[{at}]"), names.input(end));
        let address = names.expand(end.address.trim());
        match referred(&definition.id, &address, output_of) {
            Ok(address) => inputs.push(ExpandedEnd { field, address, options: all(names, &end.options) }),
            Err(why) => wrong.push(Mistake::new(format!("{field}.address"), why)),
        }
    }
    let outputs = outputs(definition, own);
    // What is read follows `-i`; what is written stands alone.
    let options = outputs.iter().filter(|end| end.address.starts_with('-') && end.address != "-");
    wrong.extend(
        options
            .map(|end| Mistake::new(format!("{}.address", end.field), "begins with -: FFmpeg takes it for an option")),
    );
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Expanded {
        options: all(names, &definition.options),
        inputs,
        outputs,
        egress_options: definition.egress().map_or_else(Vec::new, |egress| all(names, &egress.options)),
    })
}

/// Its outputs, with templates put in.
pub(super) fn outputs(definition: &Definition, own: &Path) -> Vec<ExpandedEnd> {
    let data = own.display().to_string();
    let output = |(at, end): (usize, &End)| {
        let names = definition.names().data(&data).output(end);
        let (address, options) = (names.expand(end.address.trim()), all(names, &end.options));
        ExpandedEnd { field: format!("output[{at}]"), address, options }
    };
    definition.output.iter().enumerate().map(output).collect()
}

/// The address of one of them.
pub(super) fn output(definition: &Definition, own: &Path, id: &str) -> Option<String> {
    let at = definition.output.iter().position(|end| end.id == id)?;
    outputs(definition, own).into_iter().nth(at).map(|end| end.address)
}

fn all(names: Names<'_>, options: &[String]) -> Vec<String> {
    options.iter().map(|option| names.expand(option)).collect()
}

/// An address, or what it refers to: the output of another process.
fn referred(own: &str, address: &str, output_of: &dyn Fn(&str, &str) -> Option<String>) -> Result<String, String> {
    let Some(reference) = address.strip_prefix('#') else { return Ok(address.to_owned()) };
    let Some((process, output)) = reference.rsplit_once(":output=") else {
        return Err("begins with # but is no #process:output=id".to_owned());
    };
    if process == own {
        return Err("refers to the process itself".to_owned());
    }
    let found = output_of(process, output);
    let found = found.ok_or_else(|| format!("there is no process {process:?} with an output {output:?}"))?;
    if templates::streams(&found, WHEP).is_empty() {
        return Ok(found);
    }
    Err(format!("output {output:?} of {process:?} is a stream, which an input names as {{whip:NAME}}"))
}

/// What a child is started with.
pub(super) struct Command {
    pub(super) args: Vec<String>,
    pub(super) secrets: Vec<String>,
    pub(super) waiting: Option<watch::Receiver<bool>>,
    pub(super) kept: Vec<Box<dyn Send>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").finish_non_exhaustive()
    }
}

/// The inputs, and what they are for: a process reads its `whip_ingest` before all others.
pub(super) fn inputs(definition: &Definition, process: &Expanded, wiring: &dyn Wiring) -> Result<Command, String> {
    let mut composing = Composing::new(&definition.id, wiring);
    composing.args.extend_from_slice(&process.options);
    if let Some(ingest) = definition.ingest() {
        let leg = wiring.read(&definition.id, &definition.id, ingest.transport)?;
        composing.read(&[], leg);
    }
    for end in &process.inputs {
        match templates::whole(&end.address, WHIP) {
            Some(Stream { name, transport }) => {
                let leg = wiring.read(&definition.id, &name, transport)?;
                composing.read(&end.options, leg);
            }
            None => {
                composing.args.extend_from_slice(&end.options);
                composing.args.extend(["-i".to_owned(), end.address.clone()]);
            }
        }
    }
    Ok(composing.finish())
}

/// The whole command.
pub(super) fn compose(definition: &Definition, process: &Expanded, wiring: &dyn Wiring) -> Result<Command, String> {
    let Command { args, secrets, waiting, kept } = inputs(definition, process, wiring)?;
    let mut composing = Composing { process: &definition.id, wiring, args, secrets, waiting: Vec::new(), kept };
    for end in &process.outputs {
        composing.output(end)?;
    }
    if let Some((stream, egress)) = definition.egress_stream().zip(definition.egress()) {
        composing.write(&process.egress_options, &stream, egress.transport)?;
    }
    Ok(Command { waiting, ..composing.finish() })
}

struct Composing<'a> {
    process: &'a str,
    wiring: &'a dyn Wiring,
    args: Vec<String>,
    secrets: Vec<String>,
    waiting: Vec<watch::Receiver<bool>>,
    kept: Vec<Box<dyn Send>>,
}

impl<'a> Composing<'a> {
    fn new(process: &'a str, wiring: &'a dyn Wiring) -> Self {
        Self { process, wiring, args: Vec::new(), secrets: Vec::new(), waiting: Vec::new(), kept: Vec::new() }
    }

    fn read(&mut self, options: &[String], leg: Leg) {
        self.args.extend_from_slice(options);
        self.args.extend(leg.options);
        self.args.extend(["-i".to_owned(), leg.url]);
        self.secrets.extend(leg.secrets);
        self.waiting.extend(leg.waiting);
        self.kept.push(leg.kept);
    }

    fn output(&mut self, end: &ExpandedEnd) -> Result<(), String> {
        if let Some(Stream { name, transport }) = templates::whole(&end.address, WHEP) {
            return self.write(&end.options, &name, transport);
        }
        self.args.extend_from_slice(&end.options);
        let address = match templates::streams(&end.address, WHEP).is_empty() {
            true => end.address.clone(),
            false => self.tee(&end.address)?,
        };
        self.args.push(address);
        Ok(())
    }

    /// An output that is a stream of ours.
    fn write(&mut self, options: &[String], stream: &str, transport: Transport) -> Result<(), String> {
        let leg = self.wiring.write(self.process, stream, transport)?;
        let (video, audio) = named_codecs(options);
        for (named, defaults) in [(video, VIDEO), (audio, AUDIO)] {
            if !named {
                self.args.extend(defaults.iter().map(|word| (*word).to_owned()));
            }
        }
        // Over RTP each kind of media is an output of its own in a `tee`, which takes nothing unasked.
        if transport == Transport::Rtp && !options.iter().any(|word| word == "-map") {
            self.args.extend(self.maps());
        }
        self.args.extend_from_slice(options);
        self.args.extend(leg.options);
        self.args.push(leg.url);
        self.secrets.extend(leg.secrets);
        self.kept.push(leg.kept);
        Ok(())
    }

    /// Video of the first input, audio of the last, as definitions are written; whichever there is.
    fn maps(&self) -> [String; 4] {
        let last = self.args.iter().filter(|word| *word == "-i").count().saturating_sub(1);
        ["-map".to_owned(), "0:v:0?".to_owned(), "-map".to_owned(), format!("{last}:a:0?")]
    }

    /// The outputs of a `tee`, some of which are streams of ours.
    fn tee(&mut self, address: &str) -> Result<String, String> {
        let mut all = Vec::new();
        for slave in slaves(address) {
            let (_, rest) = slave_options(&slave);
            let Some(Stream { name, transport }) = templates::whole(rest, WHEP) else {
                all.push(slave);
                continue;
            };
            if transport == Transport::Rtp {
                return Err("a stream in a tee goes by RTSP: over RTP it would be two outputs".to_owned());
            }
            let leg = self.wiring.write(self.process, &name, transport)?;
            let own = slave[..slave.len() - rest.len()].trim_start_matches('[').trim_end_matches(']').to_owned();
            let given = Some(own).filter(|own| !own.is_empty());
            let options: Vec<String> = pairs(&leg.options)?.into_iter().chain(given).collect();
            all.push(format!("[{}]{}", options.join(":"), escaped(&leg.url, &['|', '\'', '\\'])));
            self.secrets.extend(leg.secrets);
            self.kept.push(leg.kept);
        }
        Ok(all.join("|"))
    }

    fn finish(mut self) -> Command {
        let waiting = match self.waiting.len() {
            0 | 1 => self.waiting.pop(),
            _ => {
                let (tasks, any) = any(self.waiting);
                self.kept.push(Box::new(tasks));
                Some(any)
            }
        };
        Command { args: self.args, secrets: self.secrets, waiting, kept: self.kept }
    }
}

/// Whether options name a codec for video, and for audio.
fn named_codecs(options: &[String]) -> (bool, bool) {
    let (mut video, mut audio) = (false, false);
    for option in options {
        match option.as_str() {
            "-vcodec" | "-vn" => video = true,
            "-acodec" | "-an" => audio = true,
            "-c" | "-codec" => (video, audio) = (true, true),
            _ => match option.strip_prefix("-c:").or_else(|| option.strip_prefix("-codec:")) {
                Some(streams) if streams.starts_with(['v', 'V']) => video = true,
                Some(streams) if streams.starts_with('a') => audio = true,
                Some(streams) if streams.starts_with(['s', 'd', 't']) => {}
                // By number or by program: it may be either.
                Some(_) => (video, audio) = (true, true),
                None => {}
            },
        }
    }
    (video, audio)
}

/// `-name value` as an output of a `tee` has it: `name=value`.
fn pairs(options: &[String]) -> Result<Vec<String>, String> {
    let (pairs, rest) = options.as_chunks::<2>();
    let pair = |[name, value]: &[String; 2]| {
        let name = name.strip_prefix('-')?;
        Some(format!("{name}={}", escaped(value, &[':', ']', '\\', '\'', '|'])))
    };
    let all: Option<Vec<String>> = pairs.iter().map(pair).collect();
    all.filter(|_| rest.is_empty()).ok_or_else(|| "the stream has options that no tee can carry".to_owned())
}

fn escaped(text: &str, special: &[char]) -> String {
    text.chars().flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c])).collect()
}

/// Whether any of these is true; the tasks that watch them end when they are dropped.
fn any(all: Vec<watch::Receiver<bool>>) -> (JoinSet<()>, watch::Receiver<bool>) {
    let now = |all: &[watch::Receiver<bool>]| all.iter().any(|one| *one.borrow());
    let (sender, receiver) = watch::channel(now(&all));
    let mut tasks = JoinSet::new();
    for mut one in all.clone() {
        let (all, sender) = (all.clone(), sender.clone());
        tasks.spawn(async move {
            while one.changed().await.is_ok() {
                sender.send_if_modified(|is| {
                    let before = std::mem::replace(is, now(&all));
                    before != *is
                });
            }
        });
    }
    (tasks, receiver)
}

#[cfg(test)]
mod tests;
