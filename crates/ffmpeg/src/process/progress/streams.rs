//! What the log says of inputs and outputs: `Input #0, …`, `Output #0, …`, their streams, and the stream mapping with who
//! decodes and encodes them.

use super::Io;

/// Streams that are kept of all inputs, and of all outputs. More are left out.
const STREAMS: usize = 64;

/// Which input or output, and which stream in it.
type Place = (u64, u64);

#[derive(Default)]
pub(super) struct Streams {
    inputs: Vec<Io>,
    outputs: Vec<Io>,
    /// Who decodes an input's stream, who encodes an output's.
    decoders: Vec<(Place, String)>,
    encoders: Vec<(Place, String)>,
    section: Section,
}

/// Whose lines come.
#[derive(Default)]
enum Section {
    #[default]
    None,
    Input {
        format: String,
        address: String,
    },
    Output {
        format: String,
        address: String,
    },
    Mapping,
}

impl Streams {
    pub(super) fn inputs(&self) -> Vec<Io> {
        with_coders(&self.inputs, &self.decoders)
    }

    pub(super) fn outputs(&self) -> Vec<Io> {
        with_coders(&self.outputs, &self.encoders)
    }

    pub(super) fn line(&mut self, line: &str) {
        let line = without_level(line);
        if let Some((format, address)) = file(line, "Input #", ", from '") {
            self.section = Section::Input { format, address };
        } else if let Some((format, address)) = file(line, "Output #", ", to '") {
            self.section = Section::Output { format, address };
        } else if line.starts_with("Stream mapping:") {
            self.section = Section::Mapping;
        } else if !line.starts_with(' ') {
            // FFmpeg indents all that belongs to a section. What libraries say of themselves stands in between.
            if !line.starts_with('[') {
                self.section = Section::None;
            }
        } else {
            self.stream(line.trim());
        }
    }

    fn stream(&mut self, line: &str) {
        match &self.section {
            Section::None => {}
            Section::Input { format, address } => keep(&mut self.inputs, line, format, address),
            Section::Output { format, address } => keep(&mut self.outputs, line, format, address),
            Section::Mapping => self.mapping(line),
        }
    }

    /// `Stream #0:0 -> #0:0 (h264 (native) -> vp8 (libvpx))`, `… (copy)`; or through a filter,
    /// `Stream #0:0 (h264) -> split:default` and `scale:default -> Stream #0:0 (libx264)`.
    fn mapping(&mut self, line: &str) {
        let Some((from, to)) = line.split_once(" -> ") else { return };
        let (from, to) = (from.strip_prefix("Stream #"), to.trim_start_matches("Stream "));
        let to = to.strip_prefix('#').and_then(place);
        match (from.and_then(place), to) {
            (Some((from, "")), Some((to, coders))) => {
                let coders = inside(coders);
                let (decoder, encoder) = coders.split_once(" -> ").unwrap_or((coders, coders));
                note(&mut self.decoders, from, coder(decoder));
                note(&mut self.encoders, to, coder(encoder));
            }
            (Some((from, decoder)), None) => note(&mut self.decoders, from, coder(inside(decoder))),
            (None, Some((to, encoder))) => note(&mut self.encoders, to, coder(inside(encoder))),
            _ => {}
        }
    }
}

fn with_coders(all: &[Io], coders: &[(Place, String)]) -> Vec<Io> {
    let coder =
        |io: &Io| coders.iter().find(|(place, _)| *place == (io.index, io.stream)).map(|(_, coder)| coder.clone());
    all.iter().map(|io| Io { coder: coder(io).unwrap_or_default(), ..io.clone() }).collect()
}

fn note(coders: &mut Vec<(Place, String)>, at: Place, coder: &str) {
    coders.retain(|(place, _)| *place != at);
    if coders.len() < STREAMS {
        coders.push((at, coder.to_owned()));
    }
}

/// `h264 (libx264)` is encoded by `libx264`, `copy` by nobody.
fn coder(words: &str) -> &str {
    words.split_once('(').map_or(words, |(_, coder)| coder.trim_end_matches(')')).trim()
}

