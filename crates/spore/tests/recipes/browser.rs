//! `browser`: a page is open in every fork, each goes where it likes, and none draws another's random numbers.

use std::collections::HashSet;

use crate::harness::Spore;
use crate::journey::Journey;

/// Serves the folder until the machine ends, and returns when it does.
const SERVE: &str = "mkdir /srv/site && cd /srv/site && hostname >name.txt &&
    echo '<title>served</title><body bgcolor=teal>' >index.html &&
    (setsid python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 </dev/null &) &&
    until bash -c '</dev/tcp/127.0.0.1/8000' 2>/dev/null; do sleep 0.1; done";

#[test]
fn browser() {
    Journey { recipe: "browser", marked: false, forks: 2, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    screenshot(spore, id, Some("data:text/html,<h1>first</h1>"));
}

fn uses(spore: &Spore, forks: &[String]) {
    let (one, other) = (&forks[0], &forks[1]);
    let blank = screenshot(spore, one, None);
    assert_eq!(blank, screenshot(spore, other, None), "the page that was open is not the same");

    for id in forks {
        let drawn = screenshot(spore, id, Some(&format!("data:text/html,<title>{id}</title><h1>{id}</h1>")));
        assert!(drawn != blank, "{id} shows what it showed before");
    }
    for id in forks {
        assert_eq!(page(spore, id, "document.title"), format!("\"{id}\""), "another fork's page");
    }
    // As it is run in the forks of a branch, whose page is what they are for.
    spore.run(["exec", one, "--", "renew-browser"]).succeeds();
    assert_eq!(page(spore, one, "document.title"), format!("\"{one}\""), "a page in use was closed");
    let (of_one, of_other) = (screenshot(spore, one, None), screenshot(spore, other, None));
    assert!(of_one != of_other, "forks with unlike pages show the same");
    let same = "data:text/html,<h1>the same</h1>";
    assert_eq!(screenshot(spore, one, Some(same)), screenshot(spore, other, Some(same)));

    for numbers in ["Math.random()", "crypto.getRandomValues(new Uint32Array(4)).join()"] {
        let drawn: HashSet<_> = forks.iter().map(|id| page(spore, id, numbers)).collect();
        assert_eq!(drawn.len(), forks.len(), "forks draw the same by {numbers}: {drawn:?}");
    }

    spore.sh(one, SERVE);
    screenshot(spore, one, Some("http://localhost:8000/"));
    let fetched = page(spore, one, "fetch('/name.txt').then(answer => answer.text())");
    assert_eq!(fetched, format!("\"{}\\n\"", spore.sh(one, "hostname")));
    assert_eq!(page(spore, one, "isSecureContext && crypto.randomUUID().length"), "36");
    spore.run(["exec", one, "--", "browse", "http://localhost:1/"]).exits_with(1);

    let users = spore.sh(one, "ps -o user= -p $(pgrep -d, chromium) | sort -u");
    assert_eq!(users, "browser", "the browser is to run as a user of its own");
    assert!(!spore.sh(one, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").contains("--no-sandbox"));
}

/// A picture of the page, by way of a URL if there is one: its bytes.
fn screenshot(spore: &Spore, id: &str, url: Option<&str>) -> Vec<u8> {
    let png = spore.command(["exec", id, "--", "browse"]).args(url).finish().succeeds().stdout;
    // A header of 8 bytes, then a chunk IHDR that begins with width and height (PNG, third edition, 5.2 and 11.2.1).
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    assert_eq!(
        png[16..24],
        [1280_u32.to_be_bytes(), 800_u32.to_be_bytes()].concat(),
        "not of the window's size"
    );
    png
}

/// The value of an expression in the page, in JSON.
fn page(spore: &Spore, id: &str, expression: &str) -> String {
    spore.run(["exec", id, "--", "browse", "--eval", expression]).succeeds().text().to_owned()
}
