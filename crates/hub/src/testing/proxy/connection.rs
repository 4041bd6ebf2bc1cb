//! One connection: two loops, one for each direction. The one that reads requests tells the other what answer comes
//! next, so that answers keep their order and a server may answer before it has read all.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::lane::{Dropped, Lane, lane};
use super::rules::{Fault, SeenRequest};
use super::{Direction, Shared};
use crate::testing::head::{Body, Head};

const CHUNK: usize = 16 << 10;

/// Requests that may be sent before the first of them is answered.
const PIPELINED: usize = 64;

/// The first byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the client gets next.
#[derive(Debug)]
enum Answer {
    /// This, from here.
    Made(Vec<u8>),
    /// What the server says to a request with this method.
    Forwarded(String, Option<Fault>),
    /// Whatever comes, to the end.
    Opaque,
}

/// Runs a connection to its end. `cut` is where it is to be dropped.
pub(super) async fn run(client: TcpStream, shared: &Shared, cut: Option<(Direction, u64)>) -> io::Result<()> {
    sleep(shared.to_server.delay() + shared.to_client.delay()).await;
    let server = TcpStream::connect(shared.target).await?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = |way| cut.filter(|(direction, _)| *direction == way).map(|(_, after)| after);
    let stalled = || shared.stalled.subscribe();
    let (up_lane, up_delivery) = lane(&shared.to_server, to_server, stalled(), cut(Direction::ToServer));
    let (down_lane, down_delivery) = lane(&shared.to_client, to_client, stalled(), cut(Direction::ToClient));
    let (expect, expected) = mpsc::channel(PIPELINED);
    // A side that ends, well or badly, only drops its lane: what is under way to the other side arrives, such as the
    // answer of a server that did not want to read all.
    let up = async {
        let _ = up(BufReader::with_capacity(CHUNK, from_client), up_lane, expect, shared).await;
        Ok(())
    };
    let down = async {
        let _ = down(BufReader::with_capacity(CHUNK, from_server), down_lane, expected).await;
        Ok(())
    };
    let _: Result<_, Dropped> = tokio::try_join!(up, down, up_delivery.run(), down_delivery.run());
    Ok(())
}

/// Client to server.
async fn up(
    mut client: impl AsyncBufRead + Unpin,
    mut lane: Lane<'_>,
    answers: mpsc::Sender<Answer>,
    shared: &Shared,
) -> io::Result<()> {
    let tell =
        async |answer| answers.send(answer).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    if client.fill_buf().await?.first() == Some(&TLS_HANDSHAKE) {
        tell(Answer::Opaque).await?;
        return relay(&mut client, Body::UntilClose, &mut Sink::new(&mut lane)).await;
    }
    while let Some(mut head) = Head::read(&mut client).await? {
        let body = head.body_of_request();
        let fault = shared.note(SeenRequest::of(&head));
        if let Some(answer) = fault.as_ref().and_then(|fault| made(&head, fault)) {
            tell(Answer::Made(answer)).await?;
            relay(&mut client, body, &mut Sink::nowhere()).await?;
            continue;
        }
        if fault == Some(Fault::IgnoreRange) {
            head.remove("range");
        }
        let cut = match fault {
            Some(Fault::CutRequest { after }) => Some(Edit::Drop(after)),
            _ => None,
        };
        tell(Answer::Forwarded(head.word(0).to_owned(), fault)).await?;
        lane.send(head.to_bytes().into()).await?;
        relay(&mut client, body, &mut Sink { lane: Some(&mut lane), position: 0, edit: cut }).await?;
    }
    Ok(())
}

/// Server to client.
async fn down(
    mut server: impl AsyncBufRead + Unpin,
    mut lane: Lane<'_>,
    mut answers: mpsc::Receiver<Answer>,
) -> io::Result<()> {
    loop {
        let answer = tokio::select! {
            biased;
            answer = answers.recv() => answer,
            // A server says nothing unasked. It closes, and then the client must not think that it can ask more.
            _ = server.fill_buf() => None,
        };
        match answer {
            Some(Answer::Made(bytes)) => lane.send(bytes.into()).await?,
            Some(Answer::Forwarded(method, fault)) => forward(&mut server, &mut lane, &method, fault).await?,
            Some(Answer::Opaque) => {
                return relay(&mut server, Body::UntilClose, &mut Sink::new(&mut lane)).await;
            }
            None => return Ok(()),
        }
    }
}

