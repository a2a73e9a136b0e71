//! With Debian's FFmpeg as the child.

mod guarded;

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::process::store::StoreError;
use crate::process::wiring::{Leg, Transport};

const ENDLESS: &str = r#"{
    "id": "p", "reference": "r", "options": ["-loglevel", "info"],
    "input": [{"id": "in", "address": "testsrc=size=32x32:rate=10", "options": ["-re", "-f", "lavfi"]}],
    "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]}"#;

fn with(changes: Value) -> Vec<u8> {
    let base = Definition::read(ENDLESS.as_bytes()).unwrap();
    serde_json::to_vec(&base.merged(changes.to_string().as_bytes()).unwrap()).unwrap()
}

use serde_json::{Value, json};

/// Remembers what it is told. Nothing can be had of it but a file.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn all(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.0))
    }

    async fn hears(&self, word: &str) {
        let told = async {
            while !locked(&self.0).iter().any(|told| told == word) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.expect(word);
    }
}

impl Wiring for Told {
    fn read(&self, _: &str, stream: &str, _: Transport) -> Result<Leg, String> {
        let options = ["-re", "-f", "lavfi"].map(str::to_owned).into();
        let (url, secrets) = ("testsrc=size=32x32:rate=10".to_owned(), vec!["rate=10".to_owned()]);
        locked(&self.0).push(format!("read {stream}"));
        Ok(Leg { url, options, secrets, waiting: None, kept: Box::new(()) })
    }

    fn write(&self, _: &str, _: &str, _: Transport) -> Result<Leg, String> {
        Err("needs --rtsp".to_owned())
    }

    fn ordered(&self, process: &str, legs: &Legs, order: Order) {
        let ingest = legs.ingest.as_ref().map_or("", |ingest| &ingest.stream);
        locked(&self.0).push(format!("{order} {process} {ingest} {:?}", legs.fed().collect::<Vec<_>>()));
    }

    fn renamed(&self, process: &str, to: &str) {
        locked(&self.0).push(format!("renamed {process} {to}"));
    }

    fn begins(&self, process: &str) {
        locked(&self.0).push(format!("begins {process}"));
    }

    fn rests(&self, process: &str) {
        locked(&self.0).push(format!("rests {process}"));
    }
}

fn settings(data: &Path) -> Settings {
    let (program, access) = (PathBuf::from("ffmpeg"), Access::default());
    Settings { program, data: data.to_owned(), access, declared: Vec::new(), most: 10 }
}

async fn open_at(data: &Path) -> Processes {
    Processes::open(settings(data), Arc::new(Told::default())).await
}

async fn running(process: &Process) -> u32 {
    process.runner.until(|state| state.exec == Exec::Running && state.progress.frame > 0).await.pid.unwrap()
}

fn ids_of(processes: &Processes) -> Vec<String> {
    processes.all().keys().cloned().collect()
}

#[tokio::test]
async fn what_was_defined_runs_again_after_a_restart_with_its_metadata() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    processes.add(&with(json!({"id": "stopped", "autostart": false}))).await.unwrap();
    processes.add(&with(json!({"id": "gone"}))).await.unwrap();
    processes.remove("gone", None).await.unwrap();
    processes.set_metadata("p", "ui", json!({"title": "x"})).await.unwrap();
    processes.set_server_metadata("ui", json!([1])).await.unwrap();
    let pid = running(&one).await;
    let created = one.created_at();
    drop(one);
    processes.finish().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "no child is left");
    drop(processes);

    let processes = open_at(data.path()).await;
    assert_eq!(ids_of(&processes), ["p", "stopped"]);
    let one = processes.get("p").unwrap();
    running(&one).await;
    assert_eq!((one.created_at(), one.definition().reference.as_str()), (created, "r"));
    assert_eq!(processes.get("stopped").unwrap().order(), Order::Stop);
    assert_eq!(processes.metadata("p", Some("ui")).await.unwrap(), json!({"title": "x"}));
    assert_eq!(processes.server_metadata(None).await.unwrap(), json!({"ui": [1]}));
    assert!(matches!(processes.metadata("p", Some("other")).await, Err(Error::NoSuchKey)));
    assert!(matches!(processes.metadata("gone", None).await, Err(Error::Unknown)));
    processes.finish().await;
}

