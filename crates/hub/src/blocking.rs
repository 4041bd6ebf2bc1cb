//! Work that blocks (files, hashing), off the async threads.

/// Runs `work` on a thread that may block. If the caller is dropped, `work` still ends, unheard.
pub(crate) async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled before it began: the runtime is going down and will not poll us again.
            Err(_) => std::future::pending().await,
        },
    }
}
