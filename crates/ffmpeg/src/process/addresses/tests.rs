use std::os::unix::fs::symlink;

use super::*;
use crate::process::Definition;
use crate::process::command::expand;

fn lists(allow: &[&str], block: &[&str]) -> Lists {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut lists = Lists::default();
    lists.allow(&owned(allow)).unwrap();
    lists.block(&owned(block)).unwrap();
    lists
}

/// What is wrong with a process of one input and one output.
fn judged(access: &Access, own: &Path, input: (&str, &[&str]), output: (&str, &[&str])) -> Vec<String> {
    let json = serde_json::json!({
        "id": "p",
        "input": [{"id": "in", "address": input.0, "options": input.1}],
        "output": [{"id": "out", "address": output.0, "options": output.1}],
    });
    let definition = Definition::from_value(json).unwrap();
    let expanded = expand(&definition, own, &|_, _| None).unwrap();
    access.check(&expanded, own).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn input(access: &Access, address: &str) -> bool {
    judged(access, Path::new("/srv/own"), (address, &[]), ("-", &["-f", "null"])).is_empty()
}

fn output(access: &Access, own: &Path, address: &str) -> bool {
    judged(access, own, ("-", &[]), (address, &["-f", "tee"])).is_empty()
}

#[test]
fn what_is_not_restricted_is_allowed() {
    let wild: (&str, &[&str]) = ("/etc/passwd", &["-i", "x", "-f", "lavfi"]);
    assert_eq!(judged(&Access::default(), Path::new("/"), wild, wild), Vec::<String>::new());
}

#[test]
fn inputs_are_held_against_both_lists() {
    let access = Access { input: lists(&["^rtsp://192\\.0\\.2\\.", "^/srv/media/"], &["secret"]), ..Access::default() };
    for (address, expected) in [
        ("rtsp://192.0.2.7/cam", true),
        ("rtsp://192.0.2.7/secret", false),
        ("rtsp://198.51.100.7/cam", false),
        ("/srv/media/a.mp4", true),
        ("file:/srv/media/a.mp4", true),
        ("/srv/media/../../etc/passwd", false),
        ("file:/srv/media/../../etc/passwd", false),
        ("../media/a.mp4", true),
        ("../other/a.mp4", false),
        ("concat:/srv/media/a.ts|/srv/media/b.ts", true),
        ("concat:/srv/media/a.ts|/etc/passwd", false),
        ("async:cache:/etc/passwd", false),
        ("async:cache:/srv/media/a.ts", true),
        ("subfile,,start,0,end,9,,:/etc/passwd", false),
        ("subfile,,start,0,end,9,,:/srv/media/a.ts", true),
        ("subfile,!start!0!end!9!!:/etc/passwd", false),
        ("subfile,!start!0!end!9!!:/srv/media/a.ts", true),
        ("subfile,,start,,:/srv/media/,end,9,,:/etc/passwd", false),
        ("subfile:/etc/passwd", false),
        ("subfile,,start,0:/srv/media/a.ts", false),
        ("crypto+file:/etc/passwd", false),
        ("crypto+file:/srv/media/a.ts", true),
        ("crypto+rtsp://198.51.100.7/cam", false),
        ("crypto:rtsp://192.0.2.7/secret", false),
        ("unix:/srv/media/socket", true),
        ("unix:/run/docker.sock", false),
        ("fd:", true),
        ("fd:3", false),
        ("pipe:0", true),
        ("pipe:3", false),
        ("cache:/etc/passwd", false),
        ("cache+concat:/srv/media/a.ts|/etc/passwd", false),
        ("data:text/plain,/srv/media/", false),
        ("concatf:/srv/media/list", false),
        ("{whip:cam}", true),
    ] {
        assert_eq!(input(&access, address), expected, "{address}");
    }
    let blocked = Access { input: lists(&[], &["^file:/etc/"]), ..Access::default() };
    for (address, expected) in [
        ("/srv/a", true),
        ("/etc/passwd", false),
        ("/srv/../etc/passwd", false),
        ("../../etc/passwd", false),
        ("async:/etc/passwd", false),
        ("concat:'/etc/passwd'", false),
        ("concat:\\/etc/passwd", false),
        ("concat:/srv/a.ts| /etc/passwd", false),
    ] {
        assert_eq!(input(&blocked, address), expected, "{address}");
    }
}

#[test]
fn protocols_are_those_of_the_list() {
    let access = Access { protocols: vec!["https".into(), "rtmp".into(), "async".into()], ..Access::default() };
    for (address, expected) in [
        ("https://example.net/a", true),
        ("http://example.net/a", false),
        ("unix:/run/docker.sock", false),
        ("async:https://example.net/a", true),
        ("async:http://example.net/a", false),
        ("async+http://example.net/a", false),
        ("async+https://example.net/a", true),
        ("/srv/a.mp4", false),
        ("file:/srv/a.mp4", false),
        ("data:text/plain,x", false),
        ("RTMP://example.net/a", false),
    ] {
        assert_eq!(input(&access, address), expected, "{address}");
    }
    let wrong = judged(&access, Path::new("/"), ("https://a/b", &["-protocol_whitelist", "https,file"]), ("-", &[]));
    assert_eq!(
        wrong,
        ["input[0].options[0]: its value has the protocol \"file\", which the configuration does not allow"]
    );
    let lavfi = ["input[0].address: has the protocol \"lavfi\", which the configuration does not allow"];
    for options in [["-f", "lavfi"], ["-f:x", "lavfi"], ["-f", "LAVFI"]] {
        assert_eq!(judged(&access, Path::new("/"), ("testsrc", &options), ("-", &[])), lavfi, "{options:?}");
    }
}

#[test]
fn what_is_written_stays_in_its_folders() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let (own, media, other) = (root.join("own"), root.join("media"), root.join("other"));
    for folder in [&media, &other] {
        std::fs::create_dir(folder).unwrap();
    }
    symlink(&other, media.join("way-out")).unwrap();
    symlink(other.join("not-there"), media.join("dangling")).unwrap();
    symlink(&media, root.join("alias")).unwrap();
    std::fs::create_dir(media.join("deep")).unwrap();
    symlink(media.join("deep"), media.join("within")).unwrap();
    let access = Access { folders: vec![media.clone()], ..Access::default() };
    let at = |name: &str| format!("{}/{name}", root.display());
    for (address, expected) in [
        (at("media/a.mp4"), true),
        (at("media/new/deeper/a.mp4"), true),
        (format!("file:{}", at("media/a.mp4")), true),
        (at("media/within/a.mp4"), true),
        (at("own/a.mp4"), true),
        ("a.mp4".to_owned(), true),
        ("../own/a.mp4".to_owned(), true),
        ("../other/a.mp4".to_owned(), false),
        (at("media-and-more/a.mp4"), false),
        (at("media/../other/a.mp4"), false),
        (format!("file:{}", at("media/../other/a.mp4")), false),
        (at("media/way-out/a.mp4"), false),
        (at("media/way-out/new/a.mp4"), false),
        (at("media/dangling"), false),
        (at("alias/a.mp4"), false),
        ("/dev/shm/x".to_owned(), false),
        ("unix:/run/docker.sock".to_owned(), false),
        (format!("unix:{}", at("media/socket")), true),
        ("fd:4".to_owned(), false),
        ("[f=mp4:movflags=x]pipe:5".to_owned(), false),
        (format!("md5:{}", at("other/sum")), false),
        (format!("md5:{}", at("media/sum")), true),
        ("rtmp://example.net/a".to_owned(), true),
        (format!("[f=flv]rtmp://example.net/a|[f=mpegts]{}", at("media/a.ts")), true),
        (format!("[f=flv]rtmp://example.net/a|[f=mpegts]{}", at("other/a.ts")), false),
        (format!("[f=hls:hls_segment_filename={}]{}", at("other/%d.ts"), at("media/a.m3u8")), false),
        (format!("{}|{{whep:cam}}", at("media/a.ts")), true),
        ("'/etc/x.mp4'".to_owned(), false),
        ("\\/etc/x.mp4".to_owned(), false),
        ("a.mp4| /etc/x.mp4".to_owned(), false),
        ("[f=segment:segment_list='/etc/x']a%d.ts".to_owned(), false),
        ("[f=segment:segment_list=']'/../etc/x]a%d.ts".to_owned(), false),
        ("[f=segment:segment_list= /etc/x]a%d.ts".to_owned(), false),
        ("[f=segment:segment_list=a.csv]a%d.ts".to_owned(), true),
        ("[f=tee] /etc/x".to_owned(), false),
        ("[f=segment:segment_list=/etc/x".to_owned(), false),
        ("[use_fifo=1:fifo_options=format_opts=segment_list=/etc/x]a.ts".to_owned(), false),
        ("tee:[f=segment:segment_list=/etc/x]a.ts".to_owned(), false),
    ] {
        assert_eq!(output(&access, &own, &address), expected, "{address}");
    }
    // Also where FFmpeg would take it for one name.
    let pipe = format!("{}|/etc/x", at("media/a.ts"));
    assert!(!judged(&access, &own, ("-", &[]), (&pipe, &[])).is_empty());
    let tees: [&[&str]; 4] =
        [&["-f", "TEE"], &["-f:x", "tee"], &["-f", "tee", "-metadata", "-f"], &["-f", "fifo", "-fifo_format", "tee"]];
    for options in tees {
        let wrong = judged(&access, &own, ("-", &[]), ("\\/etc/x.mp4", options));
        assert!(
            wrong.iter().any(|wrong| wrong.starts_with("output[0].address: has ' or \\")),
            "{options:?}: {wrong:?}"
        );
    }
}

