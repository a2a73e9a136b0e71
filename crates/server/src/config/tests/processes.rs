//! `[[process]]`.

use super::*;

const GOOD: &str = "
    [[process]]
      id = 'p'
      reconnect = true
      limits = { cpu_usage = 50, memory_mbytes = 512 }
      whip_ingest = {}
      [[process.output]]
        address = '/srv/media/{id}.mkv'
        options = ['-c', 'copy']
";

fn wrong(file: &str) -> Vec<String> {
    resolved(&[], &[], file).unwrap_err()
}

#[test]
fn a_table_is_what_the_api_takes() {
    let config = resolved(&[], &[], GOOD).unwrap();
    let [process] = &config.processes[..] else { panic!("{config:?}") };
    assert_eq!((process.id.as_str(), process.reconnect, process.limits.cpu_usage), ("p", true, 50.0));
    assert!(process.ingest().is_some() && process.autostart);
    assert_eq!(process.output[0].options, ["-c", "copy"]);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let file = format!(
        "{GOOD}
    [[process]]
      id = 'p'
    [[process]]
      reference = 'nameless'
    [[process]]
      id = 'q'
      reconnect_delay_seconds = -1
    [[process]]
      id = 'r'
      [[process.input]]
        address = 'a'
      [[process.input]]
        address = 2020-01-01
    [[process]]
      id = 's'
      whip_ingest = {{ transport = 'srt' }}
"
    );
    let expected = [
        "w.toml:11: process.id: p has an earlier table",
        "w.toml:13: process: id is missing",
        "w.toml:17: process.reconnect_delay_seconds: invalid value: integer `-1`, expected u64",
        "w.toml:23: process.input[1].address: wants no date",
        "w.toml:26: process.whip_ingest.transport: unknown variant `srt`, expected `rtsp` or `rtp`",
    ];
    let found = wrong(&file);
    for start in expected {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert_eq!(wrong("process = 3"), ["w.toml:1: process: wants [[process]] tables"]);
}

#[test]
fn what_cannot_stand_or_is_not_allowed_or_means_nothing_is_named_too() {
    let found = wrong(&format!(
        "process_folders = ['/srv/other']
        process_input_allow = ['(']
        process_output_allow = ['^rtmp:']
        process_protocols = ['RTMP', 'file']
        {GOOD}
          clean_up = true
    [[process]]
      id = '../x'
      recconect = true
"
    ));
    for start in [
        "w.toml:2: process_input_allow: \"(\" is no regular expression",
        "w.toml:4: process_protocols: \"RTMP\" is no protocol of FFmpeg",
        "process \"p\": output[0].address: matches nothing that the configuration allows",
        "process \"p\": output[0].clean_up: no such key",
        "process \"../x\": id: must not contain / or \\",
        "process \"../x\": input: at least one input is needed, or whip_ingest",
        "process \"../x\": output: at least one output is needed, or whep_egress",
        "process \"../x\": recconect: no such key",
    ] {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start}\n{found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
    let relative = wrong("process_folders = ['media']");
    assert_eq!(relative, ["w.toml:1: process_folders: \"media\" is no absolute path"]);
}
