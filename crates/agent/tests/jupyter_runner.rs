//! `runners/jupyter.py` keeps its protocol (docs/agent-protocol.md, "Runners"), driven as the agent would, by the host's
//! own Python and ipykernel.
//!
//! Its files have fixed places below `/run`, so there is one runner, and one test that goes through all of it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
#![allow(dead_code, unreachable_pub, reason = "modules of a test")]

mod runner;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runner::Runner;
use serde_json::{Value, json};

const NAME: &str = "jupyter_runner::a_kernel_is_asked_by_the_agent_and_by_programs";
const SOCKET: &str = "/run/jupyter/execute.sock";

#[test]
fn a_kernel_is_asked_by_the_agent_and_by_programs() {
    let Some(python) = python() else {
        println!("skipped: {NAME}: no python3 with ipykernel and jupyter_client");
        return;
    };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {NAME}: only root can write to /run");
        return;
    }
    let folder = std::env::temp_dir().join(format!("jupyter-runner-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::write(folder.join("warm.py"), "warm = [1]\n").expect("a file can be written");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("runners/jupyter.py")).arg(folder.join("warm.py"));
    // It and the kernel import from where the runners lie, and leave nothing there.
    command.env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::null());
    let mut runner = Runner::start(command).ready();

    cells(&mut runner);
    interruptions(&mut runner);
    documents(&mut runner);
    let mut drawn = |seed| {
        runner.reseed(seed);
        runner.eval("import random; random.random()").stdout
    };
    let (one, two, again) = (drawn(1), drawn(2), drawn(1));
    assert!(one == again && one != two, "{one} {two} {again}");

    runner.socket.shutdown(Shutdown::Write).expect("its input can be closed");
    assert!(runner.end().success());
    fs::remove_dir_all(folder).expect("a folder can be removed");
}

/// A Python that has what the runner needs: the first one, or Debian's, which is not first everywhere.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let imports = ["-c", "import ipykernel, jupyter_client"];
        let ended = Command::new(python).args(imports).stderr(Stdio::null()).status();
        ended.is_ok_and(|status| status.success())
    })
}

fn cells(runner: &mut Runner) {
    runner.prints("warm", "[1]\n");
    runner.prints("x = 'ä'", "");
    runner.prints("print(x); x * 2", "ä\n'ää'\n");
    runner.prints("print('y' * 300_000, end='')", &"y".repeat(300_000));
    runner.fails("1 / 0", &["ZeroDivisionError", "----> 1 1 / 0"]);
    runner.fails("1 +", &["SyntaxError"]);
    runner.fails("input()", &["input"]);
    runner.fails("import sys; sys.exit(3)", &["SystemExit: 3"]);
    runner.fails("exit()", &["NameError"]);
    runner.prints("x", "'ä'\n");
}

fn interruptions(runner: &mut Runner) {
    for code in ["while True: pass", "import time\nwhile True: time.sleep(0.05)"] {
        runner.interrupt(0);
        let id = runner.begin(&format!("print('ready', flush=True)\n{code}"));
        assert_eq!(runner.receive().expect("the runner lives")["data"], "ready\n");
        runner.interrupt(id);
        let done = runner.finish(id);
        assert!(!done.ok && done.stderr.contains("KeyboardInterrupt"), "{done:?}");
        runner.prints("x", "'ä'\n");
    }
}

fn documents(runner: &mut Runner) {
    let good = ask(&json!({ "code": "import sys; print(x); print('e', file=sys.stderr); y = 6; y * 7" }));
    let expected = json!({
        "stdout": "ä\n", "stderr": "e\n", "result": "42", "error": null, "images": [],
        "truncated": false, "timed_out": false,
    });
    assert_eq!(good, expected);
    runner.prints("y", "6\n");
    let error = &ask(&json!({ "code": "{}['k']" }))["error"];
    assert_eq!((&error["name"], &error["value"]), (&json!("KeyError"), &json!("'k'")));
    let begun = Instant::now();
    let late = ask(&json!({ "code": "while True: pass", "timeout": 0.5 }));
    assert_eq!(
        (&late["timed_out"], &late["error"]["name"]),
        (&json!(true), &json!("KeyboardInterrupt")),
        "{late}"
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    let long = ask(&json!({ "code": "print('z' * 3_000_000)" }));
    assert_eq!((long["stdout"].as_str().map(str::len), &long["truncated"]), (Some(1 << 20), &json!(true)));
    let image =
        "from IPython.display import Image, display; display(Image(b'\\x89PNG\\r\\n\\x1a\\n', format='png'))";
    assert_eq!(ask(&json!({ "code": image }))["images"], json!(["iVBORw0KGgo="]));
    for bad in [json!({}), json!({ "code": 1 }), json!([]), json!({ "code": "", "timeout": -1 })] {
        assert_eq!(ask(&bad)["error"]["name"], "BadRequest", "{bad}");
    }
    // Who goes away, or says nothing of use, is nobody else's concern.
    drop(UnixStream::connect(SOCKET).expect("it listens"));
    runner.prints("y", "6\n");
}

/// The document that a program is answered with.
fn ask(request: &Value) -> Value {
    let mut stream = UnixStream::connect(SOCKET).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline can be set");
    stream.write_all(request.to_string().as_bytes()).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("this half can be closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers in time");
    serde_json::from_slice(&answer).expect("JSON")
}
