//! A blob that is in memory.

use std::io;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;

use crate::{BlobReader, BlobSource};

/// A blob in memory.
#[derive(Debug, Clone)]
pub struct MemorySource {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether reading fails behind the last of them.
    pub fails: bool,
}

#[async_trait]
impl BlobSource for MemorySource {
    async fn open(&self) -> io::Result<BlobReader> {
        let bytes = io::Cursor::new(self.bytes.clone());
        Ok(if self.fails { Box::pin(bytes.chain(Failing)) } else { Box::pin(bytes) })
    }
}

/// A reader that only fails.
#[derive(Debug, Clone, Copy)]
pub struct Failing;

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::Error::other("broken for a test")))
    }
}