fn inside(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text)
}

/// `[info] ` with `-loglevel level+…`.
fn without_level(line: &str) -> &str {
    const LEVELS: [&str; 9] = ["quiet", "panic", "fatal", "error", "warning", "info", "verbose", "debug", "trace"];
    let level = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    level.filter(|(level, _)| LEVELS.contains(level)).map_or(line, |(_, rest)| rest)
}

/// Format and address of `Input #0, mov,mp4, from 'a.mp4':`.
fn file(line: &str, what: &str, before: &str) -> Option<(String, String)> {
    let (_, rest) = line.strip_prefix(what)?.split_once(", ")?;
    let (format, address) = rest.split_once(before)?;
    let end = address.rfind('\'').unwrap_or(address.len());
    Some((format.to_owned(), address[..end].to_owned()))
}

/// `0:1…`: which one, and what follows.
fn place(text: &str) -> Option<(Place, &str)> {
    let (index, rest) = number(text)?;
    let (stream, rest) = number(rest.strip_prefix(':')?)?;
    Some(((index, stream), rest))
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// `Stream #0:0[0x100](eng): Video: h264 (High), yuv420p(tv, bt709), 1280x720 [SAR 1:1 DAR 16:9], 25 fps, 90k tbn`.
fn keep(all: &mut Vec<Io>, line: &str, format: &str, address: &str) {
    let Some(((index, stream), rest)) = line.strip_prefix("Stream #").and_then(place) else { return };
    let Some((_, rest)) = rest.split_once(": ") else { return };
    let Some((kind, details)) = rest.split_once(": ") else { return };
    if !["Video", "Audio", "Subtitle"].contains(&kind) {
        return;
    }
    let mut io = Io { index, stream, format: format.to_owned(), address: address.to_owned(), ..Io::default() };
    io.kind = kind.to_ascii_lowercase();
    describe(&mut io, details);
    all.retain(|known| (known.index, known.stream) != (index, stream));
    if all.len() < STREAMS {
        all.push(io);
        // Outputs are told as each is ready.
        all.sort_by_key(|io| (io.index, io.stream));
    }
}

fn describe(io: &mut Io, details: &str) {
    let parts = parts(details);
    io.codec = parts.first().and_then(|part| part.split_whitespace().next()).unwrap_or_default().to_owned();
    for (at, part) in parts.iter().enumerate().skip(1) {
        if let Some((width, height)) = size(part).filter(|_| io.kind == "video" && io.width == 0) {
            (io.width, io.height) = (width, height);
            let before = if at > 1 { parts[at - 1] } else { "" };
            io.pix_fmt = before.split('(').next().unwrap_or_default().to_owned();
        } else if let Some(fps) = part.strip_suffix(" fps").and_then(|fps| fps.parse().ok()) {
            io.framerate.avg = if f64::is_finite(fps) { fps } else { 0.0 };
        } else if let Some(hz) = part.strip_suffix(" Hz").and_then(|hz| hz.parse().ok()) {
            io.sampling_hz = hz;
            io.layout = parts.get(at + 1).copied().unwrap_or_default().to_owned();
            io.channels = channels(&io.layout);
        }
    }
}

/// Split at commas that stand in no brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = text.split(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    split.map(str::trim).collect()
}

/// `1280x720 [SAR 1:1 DAR 16:9]`.
fn size(part: &str) -> Option<(u64, u64)> {
    let (width, height) = part.split_whitespace().next()?.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

fn channels(layout: &str) -> u64 {
    match layout.split('(').next().unwrap_or_default() {
        "mono" => 1,
        "stereo" | "downmix" => 2,
        "quad" => 4,
        "hexagonal" => 6,
        "octagonal" => 8,
        "hexadecagonal" => 16,
        other => match (other.split_once('.'), other.strip_suffix(" channels")) {
            (_, Some(number)) => number.parse().unwrap_or(0),
            // `5.1`, `5.1.2`: each number counts speakers.
            (Some(_), _) => other.split('.').filter_map(|n| n.parse::<u8>().ok()).map(u64::from).sum(),
            _ => 0,
        },
    }
}
