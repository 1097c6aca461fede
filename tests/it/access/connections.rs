//! What a connection may cost, on real sockets with limits of a fraction of a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use marketplace_sync::http::client::TrustedProxies;
use marketplace_sync::http::listener::{ConnectionLimits, limited};
use poem::endpoint::make;
use poem::listener::TcpAcceptor;
use poem::{Body, Request, Response, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::log::Log;

const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 3,
    per_address: 0,
    head_time: Duration::from_millis(400),
    write_time: Duration::from_millis(400),
};
/// Whom the listener trusts; all of these addresses are of this machine.
const PROXY: &str = "127.0.0.9";
/// Longer than any limit.
const LONG: Duration = Duration::from_millis(900);
/// The longest a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Listening {
    address: SocketAddr,
    task: JoinHandle<()>,
    /// Hears of each answer without end that is given up.
    abandoned: mpsc::UnboundedReceiver<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sent when it is dropped.
struct GivenUp(mpsc::UnboundedSender<()>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

/// Reads the body, and answers with its length; `/slow` later, `/endless` without end.
async fn listen() -> Listening {
    listen_with(LIMITS).await
}

async fn listen_with(limits: ConnectionLimits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
    let proxies: TrustedProxies = PROXY.parse().unwrap();
    let (acceptor, connections) = limited(acceptor, limits, proxies);
    let (give_up, abandoned) = mpsc::unbounded_channel();
    let endpoint = connections.watch(make(move |request: Request| {
        let give_up = give_up.clone();
        async move {
            match request.uri().path() {
                "/slow" => sleep(LONG).await,
                "/endless" => {
                    let guard = GivenUp(give_up);
                    let bytes = futures::stream::repeat(vec![b'x'; 65_536]);
                    let bytes = bytes.map(move |bytes| {
                        let _ = &guard;
                        Ok::<_, std::io::Error>(bytes)
                    });
                    return Ok(Response::builder().body(Body::from_bytes_stream(bytes)));
                }
                _ => {}
            }
            let body = request.into_body().into_bytes().await?;
            Ok::<_, poem::Error>(Response::builder().body(format!("[{}]", body.len())))
        }
    }));
    let task = tokio::spawn(async move {
        let server = Server::new_with_acceptor(acceptor);
        server.run(endpoint).await.unwrap();
    });
    Listening {
        address,
        task,
        abandoned,
    }
}

impl Listening {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let here = SocketAddr::new(address.parse().unwrap(), 0);
        socket.bind(here).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// A connection that has had an answer.
    async fn accepted_from(&self, address: &str) -> TcpStream {
        let mut stream = self.connect_from(address).await;
        stream.write_all(GET).await.unwrap();
        assert!(answer(&mut stream).await.ends_with("[0]"));
        stream
    }
}

/// Reads the answer to one request.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        while !text.ends_with(']') {
            let mut bytes = [0; 1024];
            let size = stream.read(&mut bytes).await.unwrap();
            assert!(size > 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("an answer");
    text
}

/// Waits until the other side has closed, without an answer.
async fn closed(stream: &mut TcpStream) {
    let mut bytes = [0; 1024];
    let read = timeout(PATIENCE, stream.read(&mut bytes)).await;
    // Closed, or reset because there was something it had not read.
    assert_eq!(read.expect("it is closed").unwrap_or(0), 0);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let listening = listen().await;
    for beginning in [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"PRI * HTTP/2",
        b"PRINT / HTTP/1.1\r\n",
    ] {
        let mut stream = listening.connect().await;
        stream.write_all(beginning).await.unwrap();
        let start = Instant::now();
        closed(&mut stream).await;
        assert!(start.elapsed() > LIMITS.head_time / 2, "not at once");
    }
}

/// Slowloris: something comes all the time, and never all of it.
#[tokio::test]
async fn a_head_that_trickles_ends_the_connection() {
    let listening = listen().await;
    let mut stream = listening.connect().await;
    stream.write_all(GET).await.unwrap();
    answer(&mut stream).await;
    // Also the second on the same connection.
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let (mut read, mut write) = stream.split();
    let trickle = async {
        while write.write_all(b"X: 1\r\n").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut bytes = [0; 16];
    tokio::select! {
        () = trickle => {}
        end = timeout(PATIENCE, read.read(&mut bytes)) => {
            assert_eq!(end.expect("it is closed").unwrap_or(0), 0);
        }
    }
}

#[tokio::test]
async fn what_is_no_head_may_take_longer() {
    let listening = listen().await;
    let mut stream = listening.connect().await;
    // A connection that rests between requests.
    for _ in 0..2 {
        stream.write_all(GET).await.unwrap();
        assert!(answer(&mut stream).await.ends_with("[0]"));
        sleep(LONG).await;
    }
    // A body that takes its time, and one that comes behind the answer to its head.
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for _ in 0..3 {
        sleep(LONG / 2).await;
        stream.write_all(b"abc").await.unwrap();
    }
    assert!(answer(&mut stream).await.ends_with("[9]"));
    // An answer that takes its time.
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(answer(&mut stream).await.ends_with("[0]"));
    stream.write_all(GET).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("[0]"));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let mut listening = listen().await;
    let mut stream = listening.connect().await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = [0; 4096];
    assert!(stream.read(&mut bytes).await.unwrap() > 0);
    let abandoned = timeout(PATIENCE, listening.abandoned.recv()).await;
    abandoned.expect("it is given up").unwrap();
}

#[tokio::test]
async fn beyond_so_many_connections_others_wait_until_one_ends() {
    let listening = listen().await;
    let mut open = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut stream = listening.connect().await;
        stream.write_all(GET).await.unwrap();
        answer(&mut stream).await;
        open.push(stream);
    }
    let mut waiting = listening.connect().await;
    waiting.write_all(GET).await.unwrap();
    let early = timeout(LONG, waiting.read_u8()).await;
    assert!(early.is_err(), "it waits");
    open.pop();
    assert!(answer(&mut waiting).await.ends_with("[0]"));
    // Those that say nothing end by themselves, so that nobody can hold all the places.
    let mut silent = listening.connect().await;
    drop(open);
    closed(&mut silent).await;
    let mut next = listening.connect().await;
    next.write_all(GET).await.unwrap();
    assert!(answer(&mut next).await.ends_with("[0]"));
}

