//! Fork: a snapshot becomes N running sandboxes, or none.
//!
//! ```text
//!  forking command                          supervisor (one for each)
//!    folder, links, empty overlay
//!    start ───────────────────────────────▶ restore, resume, greet, new identity
//!          ◀────────────── ready or failed ─
//!    … until all are ready …
//!    keep ────────────────────────────────▶ serves until its engine ends
//! ```
//!
//! `keep` is one pipe for all siblings, into which the forking command writes a byte for each in one system call. A supervisor
//! that finds the pipe's end instead, because the command was interrupted or killed, removes its sandbox. So a
//! `fork -n 100` leaves a hundred sandboxes or none, wherever it is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle, available_parallelism};
use std::time::Duration;

use agent_protocol::Given;
use engine::NetworkMode;
use format::FullName;
use rustix::pipe::PipeFlags;
use store::{Flats, Lease, SandboxId, Snapshot};

use crate::data::{DataDisk, Prepared};
use crate::error::At;
use crate::launch::{self, Supervisor, Task};
use crate::record::Forward;
use crate::record::Record;
use crate::{Cause, Context, Error, layout};

/// How to fork.
#[derive(Debug, Clone)]
pub struct ForkOptions {
    /// How many sandboxes: at most [`MAX_COUNT`].
    pub count: usize,
    /// After how long each is ended.
    pub ttl: Option<Duration>,
    /// After how long without a session (an exec, eval, copy or forwarded connection) each is ended.
    pub idle: Option<Duration>,
    /// What they are connected to.
    pub network: NetworkMode,
    /// Ports of the host that lead into each. More than one sandbox cannot share them, unless the host's is 0: any.
    pub ports: Vec<Forward>,
    /// What each is given, and no snapshot and no file of the host has.
    pub given: Given,
    /// A disk that each has besides those of the snapshot.
    pub data: Option<DataDisk>,
    /// The name by which the snapshot was asked for: for people.
    pub name: Option<FullName>,
    /// How long one sandbox may take to become ready.
    pub deadline: Duration,
}

/// A sandbox that is ready.
#[derive(Debug, Clone)]
pub struct Forked {
    /// Its id.
    pub id: SandboxId,
    /// What is remembered of it.
    pub record: Record,
}

/// A sandbox whose supervisor has announced that it is ready, and waits to hear that it is kept.
struct Ready {
    forked: Forked,
    supervisor: Supervisor,
}

/// Most sandboxes that one act forks: well below what an empty pipe takes.
pub const MAX_COUNT: usize = 10_000;

/// Forks `snapshot`, which was claimed for `lease` (`Store::load_leased`). `on_ready` is called for each sandbox; `interrupted` makes all
/// of it stop and go.
///
/// # Errors
/// If the host cannot restore the snapshot, or one of the sandboxes does not become ready. None is left then.
pub fn fork(
    context: &Context<'_>,
    lease: &Lease,
    snapshot: &Snapshot,
    options: &ForkOptions,
    on_ready: &(dyn Fn(&Forked) + Sync),
    interrupted: &AtomicBool,
) -> Result<Vec<Forked>, Error> {
    if options.count > MAX_COUNT {
        return Err(Error::TooMany { count: options.count });
    }
    let mismatches = context.engine.compatibility(&snapshot.config);
    if !mismatches.is_empty() {
        return Err(Error::Incompatible { snapshot: snapshot.digest, mismatches });
    }
    let is_interrupted = || interrupted.load(Ordering::Relaxed);
    let prepare = |disk| Prepared::new(context.store, &snapshot.config, disk, options.count, &is_interrupted);
    let lay_out = || {
        let data = options.data.as_ref().map(prepare).transpose()?;
        Ok((data, context.store.lay_out(lease, snapshot, &is_interrupted)?))
    };
    let (data, flats) =
        lay_out().map_err(|error: Error| if is_interrupted() { Error::Interrupted } else { error })?;
    let state = layout::read_state(context.store, &snapshot.config)?;
    let (kept, keep) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at("make a pipe in", context.store.root())?;
    let job = Job { context, lease, snapshot, flats, state, data, options, kept };
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let ready = Mutex::new(Vec::new());
    let work = || -> Result<(), Error> {
        while next.fetch_add(1, Ordering::Relaxed) < options.count {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let one = job.start(interrupted).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            on_ready(&one.forked);
            ready.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        }
        Ok(())
    };
    let result = thread::scope(|scope| {
        // Without help, where there can be no more threads, it takes longer.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let tasks: Vec<_> = (0..helpers(options.count)).filter_map(spawn).collect();
        let mine = work();
        let join = |task: ScopedJoinHandle<'_, _>| task.join().unwrap_or_else(|panic| resume_unwind(panic));
        let theirs: Vec<Result<(), Error>> = tasks.into_iter().map(join).collect();
        std::iter::once(mine).chain(theirs).collect::<Result<(), Error>>()
    });
    let ready = ready.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = result.and_then(|()| keep_all(keep, &ready, interrupted)) {
        for one in ready {
            one.supervisor.remove(context, &one.forked.id);
        }
        return Err(error);
    }
    Ok(ready.into_iter().map(|one| one.forked).collect())
}