#[tokio::test]
async fn commands_do_what_they_say_and_are_remembered() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    let first = running(&one).await;
    processes.command("p", Command::Restart).await.unwrap();
    let second = one.runner.until(|state| state.pid.is_some_and(|pid| pid != first)).await.pid.unwrap();
    processes.command("p", Command::Reload).await.unwrap();
    let one = processes.get("p").unwrap();
    assert_ne!(running(&one).await, second);
    assert_eq!(one.report().history.len(), 2, "the past stays");
    processes.command("p", Command::Stop).await.unwrap();
    assert_eq!((one.state().exec, one.state().pid), (Exec::Finished, None));
    processes.command("p", Command::Restart).await.unwrap();
    processes.command("p", Command::Reload).await.unwrap();
    assert_eq!(processes.get("p").unwrap().order(), Order::Stop);
    assert!(matches!(processes.command("q", Command::Start).await, Err(Error::Unknown)));
    assert_eq!(processes.ends()["stopped"] + processes.ends()["restarted"], 3);
    processes.finish().await;
    drop((one, processes));
    let processes = open_at(data.path()).await;
    assert_eq!(processes.get("p").unwrap().order(), Order::Stop, "as it was ordered last");
    processes.command("p", Command::Start).await.unwrap();
    processes.finish().await;
    drop(processes);
    assert_eq!(open_at(data.path()).await.get("p").unwrap().order(), Order::Start);
}

#[tokio::test]
async fn a_change_is_made_whole_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    processes.add(&with(json!({"id": "other", "autostart": false}))).await.unwrap();
    processes.set_metadata("p", "k", json!(1)).await.unwrap();
    let pid = running(&one).await;
    for (change, expected) in [
        (json!({"input": []}), "input: at least one input"),
        (json!({"id": "../x"}), "id: must not contain"),
        (json!({"id": "other"}), "a process of this id exists"),
        (json!({"input": [{"address": "#nobody:output=x"}]}), "there is no process \"nobody\""),
        (json!({"options": "x"}), "options: invalid type"),
    ] {
        let refused = processes.update("p", change.to_string().as_bytes(), None).await.err().unwrap().to_string();
        assert!(refused.contains(expected), "{change}: {refused}");
    }
    assert_eq!(one.state().pid, Some(pid), "nothing of it was done");
    let stored = |processes: &Processes| locked(processes.0.store.as_ref().unwrap()).processes().unwrap();
    assert_eq!(stored(&processes).len(), 2);

    let two = processes.update("p", br#"{"id": "q", "reference": "new"}"#, None).await.unwrap();
    assert_eq!(ids_of(&processes), ["other", "q"]);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "its child has ended");
    running(&two).await;
    let definition = two.definition();
    assert_eq!((definition.reference.as_str(), definition.input[0].id.as_str()), ("new", "in"));
    assert_eq!(two.created_at(), one.created_at());
    assert_eq!(processes.metadata("q", Some("k")).await.unwrap(), json!(1));
    assert_eq!(two.report().history.len(), 1);
    let names: Vec<String> = stored(&processes).into_iter().map(|one| one.unwrap().definition.id).collect();
    assert_eq!(names, ["other", "q"]);
    processes.finish().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_runs_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    let pid = running(&one).await;
    locked(processes.0.store.as_ref().unwrap()).fill_up(0);
    let large = "x".repeat(1000);
    let full = |error: Option<Error>| matches!(error, Some(Error::Store(StoreError::Full)));
    assert!(full(processes.add(&with(json!({"id": "q", "more": vec![&large; 500]}))).await.err()));
    assert!(full(processes.update("p", json!({"more": vec![&large; 500]}).to_string().as_bytes(), None).await.err()));
    assert!(full(processes.set_metadata("p", "k", json!(vec![&large; 500])).await.err()));
    assert_eq!((ids_of(&processes), one.state().pid), (vec!["p".to_owned()], Some(pid)));
    drop((one, processes));
    let again = open_at(data.path()).await;
    let one = again.get("p").unwrap();
    assert_eq!((one.definition().other.len(), one.order()), (0, Order::Start));
    again.finish().await;
}

