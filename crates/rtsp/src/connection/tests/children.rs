//! What is the children's alone: to wait for a publisher, places that are kept, streams that are held.

use super::*;
use crate::kept::Kept;

#[tokio::test(start_paused = true)]
async fn a_description_waits_for_an_expected_publisher_until_the_child_leaves_and_not_for_others() {
    let scene = Scene::new();
    let (key, url) = (StreamKey::parse("film").unwrap(), "rtsp://127.0.0.1/live/film");
    let child = format!("DESCRIBE {url}?process=child");
    let mut client = scene.client(1000);
    assert_eq!(client.status(&format!("DESCRIBE {url}"), "").await, 404);
    assert_eq!(scene.client(1000).status(&child, "").await, 404, "nobody is expected");
    let expected = scene.shared.plane.running().expect(&key);
    let start = Instant::now();
    assert_eq!(client.status(&format!("DESCRIBE {url}"), "").await, 404);
    assert_eq!(start.elapsed(), Duration::from_secs(5), "a player that is nobody's child waits for so long");
    let mut client = scene.client(1000);
    client.write(&child, "").await;
    tokio::time::sleep(10 * SILENCE).await;
    assert!(!client.task.is_finished());
    // It is noticed at once although a response is owed.
    drop(client.stream);
    tokio::time::timeout(LOOK, client.task).await.expect("noticed").unwrap();

    let mut client = scene.client(1000);
    client.write(&child, "").await;
    tokio::time::sleep(SILENCE).await;
    drop(expected);
    let start = Instant::now();
    assert!(client.reply().await.starts_with("RTSP/1.0 404"), "at once");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_has_a_place_of_children_shows_that_it_is_one_or_goes() {
    let (scene, kept, start) = (Scene::new(), Kept::new(1), Instant::now());
    let mut stranger = scene.client_in(1000, kept.take());
    assert_eq!(stranger.status(&format!("DESCRIBE {URL}"), "").await, 503);
    assert_eq!(stranger.stream.read(&mut [0]).await.unwrap(), 0);
    assert!((SHOWS..SHOWS + 2 * LOOK).contains(&start.elapsed()), "{:?}", start.elapsed());
    stranger.task.await.unwrap();

    let mut first = scene.client_in(1000, kept.take());
    first.ask("OPTIONS *", "").await;
    let mut child = scene.client_in(1000, kept.take());
    assert_eq!(first.stream.read(&mut [0]).await.unwrap(), 0, "it gives way");
    child.ask(&format!("DESCRIBE {URL}/more?process=child"), "").await;
    assert!(kept.take().is_some(), "of a name that is none nothing was shown");
    let mut child = scene.client_in(1000, kept.take());
    child.ask(&format!("DESCRIBE {URL}?process=child"), "").await;
    assert!(kept.take().is_none(), "it is the child's");
    tokio::time::sleep(2 * SHOWS).await;
    assert!(!child.task.is_finished(), "a child stays");
}

#[tokio::test]
async fn strangers_do_not_use_up_the_places_of_children() {
    let scene = Scene::new();
    let (plane, directory) = (scene.shared.plane.clone(), scene.shared.directory.clone());
    let (any, bounds) = ("127.0.0.1:0".parse().unwrap(), Bounds { total: 1, per_address: 1, children: 1 });
    let server = Server::start(any, plane, directory, Arc::new(Everybody::default()), bounds).await.unwrap();
    let _stranger = connect(&server, 1).await.expect("the only place");
    let mut child = connect(&server, 1).await.expect("one that is kept");
    let request = b"ANNOUNCE rtsp://h/mine?process=child RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 1\r\n\r\nx";
    child.write_all(request).await.unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"\r\n\r\n") || !told.windows(7).any(|cseq| cseq == b"CSeq: 2") {
        told.push(tokio::time::timeout(PATIENCE, child.read_u8()).await.unwrap().unwrap());
    }
    assert!(connect(&server, 1).await.is_none(), "it is the child's by now");
    child.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n").await.unwrap();
    tokio::time::timeout(PATIENCE, child.read_u8()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_stream_of_a_process_is_published_by_its_child_alone() {
    let scene = Scene::new();
    let _hold = scene.shared.directory.hold(&StreamKey::parse("mine").unwrap(), "p").unwrap();
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    for (query, status) in [("", "455 The stream is kept"), ("?process=old", "401 "), ("?process=child", "200 ")] {
        let mut client = scene.client(1000);
        let length = format!("Content-Length: {}\r\n", sdp.len());
        client.write(&format!("ANNOUNCE rtsp://h/mine{query}"), &length).await;
        client.stream.write_all(sdp.as_bytes()).await.unwrap();
        let reply = client.reply().await;
        assert!(reply.strip_prefix("RTSP/1.0 ").is_some_and(|reply| reply.starts_with(status)), "{query}: {reply}");
    }
}

#[tokio::test]
async fn whose_a_connection_is_is_asked_once_and_who_is_refused_again_and_again_is_closed() {
    let scene = Scene::new();
    let child = |stream: &str| format!("DESCRIBE rtsp://h/{stream}?process=child RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    let mut client = scene.client(100_000);
    client.stream.write_all(child("cam/x").repeat(20).as_bytes()).await.unwrap();
    client.write("OPTIONS *", "").await;
    while !client.reply().await.starts_with("RTSP/1.0 200") {}
    assert_eq!(scene.access.asked.load(Ordering::Relaxed), 0, "nothing was asked of a stream");
    client.stream.write_all(child("none").repeat(20).as_bytes()).await.unwrap();
    for _ in 0..20 {
        assert!(client.reply().await.starts_with("RTSP/1.0 404"));
    }
    assert_eq!(scene.access.asked.swap(0, Ordering::Relaxed), 1);

    // Who knows the credential and is another user gets five answers, whatever else was sent with the first request.
    scene.access.ours.store(false, Ordering::Relaxed);
    let mut stranger = scene.client(100_000);
    stranger.stream.write_all(child("none").repeat(100).as_bytes()).await.unwrap();
    let mut told = String::new();
    tokio::time::timeout(PATIENCE, stranger.stream.read_to_string(&mut told)).await.unwrap().unwrap();
    assert_eq!(told.matches("RTSP/1.0 401").count(), 5, "{told}");
    assert_eq!((told.matches("RTSP/1.0").count(), told.matches("Connection: close").count()), (5, 1), "{told}");
    assert_eq!(scene.access.asked.load(Ordering::Relaxed), 1);
}
