//! `postgres`: a server is up in every fork, none sees another's rows, and what was committed outlives a crash.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Spore;
use crate::journey::Journey;

/// A backend dies as by a crash, and takes the server down; answers when it is up again what it had committed.
const CRASH: &str = r#"
psql -Xqc 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
victim="SELECT pid FROM pg_stat_activity WHERE query LIKE '%sleep(600)' AND pid <> pg_backend_pid()"
until pid=$(psql -XAtc "$victim") && [ -n "$pid" ]; do sleep 0.1; done
kill -9 "$pid"
wait
until psql -XAtc 'SELECT owner FROM mine' 2>/dev/null; do sleep 0.1; done
"#;

#[test]
fn postgres() {
    Journey { recipe: "postgres", marked: false, forks: 3, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    assert_eq!(sql(spore, id, "SELECT sum(n) FROM generate_series(1, 100) n"), "5050");
}

fn uses(spore: &Spore, forks: &[String]) {
    let mut drawn = HashSet::new();
    for id in forks {
        first_answer(spore, id);
        sql(spore, id, &format!("CREATE TABLE mine AS SELECT '{id}'::text AS owner"));
        drawn.insert(sql(spore, id, "SELECT random(), gen_random_uuid()"));
        assert_clock(&sql(spore, id, "SELECT extract(epoch FROM clock_timestamp())::bigint"));
        assert_eq!(sql(spore, id, "SHOW data_checksums"), "on");
    }
    assert_eq!(drawn.len(), forks.len(), "forks draw the same numbers: {drawn:?}");
    for id in forks {
        assert_eq!(&sql(spore, id, "SELECT owner FROM mine"), id, "rows of another fork");
    }
    assert_eq!(spore.sh(&forks[0], CRASH), forks[0]);
    let copied =
        "createdb copy && pg_dump postgres | psql -Xq copy >/dev/null && psql -XAtc 'TABLE mine' copy";
    assert_eq!(spore.sh(&forks[1], copied), forks[1]);
}

/// The server's clock is the host's, however old the snapshot is.
fn assert_clock(seconds: &str) {
    let guest: u64 = seconds.parse().unwrap_or_else(|_| panic!("no time: {seconds}"));
    let host = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    assert!(guest.abs_diff(host) < 60, "the server says {guest}, the host {host}");
}

/// The only value that a statement gives, if it gives one.
fn sql(spore: &Spore, id: &str, statement: &str) -> String {
    let psql = ["exec", id, "--", "psql", "--no-psqlrc", "--quiet", "-Atc", statement];
    spore.run(psql).succeeds().text().to_owned()
}
