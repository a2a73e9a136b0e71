use super::*;

const NULL: &[u8] = include_bytes!("fixtures/datarhei-null.json");
const CLEANUP: &[u8] = include_bytes!("fixtures/datarhei-cleanup.json");
const RESTREAMER: &[u8] = include_bytes!("fixtures/restreamer-ingest.json");

fn read(json: &str) -> Definition {
    Definition::read(json.as_bytes()).unwrap()
}

/// The mistakes of a definition that is right but for these fields.
fn mistakes(fields: &str) -> Vec<String> {
    let right = r#"{"id": "p1", "input": [{"id": "a", "address": "in"}], "output": [{"id": "b", "address": "out"}]}"#;
    let changed = read(right).merged(fields.as_bytes()).unwrap();
    changed.check().err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn definitions_of_datarhei_stand_unchanged() {
    for json in [NULL, CLEANUP, RESTREAMER] {
        let definition = Definition::read(json).unwrap();
        assert_eq!(definition.check(), Ok(()), "{}", definition.id);
        assert!(definition.legs().is_empty());
        let sent: Value = serde_json::from_slice(json).unwrap();
        let kept = serde_json::to_value(&definition).unwrap();
        for (name, value) in sent.as_object().unwrap().iter().filter(|(name, _)| !matches!(name.as_str(), "limits")) {
            let mut value = value.clone();
            // Their lists of options are never absent in an answer.
            if let Some(Value::Object(io)) = value.get_mut(0) {
                io.entry("options").or_insert_with(|| Value::Array(Vec::new()));
            }
            assert_eq!(kept[name], value, "{name} of {}", definition.id);
        }
    }
}

#[test]
fn an_answer_has_every_field_that_datarhei_writes() {
    let value = serde_json::to_value(read(r#"{"id": "x", "input": [{"address": "a"}]}"#)).unwrap();
    let fields = [
        "id",
        "type",
        "reference",
        "input",
        "output",
        "options",
        "reconnect",
        "reconnect_delay_seconds",
        "autostart",
        "stale_timeout_seconds",
        "limits",
    ];
    let mut written: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = fields.to_vec();
    written.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(written, wanted);
    assert_eq!(value["type"], "ffmpeg");
    assert_eq!(value["autostart"], true);
    assert_eq!(value["input"][0]["options"], serde_json::json!([]));
    assert_eq!(value["limits"], serde_json::json!({"cpu_usage": 0.0, "memory_mbytes": 0, "waitfor_seconds": 0}));
}

#[test]
fn what_is_not_known_is_kept_at_every_level() {
    let json = serde_json::json!({
        "id": "x", "vendor": {"deep": [1, null]},
        "input": [{"address": "a", "note": "n"}], "limits": {"gpu": 3},
        "whip_ingest": {"colour": "red"}, "whep_egress": {"colour": null},
    });
    let definition = read(&json.to_string());
    let value = serde_json::to_value(definition.merged(b"{\"reference\": \"r\"}").unwrap()).unwrap();
    assert_eq!(value["vendor"], json["vendor"]);
    assert_eq!(value["input"][0]["note"], "n");
    assert_eq!(value["limits"]["gpu"], 3);
    assert_eq!(value["whip_ingest"]["colour"], "red");
    assert_eq!(value["whep_egress"].get("colour"), Some(&Value::Null));
}

#[test]
fn a_change_is_merged_field_by_field_and_lists_as_a_whole() {
    let before = read(
        r#"{"id": "p", "reference": "r", "autostart": false, "options": ["-y", "-v"], "reconnect": true,
        "input": [{"id": "a", "address": "1"}, {"id": "b", "address": "2"}], "limits": {"cpu_usage": 5, "memory_mbytes": 7}}"#,
    );
    let after = before
        .merged(br#"{"input": [{"address": "3"}], "limits": {"cpu_usage": 9}, "options": [], "reconnect": null}"#)
        .unwrap();
    assert_eq!((after.reference.as_str(), after.autostart, after.reconnect), ("r", false, false));
    assert_eq!((after.limits.cpu_usage, after.limits.memory_mbytes), (9.0, 7));
    assert!(after.options.is_empty());
    assert_eq!((after.input.len(), after.input[0].address.as_str(), after.input[0].id.as_str()), (1, "3", ""));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (json, expected) in [
        (r#"{"id": 5}"#, "id: invalid type: integer `5`, expected a string"),
        (
            r#"{"input": [{}, {"options": ["a", 1]}]}"#,
            "input[1].options[1]: invalid type: integer `1`, expected a string",
        ),
        (r#"{"limits": {"cpu_usage": "x"}}"#, "limits.cpu_usage: invalid type: string \"x\", expected f64"),
        (r#"{"reconnect_delay_seconds": -1}"#, "reconnect_delay_seconds: invalid value: integer `-1`, expected u64"),
        (
            r#"{"whip_ingest": {"transport": "srt"}}"#,
            "whip_ingest.transport: unknown variant `srt`, expected `rtsp` or `rtp`",
        ),
        ("[]", ".: a definition is an object"),
        ("{\"id\": ", "EOF while parsing a value at line 1 column 7"),
        ("\u{0}", "expected value at line 1 column 1"),
    ] {
        assert_eq!(Definition::read(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
        let definition = read(r#"{"id": "p"}"#);
        assert_eq!(definition.merged(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
    }
    let deep = "[".repeat(100_000);
    assert!(Definition::read(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn what_cannot_stand_is_named() {
    let long = format!(r#"{{"id": "{}"}}"#, "x".repeat(129));
    let many = format!(r#"{{"input": [{}]}}"#, vec![r#"{"address": "a"}"#; 65].join(","));
    for (fields, expected) in [
        ("{}", ""),
        (r#"{"id": ""}"#, "id: is empty"),
        (r#"{"id": ".."}"#, "id: is no name but a path"),
        (r#"{"id": "../../etc"}"#, "id: must not contain / or \\"),
        (r#"{"id": "a\\b"}"#, "id: must not contain / or \\"),
        (r#"{"id": "a\nb"}"#, "id: contains a control character"),
        (r#"{"id": "\u0000"}"#, "id: contains a control character"),
        (&long, "id: has more than 128 bytes"),
        (r#"{"type": "gstreamer"}"#, r#"type: "gstreamer" is not supported: processes are of type "ffmpeg""#),
        (r#"{"input": []}"#, "input: at least one input is needed, or whip_ingest"),
        (r#"{"input": [], "whip_ingest": {"enabled": false}}"#, "input: at least one input is needed, or whip_ingest"),
        (r#"{"input": [], "whip_ingest": {}}"#, ""),
        (r#"{"output": []}"#, "output: at least one output is needed, or whep_egress"),
        (r#"{"output": [], "whep_egress": {}}"#, ""),
        (&many, "input: has more than 64 entries"),
        (r#"{"input": [{"address": " "}]}"#, "input[0].address: is empty"),
        (r#"{"options": ["a\u0000"]}"#, "options[0]: contains a NUL character, which no argument can"),
        (
            r#"{"output": [{"id": "x", "address": "1"}, {"id": "x", "address": "2"}]}"#,
            r#"output[1].id: "x" is the id of another one, too"#,
        ),
        (r#"{"limits": {"cpu_usage": 101}}"#, "limits.cpu_usage: is a percentage from 0 to 100"),
        (r#"{"reconnect_delay_seconds": 18446744073709551615}"#, "reconnect_delay_seconds: is more than 31536000"),
        (r#"{"whip_ingest": {"video_pt": 72}}"#, "whip_ingest.video_pt: is a payload type from 96 to 127, or 0"),
        (r#"{"whip_ingest": {"audio_pt": 63}}"#, "whip_ingest.audio_pt: is a payload type from 96 to 127, or 0"),
        (r#"{"whip_ingest": {"video_pt": 128}}"#, "whip_ingest.video_pt: is a payload type from 96 to 127, or 0"),
        (r#"{"whip_ingest": {"video_pt": 96, "audio_pt": 127}}"#, ""),
        (
            r#"{"id": "a b", "whep_egress": {}}"#,
            "id: with whip_ingest or whep_egress it is the name of a stream too: a stream name consists of letters, \
             digits, '.', '_' and '-'; see byte 1",
        ),
        (
            r#"{"whip_ingest": {}, "whep_egress": {"stream": "{id}"}}"#,
            "whep_egress.stream: is the stream that the process reads",
        ),
        (
            r#"{"input": [{"address": "{whip:a b}"}]}"#,
            "input[0].address: \"a b\" is no stream: a stream name consists of letters, digits, '.', '_' and '-'; see byte 1",
        ),
        (
            r#"{"input": [{"address": "x{whip:a}"}]}"#,
            "input[0].address: {whip:…} is a whole address and not a part of one",
        ),
        (r#"{"output": [{"address": "{whip:a}"}]}"#, "output[0].address: {whip:…} is no output"),
        (
            r#"{"input": [{"address": "{whip:a,transport=quic}"}]}"#,
            "input[0].address: transport \"quic\" is neither rtsp nor rtp",
        ),
    ] {
        let found = mistakes(fields);
        match expected {
            "" => assert!(found.is_empty(), "{fields}: {found:?}"),
            expected => assert!(found.iter().any(|found| found == expected), "{fields}: {found:?}"),
        }
    }
}

#[test]
fn a_definition_cannot_be_merged_beyond_all_bounds() {
    let grown = read(r#"{"id": "p", "input": [{"address": "a"}], "output": [{"address": "b"}]}"#)
        .merged(format!(r#"{{"more": "{}"}}"#, "x".repeat(1 << 20)).as_bytes())
        .unwrap();
    assert_eq!(grown.check().unwrap_err()[0].to_string(), "a definition has at most 1048576 bytes");
}

#[test]
fn legs_are_what_the_definition_says() {
    let legs = read(
        r#"{"id": "p1", "reference": "r", "whip_ingest": {"transport": "rtp", "video_pt": 96}, "whep_egress": {},
        "input": [{"address": "{whip:cam-{reference}}"}, {"address": "{whip:cam-r}"}, {"address": "a.mp4"}],
        "output": [{"address": "[f=flv]rtmp://x/y|{whep:z}"}, {"address": "{whep:{id}-low}"}]}"#,
    )
    .legs();
    let ingest = legs.ingest.clone().unwrap();
    assert_eq!((ingest.stream.as_str(), ingest.transport), ("p1", Transport::Rtp));
    assert_eq!((ingest.video_pt, ingest.audio_pt), (Some(96), None));
    assert_eq!(legs.egress, Some(Wired { stream: "p1-out".into(), transport: Transport::Rtsp }));
    assert_eq!(legs.reads, ["cam-r"]);
    assert_eq!(legs.fed().collect::<Vec<_>>(), ["p1-out", "p1-low", "z"]);
}

#[test]
fn the_nameless_are_named() {
    let mut definition = read(r#"{"input": [{"address": "a"}, {"id": "b", "address": "b"}]}"#);
    definition.name_the_nameless();
    assert_eq!(definition.id.len(), 16);
    assert_eq!(definition.input[0].id.len(), 16);
    assert_eq!(definition.input[1].id, "b");
}
