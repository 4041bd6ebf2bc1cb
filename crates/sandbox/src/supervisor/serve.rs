//! What a supervisor waits for, all at once, on one thread.

use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use engine::{CONSOLE_LOG, ENGINE_LOG};
use host::{Deadline, ProcessId};
use store::{SandboxId, Store};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};

use super::mux::{Mux, read_agent, serve_client};
use super::{Error, Listeners, Supervised};
use super::{forward, logs};
use crate::error::At;
use crate::manage::KILL_DEADLINE;
use crate::{layout, record};

/// Why a supervisor's work ends.
enum End {
    /// The agent's connection has ended, as it does when the engine ends, or it broke the protocol.
    Agent(String),
    /// The time limit has passed.
    TimeLimit,
    /// There was no session for the time that it may be idle.
    Idle,
    /// The forking command ended before it had seen all siblings ready.
    Abandoned,
}

/// Serves clients until the VM's end, and leaves the sandbox's folder as that end wants it.
pub(super) fn until_end(
    store: &Store,
    id: &SandboxId,
    supervised: Supervised,
    listeners: Listeners,
    keep: Option<File>,
) -> Result<(), Error> {
    // The data disk is locked until here ends.
    let Supervised { folder, mut record, config, engine, agent, data: _data } = supervised;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().at("supervise", &folder)?;
    let left = record.ends_at.map(|end| Duration::from_secs(end.saturating_sub(record::now())));
    let local = tokio::task::LocalSet::new();
    let bounded = [CONSOLE_LOG, ENGINE_LOG].map(|name| folder.join(name));
    let end = local.block_on(&runtime, async {
        let Listeners { control, ports } = listeners;
        control.set_nonblocking(true).at("listen in", &folder)?;
        let control = UnixListener::from_std(control).at("listen in", &folder)?;
        let version = agent.version();
        let (stream, decoder) = agent.into_parts();
        stream.set_nonblocking(true).at("listen in", &folder)?;
        let stream = UnixStream::from_std(stream).at("listen in", &folder)?;
        let (from_agent, to_agent) = stream.into_split();
        let mux = Rc::new(Mux::new(to_agent, version));
        tokio::task::spawn_local(accept(control, Rc::clone(&mux)));
        for (listener, guest) in ports {
            tokio::task::spawn_local(forward::serve(listener, guest, Rc::clone(&mux)));
        }
        Ok::<_, Error>(tokio::select! {
            () = sleep(left) => End::TimeLimit,
            () = idle(record.idle_seconds, &mux) => End::Idle,
            reason = read_agent(from_agent, decoder, &mux) => End::Agent(reason),
            () = abandoned(keep) => End::Abandoned,
            never = logs::keep_bounded(&bounded) => match never {},
        })
    })?;
    let reason = match end {
        End::TimeLimit => "its time limit has passed".to_owned(),
        End::Idle => "it was idle for as long as it may be".to_owned(),
        End::Agent(reason) => reason,
        End::Abandoned => {
            kill(engine)?;
            return Ok(store.remove_sandbox(id)?);
        }
    };
    kill(engine)?;
    record.ended = Some(reason);
    record.write(&folder)?;
    layout::remove_large(&folder, &config);
    Ok(())
}

fn kill(engine: ProcessId) -> Result<(), Error> {
    engine.kill()?;
    Ok(engine.wait(Deadline::after(KILL_DEADLINE))?)
}

async fn accept(control: UnixListener, mux: Rc<Mux>) {
    loop {
        match control.accept().await {
            Ok((client, _)) => {
                let mux = Rc::clone(&mux);
                tokio::task::spawn_local(async move { serve_client(client, &mux).await });
            }
            // Out of descriptors, most likely: clients that go free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn sleep(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// Returns when there was no session for that many seconds.
async fn idle(seconds: Option<u64>, mux: &Mux) {
    let Some(limit) = seconds.map(Duration::from_secs) else { return std::future::pending().await };
    while let Some(left) = limit.checked_sub(mux.idle_for()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left).await;
    }
}

/// Returns when the forking command has ended before it wrote a byte for each of the siblings.
async fn abandoned(keep: Option<File>) {
    let Some(mut keep) = keep.and_then(|pipe| pipe::Receiver::from_file(pipe).ok()) else {
        return std::future::pending().await;
    };
    // One byte and no more: the others are the siblings'.
    if let Ok(1) = keep.read(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}
