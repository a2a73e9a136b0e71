//! What clients that are slow, large, broken or early meet, and the order in which things are checked.

use super::*;

/// Each request fails several checks; the first of them in the order of `protocol.md` 2 answers.
#[tokio::test]
async fn checks_come_in_their_order() {
    let site = Site::start(with_token()).await;
    let large = "x".repeat(64 * 1024 + 1);
    let good = "authorization: Bearer good";
    let text = "content-type: text/plain";
    for (method, target, fields, body, status) in [
        ("PUT", "/nowhere", &[text][..], large.as_str(), 404),
        ("PUT", "/whip/a%20b", &[text], &large, 405),
        ("OPTIONS", "/whip/a%20b", &[text], &large, 200),
        ("POST", "/whip/a%20b", &[text], &large, 401),
        ("POST", "/whip/a%20b", &[text, good], &large, 413),
        ("POST", "/whip/a%20b", &[text, good], "x", 415),
        ("POST", "/whip/a%20b", &[SDP_TYPE, good], "x", 400),
        ("PATCH", "/whip/a/unknown", &[text, good], &large, 404),
    ] {
        assert_eq!(site.ask(method, target, fields, body).await.status, status, "{method} {target} {fields:?}");
    }
    site.state.drain();
    assert_eq!(site.ask("POST", "/whip/a%20b", &[text], &large).await.status, 401);
    assert_eq!(site.ask("POST", "/whip/a%20b", &[text, good], &large).await.status, 503);
}

#[tokio::test]
async fn a_stopping_server_takes_nothing_new_and_serves_what_there_is() {
    let site = Site::open().await;
    site.with_session(Role::Publisher, "a");
    assert_eq!(site.ask("GET", "/readyz", &[], "").await.status, 200);
    site.state.drain();
    for target in ["/whip/a", "/whep/a"] {
        let answer = site.ask("POST", target, &[SDP_TYPE], OFFER).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")), "{target}");
        answer.check();
        answer.problem();
    }
    assert!(site.media.asked().is_empty());
    assert_eq!(site.ask("DELETE", "/whip/a/secret", &[], "").await.status, 200);
    assert_eq!(site.ask("GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(site.ask("GET", "/readyz", &[], "").await.status, 503);
    site.stop.send_replace(true);
}

#[tokio::test]
async fn a_large_body_is_told_so_and_not_cut_off() {
    let site = Site::open().await;
    let megabytes = "x".repeat(4 * 1024 * 1024);
    let answer = site.ask("POST", "/whip/a", &[SDP_TYPE], &megabytes).await;
    assert_eq!(answer.status, 413);
    answer.check();
    // The same where no body was wanted at all.
    assert_eq!(site.ask("POST", "/nowhere", &[SDP_TYPE], &megabytes).await.status, 404);
}

#[tokio::test]
async fn chunked_bodies_are_read_and_bounded() {
    let site = Site::open().await;
    let fields = [SDP_TYPE, "transfer-encoding: chunked"];
    let mut client = site.connect().await;
    client.send(&site.request("POST", "/whip/a", &fields, "")).await;
    client.send("3\r\nv=0\r\n2\r\n\r\n\r\n0\r\n\r\n").await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.is_closed().await);

    let mut client = site.connect().await;
    client.send(&site.request("POST", "/whip/a", &fields, "")).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    client.send(&chunk.repeat(17)).await;
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer("POST").await.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let site = Site::open().await;
    let mut client = site.connect().await;
    client.send(&site.request("POST", "/whip/a", &[SDP_TYPE, "content-length: 5"], "")).await;
    // From here on time passes whenever nobody has anything to do.
    tokio::time::pause();
    let answer = client.answer("POST").await;
    assert_eq!(answer.status, 408);
    answer.check();
    answer.problem();
    assert!(site.media.asked().is_empty());
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let site = Site::open().await;
    let mut client = site.connect().await;
    let expect = "expect: 100-continue";
    client.send(&site.request("POST", "/whip/a", &[SDP_TYPE, expect, "content-length: 5"], "")).await;
    assert_eq!(client.answer("POST").await.status, 100);
    client.send(OFFER).await;
    assert_eq!(client.answer("POST").await.status, 201);

    for (target, length, status) in [("/whip/a", "70000", 413), ("/nowhere", "5", 404)] {
        let mut client = site.connect().await;
        let length = format!("content-length: {length}");
        client.send(&site.request("POST", target, &[SDP_TYPE, expect, &length], "")).await;
        assert_eq!(client.answer("POST").await.status, status, "and no 100 before it");
    }
}

/// RFC 9112 6.1 and 3.2: what two parsers could read differently is refused, and the connection ends.
#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let site = Site::open().await;
    let length = "content-length: 5";
    let chunked = "transfer-encoding: chunked";
    for fields in [[length, chunked], [chunked, length]] {
        let mut client = site.connect().await;
        client.send(&site.request("POST", "/whip/a", &[SDP_TYPE, fields[0], fields[1]], "")).await;
        client.send("0\r\n\r\n").await;
        let answer = client.answer("POST").await;
        assert_eq!(answer.status, 400, "{fields:?}");
        answer.check();
        answer.problem();
        assert!(client.is_closed().await, "{fields:?}");
    }
    for request in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET /whip/a HTTP/1.1\r\nhost: a b\r\n\r\n",
    ] {
        let mut client = site.connect().await;
        client.send(request).await;
        assert_eq!(client.answer("GET").await.status, 400, "{request:?}");
    }
    let mut old = site.connect().await;
    old.send("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer("GET").await.status, 200);
    assert!(site.media.asked().is_empty());
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let site = Site::open().await;
    let mut client = site.connect().await;
    let post = site.request("POST", "/whip/a", &[SDP_TYPE], OFFER);
    let get = site.request("GET", "/healthz", &[], "");
    client.send(&format!("{post}{get}{post}")).await;
    for (method, status) in [("POST", 201), ("GET", 200), ("POST", 201)] {
        assert_eq!(client.answer(method).await.status, status);
    }
    let refused = site.request("POST", "/nowhere", &[SDP_TYPE], OFFER);
    client.send(&format!("{refused}{get}")).await;
    assert_eq!(client.answer("POST").await.status, 404);
    assert_eq!(client.answer("GET").await.status, 200, "an unread body is no end");
}