#[tokio::test]
async fn changes_of_one_process_wait_for_each_other() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    processes.add(ENDLESS.as_bytes()).await.unwrap();
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..6 {
        let processes = processes.clone();
        changes.spawn(async move {
            let change = json!({"reference": n.to_string(), "limits": {"waitfor_seconds": n}});
            processes.update("p", change.to_string().as_bytes(), None).await.map(drop)
        });
    }
    changes.join_all().await.into_iter().for_each(|changed| changed.unwrap());
    let one = processes.get("p").unwrap();
    let definition = one.definition();
    assert_eq!(definition.reference, definition.limits.waitfor_seconds.to_string(), "one of them whole");
    let stored = locked(processes.0.store.as_ref().unwrap()).processes().unwrap().remove(0).unwrap();
    assert_eq!(stored.definition, *definition);
    let pid = running(&one).await;
    processes.finish().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn of_two_who_change_the_same_version_one_is_told() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let etag = processes.add(&with(json!({"autostart": false}))).await.unwrap().etag();
    let change = |reference: &str| json!({"reference": reference}).to_string().into_bytes();
    let (one, other) = (change("one"), change("other"));
    let both = tokio::join!(processes.update("p", &one, Some(&etag)), processes.update("p", &other, Some(&etag)));
    let (won, lost) = if both.0.is_ok() { both } else { (both.1, both.0) };
    assert!(matches!(lost, Err(Error::Changed)));
    let now = won.unwrap();
    assert_eq!(processes.get("p").unwrap().definition(), now.definition());
    assert!(matches!(processes.remove("p", Some(&etag)).await, Err(Error::Changed)));
    assert!(matches!(processes.remove("p", Some(&format!("W/{}", now.etag()))).await, Err(Error::Changed)));
    let again = processes.update("p", &change("*"), Some("*")).await.unwrap().etag();
    processes.remove("p", Some(&format!("\"x\", {again}"))).await.unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    running(&one).await;
    {
        let mut update = std::pin::pin!(processes.update("p", br#"{"reference": "new"}"#, None));
        // It is asked for once, and then nobody waits for it.
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(update.as_mut().poll(cx).is_pending())).await;
        assert!(begun);
    }
    // Whoever comes next waits for it.
    processes.set_metadata("p", "k", json!(1)).await.unwrap();
    let two = processes.get("p").unwrap();
    assert_eq!(two.definition().reference, "new");
    running(&two).await;
    assert_eq!(one.state().pid, None);
    processes.finish().await;
}

