//! Options that would go around the lists: those that name files, inputs and outputs, and words that are no option at all.

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
    "cert_file",
    "filter_complex_script",
    "filter_script",
    "fpre",
    "hls_key_info_file",
    "key_file",
];

/// Options that name a file to write.
const WRITTEN: &[&str] = &[
    "dump_attachment",
    "hls_fmp4_init_filename",
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
const GRAPHS: &[&str] = &["af", "filter", "filter_complex", "lavfi", "vf"];

impl At<'_> {
    /// Judges a list of options.
    pub(super) fn options(self, field: &str, options: &[String], wrong: &mut Vec<Mistake>) {
        let mut words = options.iter().enumerate();
        while let Some((at, word)) = words.next() {
            let mut add = |why: String| wrong.push(Mistake::new(format!("{field}[{at}]"), why));
            let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
                add("is neither an option nor the value of one: FFmpeg takes it for an output".to_owned());
                continue;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            // Without the streams it is for, as in `c:v`.
            let name = name.split(':').next().unwrap_or_default();
            if FLAGS.contains(&name) || name.strip_prefix("no").is_some_and(|name| FLAGS.contains(&name)) {
                continue;
            }
            if name == "i" || name.starts_with('/') {
                add("is not allowed among options while there are lists of addresses".to_owned());
                words.next();
                continue;
            }
            match words.next() {
                None => add("is without a value: FFmpeg takes what follows for it".to_owned()),
                Some((_, text)) => {
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
        _ if WRITTEN.contains(&name) => at.address(Side::Output, value, 0),
        _ if GRAPHS.contains(&name) => graph(value),
        "protocol_whitelist" => value.split(',').try_for_each(|one| at.protocol(one.trim())),
        _ => Ok(()),
    }
}

/// Judges a graph of filters: none may open what no list sees.
pub(super) fn graph(graph: &str) -> Result<(), String> {
    let mut names = graph.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_')));
    if names.any(|name| matches!(name, "movie" | "amovie")) {
        return Err("opens addresses with the filter movie, which lists of addresses cannot see".to_owned());
    }
    Ok(())
}
