//! FFmpeg's lists of itself, of versions 4 to 8. Total: a line that is none of a list says nothing.

use super::{Build, Codec, Codecs, Device, Devices, Library, Named, Protocols};

/// `-version`
pub(super) fn build(text: &str) -> Build {
    let mut build = Build::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("ffmpeg version ") {
            build.version = version(rest.split(' ').next().unwrap_or_default());
        } else if let Some(compiler) = line.strip_prefix("built with ") {
            build.compiler = compiler.trim().to_owned();
        } else if let Some(configuration) = line.strip_prefix("configuration:") {
            build.configuration = configuration.trim().to_owned();
        } else if let Some(library) = library(line) {
            build.libraries.push(library);
        }
    }
    build
}

/// The number of a release: `5.1.9` of `5.1.9-0+deb12u1` and of `n5.1.9`; of what is none, all of it.
fn version(word: &str) -> String {
    let number = word.strip_prefix('n').unwrap_or(word);
    let end = number.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(number.len());
    let number = number[..end].trim_end_matches('.');
    if number.is_empty() { word.to_owned() } else { number.to_owned() }
}

/// `libavutil      57. 28.100 / 57. 28.100`
fn library(line: &str) -> Option<Library> {
    let (name, versions) = line.split_once(' ').filter(|(name, _)| name.starts_with("lib"))?;
    let (compiled, linked) = versions.split_once('/')?;
    let number = |text: &str| text.split_whitespace().collect::<String>();
    Some(Library { name: name.to_owned(), compiled: number(compiled), linked: number(linked) })
}

/// The lines of a list: what stands after the one of dashes that ends its legend.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| !is_dashes(line)).skip(1)
}

fn is_dashes(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 2 && line.bytes().all(|byte| byte == b'-')
}

/// A word, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest.trim()))
}

fn named(text: &str) -> Option<Named> {
    word(text).map(|(id, name)| Named { id: id.to_owned(), name: name.to_owned() })
}

/// `-codecs`: ` DEV.LS h264   H.264 (decoders: h264 h264_v4l2m2m) (encoders: libx264)`
pub(super) fn codecs(text: &str) -> Codecs {
    let mut codecs = Codecs::default();
    for (flags, rest) in listed(text).filter_map(word) {
        let Some(Named { id, name }) = named(rest) else { continue };
        let flag = |at: usize| flags.as_bytes().get(at).copied().unwrap_or_default();
        // The codec itself is one unless others are named.
        let coders = |list: &str, has: bool| match name.split_once(list).and_then(|(_, rest)| rest.split_once(')')) {
            Some((coders, _)) => coders.split_whitespace().map(str::to_owned).collect(),
            None if has => vec![id.clone()],
            None => Vec::new(),
        };
        let (decoders, encoders) = (coders("(decoders:", flag(0) == b'D'), coders("(encoders:", flag(1) == b'E'));
        let plain = name.split("(decoders:").next().unwrap_or_default();
        let plain = plain.split("(encoders:").next().unwrap_or_default().trim().to_owned();
        let of = match flag(2) {
            b'V' => &mut codecs.video,
            b'A' => &mut codecs.audio,
            b'S' => &mut codecs.subtitle,
            _ => continue,
        };
        of.push(Codec { id, name: plain, encoders, decoders });
    }
    codecs
}

/// `-formats` and `-devices`: ` DE mov,mp4   QuickTime`, `  E mp4  MP4`, ` D d alsa  ALSA` (FFmpeg 7). Whether each can be
/// read, can be written, and is a device.
fn muxers(text: &str) -> impl Iterator<Item = (bool, bool, bool, Named)> {
    listed(text).filter_map(|line| {
        let (flags, rest) = word(line)?;
        if !flags.bytes().all(|byte| b"DEd.".contains(&byte)) {
            return None;
        }
        let (device, rest) = rest.strip_prefix("d ").map_or((flags.contains('d'), rest), |rest| (true, rest));
        Some((flags.contains('D'), flags.contains('E'), device, named(rest)?))
    })
}

/// `-formats`: those that can be read, and those that can be written.
pub(super) fn formats(text: &str) -> (Vec<Named>, Vec<Named>) {
    let all: Vec<_> = muxers(text).filter(|(.., device, _)| !device).collect();
    let of = |written: bool| {
        let can = |one: &&(bool, bool, bool, Named)| if written { one.1 } else { one.0 };
        all.iter().filter(can).map(|(.., format)| format.clone()).collect()
    };
    (of(false), of(true))
}

/// `-devices`
pub(super) fn devices(text: &str) -> Devices {
    let mut devices = Devices::default();
    for (read, written, _, Named { id, name }) in muxers(text) {
        let device = Device { id, name, devices: [] };
        if written {
            devices.muxers.push(device.clone());
        }
        if read {
            devices.demuxers.push(device);
        }
    }
    devices
}

/// `-filters`: ` TSC overlay   VV->V   Overlay a video source on top of the input.` Its legend ends without a line of dashes.
pub(super) fn filters(text: &str) -> Vec<Named> {
    let filter = |line: &str| {
        let (_, rest) = word(line)?;
        let (id, rest) = word(rest)?;
        let (ways, name) = word(rest)?;
        ways.contains("->").then(|| Named { id: id.to_owned(), name: name.to_owned() })
    };
    text.lines().filter_map(filter).collect()
}

