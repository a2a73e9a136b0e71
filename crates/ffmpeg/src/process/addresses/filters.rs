//! Graphs of filters: which filters open files, by which of their options.
//!
//! Quotes and escapes can stand around any part of a graph, on several levels, so nothing in it is held against the lists:
//! what would open anything is refused. Three rules, each enough for one that opens a file: the filter is one that does
//! nothing else; the option is one that names a file, by the table or by its own name; the value is an address or leads out
//! of the process' folder. The last two are for filters that are not in the table, too, as every version brings new ones.

use super::options::plain;

/// A filter that opens files.
struct Opens {
    name: &'static str,
    /// The options that name what it opens. Empty: it does nothing without, or takes commands that may.
    options: &'static [&'static str],
    /// So many values without a name may stand in front: options that come before those.
    free: usize,
}

const fn always(name: &'static str) -> Opens {
    Opens { name, options: &[], free: 0 }
}

const fn by(name: &'static str, options: &'static [&'static str], free: usize) -> Opens {
    Opens { name, options, free }
}

/// Of FFmpeg's documentation (<https://ffmpeg.org/ffmpeg-filters.html>, versions 4.1 to 8), every filter with an option that
/// is a file, a folder, a library, an address or a command of another filter; sorted.
const FILTERS: &[Opens] = &[
    by("ametadata", &["file"], 5),
    always("amovie"),
    always("arnndn"),
    always("asendcmd"),
    always("asr"),
    always("ass"),
    always("azmq"),
    by("cellauto", &["filename", "f"], 0),
    always("coreimage"),
    always("coreimagesrc"),
    always("cover_rect"),
    by("curves", &["psfile", "plot"], 6),
    always("derain"),
    by("deshake", &["filename"], 10),
    always("dnn_classify"),
    always("dnn_detect"),
    always("dnn_processing"),
    by("drawtext", &["fontfile", "textfile"], 0),
    always("drawvg"),
    always("fieldhint"),
    always("find_rect"),
    by("firequalizer", &["dumpfile"], 9),
    by("flite", &["textfile"], 0),
    always("frei0r"),
    always("frei0r_src"),
    always("ladspa"),
    by("lensfun", &["db_path"], 3),
    by("libplacebo", &["custom_shader_path", "shader_cache", "lut"], 2),
    by("libvmaf", &["log_path", "model_path", "model"], 0),
    by("life", &["filename", "f"], 0),
    by("loudnorm", &["stats_file"], 11),
    always("lut1d"),
    always("lut3d"),
    always("lv2"),
    by("metadata", &["file"], 5),
    always("movie"),
    always("nnedi"),
    by("ocr", &["datapath"], 0),
    always("ocv"),
    always("openclsrc"),
    by("paletteuse", &["debug_kdtree"], 4),
    always("program_opencl"),
    by("psnr", &["stats_file", "f"], 0),
    by("qrencode", &["textfile"], 0),
    by("qrencodesrc", &["textfile"], 0),
    always("removelogo"),
    by("selectivecolor", &["psfile"], 10),
    always("sendcmd"),
    by("showcqt", &["fontfile", "axisfile"], 8),
    by("signature", &["filename"], 2),
    always("sofalizer"),
    always("sr"),
    by("ssim", &["stats_file", "f"], 0),
    by("ssim360", &["stats_file", "f"], 0),
    always("subtitles"),
    by("vidstabdetect", &["result"], 0),
    always("vidstabtransform"),
    by("vmafmotion", &["stats_file", "f"], 0),
    always("whisper"),
    by("xfade_opencl", &["source"], 1),
    by("xpsnr", &["stats_file", "f"], 0),
    always("zmq"),
];

/// How the names of options end that name files, in filters that nobody here knows yet.
const FILES: [&str; 5] = ["file", "filename", "path", "_dir", "url"];
/// One that ends so and names none.
const NO_FILE: &str = "profile";

/// Judges a graph of filters: none may open what no list sees.
pub(super) fn graph(graph: &str) -> Result<(), String> {
    // Without quotes and escapes there are more separators than FFmpeg sees, and so more that is looked at.
    plain(graph).split([';', ',', '[', ']']).try_for_each(filter)
}

/// Judges one filter of it: `name@id=value:…`.
fn filter(text: &str) -> Result<(), String> {
    let (name, values) = text.split_once('=').unwrap_or((text, ""));
    let name = name.split('@').next().unwrap_or(name).trim();
    let known = FILTERS.binary_search_by_key(&name, |filter| filter.name).ok().map(|at| &FILTERS[at]);
    if known.is_some_and(|known| known.options.is_empty()) {
        return Err(format!("has the filter {name:?}, which opens what lists of addresses cannot see"));
    }
    // Values without a name come first.
    let (mut unnamed, mut named) = (0, false);
    for part in values.split([':', '|']).map(str::trim) {
        let (option, value) = part.split_once('=').map_or((None, part), |(option, value)| (Some(option.trim()), value));
        named |= option.is_some();
        let names_file = match option {
            // A value that is read from a file, since FFmpeg 7.
            Some(option) if option.starts_with('/') => true,
            Some(option) => {
                known.is_some_and(|known| known.options.contains(&option))
                    || (option != NO_FILE && FILES.iter().any(|end| option.to_ascii_lowercase().ends_with(end)))
            }
            None => {
                unnamed += usize::from(!named && !value.is_empty());
                known.is_some_and(|known| unnamed > known.free)
            }
        };
        if names_file || leads_out(part) || leads_out(value.trim()) {
            return Err(format!("has a filter ({name}) that opens a file, which lists of addresses cannot see"));
        }
    }
    Ok(())
}

/// Whether it is a path that begins at the root or goes up. (An address would have been cut behind its protocol.)
fn leads_out(value: &str) -> bool {
    value.starts_with('/') || value.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_as_it_is_searched() {
        assert!(FILTERS.is_sorted_by(|one, other| one.name < other.name));
    }

    #[test]
    fn what_opens_files_is_refused() {
        for graph in [
            "movie=/etc/x[a];[in][a]overlay",
            "mo\\vie=/etc/x",
            "'mov'ie=x",
            "[0:v] movie @ m =x",
            "amovie=a.wav",
            "subtitles=a.srt",
            "scale=2:2,ass=f=a.ass",
            "subtitles@x=a.srt",
            "drawtext=fontfile=a.ttf:text=x",
            "drawtext=a.ttf",
            "drawtext=text=x:textfile=a.txt",
            "drawtext=text=x:text\\file=a.txt",
            "drawtext=text=x: textfile =a.txt",
            "lut3d=a.cube",
            "lut1d=file=a.cube",
            "[0][1]haldclut,lut3d",
            "metadata=print:file=a",
            "metadata=mode=print:file=-",
            "ametadata=print:k:v:same_str:1:a",
            "vidstabdetect=result=a.trf",
            "vidstabtransform",
            "vidstabtransform=input=a.trf",
            "arnndn=m=a",
            "ladspa=file=a",
            "lv2=p=http\\://x",
            "sofalizer=sofa=a",
            "frei0r=glow",
            "zmq",
            "sendcmd=c='0 lut1d file a'",
            "curves=psfile=a",
            "curves=none:a:b:c:d:e:a.acv",
            "psnr=a.log",
            "ssim=f=a.log",
            "libvmaf=model=path=a",
            "whisper=model=a",
            "dnn_processing=model=a",
            "firequalizer=dumpfile=a",
            "showcqt=axisfile=a",
            "life=a",
            // Of filters that nobody knows yet.
            "tomorrow=logfile=a",
            "tomorrow=Path=a",
            "tomorrow=/etc/passwd",
            "tomorrow=x=/etc/passwd",
            "tomorrow=x='/etc/passwd'",
            "tomorrow=x=a|/etc/passwd",
            "tomorrow=x=a/../../passwd",
            "tomorrow=x=http\\://h/a",
            "tomorrow=/x=a",
        ] {
            assert!(super::graph(graph).is_err(), "{graph}");
        }
    }

    #[test]
    fn what_opens_none_is_let_through() {
        for graph in [
            "",
            "null",
            "scale=iw/2:-2,format=yuv420p",
            "[0:v][1:v]overlay=x=main_w/2:y=(H-h)/2[out]",
            "testsrc2=size=1280x720:rate=30",
            "sine=frequency=440:sample_rate=48000",
            "drawtext=text='%{localtime}':x=w/2:fontsize=24:font=Sans",
            "metadata=print",
            "metadata=mode=add:key=k:value=v",
            "curves=vintage",
            "transpose=dir=1",
            "bs2b=profile=cmoy",
            "drawtext=text='%{localtime\\\\:%X}'",
            "curves=preset=vintage:master='0/0 1/1'",
            "loudnorm=I=-16:TP=-1.5:LRA=11",
            "loudnorm=-16:11:-1.5",
            "psnr",
            "split=2[a][b];[a]scale=640:360[c];[b]scale=320:180[d]",
            "setpts=PTS-STARTPTS,fps=30",
            "geq=lum='p(X,Y)':cb=128:cr=128",
            "aevalsrc=sin(440*2*PI*t)|0:d=3",
            "[0:a][1:a]amix=inputs=2",
        ] {
            assert_eq!(super::graph(graph), Ok(()), "{graph}");
        }
    }
}