/// Passes one answer on. Fails where no further answer can come.
async fn forward(
    server: &mut (impl AsyncBufRead + Unpin),
    lane: &mut Lane<'_>,
    method: &str,
    fault: Option<Fault>,
) -> io::Result<()> {
    let head = loop {
        let head = Head::read(server).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if fault == Some(Fault::LoseAnswer) {
            lane.drop_connection().await?;
        }
        lane.send(head.to_bytes().into()).await?;
        // 100 and its like come before the answer.
        if head.status() >= 200 {
            break head;
        }
    };
    let edit = match fault {
        Some(Fault::CorruptAnswer { at }) => Some(Edit::Flip(at)),
        Some(Fault::TruncateAnswer { after }) => Some(Edit::Drop(after)),
        Some(Fault::StallAnswer { after }) => Some(Edit::Stall(after)),
        _ => None,
    };
    let body = head.body_of_answer(method);
    relay(server, body, &mut Sink { lane: Some(lane), position: 0, edit }).await?;
    if body == Body::UntilClose {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The answer to a request that the server is not to see.
fn made(request: &Head, fault: &Fault) -> Option<Vec<u8>> {
    let (status, mut headers, body) = match fault {
        Fault::Answer { status, headers, body } => (*status, headers.clone(), body.as_str()),
        Fault::Redirect { to } => {
            let location = format!("http://{to}{}", request.word(1));
            (307, vec![("Location".to_owned(), location)], "")
        }
        _ => return None,
    };
    headers.push(("Content-Length".to_owned(), body.len().to_string()));
    let mut bytes = Head { first_line: format!("HTTP/1.1 {status} Scripted"), headers }.to_bytes();
    if request.word(0) != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    Some(bytes)
}

/// What is done to a body, and at which of its bytes.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Flip(u64),
    Drop(u64),
    Stall(u64),
}

/// Where a body goes to.
#[derive(Debug)]
struct Sink<'a, 'b> {
    lane: Option<&'a mut Lane<'b>>,
    /// Bytes of the body that have gone.
    position: u64,
    edit: Option<Edit>,
}

impl<'a, 'b> Sink<'a, 'b> {
    fn new(lane: &'a mut Lane<'b>) -> Self {
        Self { lane: Some(lane), position: 0, edit: None }
    }

    fn nowhere() -> Self {
        Self { lane: None, position: 0, edit: None }
    }

    /// Bytes of the body.
    async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        let in_here = |at: u64| usize::try_from(at - self.position).ok().filter(|at| *at < bytes.len());
        let place = match self.edit {
            Some(Edit::Flip(at) | Edit::Drop(at) | Edit::Stall(at)) if at >= self.position => in_here(at),
            _ => None,
        };
        self.position += bytes.len() as u64;
        let (Some(place), Some(edit)) = (place, self.edit) else {
            return self.framing(bytes.into()).await;
        };
        match edit {
            Edit::Flip(_) => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1;
                }
                self.framing(bytes.into()).await
            }
            Edit::Drop(_) => {
                bytes.truncate(place);
                self.framing(bytes.into()).await?;
                match &self.lane {
                    Some(lane) => lane.drop_connection().await,
                    None => Ok(()),
                }
            }
            Edit::Stall(_) => {
                bytes.truncate(place);
                self.framing(bytes.into()).await?;
                std::future::pending().await
            }
        }
    }

    /// Bytes that do not count.
    async fn framing(&mut self, bytes: Bytes) -> io::Result<()> {
        match &mut self.lane {
            Some(lane) => lane.send(bytes).await,
            None => Ok(()),
        }
    }
}

/// Moves one body.
async fn relay(
    input: &mut (impl AsyncBufRead + Unpin),
    body: Body,
    sink: &mut Sink<'_, '_>,
) -> io::Result<()> {
    match body {
        Body::Length(length) => relay_bytes(input, length, sink).await,
        Body::UntilClose => match relay_bytes(input, u64::MAX, sink).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => other,
        },
        Body::Chunked => relay_chunks(input, sink).await,
    }
}

async fn relay_bytes(
    input: &mut (impl AsyncBufRead + Unpin),
    mut length: u64,
    sink: &mut Sink<'_, '_>,
) -> io::Result<()> {
    while length > 0 {
        let bytes = input.fill_buf().await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()));
        sink.body(bytes.get(..count).unwrap_or_default()).await?;
        input.consume(count);
        length -= count as u64;
    }
    Ok(())
}

/// Chunks, the empty one included, and the trailer behind them (RFC 9112, 7.1).
async fn relay_chunks(input: &mut (impl AsyncBufRead + Unpin), sink: &mut Sink<'_, '_>) -> io::Result<()> {
    loop {
        let line = relay_line(input, sink).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !relay_line(input, sink).await?.trim_end().is_empty() {}
            return Ok(());
        }
        relay_bytes(input, size, sink).await?;
        relay_line(input, sink).await?;
    }
}

async fn relay_line(input: &mut (impl AsyncBufRead + Unpin), sink: &mut Sink<'_, '_>) -> io::Result<String> {
    let mut line = String::new();
    if input.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    sink.framing(line.clone().into()).await?;
    Ok(line)
}
