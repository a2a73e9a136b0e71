//! `/api/v3/process…` with real processes behind it: Debian's FFmpeg.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use whipstitch_ffmpeg::process::{
    Access, Definition, Leg, Legs, Order, Processes, Settings as ProcessSettings, Transport, Wiring,
};

use super::*;

const TOKEN: &str = "authorization: Bearer admin";
const JSON: &str = "content-type: application/json";
/// As datarhei Core has it in its own tests.
const NULL: &str = include_str!("../../../../ffmpeg/src/process/definition/fixtures/datarhei-null.json");

/// No streams: what the routes do with them is none of theirs.
struct NoStreams;

impl Wiring for NoStreams {
    fn read(&self, _: &str, _: &str, _: Transport) -> Result<Leg, String> {
        Err("this server has no RTSP listener".to_owned())
    }

    fn write(&self, _: &str, _: &str, _: Transport) -> Result<Leg, String> {
        Err("this server has no RTSP listener".to_owned())
    }

    fn ordered(&self, _: &str, _: &Legs, _: Order) {}
    fn renamed(&self, _: &str, _: &str) {}
    fn begins(&self, _: &str) {}
    fn rests(&self, _: &str) {}
}

struct Scene {
    site: Site,
    processes: Processes,
    _data: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Access::default(), Vec::new()).await
    }

    async fn with(access: Access, declared: Vec<Definition>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (program, folder) = (PathBuf::from("ffmpeg"), data.path().to_owned());
        let settings = ProcessSettings { program, data: folder, access, declared, most: 10 };
        let processes = Processes::open(settings, Arc::new(NoStreams)).await;
        let settings = Settings { processes: Some(processes.clone()), ..Settings::default() };
        Self { site: Site::set(nothing_configured(), settings).await, processes, _data: data }
    }

    async fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let target = format!("/api/v3{target}");
        let answer = self.site.ask(method, &target, &[TOKEN, JSON], body).await;
        answer.check();
        answer
    }

    /// The JSON of an answer that is good.
    async fn json(&self, method: &str, target: &str, body: &str) -> Value {
        let answer = self.ask(method, target, body).await;
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What is wrong with it: the members that clients of datarhei Core read.
    async fn refused(&self, method: &str, target: &str, body: &str) -> (u16, String, Vec<String>) {
        let answer = self.ask(method, target, body).await;
        let problem = answer.problem();
        assert_eq!(problem["code"], answer.status);
        let details = problem["details"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned());
        (answer.status, problem["message"].as_str().unwrap().to_owned(), details.collect())
    }
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_definition_of_datarhei_core_lives_its_whole_life() {
    let scene = Scene::new().await;
    let sent: Value = serde_json::from_str(NULL).unwrap();
    let config = scene.json("POST", "/process", NULL).await;
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(config[name], *value, "{name}");
    }
    assert_eq!(scene.json("GET", "/process/test/config", "").await, config);

    let one = scene.json("GET", "/process/test", "").await;
    let parts = ["config", "created_at", "id", "read_only", "reference", "report", "state", "type", "updated_at"];
    assert_eq!(keys(&one), parts);
    assert_eq!((&one["id"], &one["type"], &one["read_only"]), (&json!("test"), &json!("ffmpeg"), &json!(false)));
    let state = &one["state"];
    assert_eq!(
        (&state["order"], &state["exec"], &state["reconnect_seconds"]),
        (&json!("stop"), &json!("finished"), &json!(-1))
    );
    for name in ["runtime_seconds", "last_logline", "memory_bytes", "cpu_usage", "command"] {
        assert!(!state[name].is_null(), "{name}");
    }
    for name in
        ["inputs", "outputs", "frame", "packet", "fps", "q", "size_kb", "time", "bitrate_kbit", "speed", "drop", "dup"]
    {
        assert!(!state["progress"][name].is_null(), "{name}");
    }
    assert_eq!(one["report"], json!({"created_at": 0, "prelude": [], "log": [], "history": []}));

    assert_eq!(scene.json("PUT", "/process/test/command", r#"{"command": "start"}"#).await, "OK");
    let state = scene.json("GET", "/process/test/state", "").await;
    assert_eq!(state["order"], "start");
    for command in ["restart", "reload", "stop"] {
        let body = json!({"command": command}).to_string();
        assert_eq!(scene.json("PUT", "/process/test/command", &body).await, "OK", "{command}");
    }
    assert_eq!(scene.json("GET", "/process/test/state", "").await["order"], "stop");
    let report = scene.json("GET", "/process/test/report", "").await;
    assert!(!report["history"].as_array().unwrap().is_empty(), "{report}");

    let changed = scene.json("PUT", "/process/test", r#"{"id": "other", "reference": "r"}"#).await;
    assert_eq!((&changed["id"], &changed["input"]), (&json!("other"), &config["input"]));
    assert_eq!(scene.json("DELETE", "/process/other", "").await, "OK");
    assert_eq!(scene.refused("GET", "/process/other", "").await.0, 404);
}

#[tokio::test]
async fn lists_are_filtered_in_what_they_name_and_tell() {
    let scene = Scene::new().await;
    assert_eq!(scene.json("GET", "/process", "").await, json!([]));
    for (id, reference) in [("cam:1", "in"), ("cam:2", "out")] {
        let mut definition: Value = serde_json::from_str(NULL).unwrap();
        (definition["id"], definition["reference"]) = (json!(id), json!(reference));
        scene.json("POST", "/process", &definition.to_string()).await;
    }
    scene.json("PUT", "/process/cam:1/metadata/ui", r#"{"title": "x"}"#).await;
    for (query, expected) in [
        ("", &["cam:1", "cam:2"][..]),
        ("?id=cam:2,none", &["cam:2"]),
        ("?reference=in", &["cam:1"]),
        ("?idpattern=cam*&refpattern=o%3Ft", &["cam:2"]),
    ] {
        let list = scene.json("GET", &format!("/process{query}"), "").await;
        let found: Vec<&str> = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let list = scene.json("GET", "/process?filter=state,metadata&id=cam:1", "").await;
    assert_eq!(list[0]["metadata"], json!({"ui": {"title": "x"}}));
    assert!(list[0]["state"].is_object() && list[0]["config"].is_null() && list[0]["report"].is_null());
    for query in ["?idpattern=[a", "?id=a&id=b", "?filter=a&filter=b"] {
        let (status, message, _) = scene.refused("GET", &format!("/process{query}"), "").await;
        assert_eq!((status, message.as_str()), (400, "Invalid query"), "{query}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_done() {
    let scene = Scene::new().await;
    scene.json("POST", "/process", NULL).await;
    let (invalid, config) = ("Invalid JSON", "Invalid process config");
    let twice = NULL.replace("-f", "-g");
    for (method, target, body, status, message, detail) in [
        ("POST", "/process", "{", 400, invalid, "EOF while parsing an object at line 1 column 1"),
        ("POST", "/process", "", 400, invalid, "EOF while parsing a value at line 1 column 0"),
        (
            "POST",
            "/process",
            r#"{"input": [{"address": 7}]}"#,
            400,
            invalid,
            "input[0].address: invalid type: integer `7`, expected a string",
        ),
        (
            "POST",
            "/process",
            r#"{"type": "gst", "input": [{"address": "a"}], "output": [{"address": "b"}]}"#,
            400,
            config,
            r#"type: "gst" is not supported: processes are of type "ffmpeg""#,
        ),
        (
            "POST",
            "/process",
            r#"{"id": "../../etc", "input": [{"address": "a"}], "output": [{"address": "b"}]}"#,
            400,
            config,
            "id: must not contain / or \\",
        ),
        ("POST", "/process", &twice, 400, config, "a process of this id exists already"),
        (
            "PUT",
            "/process/test",
            r#"{"output": []}"#,
            400,
            config,
            "output: at least one output is needed, or whep_egress",
        ),
        ("PUT", "/process/none", "{}", 404, "Unknown process ID", "there is no process of this id"),
        ("DELETE", "/process/none", "", 404, "Unknown process ID", "there is no process of this id"),
        (
            "PUT",
            "/process/none/command",
            r#"{"command": "stop"}"#,
            404,
            "Unknown process ID",
            "there is no process of this id",
        ),
        (
            "PUT",
            "/process/test/command",
            r#"{"command": "fly"}"#,
            400,
            invalid,
            "unknown variant `fly`, expected one of `start`, `stop`, `restart`, `reload` at line 1 column 17",
        ),
        ("GET", "/process/none/config", "", 404, "Unknown process ID", "there is no process of this id"),
        ("GET", "/process/none/probe", "", 404, "Unknown process ID", "there is no process of this id"),
        ("GET", "/process/none/metadata", "", 404, "Unknown process ID", "there is no process of this id"),
        ("GET", "/process/test/metadata/none", "", 404, "Unknown key", "nothing is kept under this key"),
        ("PUT", "/process/none/metadata/k", "1", 404, "Unknown process ID", "there is no process of this id"),
        ("PUT", "/process/test/metadata/k", "nonsense", 400, invalid, "expected ident at line 1 column 2"),
        ("GET", "/metadata/none", "", 404, "Unknown key", "nothing is kept under this key"),
        ("GET", "/process/..%2F..%2Fetc", "", 404, "Unknown process ID", "there is no process of this id"),
    ] {
        let found = scene.refused(method, target, body).await;
        assert_eq!(found, (status, message.to_owned(), vec![detail.to_owned()]), "{method} {target} {body}");
    }
    let config = scene.json("GET", "/process/test/config", "").await;
    assert_eq!(config["output"][0]["options"], json!(["-codec:v", "copy", "-f", "null"]));
    assert_eq!(scene.processes.list(&Default::default()).unwrap().len(), 1);
}

#[tokio::test]
async fn an_edit_of_an_older_version_is_refused() {
    let scene = Scene::new().await;
    let etag = scene.ask("POST", "/process", NULL).await.field("etag").unwrap().to_owned();
    for target in ["/process/test", "/process/test/config"] {
        assert_eq!(scene.ask("GET", target, "").await.field("etag"), Some(&*etag), "{target}");
    }
    let only_if = format!("if-match: {etag}");
    let fields = [TOKEN, JSON, &only_if];
    let ask = |method: &'static str, body: &'static str| scene.site.ask(method, "/api/v3/process/test", &fields, body);
    let changed = ask("PUT", r#"{"reference": "new"}"#).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.field("etag"), Some(&*etag));
    for (method, body) in [("PUT", r#"{"reference": "newer"}"#), ("DELETE", "")] {
        let late = ask(method, body).await;
        assert_eq!((late.status, late.problem()["message"].clone()), (412, json!("Process has changed")), "{method}");
    }
    assert_eq!(scene.json("GET", "/process/test/config", "").await["reference"], "new");
}

#[tokio::test]
async fn bodies_have_a_type_and_a_bound() {
    let scene = Scene::new().await;
    let large = format!(r#"{{"reference": "{}"}}"#, "x".repeat(10 << 20));
    let announced = scene.site.request("POST", "/api/v3/process", &[TOKEN, JSON], &large);
    let mut client = scene.site.connect().await;
    // Its head alone says enough.
    client.send(&announced[..announced.find("\r\n\r\n").unwrap() + 4]).await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status, answer.problem()["code"].clone()), (413, json!(413)));
    let typeless = scene.site.ask("POST", "/api/v3/process", &[TOKEN], NULL).await;
    assert_eq!((typeless.status, typeless.field("accept-post")), (415, Some("application/json")));
    assert_eq!(typeless.problem()["details"], json!(["the body must be of type application/json"]));
    assert_eq!(scene.json("GET", "/process", "").await, json!([]));
}

#[tokio::test]
async fn all_of_it_needs_a_credential_also_from_this_machine() {
    let scene = Scene::new().await;
    scene.json("POST", "/process", NULL).await;
    for (method, target) in [
        ("GET", "/process"),
        ("POST", "/process"),
        ("GET", "/process/test"),
        ("PUT", "/process/test"),
        ("DELETE", "/process/test"),
        ("GET", "/process/test/state"),
        ("PUT", "/process/test/command"),
        ("PUT", "/process/test/metadata/k"),
        ("GET", "/metadata"),
        ("GET", "/skills"),
        ("GET", "/skills/reload"),
    ] {
        for target in [format!("/api/v3{target}"), format!("/api/v3{target}?token=admin")] {
            let answer = scene.site.ask(method, &target, &[JSON], "{}").await;
            assert_eq!(answer.status, 401, "{method} {target}");
            assert_eq!(answer.problem()["code"], 401);
        }
    }
    assert_eq!(scene.json("GET", "/process/test/state", "").await["order"], "stop");
}

#[tokio::test]
async fn what_cannot_feed_its_stream_is_a_failure_of_its_legs_and_a_stop_is_none() {
    let scene = Scene::new().await;
    let stops = json!({"id": "stops", "reconnect": false, "options": [], "whep_egress": {"enabled": true}, "autostart": false,
        "input": [{"id": "in", "address": "testsrc", "options": ["-re", "-f", "lavfi"]}], "output": []});
    let mut fails = stops.clone();
    (fails["id"], fails["autostart"]) = (json!("fails"), json!(true));
    for definition in [&stops, &fails] {
        scene.json("POST", "/process", &definition.to_string()).await;
    }
    let failed = async {
        while scene.json("GET", "/process/fails/state", "").await["exec"] != "failed" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), failed).await.expect("it cannot feed its stream");
    scene.json("PUT", "/process/stops/command", r#"{"command": "stop"}"#).await;
    let leg = |leg: &str| json!({"stream": "fails-out", "leg": leg, "reason": "not_started", "count": 1});
    let state = scene.json("GET", "/process/fails/state", "").await;
    assert_eq!(state["leg_failures"], json!([leg("audio"), leg("video")]), "{state}");
    assert_eq!(scene.json("GET", "/process/stops/state", "").await["leg_failures"], json!([]));
    let page = scene.site.ask("GET", "/metrics", &[TOKEN], "").await.body;
    let series = |leg: &str, stream: &str, count: u8| {
        let labels = format!("stream=\"{stream}\",leg=\"{leg}\",reason=\"not_started\"");
        format!("whipstitch_ffmpeg_leg_failures_total{{{labels}}} {count}")
    };
    for line in [series("audio", "fails-out", 1), series("video", "fails-out", 1), series("video", "other", 0)] {
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    }
    assert!(!page.contains("stops-out"), "{page}");
}

#[tokio::test]
async fn addresses_outside_the_lists_are_refused() {
    let mut access = Access { folders: vec!["/srv/media".into()], ..Access::default() };
    access.input.allow(&["^testsrc".to_owned()]).unwrap();
    let scene = Scene::with(access, Vec::new()).await;
    scene.json("POST", "/process", NULL).await;
    let wrong = r#"{"input": [{"address": "/etc/passwd"}], "output": [{"address": "/srv/media/../../etc/x"}], "options": ["-i", "x"]}"#;
    let (status, message, details) = scene.refused("PUT", "/process/test", wrong).await;
    assert_eq!((status, message.as_str()), (400, "Invalid process config"));
    assert_eq!(
        details,
        [
            "options[0]: is not allowed among options while there are lists of addresses",
            "input[0].address: matches nothing that the configuration allows",
            "output[0].address: is in no folder that the configuration lets processes write in",
        ]
    );
    assert_eq!(scene.json("GET", "/process/test/config", "").await["output"][0]["address"], "-");
}

#[tokio::test]
async fn processes_of_the_configuration_are_read_only() {
    let declared = Definition::read(NULL.as_bytes()).unwrap();
    let scene = Scene::with(Access::default(), vec![declared]).await;
    assert_eq!(scene.json("GET", "/process/test", "").await["read_only"], true);
    for (method, body) in [("PUT", "{}"), ("DELETE", "")] {
        let (status, message, details) = scene.refused(method, "/process/test", body).await;
        assert_eq!((status, message.as_str()), (409, "Read-only process"));
        assert!(details[0].contains("[[process]]"), "{details:?}");
    }
    assert_eq!(scene.json("PUT", "/process/test/command", r#"{"command": "stop"}"#).await, "OK");
}

#[tokio::test]
async fn metadata_is_any_json_and_null_forgets_it() {
    let scene = Scene::new().await;
    scene.json("POST", "/process", NULL).await;
    for place in ["/process/test/metadata", "/metadata"] {
        assert_eq!(scene.json("GET", place, "").await, json!({}));
        let value = json!({"deep": [1, {"x": null}], "text": "ü"});
        assert_eq!(scene.json("PUT", &format!("{place}/ui"), &value.to_string()).await, value);
        assert_eq!(scene.json("GET", &format!("{place}/ui"), "").await, value);
        assert_eq!(scene.json("GET", place, "").await, json!({"ui": value}));
        assert_eq!(scene.json("PUT", &format!("{place}/ui"), "null").await, Value::Null);
        assert_eq!(scene.json("GET", place, "").await, json!({}));
    }
}

#[tokio::test]
async fn a_server_that_stops_takes_no_changes_and_one_without_processes_has_none() {
    let scene = Scene::new().await;
    scene.site.state.drain();
    assert_eq!(scene.refused("POST", "/process", NULL).await.0, 503);
    assert_eq!(scene.json("GET", "/process", "").await, json!([]));
    let none = Site::open().await;
    let answer = none.ask("GET", "/api/v3/process", &[TOKEN], "").await;
    assert_eq!((answer.status, answer.problem()["message"].clone()), (404, json!("Not Found")));
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_said() {
    let settings = ProcessSettings {
        program: "ffmpeg".into(),
        data: Path::new("/dev/null/x").to_owned(),
        access: Access::default(),
        declared: Vec::new(),
        most: 10,
    };
    let processes = Some(Processes::open(settings, Arc::new(NoStreams)).await);
    let site = Site::set(nothing_configured(), Settings { processes, ..Settings::default() }).await;
    let answer = site.ask("POST", "/api/v3/process", &[TOKEN, JSON], NULL).await;
    assert_eq!(answer.status, 503);
    assert!(answer.problem()["details"][0].as_str().unwrap().contains("--data /dev/null/x"), "{answer:?}");
}

#[tokio::test]
async fn what_comes_slowly_while_the_server_stops_changes_nothing() {
    let scene = Scene::new().await;
    scene.json("POST", "/process", NULL).await;
    let other = NULL.replace("\"test\"", "\"other\"");
    let mut clients = Vec::new();
    for (method, target, body) in [
        ("POST", "/process", &*other),
        ("PUT", "/process/test", r#"{"reference": "late"}"#),
        ("PUT", "/process/test/command", r#"{"command": "start"}"#),
        ("PUT", "/process/test/metadata/k", "1"),
    ] {
        let mut client = scene.site.connect().await;
        let length = format!("content-length: {}", body.len());
        let fields = [TOKEN, JSON, "expect: 100-continue", &length];
        client.send(&scene.site.request(method, &format!("/api/v3{target}"), &fields, "")).await;
        // It was let in, and its body is waited for.
        assert_eq!(client.answer(method).await.status, 100, "{method} {target}");
        clients.push((client, method, target, body));
    }
    scene.processes.close();
    for (mut client, method, target, body) in clients {
        client.send(body).await;
        let answer = client.answer(method).await;
        assert_eq!((answer.status, answer.field("retry-after").is_some()), (503, true), "{method} {target}");
        assert_eq!(answer.problem()["message"], "The server is stopping", "{method} {target}");
    }
    assert_eq!(scene.processes.list(&Default::default()).unwrap().len(), 1);
    let one = scene.json("GET", "/process/test", "").await;
    assert_eq!((&one["config"]["reference"], &one["state"]["order"]), (&json!(""), &json!("stop")));
    assert!(one["metadata"].is_null());
    scene.processes.finish().await;
}
