//! `runners/python.py` keeps its protocol (docs/agent-protocol.md, "Runners"), driven as the agent would, by the host's
//! own Python.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod runner;

use std::fs;
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;

use runner::Runner;
use serde_json::json;

/// A runner that has not said that it is ready; `None`, which is said, where there is no Python.
fn start(test: &str, warm_up: Option<&Path>) -> Option<Runner> {
    let version =
        Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("skipped: python_runner::{test}: no python3 of 3.9 or later");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("runners/python.py")).args(warm_up);
    Some(Runner::start(command))
}

/// A runner that waits for code.
fn ready(test: &str) -> Option<Runner> {
    Some(start(test, None)?.ready())
}

#[test]
fn code_runs_in_one_namespace() {
    let Some(mut runner) = ready("code_runs_in_one_namespace") else { return };
    runner.prints("1 + 1", "2\n");
    runner.prints("None", "");
    runner.prints("", "");
    runner.prints("x = 'ä'", "");
    runner.prints("print(x); x * 2", "ä\n'ää'\n");
    runner.prints("def f():\n    return x\nf()", "'ä'\n");
    runner.prints("__name__", "'__main__'\n");
    let both = runner
        .eval("import sys; print('out'); print('err', file=sys.stderr); sys.stdout.buffer.write(b'\\xff')");
    assert!(both.ok && both.stdout == "out\n\\xff1\n" && both.stderr == "err\n", "{both:?}");
}

#[test]
fn errors_are_told_and_end_nothing() {
    let Some(mut runner) = ready("errors_are_told_and_end_nothing") else { return };
    runner.fails(
        "def f():\n    raise KeyError('k')\nf()",
        &["Traceback", "\"<eval>\", line 2, in f", "KeyError: 'k'"],
    );
    let traceback = runner.eval("1 / 0").stderr;
    assert!(!traceback.contains("python.py"), "{traceback}");
    runner.fails("1 +", &["SyntaxError", "1 +"]);
    runner.fails("raise SystemExit(3)", &["SystemExit: 3"]);
    runner.fails("raise KeyboardInterrupt", &["KeyboardInterrupt"]);
    runner.fails("def deep(): deep()\ndeep()", &["RecursionError"]);
    runner.fails("class Rude:\n    def __repr__(self): raise ValueError('rude')\nRude()", &["rude"]);
    runner.prints("raise SystemExit", "");
    runner.prints("'still here'", "'still here'\n");
}

#[test]
fn output_comes_in_messages_that_the_agent_takes() {
    let Some(mut runner) = ready("output_comes_in_messages_that_the_agent_takes") else { return };
    for (character, times) in
        [("x", 1_000_000), ("\u{1F600}", 100_000), ("\\u0001", 100_000), ("\\n", 50_000)]
    {
        let done = runner.eval(&format!("text = '{character}' * {times}\nprint(text, end='')"));
        let expected = match character {
            "\\u0001" => "\u{1}",
            "\\n" => "\n",
            other => other,
        };
        assert!(
            done.ok && done.stdout == expected.repeat(times),
            "{character:?}: {} bytes",
            done.stdout.len()
        );
    }
    // Half of a surrogate pair has no form in UTF-8.
    runner.prints("print('a\\ud800b')", "a\\ud800b\n");
}

#[test]
fn an_interruption_ends_what_runs_and_nothing_else() {
    let Some(mut runner) = ready("an_interruption_ends_what_runs_and_nothing_else") else { return };
    for _ in 0..20 {
        runner.interrupt(0);
        runner.prints("'idle'", "'idle'\n");
        let id = runner.begin("import time\nprint('ready', end='')\nwhile True: time.sleep(0.05)");
        let ready = runner.receive().expect("the runner lives");
        assert_eq!(ready["data"], "ready");
        runner.interrupt(id);
        let done = runner.finish(id);
        assert!(!done.ok && done.stderr.contains("KeyboardInterrupt"), "{done:?}");
        // Code that goes on after one is interrupted by the next.
        let again = "for n in range(3):\n  try:\n    print(n, end='')\n    while True: time.sleep(0.05)\n  except KeyboardInterrupt: pass";
        let id = runner.begin(again);
        for n in ["0", "1", "2"] {
            assert_eq!(runner.receive().expect("the runner lives")["data"], n);
            runner.interrupt(id);
        }
        assert!(runner.finish(id).ok);
        // In the middle of much output: no message is cut in two.
        let id = runner.begin("while True: print('x' * 100_000)");
        runner.receive().expect("the runner lives");
        runner.interrupt(id);
        assert!(!runner.finish(id).ok);
    }
}

#[test]
fn seeds_decide_what_is_random() {
    let Some(mut runner) = ready("seeds_decide_what_is_random") else { return };
    let mut drawn = |seed| {
        runner.reseed(seed);
        runner.eval("import random; random.random()").stdout
    };
    let (one, two, again) = (drawn(1), drawn(2), drawn(1));
    assert_eq!(one, again);
    assert_ne!(one, two);
}

#[test]
fn a_process_that_code_forks_is_not_the_runner() {
    let Some(mut runner) = ready("a_process_that_code_forks_is_not_the_runner") else { return };
    let done = runner
        .eval("import os\npid = os.fork()\nif pid == 0: print('child')\nelse: os.waitpid(pid, 0)\npid > 0");
    assert_eq!((done.ok, done.stdout.as_str()), (true, "True\n"));
    assert_eq!(runner.log_line(), "child\n");
    // What threads write while their evaluation runs is its output too.
    runner.prints(
        "import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start(); t.join()",
        "thread\n",
    );
}

#[test]
fn a_warm_up_file_comes_first() {
    let folder = std::env::temp_dir().join(format!("python-runner-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let (good, bad) = (folder.join("good.py"), folder.join("bad.py"));
    fs::write(&good, "warm = [1]\n").expect("a file can be written");
    fs::write(&bad, "raise ValueError('cold')\n").expect("a file can be written");
    if let Some(mut runner) = start("a_warm_up_file_comes_first", Some(&good)) {
        assert_eq!(runner.receive(), Some(json!({ "type": "ready" })));
        runner.prints("warm", "[1]\n");
    }
    if let Some(mut runner) = start("a_warm_up_file_comes_first", Some(&bad)) {
        assert!(!runner.end().success());
    }
    fs::remove_dir_all(folder).expect("a folder can be removed");
}

#[test]
fn it_ends_with_the_agent() {
    let Some(mut runner) = ready("it_ends_with_the_agent") else { return };
    runner.socket.shutdown(Shutdown::Write).expect("its input can be closed");
    assert!(runner.end().success());
}
