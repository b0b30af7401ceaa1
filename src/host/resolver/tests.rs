//! A resolver against real servers on loopback, good and bad.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::exchange::framed;
use super::forward::{HEAD_START, PATIENCE};
use super::message::tests::{answer_with, question, with_opt};
use super::slots::{IN_FLIGHT, STREAMS};
use super::*;

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1));
const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2));
const SIX: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(172, 17, 0, 6)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 6)),
];
/// Who asks.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 9));

/// The question as an answer, with this code.
fn answer(question: &[u8], code: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    (answer[2], answer[3]) = (0x81, 0x80 | code);
    answer
}

/// A UDP server that says what `behave` makes of each question, in as many datagrams.
async fn udp_server(behave: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            for message in behave(&buffer[..length]) {
                socket.send_to(&message, client).await.unwrap();
            }
        }
    };
    (address, tokio::spawn(serve))
}

/// A TCP server with one connection per question; `None`: says nothing.
async fn tcp_server(behave: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut message).await.unwrap();
                match behave(&message) {
                    Some(answer) => stream.write_all(&framed(&answer).unwrap()).await.unwrap(),
                    None => std::future::pending().await,
                }
            });
        }
    });
    address
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(ResolverConfig {
        upstreams: Source::Fixed(servers.to_vec()),
        max_udp: 1472,
        zone: zone(),
    })
}

fn empty_zone() -> Zone {
    let subnets = [("172.17.0.0/16", GATEWAY), ("fd00:9::/64", GATEWAY6)];
    Zone::new(
        "gp0",
        subnets.map(|(subnet, gateway)| (subnet.parse().unwrap(), gateway)),
    )
}

/// `web` and `six` run, `db` does not.
fn zone() -> Zone {
    let mut zone = empty_zone();
    zone.add("web", "b9ffb0800ca5", &[WEB]);
    zone.add("six", "6666b0800ca5", &SIX);
    zone.add("db", "0123456789ab", &[]);
    zone
}

fn count(resolver: &Resolver, name: &str) -> u64 {
    resolver.counters().find(|(counter, _)| *counter == name).unwrap().1
}

async fn ask_udp(resolver: &Resolver, question: &[u8]) -> Vec<u8> {
    resolver
        .query_udp(CLIENT, Bytes::copy_from_slice(question))
        .await
        .expect("no answer")
        .to_vec()
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

/// A server that has bound its port and is silent.
async fn silent() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
    (socket.local_addr().unwrap(), socket)
}

#[tokio::test]
async fn the_answer_comes_back_under_the_clients_id() {
    let (server, _task) = udp_server(|question| vec![answer(question, 0)]).await;
    let asked = question(0x1234, "example.com");
    assert_eq!(ask_udp(&resolver(&[server]), &asked).await, answer(&asked, 0));
}

#[tokio::test]
async fn every_question_has_a_port_and_an_id_of_its_own() {
    let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
    let resolver = resolver(&[socket.local_addr().unwrap()]);
    let asked = question(7, "example.com");
    let (mut ports, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (resolver, asked) = (resolver.clone(), asked.clone());
        let waiting = tokio::spawn(async move { ask_udp(&resolver, &asked).await });
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        ports.push(client.port());
        ids.push([buffer[0], buffer[1]]);
        socket.send_to(&answer(&buffer[..length], 0), client).await.unwrap();
        waiting.await.unwrap();
    }
    ports.sort_unstable();
    ports.dedup();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ports.len(), 4);
    assert!(ids.len() >= 3, "{ids:?}");
}