#[test]
fn options_are_no_way_around() {
    let access = Access { input: lists(&["^https://"], &[]), folders: vec!["/srv/media".into()], ..Access::default() };
    let own = Path::new("/srv/own");
    for (options, expected) in [
        (vec!["-re", "-stream_loop", "-1", "-fflags", "+genpts"], ""),
        (vec!["-nostdin", "-y", "-hide_banner"], ""),
        (vec!["-i", "/etc/passwd"], "input[0].options[0]: is not allowed among options"),
        (vec!["-re", "/tmp/hidden.mp4"], "input[0].options[1]: is neither an option nor the value of one"),
        (vec!["-an", "-noautorotate", "x"], "input[0].options[2]: is neither an option nor the value of one"),
        (vec!["-f", "mp4", "x"], "input[0].options[2]: is neither an option nor the value of one"),
        (vec!["--", "/etc/x.mp4"], "input[0].options[0]: is neither an option nor the value of one"),
        (vec!["-", "-re"], "input[0].options[0]: is neither an option nor the value of one"),
        (vec!["-progress", "-"], ""),
        (vec!["-metadata"], "input[0].options[0]: is without a value"),
        (vec!["-attach", "/etc/passwd"], "input[0].options[0]: its value matches nothing"),
        (vec!["-progress", "/etc/x"], "input[0].options[0]: its value is in no folder"),
        (vec!["-hls_segment_filename", "/srv/media/%d.ts"], ""),
        (vec!["-hls_segment_filename", "../x/%d.ts"], "input[0].options[0]: its value is in no folder"),
        (vec!["-vf", "movie=/etc/x[a];[in][a]overlay"], "input[0].options[0]: its value has the filter \"movie\""),
        (vec!["-vf", "mo\\vie=/etc/x[a];[in][a]overlay"], "input[0].options[0]: its value has the filter \"movie\""),
        (vec!["-graph", "'mov'ie=/etc/x"], "input[0].options[0]: its value has the filter \"movie\""),
        (vec!["-graph_file", "/etc/x"], "input[0].options[0]: its value matches nothing"),
        (vec!["-header", "/etc/x"], "input[0].options[0]: its value is in no folder"),
        (vec!["-x264-params", "keyint=50:scenecut=0"], ""),
        (vec!["-x264-params", "keyint=50:stats=/etc/x"], "input[0].options[0]: its value has \"stats\""),
        (vec!["-x264opts:v", "sta\\ts=/etc/x"], "input[0].options[0]: its value has \"stats\""),
        (vec!["-x265-params", "--csv=/etc/x"], "input[0].options[0]: its value has \"csv\""),
        (vec!["-x265-params:v", "pass=1: qpfile=/etc/x"], "input[0].options[0]: its value has \"qpfile\""),
        (vec!["-format_opts", "segment_list=/etc/x"], "input[0].options[0]: its value has \"segment_list\""),
        (vec!["-vf", "subtitles=a.srt"], "input[0].options[0]: its value has the filter \"subtitles\""),
        (vec!["-filter:v:0", "lut3d=a.cube"], "input[0].options[0]: its value has the filter \"lut3d\""),
        (vec!["-af", "arnndn=m=a"], "input[0].options[0]: its value has the filter \"arnndn\""),
        (vec!["-filter_complex", "metadata=print:file=a"], "input[0].options[0]: its value has a filter (metadata)"),
        (vec!["-vf", "drawtext=text=x,fps=30"], ""),
        (vec!["-progress", "unix:/run/x"], "input[0].options[0]: its value is in no folder"),
        (vec!["-progress", "fd:"], ""),
        (vec!["-progress", "fd:7"], "input[0].options[0]: its value is a stream of this server"),
        (vec!["-progress", "pipe:7"], "input[0].options[0]: its value is a stream of this server"),
        (vec!["-fd", "7"], "input[0].options[0]: its value is no standard stream"),
        (vec!["-fd", "1"], ""),
        (vec!["-attach", "async:cache:/etc/passwd"], "input[0].options[0]: its value matches nothing"),
        (vec!["-attach", "concat:/etc/passwd|/etc/group"], "input[0].options[0]: its value matches nothing"),
        (vec!["-attach", "subfile,,start,0,,:/etc/passwd"], "input[0].options[0]: its value matches nothing"),
        (vec!["-attach", "crypto+file:/etc/passwd"], "input[0].options[0]: its value matches nothing"),
        (vec!["-cert", "/etc/x"], "input[0].options[0]: its value matches nothing"),
        (vec!["-dump_attachment:t", ""], "input[0].options[0]: its value is empty"),
        (vec!["-safe", "0"], "input[0].options[0]: its value lets a list of files name any file"),
        (vec!["-safe", "1"], ""),
        (vec!["-/filter_complex", "/etc/x"], "input[0].options[0]: is not allowed among options"),
    ] {
        let wrong = judged(&access, own, ("https://a/b", &options), ("-", &[]));
        match expected {
            "" => assert_eq!(wrong, Vec::<String>::new(), "{options:?}"),
            expected => assert!(wrong.iter().any(|wrong| wrong.starts_with(expected)), "{options:?}: {wrong:?}"),
        }
    }
}

#[test]
fn expressions_that_are_none_are_named() {
    let mut lists = Lists::default();
    let wrong = lists.allow(&["(".to_owned(), "a".to_owned()]).unwrap_err();
    assert_eq!((wrong.len(), lists.is_empty()), (1, true));
    assert!(wrong[0].starts_with("\"(\" is no regular expression"), "{wrong:?}");
}
