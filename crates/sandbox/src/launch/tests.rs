//! What an announcement, or none, means for whoever waits for it.

use std::io::Write;

use super::*;

/// What a command that allows no time at all makes of an announcement.
fn heard(announcement: &str, interrupted: bool) -> Result<(), Error> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(announcement.as_bytes()).unwrap();
    drop(theirs);
    let supervisor = Supervisor { process: ProcessId::current().unwrap(), connection: ours };
    supervisor
        .wait(Duration::ZERO, &AtomicBool::new(interrupted))
        .map_err(|failure| failure.of_fork(Duration::from_secs(10)))
}

fn failed(cause: Cause) -> String {
    let failure = FailedStart { cause, reason: "the guest is silent".to_owned() };
    serde_json::to_string(&Announcement::Failed(failure)).unwrap() + "\n"
}

#[test]
fn an_announcement_outlasts_what_was_allowed() {
    heard("\"ready\"\n", false).unwrap();
    let error = heard(&failed(Cause::Timeout), false).unwrap_err();
    assert!(matches!(error, Error::NotInTime { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        ["within 10s", "the guest is silent", "--deadline"].iter().all(|word| text.contains(word)),
        "{text}"
    );
}

#[test]
fn the_cause_of_a_failure_is_carried() {
    for cause in [Cause::Missing, Cause::Incompatible, Cause::Invalid, Cause::Other] {
        let error = heard(&failed(cause), false).unwrap_err();
        assert!(matches!(error, Error::NotReady { cause: carried, .. } if carried == cause), "{error:?}");
    }
}

#[test]
fn what_announces_nothing_has_failed() {
    for nothing in ["", "\"ready\"", "\"no such word\"\n"] {
        let error = heard(nothing, false).unwrap_err();
        assert!(matches!(error, Error::NotReady { cause: Cause::Other, .. }), "{error:?}");
    }
    assert!(matches!(heard("", true), Err(Error::Interrupted)));
}
