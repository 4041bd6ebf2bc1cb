//! What a supervisor waits for, all at once, on one thread.

use std::convert::Infallible;
use std::fs::File;
use std::path::Path;
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
use crate::limits::{IDLE_LIMIT, KILL_DEADLINE, TIME_LIMIT};
use crate::{activity, layout, record};

/// How often it is noted at least that a session is open.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(60);

/// For how long there has to be no session before memory is given back: whoever runs one command after another does not wait
/// for it.
const MEMORY_PATIENCE: Duration = Duration::from_secs(2);

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
        let (stream, decoder, buffer) = agent.into_parts();
        stream.set_nonblocking(true).at("listen in", &folder)?;
        let stream = UnixStream::from_std(stream).at("listen in", &folder)?;
        let (from_agent, to_agent) = stream.into_split();
        let mux = Rc::new(Mux::new(to_agent, buffer, version));
        tokio::task::spawn_local(accept(control, Rc::clone(&mux)));
        forward::serve(ports, &mux);
        Ok::<_, Error>(tokio::select! {
            () = sleep(left) => End::TimeLimit,
            end = stays(keep, &folder, record.idle_limit(), &mux) => end,
            reason = read_agent(from_agent, decoder, &mux) => End::Agent(reason),
            never = logs::keep_bounded(&bounded) => match never {},
            never = give_back_memory(&mux) => match never {},
        })
    })?;
    let reason = match end {
        End::TimeLimit => TIME_LIMIT.to_owned(),
        End::Idle => IDLE_LIMIT.to_owned(),
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

/// Gives back what sessions have needed, once there is none.
async fn give_back_memory(mux: &Mux) -> Infallible {
    loop {
        mux.all_sessions_ended().await;
        tokio::time::sleep(MEMORY_PATIENCE).await;
        if !mux.has_sessions() {
            host::give_back_freed_memory();
        }
    }
}

async fn sleep(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// Returns why the sandbox does not stay: the forking command has ended before it wrote a byte for each of the siblings, or,
/// after that, there was no session for as long as may be.
async fn stays(keep: Option<File>, folder: &Path, limit: Option<Duration>, mux: &Mux) -> End {
    if let Some(mut keep) = keep.and_then(|pipe| pipe::Receiver::from_file(pipe).ok()) {
        // One byte and no more: the others are the siblings'.
        if !matches!(keep.read(&mut [0]).await, Ok(1)) {
            return End::Abandoned;
        }
    }
    match limit {
        Some(limit) => idle(folder, limit, mux).await,
        None => std::future::pending().await,
    }
    End::Idle
}

/// Returns when there was no session for so long. What an earlier supervisor has seen of that time counts.
async fn idle(folder: &Path, limit: Duration, mux: &Mux) {
    mux.count_idleness(activity::age(folder).unwrap_or_default());
    let interval = (limit / 4).min(ACTIVITY_INTERVAL);
    loop {
        let quiet = mux.idle_for();
        // If that is not noted, a later supervisor begins anew.
        activity::note(folder, quiet).ok();
        let Some(left) = limit.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
        tokio::select! {
            () = tokio::time::sleep(left.min(interval)) => {}
            () = mux.session_ended() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);
    const DEADLINE: Duration = Duration::from_secs(60);

    fn run(test: impl AsyncFnOnce(&Mux)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (_agent, stream) = UnixStream::pair().unwrap();
            test(&Mux::new(stream.into_split().1, Vec::new(), 1)).await;
        });
    }

    fn pipe() -> (File, File) {
        let (read, write): (OwnedFd, OwnedFd) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn idleness_counts_from_when_all_siblings_are_ready() {
        let folder = tempfile::tempdir().unwrap();
        run(async |mux| {
            let (kept, mut keep) = pipe();
            let stays = stays(Some(kept), folder.path(), Some(LIMIT), mux);
            tokio::pin!(stays);
            timeout(3 * LIMIT, &mut stays).await.err().expect("its siblings are not ready");
            let ready = Instant::now();
            keep.write_all(&[1]).unwrap();
            assert!(matches!(timeout(DEADLINE, stays).await, Ok(End::Idle)));
            assert!(ready.elapsed() >= LIMIT, "it may be idle for longer");
        });
        run(async |mux| {
            let (kept, keep) = pipe();
            drop(keep);
            assert!(matches!(stays(Some(kept), folder.path(), None, mux).await, End::Abandoned));
        });
    }

    #[test]
    fn a_new_supervisor_goes_on_where_the_last_one_was() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(3600);
        activity::note(folder.path(), limit - LIMIT).unwrap();
        run(async |mux| {
            let stays = stays(None, folder.path(), Some(limit), mux);
            assert!(matches!(timeout(DEADLINE, stays).await, Ok(End::Idle)));
        });
        assert!(activity::age(folder.path()).unwrap() >= limit);
    }
}
