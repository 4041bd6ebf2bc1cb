//! A small HTTP server as the proxy's target: it ranges, streams and counts, and says what it was sent.

use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What one `PUT` brought before its connection ended or its body was whole.
pub(crate) type Received = mpsc::UnboundedReceiver<Vec<u8>>;

/// Starts one. `GET /blob/N` answers with N bytes of [`content`], `GET /chunked/N` with the same in chunks, `PUT`
/// with the count of bytes that came.
pub(crate) async fn start() -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sender.clone()));
        }
    });
    (addr, received)
}

/// Made once, so that making it takes no time of what is measured.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| (0..2 << 20_u32).flat_map(u32::to_le_bytes).collect());

pub(crate) fn content(length: usize) -> Vec<u8> {
    CONTENT[..length].to_vec()
}

async fn serve(stream: TcpStream, received: mpsc::UnboundedSender<Vec<u8>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let answer = if head.starts_with("put") {
            let length: usize = field("content-length").unwrap().parse().unwrap();
            let mut body = Vec::new();
            let count = (&mut stream).take(length as u64).read_to_end(&mut body).await.unwrap_or(0);
            let _ = received.send(body);
            if count < length {
                return;
            }
            whole(&count.to_string().into_bytes(), "200 OK")
        } else {
            let (_, length) = path.rsplit_once('/').unwrap();
            let body = content(length.parse().unwrap());
            match field("range") {
                Some(range) => {
                    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                    whole(&body[start.parse().unwrap()..=end.parse().unwrap()], "206 Partial Content")
                }
                None if path.starts_with("/chunked/") => chunked(&body),
                None => whole(&body, "200 OK"),
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn whole(body: &[u8], status: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(1000) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}
