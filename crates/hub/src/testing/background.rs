//! A server of a test, on a thread and a runtime of its own: it goes on while the test blocks, serves tests without
//! a runtime, and a busy runtime under test does not falsify its timing.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

/// Ends the server, and all tasks that it has spawned, when dropped.
#[derive(Debug)]
pub(super) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs `serve` with a listener on a free loopback port, which accepts from the moment that this returns.
    pub(super) fn serve<S, F>(name: &str, serve: S) -> (Self, SocketAddr)
    where
        S: FnOnce(TcpListener) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let listener = StdListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread =
            thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread can be started");
        (Self { stop: Some(stop), thread: Some(thread) }, addr)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its panic has been printed already, and this may be running because of one.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
