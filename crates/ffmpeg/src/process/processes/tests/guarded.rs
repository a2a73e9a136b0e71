//! What must not happen: a change once everything ends, one definition over another, two processes for one stream, an order
//! that nobody gave.

use super::*;

/// One that feeds this stream, or these.
fn feeding(id: &str, address: &str) -> Vec<u8> {
    with(json!({"id": id, "autostart": false, "output": [{"address": address, "options": ["-f", "tee"]}]}))
}

#[tokio::test]
async fn nothing_is_changed_stored_or_started_once_everything_ends() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    let stopped = processes.add(&with(json!({"id": "stopped", "autostart": false}))).await.unwrap();
    running(&one).await;
    processes.close();
    let closed = |error: Option<Error>| assert!(matches!(error, Some(Error::Closed)), "{error:?}");
    closed(processes.add(&with(json!({"id": "late"}))).await.err());
    closed(processes.update("p", br#"{"reference": "late"}"#, None).await.err());
    closed(processes.remove("p", None).await.err());
    for command in [Command::Start, Command::Stop, Command::Restart, Command::Reload] {
        closed(processes.command("stopped", command).await.err());
    }
    closed(processes.start_for_publisher("stopped").await.err());
    closed(processes.set_metadata("p", "k", json!(1)).await.err());
    closed(processes.set_server_metadata("k", json!(1)).await.err());
    closed(processes.probe("p").await.err());
    assert!(processes.metadata("p", None).await.is_ok(), "it can be read");
    assert_eq!((stopped.state().exec, stopped.state().counts.of(Exec::Starting)), (Exec::Finished, 0));
    processes.finish().await;
    drop((one, stopped, processes));
    let again = open_at(data.path()).await;
    let one = again.get("p").unwrap();
    assert_eq!((one.definition().reference.as_str(), one.order()), ("r", Order::Start));
    assert_eq!((ids_of(&again).len(), again.get("stopped").unwrap().order()), (2, Order::Stop));
    again.finish().await;
}

#[tokio::test]
async fn a_change_that_is_under_way_when_everything_ends_is_stored_and_starts_nothing() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    running(&one).await;
    // It is stored once the first child is asked to end, and waits for that.
    let update = {
        let processes = processes.clone();
        tokio::spawn(async move { processes.update("p", br#"{"reference": "new"}"#, None).await })
    };
    one.runner.until(|state| state.order == Order::Stop).await;
    processes.close();
    let two = update.await.unwrap().unwrap();
    processes.finish().await;
    assert_eq!((two.order(), two.state().counts.of(Exec::Starting)), (Order::Stop, 0));
    drop((one, two, processes));
    let again = open_at(data.path()).await;
    let one = again.get("p").unwrap();
    assert_eq!((one.definition().reference.as_str(), one.order()), ("new", Order::Start));
    again.finish().await;
}

#[tokio::test]
async fn nothing_is_kept_for_a_process_that_does_not_begin_as_everything_ends() {
    let data = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let processes = Processes::open(settings(data.path()), Arc::clone(&told) as Arc<dyn Wiring>).await;
    let one = processes.add(&with(json!({"whip_ingest": {}, "input": []}))).await.unwrap();
    running(&one).await;
    let update = {
        let processes = processes.clone();
        tokio::spawn(async move { processes.update("p", br#"{"reference": "new"}"#, None).await })
    };
    one.runner.until(|state| state.order == Order::Stop).await;
    told.all();
    processes.close();
    update.await.unwrap().unwrap();
    assert_eq!(told.all(), ["start p p []", "stop p p []"]);
    processes.finish().await;
}

#[tokio::test]
async fn of_two_changes_at_once_one_gets_the_stream() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let one = processes.add(ENDLESS.as_bytes()).await.unwrap();
    processes.add(&with(json!({"id": "q", "autostart": false}))).await.unwrap();
    running(&one).await;
    let egress = br#"{"whep_egress": {"stream": "live"}}"#;
    let update = {
        let processes = processes.clone();
        tokio::spawn(async move { processes.update("p", egress, None).await })
    };
    // The first one is judged and stored, and waits for the end of its child.
    one.runner.until(|state| state.order == Order::Stop).await;
    let told = r#"whep_egress.stream: the stream "live" is fed by the process "p""#;
    assert_eq!(processes.update("q", egress, None).await.err().unwrap().to_string(), told);
    let refused = processes.add(&with(json!({"id": "r", "whep_egress": {"stream": "live"}}))).await;
    assert_eq!(refused.err().unwrap().to_string(), told);
    assert!(!update.is_finished(), "it still waits");
    update.await.unwrap().unwrap();
    assert_eq!(processes.update("q", egress, None).await.err().unwrap().to_string(), told);
    // Nothing is claimed any more: not what was refused, nor what its owner has given back.
    processes.remove("p", None).await.unwrap();
    processes.update("q", egress, None).await.unwrap();
}

#[tokio::test]
async fn who_has_the_streams_is_told_when_no_other_child_comes() {
    let data = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let processes = Processes::open(settings(data.path()), Arc::clone(&told) as Arc<dyn Wiring>).await;
    let one = processes.add(&with(json!({"whip_ingest": {}, "input": []}))).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(running(&one).await.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    told.hears("rests p").await;
    assert_eq!(told.all(), ["start p p []", "begins p", "read p", "rests p"]);
    assert_eq!(one.order(), Order::Start);
    processes.command("p", Command::Start).await.unwrap();
    running(&one).await;
    assert_eq!(told.all(), ["start p p []", "begins p", "read p"]);
    processes.command("p", Command::Stop).await.unwrap();
    assert_eq!(told.all(), ["stop p p []"], "that is told already");
}

#[tokio::test]
async fn one_that_cannot_be_read_is_not_overwritten_and_can_be_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    processes.add(&with(json!({"autostart": false}))).await.unwrap();
    processes.finish().await;
    drop(processes);
    let database = rusqlite::Connection::open(data.path().join(crate::process::FILE)).unwrap();
    database.execute("UPDATE process SET definition = '{'", []).unwrap();
    drop(database);
    let processes = open_at(data.path()).await;
    assert!(matches!(processes.add(&with(json!({"autostart": false}))).await, Err(Error::Exists)));
    processes.add(&with(json!({"id": "q", "autostart": false}))).await.unwrap();
    assert!(matches!(processes.update("q", br#"{"id": "p"}"#, None).await, Err(Error::Exists)));
    assert_eq!(ids_of(&processes), ["q"]);
    processes.remove("p", None).await.unwrap();
    assert!(matches!(processes.remove("p", None).await, Err(Error::Unknown)));
    processes.add(&with(json!({"autostart": false}))).await.unwrap();
}

#[tokio::test]
async fn a_stream_is_fed_by_one_process() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    processes.add(&feeding("p", "{whep:live}|{whep:other}")).await.unwrap();
    let refused = processes.add(&feeding("q", "x.mkv|{whep:live}")).await.err().unwrap();
    assert_eq!(refused.to_string(), r#"output[0].address: the stream "live" is fed by the process "p""#);
    processes.add(&feeding("q", "{whep:q}")).await.unwrap();
    let egress = br#"{"whep_egress": {"stream": "other"}}"#;
    let refused = processes.update("q", egress, None).await.err().unwrap();
    assert_eq!(refused.to_string(), r#"whep_egress.stream: the stream "other" is fed by the process "p""#);
    assert_eq!(processes.get("q").unwrap().legs.fed().collect::<Vec<_>>(), ["q"]);
    processes.update("p", br#"{"id": "renamed", "reference": "its own are no obstacle"}"#, None).await.unwrap();
    let twice = processes.add(&feeding("r", "{whep:r}|{whep:r}")).await.err().unwrap();
    assert_eq!(twice.to_string(), r#"output[0].address: the stream "r" is fed by another output, too"#);
    processes.remove("renamed", None).await.unwrap();
    processes.update("q", egress, None).await.unwrap();

    let declared = [feeding("a", "{whep:live}"), feeding("b", "{whep:live}")];
    let declared = declared.map(|json| Definition::read(&json).unwrap()).to_vec();
    let wrong = mistakes(&Settings { declared, ..settings(data.path()) });
    let [(1, mistake)] = &wrong[..] else { panic!("{wrong:?}") };
    assert_eq!(mistake.to_string(), r#"output[0].address: the stream "live" is fed by the process "a""#);
}

#[tokio::test]
async fn who_publishes_starts_a_process_without_ordering_it() {
    let data = tempfile::tempdir().unwrap();
    let processes = open_at(data.path()).await;
    let ingest = json!({"whip_ingest": {"start_on_publish": true}, "input": [], "autostart": false});
    let one = processes.add(&with(ingest)).await.unwrap();
    processes.add(&with(json!({"id": "q", "autostart": false}))).await.unwrap();
    assert!(matches!(processes.start_for_publisher("q").await, Err(Error::Unknown)));
    processes.start_for_publisher("p").await.unwrap();
    running(&one).await;
    // An edit keeps both: that it runs, and what was ordered.
    processes.update("p", br#"{"reference": "new"}"#, None).await.unwrap();
    running(&processes.get("p").unwrap()).await;
    processes.finish().await;
    drop((one, processes));

    let processes = open_at(data.path()).await;
    assert_eq!(processes.get("p").unwrap().order(), Order::Stop, "nobody ordered it to run");
    processes.start_for_publisher("p").await.unwrap();
    assert_eq!(processes.get("p").unwrap().order(), Order::Start);
    // That is an order, although it runs already.
    processes.command("p", Command::Start).await.unwrap();
    processes.finish().await;
    drop(processes);
    let processes = open_at(data.path()).await;
    assert_eq!(processes.get("p").unwrap().order(), Order::Start);
    processes.finish().await;
}