#[tokio::test]
async fn garbage_is_answered_or_dropped_and_nobody_else_notices() {
    let site = Site::open().await;
    for garbage in
        ["\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n", "x".repeat(1 << 20).as_str(), "GET / HTTP/1.1\r\n: \r\n\r\n"]
    {
        let mut client = site.connect().await;
        // The server may hang up in the middle of it.
        let _ = client.stream.write_all(garbage.as_bytes()).await;
        let _ = client.stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{garbage:.20}");
    }
    assert_eq!(site.ask("GET", "/healthz", &[], "").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_room_comes_back() {
    let site = Site::open().await;
    let request = site.request("GET", "/healthz", &[], "");
    let mut clients = Vec::new();
    for _ in 0..BOUNDS.connections {
        let mut client = site.connect().await;
        client.send(&request).await;
        assert_eq!(client.answer("GET").await.status, 200);
        clients.push(client);
    }
    let mut one_too_many = site.connect().await;
    assert!(one_too_many.is_closed().await);
    // A client that goes gives its place to the next; until the server has noticed, the next is closed like the other.
    drop(clients.pop());
    loop {
        let mut client = site.connect().await;
        let _ = client.stream.write_all(request.as_bytes()).await;
        let mut first = [0; 1];
        if client.stream.read(&mut first).await.is_ok_and(|read| read == 1) {
            break;
        }
    }
}

/// A media plane that hangs costs a request its answer and not the server its life.
#[tokio::test]
async fn a_media_plane_that_hangs_is_503() {
    let site = Site::open().await;
    let media = Arc::clone(&site.media);
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let holder = std::thread::spawn(move || {
        let gate = media.gate.lock().unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
        drop(gate);
    });
    is_locked.await.unwrap();
    tokio::time::pause();
    let asking = site.ask("POST", "/whep/a", &[SDP_TYPE], OFFER);
    let time = async {
        while site.media.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // Timers round up to a millisecond.
        tokio::time::advance(MEDIA_ANSWERS + Duration::from_millis(2)).await;
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! { answer = asking => answer, () = time => unreachable!() };
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("2")));
    site.media.asked();
    release.send(()).unwrap();
    holder.join().unwrap();
    // The session that was made all the same ends: nobody knows of it, and a publisher's would hold the stream.
    let (begun, patience) = (std::time::Instant::now(), Duration::from_secs(20));
    while !site.media.asked().contains(&"delete Subscriber a secret".to_owned()) {
        assert!(begun.elapsed() < patience, "the session goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_address_to_announce_is_said() {
    let announcer = Announcer::new(Vec::new(), Vec::new(), Vec::new());
    let site = Site::announcing(nothing_configured(), announcer, &[]).await;
    let answer = site.ask("POST", "/whep/a", &[SDP_TYPE], OFFER).await;
    assert_eq!(answer.status, 503);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("--public-ip"));
}