#[tokio::test]
async fn forged_answers_are_passed_over() {
    let server = |question: &[u8]| {
        let good = answer(question, 0);
        let changed = |at: usize, by: u8| {
            let mut forged = answer(question, 3);
            forged[at] ^= by;
            forged
        };
        // Wrong id, no answer at all, another name, another case, cut short, then the real one and a late duplicate.
        vec![
            changed(0, 1),
            changed(2, 0x80),
            changed(13, 1),
            changed(13, 0x20),
            good[..11].to_vec(),
            good.clone(),
            good,
        ]
    };
    let (server, _task) = udp_server(server).await;
    let asked = question(7, "example.com");
    assert_eq!(ask_udp(&resolver(&[server]), &asked).await, answer(&asked, 0));
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_not_seen() {
    let server = UdpSocket::bind(LOCALHOST).await.unwrap();
    let resolver = resolver(&[server.local_addr().unwrap()]);
    let asked = question(7, "example.com");
    let waiting = tokio::spawn(async move { ask_udp(&resolver, &asked).await });
    let mut buffer = [0; 512];
    let (length, client) = server.recv_from(&mut buffer).await.unwrap();
    let other = UdpSocket::bind(LOCALHOST).await.unwrap();
    other.send_to(&answer(&buffer[..length], 3), client).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.send_to(&answer(&buffer[..length], 0), client).await.unwrap();
    assert_eq!(code(&waiting.await.unwrap()), 0);
}

#[tokio::test]
async fn a_dead_first_upstream_costs_a_head_start_once() {
    let (dead, socket) = silent().await;
    let (good, _task) = udp_server(|question| vec![answer(question, 0)]).await;
    let resolver = resolver(&[dead, good]);
    let start = Instant::now();
    assert_eq!(code(&ask_udp(&resolver, &question(7, "example.com")).await), 0);
    assert!(
        start.elapsed() >= HEAD_START && start.elapsed() < PATIENCE,
        "{:?}",
        start.elapsed()
    );
    assert_eq!(code(&ask_udp(&resolver, &question(8, "example.com")).await), 0);
    let mut buffer = [0; 512];
    socket.try_recv(&mut buffer).expect("the first question");
    socket.try_recv(&mut buffer).expect_err("it was asked first again");
}

#[tokio::test]
async fn a_slow_upstream_is_still_listened_to() {
    let slow = UdpSocket::bind(LOCALHOST).await.unwrap();
    let (dead, _socket) = silent().await;
    let resolver = resolver(&[slow.local_addr().unwrap(), dead]);
    let waiting = tokio::spawn(async move { ask_udp(&resolver, &question(7, "example.com")).await });
    let mut buffer = [0; 512];
    let (length, client) = slow.recv_from(&mut buffer).await.unwrap();
    tokio::time::sleep(HEAD_START + Duration::from_millis(200)).await;
    slow.send_to(&answer(&buffer[..length], 0), client).await.unwrap();
    assert_eq!(code(&waiting.await.unwrap()), 0);
}

#[tokio::test]
async fn a_refused_port_costs_nothing() {
    let (closed, socket) = silent().await;
    drop(socket);
    let (good, _task) = udp_server(|question| vec![answer(question, 0)]).await;
    // The quickest of some, for this machine may do something else meanwhile.
    let mut quickest = Duration::MAX;
    for id in 0..5 {
        let resolver = resolver(&[closed, good]);
        let start = Instant::now();
        assert_eq!(code(&ask_udp(&resolver, &question(id, "example.com")).await), 0);
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < HEAD_START, "{quickest:?}");
    assert_eq!(
        code(&ask_udp(&resolver(&[closed]), &question(7, "example.com")).await),
        2
    );
    assert_eq!(code(&ask_udp(&resolver(&[]), &question(7, "example.com")).await), 2);
}

#[tokio::test]
async fn a_refusal_is_the_answer_only_if_nobody_has_a_better_one() {
    let (refusing, _task) = udp_server(|question| vec![answer(question, 5)]).await;
    let (missing, _other) = udp_server(|question| vec![answer(question, 3)]).await;
    assert_eq!(
        code(&ask_udp(&resolver(&[refusing, missing]), &question(7, "example.com")).await),
        3
    );
    assert_eq!(
        code(&ask_udp(&resolver(&[refusing]), &question(7, "example.com")).await),
        5
    );
}

#[tokio::test]
async fn nobody_answers_in_bounded_time_and_too_many_at_once() {
    let (dead, _socket) = silent().await;
    let resolver = resolver(&[dead]);
    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for id in 0..u16::try_from(IN_FLIGHT / 4).unwrap() {
        let resolver = resolver.clone();
        waiting.spawn(async move { ask_udp(&resolver, &question(id, "example.com")).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    assert_eq!(code(&ask_udp(&resolver, &question(999, "example.com")).await), 2);
    assert!(asked.elapsed() < PATIENCE / 2, "one more waited {:?}", asked.elapsed());
    assert_eq!(count(&resolver, "dns_refused"), 1);
    for answer in waiting.join_all().await {
        assert_eq!(code(&answer), 2);
    }
    assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
    assert_eq!(count(&resolver, "dns_unanswered"), 64);
}

#[tokio::test]
async fn one_container_does_not_silence_another() {
    let (dead, _socket) = silent().await;
    let first = resolver(&[dead]);
    let mut waiting = JoinSet::new();
    for id in 0..1000 {
        let resolver = first.clone();
        waiting.spawn(async move { ask_udp(&resolver, &question(id, "example.com")).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(count(&first, "dns_refused"), 1000 - 64);
    let other = first.query_udp([172, 17, 0, 10].into(), question(1, "example.com").into());
    assert!(
        timeout(Duration::from_millis(100), other).await.is_err(),
        "it is being asked for"
    );
    assert_eq!(count(&first, "dns_refused"), 1000 - 64);
}

#[tokio::test]
async fn hostile_messages_reach_no_upstream() {
    let (server, _task, asked) = counting_server().await;
    let resolver = resolver(&[server]);
    let good = question(7, "example.com");
    for length in 0..good.len() {
        assert_eq!(resolver.at_once(CLIENT, &good[..length]), AtOnce::Drop);
        let message = Bytes::copy_from_slice(&good[..length]);
        assert_eq!(resolver.query_udp(CLIENT, message).await, None);
    }
    assert_eq!(resolver.at_once(CLIENT, &[0; 65_507]), AtOnce::Drop);
    assert_eq!(count(&resolver, "dns_malformed"), 2 * good.len() as u64 + 1);
    assert_eq!(*asked.lock().unwrap(), 0);
}

/// A server that counts, and answers without a record.
async fn counting_server() -> (SocketAddr, JoinHandle<()>, Arc<Mutex<u32>>) {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let (server, task) = udp_server(move |question| {
        *count.lock().unwrap() += 1;
        vec![answer(question, 0)]
    })
    .await;
    (server, task, asked)
}

/// Rcode, and the records of answer and authority as text.
fn records(answer: &[u8]) -> (u8, Vec<String>, Vec<String>) {
    let message = hickory_proto::op::Message::from_vec(answer).unwrap();
    let texts = |records: &[hickory_proto::rr::Record]| records.iter().map(ToString::to_string).collect();
    (code(answer), texts(&message.answers), texts(&message.authorities))
}

fn question_of(kind: u8, name: &str) -> Vec<u8> {
    let mut question = question(7, name);
    let at = question.len() - 3;
    question[at] = kind;
    question
}

#[tokio::test]
async fn names_of_the_network_are_answered_here_whatever_is_asked() {
    let (server, _task, asked) = counting_server().await;
    let resolver = resolver(&[server]);
    let host = gethostname().unwrap().into_string().unwrap();
    let (a, ptr, mx, aaaa, any) = (1, 12, 15, 28, 255);
    for (kind, name, expected) in [
        (a, "web", "web. 5 IN A 172.17.0.2"),
        (a, "WeB", "WeB. 5 IN A 172.17.0.2"),
        (any, "web", "web. 5 IN A 172.17.0.2"),
        (a, "b9ffb0800ca5", "b9ffb0800ca5. 5 IN A 172.17.0.2"),
        (a, "web.gp0", "web.gp0. 5 IN A 172.17.0.2"),
        (a, "host.docker.internal", "host.docker.internal. 5 IN A 172.17.0.1"),
        (
            a,
            "host.containers.internal",
            "host.containers.internal. 5 IN A 172.17.0.1",
        ),
        (a, &host, &format!("{host}. 5 IN A 172.17.0.1")),
        (
            ptr,
            "2.0.17.172.in-addr.arpa",
            "2.0.17.172.in-addr.arpa. 5 IN PTR web.gp0.",
        ),
        (
            ptr,
            "1.0.17.172.IN-ADDR.arpa",
            "1.0.17.172.IN-ADDR.arpa. 5 IN PTR host.containers.internal.",
        ),
        (a, "six", "six. 5 IN A 172.17.0.6"),
        (aaaa, "six", "six. 5 IN AAAA fd00:9::6"),
        (ptr, SIX_ARPA, &format!("{SIX_ARPA}. 5 IN PTR six.gp0.")),
    ] {
        let answer = ask_udp(&resolver, &question_of(kind, name)).await;
        assert_eq!(
            records(&answer),
            (0, vec![expected.to_owned()], vec![]),
            "{kind} {name}"
        );
        assert_ne!(answer[2] & 4, 0, "authoritative");
    }
    for (kind, name, rcode, apex) in [
        (aaaa, "web", 0, "web"),
        (mx, "web.gp0", 0, "web.gp0"),
        (aaaa, "host.docker.internal", 0, "host.docker.internal"),
        (a, "db", 0, "db"),
        (aaaa, "db", 0, "db"),
        (a, "2.0.17.172.in-addr.arpa", 0, "17.172.in-addr.arpa"),
        (ptr, "0.17.172.in-addr.arpa", 0, "17.172.in-addr.arpa"),
        (ptr, "7.0.17.172.in-addr.arpa", 3, "17.172.in-addr.arpa"),
        (mx, SIX_ARPA, 0, NINE_ARPA),
        (ptr, NINE_ARPA, 0, NINE_ARPA),
        (ptr, &SIX_ARPA.replacen('6', "7", 1), 3, NINE_ARPA),
    ] {
        let (code, answers, authority) = records(&ask_udp(&resolver, &question_of(kind, name)).await);
        assert_eq!((code, answers), (rcode, vec![]), "{kind} {name}");
        assert!(
            authority[0].starts_with(&format!("{apex}. 5 IN SOA ")) && authority[0].ends_with(" 5"),
            "{authority:?}"
        );
    }
    assert_eq!(*asked.lock().unwrap(), 0, "nobody else was asked");
    assert_eq!(count(&resolver, "dns_local"), 24);
}

#[tokio::test]
async fn other_names_are_asked_for_elsewhere() {
    let (server, _task, asked) = counting_server().await;
    let resolver = resolver(&[server]);
    for (number, (kind, name)) in [
        (1, "web.example.org"),
        (1, "foo.gp0"),
        (1, "xweb"),
        (1, "docker.internal"),
        (12, "2.0.18.172.in-addr.arpa"),
        (12, "172.in-addr.arpa"),
        (12, "x.0.17.172.in-addr.arpa"),
        (12, "9.2.0.17.172.in-addr.arpa"),
        (12, &SIX_ARPA.replacen("9.0.0.0", "a.0.0.0", 1)),
        (12, &NINE_ARPA[2..]),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            resolver.at_once(CLIENT, &question_of(kind, name)),
            AtOnce::Later,
            "{name}"
        );
        ask_udp(&resolver, &question_of(kind, name)).await;
        assert_eq!(*asked.lock().unwrap() as usize, number + 1, "{name}");
    }
    resolver.set_zone(empty_zone());
    assert_eq!(
        resolver.at_once(CLIENT, &question(7, "web")),
        AtOnce::Later,
        "its container has gone"
    );
}

#[tokio::test]
async fn a_name_of_ours_over_tcp_and_with_edns() {
    let resolver = resolver(&[]);
    let (mut client, _serving) = client(&resolver).await;
    client.write_all(&framed(&question(7, "web")).unwrap()).await.unwrap();
    assert_eq!(records(&read(&mut client).await.unwrap()).1, ["web. 5 IN A 172.17.0.2"]);
    let edns = |version: u8| {
        let mut message = with_opt(question(7, "web"), 4096);
        let at = message.len() - 5;
        message[at] = version;
        message
    };
    let answer = ask_udp(&resolver, &edns(0)).await;
    assert_eq!(
        (answer[11], &answer[answer.len() - 11..]),
        (1, &[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0][..])
    );
    let answer = ask_udp(&resolver, &edns(1)).await;
    assert_eq!(
        answer[answer.len() - 6],
        1,
        "BADVERS is 16: its upper bits are in the OPT record"
    );
}

#[tokio::test]
async fn a_dead_upstream_is_probed_and_comes_back() {
    let (dead, socket) = silent().await;
    let (good, _task) = udp_server(|question| vec![answer(question, 0)]).await;
    let resolver = resolver(&[dead, good]);
    ask_udp(&resolver, &question(7, "example.com")).await;
    // The exchange that has lost goes on: the server was only slow.
    let mut buffer = [0; 512];
    let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&answer(&buffer[..length], 3), client).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = tokio::spawn(async move { ask_udp(&resolver, &question(8, "example.com")).await });
    let (length, client) = timeout(HEAD_START, socket.recv_from(&mut buffer))
        .await
        .expect("not asked first")
        .unwrap();
    socket.send_to(&answer(&buffer[..length], 3), client).await.unwrap();
    assert_eq!(code(&waiting.await.unwrap()), 3);
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let server = UdpSocket::bind(LOCALHOST).await.unwrap();
    let resolver = resolver(&[server.local_addr().unwrap()]);
    let waiting = tokio::spawn(async move { ask_udp(&resolver, &question(7, "example.com")).await });
    let mut buffer = [0; 512];
    server.recv_from(&mut buffer).await.unwrap();
    let (length, client) = timeout(Duration::from_secs(2), server.recv_from(&mut buffer))
        .await
        .expect("not again")
        .unwrap();
    server.send_to(&answer(&buffer[..length], 0), client).await.unwrap();
    assert_eq!(code(&waiting.await.unwrap()), 0);
}

#[tokio::test]
async fn a_truncated_answer_is_passed_on_and_had_whole_over_tcp() {
    let truncated = |question: &[u8]| {
        let mut answer = answer(question, 0);
        answer[2] |= 2;
        vec![answer]
    };
    let (udp, _task) = udp_server(truncated).await;
    let asked = question(7, "example.com");
    assert_eq!(ask_udp(&resolver(&[udp]), &asked).await[2] & 2, 2);
    let tcp = tcp_server(long_answer);
    let (mut client, _serving) = client(&resolver(&[tcp.await])).await;
    client.write_all(&framed(&asked).unwrap()).await.unwrap();
    let whole = read(&mut client).await.unwrap();
    assert_eq!((whole.len(), &whole[..2]), (LONG, &asked[..2]));
}

/// 4,000 addresses.
fn long_answer(question: &[u8]) -> Option<Vec<u8>> {
    Some(answer_with(question.to_vec(), 4000))
}

/// Bytes of it.
const LONG: usize = 29 + 4000 * 16;

#[tokio::test]
async fn an_upstream_without_tcp_is_asked_over_udp() {
    let (udp, _task) = udp_server(|question| vec![answer(question, 0)]).await;
    let (mut client, _serving) = client(&resolver(&[udp])).await;
    let asked = question(7, "example.com");
    client.write_all(&framed(&asked).unwrap()).await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), answer(&asked, 0));
}

/// A client's end of a stream that is being served.
async fn client(resolver: &Resolver) -> (UnixStream, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let resolver = resolver.clone();
    (
        ours,
        tokio::spawn(async move { resolver.serve_stream(CLIENT, theirs).await }),
    )
}

async fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[tokio::test]
async fn a_stream_byte_by_byte_and_half_closed() {
    let resolver = resolver(&[tcp_server(|question| Some(answer(question, 0))).await]);
    let (mut client, serving) = client(&resolver).await;
    let asked = question(7, "example.com");
    for byte in framed(&asked).unwrap() {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), answer(&asked, 0));
    assert!(read(&mut client).await.is_err(), "closed after the last answer");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_thousand_pipelined_questions() {
    let resolver = resolver(&[tcp_server(|question| Some(answer(question, 0))).await]);
    let (client, _serving) = client(&resolver).await;
    let (mut from, mut to) = client.into_split();
    let writing = tokio::spawn(async move {
        for id in 0..1000 {
            to.write_all(&framed(&question(id, "example.com")).unwrap())
                .await
                .unwrap();
        }
        to
    });
    let mut ids = Vec::new();
    for _ in 0..1000 {
        let mut message = vec![0; usize::from(from.read_u16().await.unwrap())];
        from.read_exact(&mut message).await.unwrap();
        assert_eq!(code(&message), 0);
        ids.push(u16::from_be_bytes([message[0], message[1]]));
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..1000));
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn streams_that_make_no_sense_are_closed() {
    let resolver = resolver(&[tcp_server(|question| Some(answer(question, 0))).await]);
    // Length 0; a length without a body, then nothing (CVE-2026-35406); a message of one byte; an answer.
    // 64 KB announced, which is no question.
    for (bytes, closes) in [
        (&[0, 0, 1][..], true),
        (&[0, 0x3c][..], false),
        (&[0, 1, 0][..], false),
        (&[0xff, 0xff, 0][..], true),
    ] {
        let (mut client, serving) = client(&resolver).await;
        client.write_all(bytes).await.unwrap();
        if !closes {
            client.shutdown().await.unwrap();
        }
        timeout(Duration::from_secs(9), serving)
            .await
            .expect("not closed")
            .unwrap();
        assert!(read(&mut client).await.is_err());
    }
}

#[tokio::test]
async fn silent_slow_and_unread_streams_are_closed_and_disturb_nobody() {
    let resolver = resolver(&[tcp_server(long_answer).await]);
    let start = Instant::now();
    let (silent, silent_served) = client(&resolver).await;
    let (mut half, half_served) = client(&resolver).await;
    half.write_all(&[0]).await.unwrap();
    let (mut unread, unread_served) = client(&resolver).await;
    for id in 0..40 {
        unread
            .write_all(&framed(&question(id, "example.com")).unwrap())
            .await
            .unwrap();
    }
    let (mut good, _good_served) = client(&resolver).await;
    good.write_all(&framed(&question(7, "example.com")).unwrap())
        .await
        .unwrap();
    assert_eq!(read(&mut good).await.unwrap().len(), LONG);
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "a silent client held it up: {:?}",
        start.elapsed()
    );
    for (served, who) in [
        (silent_served, "silent"),
        (half_served, "half a length"),
        (unread_served, "never reading"),
    ] {
        timeout(Duration::from_secs(20), served).await.expect(who).unwrap();
    }
    assert!(
        start.elapsed() >= Duration::from_secs(9),
        "closed too early: {:?}",
        start.elapsed()
    );
    drop((silent, half, unread));
}

#[tokio::test]
async fn a_thousand_silent_streams_take_nobodys_place() {
    let resolver = resolver(&[tcp_server(|question| Some(answer(question, 0))).await]);
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(client(&resolver).await);
        tokio::task::yield_now().await;
    }
    let (mut good, _serving) = client(&resolver).await;
    good.write_all(&framed(&question(7, "example.com")).unwrap())
        .await
        .unwrap();
    let answered = timeout(Duration::from_secs(9), read(&mut good))
        .await
        .expect("no place");
    assert_eq!(code(&answered.unwrap()), 0);
    let open = silent.iter().filter(|(_, serving)| !serving.is_finished()).count();
    assert_eq!(open, STREAMS - 1);
}

/// An answer of 64 KB from an upstream that sends it a byte at a time is waited for, but not for ever.
#[tokio::test]
async fn a_slow_long_answer_over_tcp_has_its_time() {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let resolver = resolver(&[listener.local_addr().unwrap()]);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut message).await.unwrap();
        for byte in framed(&long_answer(&message).unwrap()).unwrap() {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (mut client, _serving) = client(&resolver).await;
    client
        .write_all(&framed(&question(7, "example.com")).unwrap())
        .await
        .unwrap();
    let start = Instant::now();
    assert_eq!(code(&read(&mut client).await.unwrap()), 2);
    assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
}

/// fd00:9::6 and its subnet (RFC 3596 section 2.5).
const SIX_ARPA: &str = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa";
const NINE_ARPA: &str = "0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa";