/// `-hwaccels`: a head line, then one each.
pub(super) fn hwaccels(text: &str) -> Vec<Named> {
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| Named { id: line.to_owned(), name: line.to_owned() }).collect()
}

/// `-protocols`
pub(super) fn protocols(text: &str) -> Protocols {
    let mut protocols = Protocols::default();
    let mut of: Option<&mut Vec<Named>> = None;
    for line in text.lines() {
        match line.trim() {
            "Input:" => of = Some(&mut protocols.input),
            "Output:" => of = Some(&mut protocols.output),
            "" => {}
            id => {
                if let Some(all) = &mut of {
                    all.push(Named { id: id.to_owned(), name: id.to_owned() });
                }
            }
        }
    }
    protocols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[Named]) -> Vec<&str> {
        all.iter().map(|named| named.id.as_str()).collect()
    }

    #[test]
    fn versions_are_numbers_where_they_are_releases() {
        for (line, expected) in [
            ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers", "5.1.9"),
            ("ffmpeg version n7.1 Copyright", "7.1"),
            ("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", "4.4.2"),
            ("ffmpeg version N-118000-gabcdef Copyright", "N-118000-gabcdef"),
            ("ffmpeg version 2.8. Copyright", "2.8"),
            ("ffmpeg version ", ""),
        ] {
            assert_eq!(build(line).version, expected);
        }
        let text = "built with gcc 12\nconfiguration: --enable-gpl --x\nlibavutil      57. 28.100 / 57. 28.100\n";
        let build = build(text);
        assert_eq!((build.compiler.as_str(), build.configuration.as_str()), ("gcc 12", "--enable-gpl --x"));
        let library = Library { name: "libavutil".into(), compiled: "57.28.100".into(), linked: "57.28.100".into() };
        assert_eq!(build.libraries, [library]);
    }

    #[test]
    fn codecs_name_what_encodes_and_decodes_them() {
        let codecs = codecs(
            "Codecs:\n D..... = Decoding supported\n .E.... = Encoding supported\n -------\n \
             DEV.LS h264                 H.264 / AVC (decoders: h264 h264_v4l2m2m) (encoders: libx264 libx264rgb)\n \
             D.A.L. aac_latm             AAC LATM\n DES... srt    SubRip (encoders: srt subrip)\n ..D... bin_data  data\n x\n",
        );
        let h264 = &codecs.video[0];
        assert_eq!((h264.id.as_str(), h264.name.as_str()), ("h264", "H.264 / AVC"));
        assert_eq!(h264.decoders, ["h264", "h264_v4l2m2m"]);
        assert_eq!(h264.encoders, ["libx264", "libx264rgb"]);
        assert_eq!((codecs.audio[0].decoders.len(), codecs.audio[0].encoders.len()), (1, 0));
        assert_eq!(codecs.subtitle[0].encoders, ["srt", "subrip"]);
        assert_eq!((codecs.video.len(), codecs.audio.len(), codecs.subtitle.len()), (1, 1, 1));
    }

    #[test]
    fn formats_of_old_and_new_versions_are_read() {
        let old = "File formats:\n D. = Demuxing supported\n .E = Muxing supported\n --\n D  3dostr   3DO STR\n  E 3g2   3GP2\n \
                   DE alsa ALSA\n";
        let (demuxers, muxers) = formats(old);
        assert_eq!((ids(&demuxers), ids(&muxers)), (vec!["3dostr", "alsa"], vec!["3g2", "alsa"]));
        let new = "Formats:\n D.. = Demuxing supported\n .E. = Muxing supported\n ..d = Is a device\n ---\n D   3dostr 3DO STR\n  E  \
                   3g2  3GP2\n DE  mov,mp4 QuickTime\n DEd alsa  ALSA\n D d x11grab  X11\n";
        let (demuxers, muxers) = formats(new);
        assert_eq!((ids(&demuxers), ids(&muxers)), (vec!["3dostr", "mov,mp4"], vec!["3g2", "mov,mp4"]));
        let devices = devices(new);
        assert!(devices.demuxers.iter().any(|device| device.id == "x11grab" && device.name == "X11"));
    }

    #[test]
    fn filters_protocols_and_accelerations_are_read() {
        let text = "Filters:\n  T.. = Timeline support\n  | = Source or sink filter\n TSC overlay  VV->V  Overlay a video.\n \
                    ... anull  A->A  Pass.\n";
        assert_eq!(ids(&filters(text)), ["overlay", "anull"]);
        let protocols = protocols("Supported file protocols:\nInput:\n  file\n  rtmp\nOutput:\n  file\n");
        assert_eq!((ids(&protocols.input), ids(&protocols.output)), (vec!["file", "rtmp"], vec!["file"]));
        assert_eq!(ids(&hwaccels("Hardware acceleration methods:\nvaapi\n\n")), ["vaapi"]);
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic() {
        for text in [
            "",
            "\n\n",
            "--\n",
            "--\n\n D",
            " -- \n D d \n DE\n",
            "--\nd d d d",
            "ffmpeg version",
            "lib/ /",
            "Input:\n\u{0}\né ü",
        ] {
            let _ = (
                build(text),
                codecs(text),
                formats(text),
                devices(text),
                filters(text),
                hwaccels(text),
                protocols(text),
            );
        }
    }
}
