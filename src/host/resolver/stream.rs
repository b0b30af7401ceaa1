//! DNS over TCP for one flow (RFC 7766): messages behind two-byte lengths, several in flight, answered as they come.
//!
//! The client is a container and owed nothing: one that is silent, slow, half a message short or does not read its
//! answers is dropped after [`IDLE`], one that announces more than a question at once. It costs one task and at most
//! [`IN_FLIGHT`] questions meanwhile.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Resolver;
use super::exchange::framed;
use super::message::MAX_QUERY;
use super::slots::Asker;

/// Serves it until it ends or has to be ended; unanswered questions are forgotten with it.
pub(super) async fn serve(
    resolver: &Resolver,
    client: IpAddr,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) {
    let (answers, outgoing) = mpsc::channel(IN_FLIGHT);
    let mut questions = JoinSet::new();
    let writing = write_answers(to, outgoing);
    tokio::pin!(writing);
    tokio::select! {
        // The client reads no more: no use in its questions.
        _ = &mut writing => return,
        () = read_questions(resolver, client, from, answers, &mut questions) => {}
    }
    // It asks no more, but may have shut down only its side. Ends when the last question has its answer.
    let _ = writing.await;
}

/// Returns at the end of the stream, or where it stops making sense.
async fn read_questions(
    resolver: &Resolver,
    client: IpAddr,
    mut from: impl AsyncRead + Unpin,
    answers: mpsc::Sender<Bytes>,
    questions: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let message = match timeout(IDLE, read_message(&mut from)).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                resolver.shared.counters.malformed.add();
                return;
            }
            Ok(Err(_)) | Err(_) => return,
        };
        // What has ended leaves the set.
        while questions.try_join_next().is_some() {}
        let (resolver, answers) = (resolver.clone(), answers.clone());
        questions.spawn(async move {
            if let Some(answer) = resolver.query(client, Asker::Streams, message).await {
                // The writer is gone only with the whole flow.
                let _ = answers.send(answer).await;
            }
            drop(slot);
        });
    }
}

async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = usize::from(from.read_u16().await?);
    if !(1..=MAX_QUERY).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message.into())
}

async fn write_answers(mut to: impl AsyncWrite + Unpin, mut answers: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(answer) = answers.recv().await {
        timeout(IDLE, to.write_all(&framed(&answer)?)).await??;
    }
    to.shutdown().await
}

/// How long a client may take for one message, either way.
const IDLE: Duration = Duration::from_secs(10);

/// Questions of one flow that wait for their answers; the next one waits in the flow's window.
const IN_FLIGHT: usize = 32;