#[tokio::test]
async fn addresses_are_judged_when_defined_and_at_each_start() {
    let data = tempfile::tempdir().unwrap();
    let open = open_at(data.path()).await;
    open.add(&with(json!({"autostart": false}))).await.unwrap();
    drop(open);
    let mut access = Access::default();
    access.input.allow(&["^rtsp://".to_owned()]).unwrap();
    let strict = Settings { access, ..settings(data.path()) };
    let processes = Processes::open(strict, Arc::new(Told::default())).await;
    let refused = processes.add(&with(json!({"id": "q"}))).await.err().unwrap().to_string();
    assert_eq!(refused, "input[0].address: matches nothing that the configuration allows");
    assert!(processes.update("p", br#"{"reference": "x"}"#, None).await.is_err());
    assert!(processes.probe("p").await.is_err());
    assert_eq!(ids_of(&processes), ["p"]);
    processes.command("p", Command::Start).await.unwrap();
    let one = processes.get("p").unwrap();
    one.runner.until(|state| state.exec == Exec::Failed).await;
    let (_, how) = one.report().current.ended.unwrap();
    assert_eq!(how.to_string(), format!("not started: {refused}"));
    processes.finish().await;
}

#[tokio::test]
async fn ffmpeg_that_is_missing_or_too_old_is_a_clear_state() {
    let data = tempfile::tempdir().unwrap();
    let old = data.path().join("ffmpeg-old");
    std::fs::write(&old, "#!/bin/sh\necho ffmpeg version 3.4.11 Copyright\n").unwrap();
    std::fs::set_permissions(&old, PermissionsExt::from_mode(0o755)).unwrap();
    for (program, expected) in
        [(data.path().join("not-there"), "there is no program"), (old, "is FFmpeg 3.4.11, and 4.0 or newer is needed")]
    {
        let here = Settings { program, ..settings(&data.path().join("data")) };
        let processes = Processes::open(here, Arc::new(Told::default())).await;
        let id = format!("p{}", ids_of(&processes).len());
        let one = processes.add(&with(json!({"id": id}))).await.unwrap();
        one.runner.until(|state| state.exec == Exec::Failed).await;
        let (_, how) = one.report().current.ended.unwrap();
        assert!(how.to_string().contains(expected), "{how}");
        assert_eq!(processes.ends()["not_started"], processes.all().len() as u64);
        processes.finish().await;
    }
}

#[tokio::test]
async fn processes_of_the_configuration_are_only_read() {
    let data = tempfile::tempdir().unwrap();
    let first = open_at(data.path()).await;
    first.add(&with(json!({"id": "both", "reference": "stored", "autostart": false}))).await.unwrap();
    drop(first);
    let declared = vec![
        Definition::read(&with(json!({"id": "both", "reference": "declared", "autostart": false}))).unwrap(),
        Definition::read(&with(json!({"id": "d"}))).unwrap(),
    ];
    let here = Settings { declared, ..settings(data.path()) };
    let processes = Processes::open(here, Arc::new(Told::default())).await;
    assert_eq!(processes.get("both").unwrap().definition().reference, "declared");
    running(&processes.get("d").unwrap()).await;
    assert!(matches!(processes.update("d", b"{}", None).await, Err(Error::Declared)));
    assert!(matches!(processes.remove("d", None).await, Err(Error::Declared)));
    assert!(matches!(processes.add(&with(json!({"id": "d"}))).await, Err(Error::Exists)));
    processes.command("d", Command::Stop).await.unwrap();
    assert_eq!(processes.get("d").unwrap().state().exec, Exec::Finished);
    processes.set_metadata("d", "k", json!("v")).await.unwrap();
    drop(processes);
    let without = open_at(data.path()).await;
    assert_eq!(ids_of(&without), ["both"], "what the configuration hid is there again, and nothing of it was stored");
    assert_eq!(without.get("both").unwrap().definition().reference, "stored");
}

#[tokio::test]
async fn whoever_has_the_streams_is_told_of_orders_and_legs() {
    let data = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let processes = Processes::open(settings(data.path()), Arc::clone(&told) as Arc<dyn Wiring>).await;
    let legs = json!({"whip_ingest": {}, "input": [], "autostart": false});
    processes.add(&with(legs)).await.unwrap();
    assert_eq!(told.all(), ["stop p p []"]);
    let fed = Fed { process: "p".into(), order: Order::Stop, start_on_publish: false };
    assert_eq!((processes.fed_by("p"), processes.fed_by("q")), (Some(fed), None));
    processes.command("p", Command::Start).await.unwrap();
    let one = processes.get("p").unwrap();
    let state = one.runner.until(|state| state.exec == Exec::Running && state.progress.frame > 0).await;
    assert_eq!(told.all(), ["start p p []", "begins p", "read p"]);
    assert!(state.command.contains(&"testsrc=size=32x32:***".to_owned()), "{:?}", state.command);
    assert_eq!(one.state().progress.inputs[0].id, "whip");
    // The same legs: nobody is closed.
    processes.update("p", br#"{"reference": "x"}"#, None).await.unwrap();
    running(&processes.get("p").unwrap()).await;
    assert_eq!(told.all(), ["start p p []", "begins p", "read p"]);
    let other = json!({"whip_ingest": {"enabled": false}, "whep_egress": {}, "input": [{"address": "testsrc", "options": ["-f", "lavfi"]}]});
    processes.update("p", other.to_string().as_bytes(), None).await.unwrap();
    let failed = processes.get("p").unwrap();
    failed.runner.until(|state| state.exec == Exec::Failed).await;
    assert_eq!(failed.report().current.ended.unwrap().1, Ended::NotStarted("needs --rtsp".into()));
    // Of what it was before nobody is told apart, so that what is the same goes on.
    told.hears("rests p").await;
    assert_eq!(told.all(), ["start p  [\"p-out\"]", "begins p", "rests p"]);
    processes.update("p", br#"{"id": "q"}"#, None).await.unwrap();
    assert_eq!(told.all()[..2], ["renamed p q", "start q  [\"q-out\"]"]);
    let nothing = json!({"whep_egress": {"enabled": false}, "output": [{"address": "-", "options": ["-f", "null"]}]});
    processes.update("q", nothing.to_string().as_bytes(), None).await.unwrap();
    assert!(told.all().contains(&"stop q  [\"q-out\"]".to_owned()));
    processes.update("q", br#"{"whep_egress": {"enabled": true}}"#, None).await.unwrap();
    processes.remove("q", None).await.unwrap();
    assert!(told.all().contains(&"stop q  [\"q-out\"]".to_owned()));
}

#[tokio::test]
async fn lists_are_of_what_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    for (id, reference) in [("cam-1", "in"), ("cam-2", "out"), ("rec", "out")] {
        let json = with(json!({"id": id, "reference": reference, "autostart": false}));
        processes.add(&json).await.unwrap();
    }
    let text = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (Query::default(), &["cam-1", "cam-2", "rec"][..]),
        (Query { ids: vec!["rec".into(), "none".into()], ..Query::default() }, &["rec"]),
        (Query { ids: vec!["rec".into()], reference: text("in"), ..Query::default() }, &["cam-1"]),
        (Query { id_pattern: text("cam-*"), ..Query::default() }, &["cam-1", "cam-2"]),
        (Query { id_pattern: text("cam-?"), reference_pattern: text("o*"), ..Query::default() }, &["cam-2"]),
        (Query { reference_pattern: text("{in,nothing}"), ..Query::default() }, &["cam-1"]),
    ] {
        let found: Vec<String> = processes.list(&query).unwrap().iter().map(|one| one.definition.id.clone()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
    assert!(matches!(processes.list(&Query { id_pattern: text("[a"), ..Query::default() }), Err(Error::Pattern(_))));
}

#[tokio::test]
async fn there_are_no_more_than_may_be() {
    let data = tempfile::tempdir().unwrap();
    let processes = Processes::open(Settings { most: 1, ..settings(data.path()) }, Arc::new(Told::default())).await;
    processes.add(&with(json!({"autostart": false}))).await.unwrap();
    assert!(matches!(processes.add(&with(json!({"id": "q"}))).await, Err(Error::TooMany(1))));
    for n in 0..MOST_KEYS {
        processes.set_metadata("p", &n.to_string(), json!(n)).await.unwrap();
    }
    assert!(matches!(processes.set_metadata("p", "more", json!(1)).await, Err(Error::Metadata(_))));
    processes.set_metadata("p", "0", json!("another")).await.unwrap();
    assert!(matches!(processes.set_metadata("p", "", json!(1)).await, Err(Error::Metadata(_))));
}

#[tokio::test]
async fn a_second_server_in_the_same_folder_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let first = open_at(data.path()).await;
    first.add(&with(json!({"autostart": false}))).await.unwrap();
    let second = open_at(data.path()).await;
    assert!(second.problem().is_some_and(|why| why.contains("another server's")), "{:?}", second.problem());
    assert!(matches!(second.add(ENDLESS.as_bytes()).await, Err(Error::NoStore(_))));
    assert!(second.all().is_empty());
}

#[tokio::test]
async fn inputs_are_probed_and_ffmpeg_is_asked_what_it_can_do() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    processes.add(&with(json!({"autostart": false, "options": ["-y", "-loglevel", "warning"]}))).await.unwrap();
    let probe = processes.probe("p").await.unwrap();
    let [stream] = &probe.streams[..] else { panic!("{probe:?}") };
    assert_eq!((stream.width, stream.height, &*stream.r#type, stream.fps), (32, 32, "video", 10.0), "{probe:?}");
    assert!(matches!(processes.probe("q").await, Err(Error::Unknown)));
    processes.update("p", br#"{"input": [{"address": "/not/there.mp4"}]}"#, None).await.unwrap();
    let nothing = processes.probe("p").await.unwrap();
    assert!(nothing.streams.is_empty());
    assert!(nothing.log.iter().any(|line| line.contains("No such file")), "{nothing:?}");

    let (one, other) = tokio::join!(processes.skills(false), processes.skills(false));
    let skills = one.unwrap();
    assert!(Arc::ptr_eq(&skills, &other.unwrap()), "asked once");
    let has = |all: &[super::super::skills::Named], id: &str| all.iter().any(|one| one.id == id);
    assert!(skills.ffmpeg.version.chars().next().is_some_and(|c| c.is_ascii_digit()), "{:?}", skills.ffmpeg);
    assert!(skills.ffmpeg.libraries.iter().any(|library| library.name == "libavcodec"));
    assert!(has(&skills.protocols.output, "rtmp") && has(&skills.filter, "overlay"));
    assert!(has(&skills.formats.muxers, "rtsp"));
    let h264 = skills.codecs.video.iter().find(|codec| codec.id == "h264").unwrap();
    assert!(h264.encoders.contains(&"libx264".to_owned()) && h264.decoders.contains(&"h264".to_owned()));
    assert!(skills.codecs.audio.iter().any(|codec| codec.id == "opus"));
    assert!(!Arc::ptr_eq(&skills, &processes.skills(true).await.unwrap()), "asked anew");
}
