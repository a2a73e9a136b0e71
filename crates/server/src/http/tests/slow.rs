//! One address holds all connections, in every way there is to hold one; another address notices nothing.

use std::net::Ipv4Addr;

use super::*;

/// More than any socket buffers.
const UNREAD: usize = 400;

/// A connection from another address of this machine.
async fn from_elsewhere(site: &Site) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    Client { stream: socket.connect(site.address).await.unwrap(), read: Vec::new() }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "what waits for the gate are threads of the media plane")]
async fn an_address_that_holds_all_connections_does_not_keep_others_out() {
    let site = Site::open().await;
    let media = Arc::clone(&site.media);
    let gate = media.gate.lock().unwrap();
    // The oldest of all, and spared all the same.
    let mut answered = site.connect().await;
    answered.send(&site.request("POST", "/whep/a", &[SDP_TYPE], OFFER)).await;
    while media.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let head = "GET / HTTP/1.1\r\nHost: a".to_owned();
    let body = site.request("POST", "/whep/a", &[SDP_TYPE, "content-length: 9"], "") + "v=0";
    let unread = site.request("GET", "/openapi.json", &[], "").repeat(UNREAD);
    let mut slow = Vec::new();
    for text in [&head, &body, &unread, &head, &body, &unread, &head] {
        let mut client = site.connect().await;
        client.send(text).await;
        slow.push(client);
    }
    assert_eq!(slow.len() + 1, BOUNDS.connections);
    let mut same = site.connect().await;
    assert!(same.is_closed().await, "the address that holds them all gets no more of them");

    let request = site.request("GET", "/healthz", &[], "");
    let mut others = Vec::new();
    for _ in 0..BOUNDS.connections / 2 {
        let mut other = from_elsewhere(&site).await;
        other.send(&request).await;
        assert_eq!(other.answer("GET").await.status, 200);
        others.push(other);
    }
    drop(gate);
    // On a machine that is very busy the media plane was too late; an answer it is.
    let status = answered.answer("POST").await.status;
    assert!(matches!(status, 201 | 503), "{status}");
}
