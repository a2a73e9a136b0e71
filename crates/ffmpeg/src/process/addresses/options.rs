//! Options that would go around the lists: those that name files, inputs and outputs, and words that are no option at all.

use super::filters::graph;
use super::{At, Side};
use crate::process::Mistake;

/// Options of FFmpeg 4 to 8 that take no value. A word after one of them is an output.
const FLAGS: &[&str] = &[
    "accurate_seek",
    "an",
    "auto_conversion_filters",
    "autorotate",
    "autoscale",
    "benchmark",
    "benchmark_all",
    "bitexact",
    "copy_unknown",
    "copyinkf",
    "copyts",
    "debug_ts",
    "deinterlace",
    "display_hflip",
    "display_vflip",
    "dn",
    "dump",
    "find_stream_info",
    "fix_sub_duration",
    "fix_sub_duration_heartbeat",
    "force_fps",
    "hex",
    "hide_banner",
    "ignore_unknown",
    "intra",
    "n",
    "print_graphs",
    "psnr",
    "qphist",
    "re",
    "recast_media",
    "report",
    "shortest",
    "sn",
    "start_at_zero",
    "stats",
    "stdin",
    "vn",
    "vstats",
    "xerror",
    "y",
];

/// Options that name a file to read.
const READ: &[&str] = &[
    "attach",
    "ca_file",
    "cafile",
    "cert",
    "cert_file",
    "filter_complex_script",
    "filter_script",
    "fpre",
    "graph_file",
    "hls_key_info_file",
    "key",
    "key_file",
    "private_key",
];

/// Options that name a file to write.
const WRITTEN: &[&str] = &[
    "dump_attachment",
    "header",
    "hls_fmp4_init_filename",
    "hls_master_name",
    "hls_segment_filename",
    "hls_subtitle_path",
    "init_seg_name",
    "master_pl_name",
    "media_seg_name",
    "passlogfile",
    "print_graphs_file",
    "progress",
    "sdp_file",
    "segment_header_filename",
    "segment_list",
    "single_file_name",
    "stats_dec_post",
    "stats_enc_post",
    "stats_enc_pre",
    "stats_mux_pre",
    "vstats_file",
];

/// Options that are graphs of filters.
const GRAPHS: &[&str] = &["af", "filter", "filter_complex", "graph", "lavfi", "vf"];

/// What encoders read or write files for, as `-x264-params` and its like have it.
const OF_ENCODERS: &[&str] = &[
    "analysis-load",
    "analysis-reuse-file",
    "analysis-save",
    "aom-film-grain",
    "cqmfile",
    "csv",
    "dhdr10-info",
    "dump-yuv",
    "film-grain",
    "film-grain-table",
    "lambda-file",
    "nalu-file",
    "opencl-clbin",
    "qpfile",
    "rcstatsfile",
    "recon",
    "roi",
    "scaling-list",
    "stats",
    "stats-file-prefix",
    "zonefile",
];

/// One word of a list of options, with what FFmpeg takes for its value.
struct Word<'a> {
    at: usize,
    /// Without the streams it is for, as in `c:v`. None: it is no option.
    name: Option<&'a str>,
    value: Option<&'a str>,
}

fn is_flag(name: &str) -> bool {
    FLAGS.contains(&name) || name.strip_prefix("no").is_some_and(|name| FLAGS.contains(&name))
}

/// The words of a list of options as FFmpeg pairs them.
fn words(options: &[String]) -> Vec<Word<'_>> {
    let mut words = options.iter().enumerate();
    let mut all = Vec::new();
    while let Some((at, word)) = words.next() {
        // After `--` comes an output.
        let name = word.strip_prefix('-').filter(|name| !matches!(*name, "" | "-"));
        let name = name.and_then(|name| name.strip_prefix('-').unwrap_or(name).split(':').next());
        let value = name.filter(|name| !is_flag(name)).and_then(|_| words.next());
        all.push(Word { at, name, value: value.map(|(_, value)| value.as_str()) });
    }
    all
}

/// Each format that options name; FFmpeg takes the last.
pub(super) fn formats(options: &[String]) -> Vec<&str> {
    words(options).into_iter().filter(|word| word.name == Some("f")).filter_map(|word| word.value).collect()
}

/// Each format that a `fifo` writes.
pub(super) fn formats_within(options: &[String]) -> impl Iterator<Item = &str> {
    words(options).into_iter().filter(|word| word.name == Some("fifo_format")).filter_map(|word| word.value)
}

impl At<'_> {
    /// Judges a list of options.
    pub(super) fn options(self, field: &str, options: &[String], wrong: &mut Vec<Mistake>) {
        for Word { at, name, value: given } in words(options) {
            let mut add = |why: String| wrong.push(Mistake::new(format!("{field}[{at}]"), why));
            match (name, given) {
                (None, _) => add("is neither an option nor the value of one: FFmpeg takes it for an output".to_owned()),
                (Some(name), _) if is_flag(name) => {}
                (Some(name), _) if name == "i" || name.starts_with('/') => {
                    add("is not allowed among options while there are lists of addresses".to_owned());
                }
                (Some(_), None) => add("is without a value: FFmpeg takes what follows for it".to_owned()),
                (Some(name), Some(text)) => {
                    if let Err(why) = value(self, name, text) {
                        add(format!("its value {why}"));
                    }
                }
            }
        }
    }
}

/// Judges the value of an option, here and among those of an output of a `tee`.
pub(super) fn value(at: At<'_>, name: &str, value: &str) -> Result<(), String> {
    match name {
        _ if READ.contains(&name) => at.address(Side::Input, value, 0),
        // FFmpeg takes what the input says its name is.
        "dump_attachment" if value.is_empty() => Err("is empty: FFmpeg would take a name out of the input".to_owned()),
        _ if WRITTEN.contains(&name) => at.address(Side::Output, value, 0),
        _ if GRAPHS.contains(&name) => graph(value),
        _ if ["params", "opts", "options"].iter().any(|end| name.ends_with(end)) => within(value),
        "safe" if value.trim() != "1" => Err("lets a list of files name any file".to_owned()),
        "fd" if !matches!(value.trim(), "0" | "1" | "2") => Err("is no standard stream".to_owned()),
        "protocol_whitelist" => value.split(',').try_for_each(|one| at.protocol(one.trim())),
        _ => Ok(()),
    }
}

/// Judges options within the value of one, `name=value:…`: none may name a file.
fn within(options: &str) -> Result<(), String> {
    let text = plain(options);
    let mut names: Vec<&str> =
        text.split('=').map(|before| before.rsplit([':', ',']).next().unwrap_or(before)).collect();
    // What follows the last `=` is a value.
    names.pop();
    for name in names {
        let name = name.trim().trim_start_matches('-');
        // Encoders take `_` for `-`.
        let is_file = [READ, WRITTEN, GRAPHS].iter().any(|all| all.contains(&name));
        if is_file || OF_ENCODERS.contains(&name.replace('_', "-").as_str()) {
            return Err(format!("has {name:?}, which names a file that lists of addresses cannot see"));
        }
    }
    Ok(())
}

/// Without what FFmpeg drops when it unquotes.
pub(super) fn plain(text: &str) -> String {
    text.replace(['\\', '\''], "")
}