/// One address with all the connections it can make, and somebody else who wants one.
#[tokio::test]
async fn one_address_has_its_share_of_the_places_and_no_more() {
    let limits = ConnectionLimits {
        connections: 6,
        per_address: 2,
        ..LIMITS
    };
    let log = Log::capture();
    let listening = listen_with(limits).await;
    let greedy = "127.0.0.2";
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(listening.accepted_from(greedy).await);
    }
    for _ in 0..4 {
        let mut stream = listening.connect_from(greedy).await;
        let start = Instant::now();
        closed(&mut stream).await;
        assert!(start.elapsed() < LIMITS.head_time, "at once");
    }
    let _other = listening.accepted_from("127.0.0.3").await;
    let lines = log.of("connections_refused");
    assert_eq!(lines.len(), 1, "once in a while, not each time");
    assert_eq!(lines[0]["address"], greedy);

    // Its own connections go on, and one that ended makes room for another.
    open[0].write_all(GET).await.unwrap();
    assert!(answer(&mut open[0]).await.ends_with("[0]"));
    open.pop();
    let again = async {
        loop {
            let mut stream = listening.connect_from(greedy).await;
            stream.write_all(GET).await.unwrap();
            if stream.read_u8().await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("its place is free");
}

/// It brings the connections of everybody.
#[tokio::test]
async fn a_trusted_proxy_may_take_every_place() {
    let limits = ConnectionLimits {
        per_address: 1,
        ..LIMITS
    };
    let listening = listen_with(limits).await;
    let mut open = Vec::new();
    for _ in 0..limits.connections {
        open.push(listening.accepted_from(PROXY).await);
    }
}

/// Without TLS, and in whatever parts it comes: a connection that pings, or says nothing when it
/// is asked to leave, would stay for ever.
#[tokio::test]
async fn http2_is_refused_and_told_why() {
    /// Settings that are empty, and `GOAWAY`: nothing was done, `HTTP_1_1_REQUIRED`.
    const ANSWER: [&[u8]; 3] = [
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
        &[0, 0, 8, 7, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0, 13],
    ];
    let listening = listen().await;
    let beginning = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for part in [beginning.len(), 5] {
        let mut stream = listening.connect().await;
        stream.set_nodelay(true).unwrap();
        let start = Instant::now();
        for bytes in beginning.chunks(part) {
            // It may be closed already.
            stream.write_all(bytes).await.ok();
            sleep(Duration::from_millis(1)).await;
        }
        let mut bytes = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        end.expect("it is closed").ok();
        assert!(start.elapsed() < LIMITS.head_time, "at once");
        if part == beginning.len() {
            assert_eq!(bytes, ANSWER.concat());
        }
    }
}
