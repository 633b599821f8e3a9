//! Listeners that do not read what they asked for.

use super::serve;
use super::test_api::Api;
use crate::events::{Kind, Pending};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_listener_that_does_not_read_loses_its_connection_and_its_place() {
    let api = Api::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, api.router.clone(), None, api.stop.subscribe()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut begin = [0; 64];
    assert!(connection.read(&mut begin).await.unwrap() > 0);
    while !api.events.are_heard() {
        tokio::task::yield_now().await;
    }
    // More than any buffer on the way has room for.
    let large = "x".repeat(1 << 16);
    tokio::time::timeout(Duration::from_secs(15), async {
        while api.events.are_heard() {
            api.events.publish([Pending::new(
                Kind::Assessment,
                "shop",
                "shop-1",
                [("text", &large)].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            )
            .unwrap()]);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is cut off");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(15), connection.read_to_end(&mut rest)).await;
    // Whether it ends or is reset, it is over; and not in order, for the last chunk is missing.
    drop(ended.expect("the connection is over"));
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn one_token_does_not_take_every_listeners_place() {
    let api = Api::start(&["viewer:ada=a", "viewer:eve=e"]);
    let listen = async |token: &str| {
        let request = axum::extract::Request::builder()
            .uri("/v1/events")
            .header("authorization", format!("Bearer {token}"))
            .body(axum::body::Body::empty())
            .unwrap();
        tower::ServiceExt::oneshot(api.router.clone(), request).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..crate::events::MAX_OF_ONE {
        let answer = listen("a").await;
        assert_eq!(answer.status(), 200);
        held.push(answer);
    }
    let refused = listen("a").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "10"));
    assert_eq!(listen("e").await.status(), 200);
    held.pop();
    assert_eq!(listen("a").await.status(), 200);
}