/// How many threads help the one that forks: at most as many as there are cores, so that one sandbox is set up while each core is busy with
/// the guest of another.
fn helpers(count: usize) -> usize {
    match count.saturating_sub(1) {
        0 => 0,
        others => others.min(available_parallelism().map_or(1, usize::from)),
    }
}

/// Tells all supervisors that they stay.
fn keep_all(keep: OwnedFd, ready: &[Ready], interrupted: &AtomicBool) -> Result<(), Error> {
    let ended = || Error::NotReady { cause: Cause::Other, reason: launch::SUPERVISOR_ENDED.to_owned() };
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    if !ready.iter().all(|one| one.supervisor.is_alive()) {
        return Err(ended());
    }
    let count = ready.len();
    // A new pipe is small for a user who has many: then it must be made to hold all at once.
    if rustix::pipe::fcntl_getpipe_size(&keep).is_ok_and(|size| size < count) {
        rustix::pipe::fcntl_setpipe_size(&keep, count)
            .at("make room in", Path::new("the pipe of the forks"))?;
    }
    // They go into the empty pipe in one system call: nothing can come between the first and the last.
    let told = File::from(keep).write(&vec![1; count]);
    match told {
        Ok(written) if written == count => Ok(()),
        _ => Err(ended()),
    }
}

struct Job<'a> {
    context: &'a Context<'a>,
    lease: &'a Lease,
    snapshot: &'a Snapshot,
    flats: Flats,
    state: Vec<u8>,
    data: Option<Prepared>,
    options: &'a ForkOptions,
    /// The supervisors' end of the pipe.
    kept: OwnedFd,
}

impl Job<'_> {
    /// Makes one sandbox and waits until it is ready. When this fails, nothing of it is left.
    fn start(&self, interrupted: &AtomicBool) -> Result<Ready, Error> {
        let Self { context, lease, snapshot, flats, state, data, options, kept } = self;
        let draft = context.store.draft_sandbox(lease, &snapshot.digest)?;
        let id = draft.id().clone();
        layout::populate(context.store, context.engine, draft.path(), snapshot, flats, state)?;
        if let Some(data) = data {
            data.populate(draft.path())?;
        }
        let data = data.as_ref().map(|data| data.attached.clone());
        Record::new(snapshot.digest, options, data)?.write(draft.path())?;
        let folder = draft.commit()?;
        let task = Task::Restore { kept: kept.as_fd(), deadline: options.deadline, given: &options.given };
        let supervisor = launch::start(context.store, context.supervisor, &id, task).inspect_err(|_| {
            // Nothing runs in it yet.
            context.store.remove_sandbox(&id).ok();
        })?;
        let ready = supervisor
            .wait(options.deadline, interrupted)
            .map_err(|failure| failure.of_fork(options.deadline))
            .and_then(|()| Record::read(&folder));
        match ready {
            Ok(record) => Ok(Ready { forked: Forked { id, record }, supervisor }),
            Err(error) => {
                supervisor.remove(context, &id);
                Err(error)
            }
        }
    }
}
