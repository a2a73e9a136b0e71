use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;

/// Our end of a connection and the client's.
fn pair() -> (Timed<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    (Timed::new(ours, Arc::new(Mutex::new(Stage::Idle)), None), theirs)
}

/// Reads until the connection gives up; how long that took.
async fn patience(timed: &mut Timed<DuplexStream>) -> Duration {
    let begun = Instant::now();
    let mut buf = [0; 256];
    loop {
        match timed.read(&mut buf).await {
            Ok(0) => panic!("the client hung up"),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return begun.elapsed();
            }
        }
    }
}

/// Within the timer's own resolution of a millisecond.
fn about(duration: Duration, expected: Duration) -> bool {
    duration >= expected && duration < expected + Duration::from_millis(5)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_cut_off() {
    let (mut timed, _client) = pair();
    assert!(about(patience(&mut timed).await, HEAD));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_cut_off_all_the_same() {
    let (mut timed, mut client) = pair();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nHost: example".iter().cycle() {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
    };
    tokio::select! {
        () = drip => unreachable!("it drips for ever"),
        took = patience(&mut timed) => assert!(about(took, HEAD), "{took:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_idle_between_requests_but_not_for_ever() {
    let (mut timed, mut client) = pair();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let took = patience(&mut timed).await;
    assert!(about(took, IDLE), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_head_has_its_own_time() {
    let (mut timed, mut client) = pair();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.write_all(b"GET / HT").await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = later => {}
        took = patience(&mut timed) => assert!(about(took, Duration::from_secs(50) + HEAD), "{took:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_cut_off() {
    let (mut timed, mut client) = pair();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    let took = patience(&mut timed).await;
    assert!(about(took, BODY), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off_and_a_slow_one_is_not() {
    let (mut timed, mut client) = pair();
    let begun = Instant::now();
    let error = timed.write_all(&[0; 4096]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(about(begun.elapsed(), WRITE));

    let mut sink = vec![0; 1024];
    client.read_exact(&mut sink).await.unwrap();
    let slow = async {
        for _ in 0..64 {
            tokio::time::sleep(WRITE / 2).await;
            client.read_exact(&mut sink[..64]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(timed.write_all(&[0; 4096]), slow);
    written.unwrap();
}
