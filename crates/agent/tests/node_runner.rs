//! `runners/node.js` keeps its protocol (docs/agent-protocol.md, "Runners"), driven as the agent would, by the host's own
//! Node.js.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod runner;

use std::fs;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use runner::Runner;

/// A runner that has not said that it is ready; `None`, which is said, where there is no Node.
fn start(test: &str, warm_up: Option<&Path>) -> Option<Runner> {
    let version = Command::new("node")
        .args(["-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"])
        .status();
    if !version.is_ok_and(|status| status.success()) {
        println!("skipped: node_runner::{test}: no node of 18 or later");
        return None;
    }
    let mut command = Command::new("node");
    command.args(["--no-force-async-hooks-checks".as_ref(), runner_file().as_os_str()]).args(warm_up);
    Some(Runner::start(command))
}

/// A runner that waits for code.
fn ready(test: &str) -> Option<Runner> {
    Some(start(test, None)?.ready())
}

/// The runner beside its module, which is built as `crates/spore/build.rs` does.
fn runner_file() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-runner");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("runners");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let built = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=reseed", "-Cpanic=abort"])
            .args(["-Clink-args=-nostdlib -nostartfiles", "-o"])
            .args([folder.join("reseed.node"), sources.join("reseed.rs")])
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the module can be built");
        for name in ["node.js", "node-attendant.js", "node-random.js", "node-source.js"] {
            fs::copy(sources.join(name), folder.join(name)).expect("the runner can be copied");
        }
        folder
    };
    FOLDER.get_or_init(make).join("node.js")
}

#[test]
fn code_runs_in_one_scope() {
    let Some(mut runner) = ready("code_runs_in_one_scope") else { return };
    runner.prints("1 + 1", "2\n");
    runner.prints("undefined", "");
    runner.prints("null", "null\n");
    runner.prints("", "");
    runner.prints("const x = 'ä'", "");
    runner.prints("console.log(x); x + x", "ä\n'ää'\n");
    runner.prints("const x = 'b'; x", "'b'\n");
    runner.prints("function f() {\n  return x\n}\nf()", "'b'\n");
    runner.prints("{ a: 1, b: [2n] }", "{ a: 1, b: [ 2n ] }\n");
    runner.prints("let total = 0; for (const n of [1, 2]) { total += n }", "3\n");
    runner.prints("-0", "-0\n");
    runner.prints("Promise.resolve(1)", "Promise { 1 }\n");
    runner.prints("typeof require('fs').readFileSync", "'function'\n");
    let both =
        runner.eval("console.log('out'); console.error('err'); process.stdout.write(Buffer.from([0xc3]))");
    assert!(
        both.ok && both.stdout == "out\ntrue\n\u{fffd}" || both.stdout == "out\n\u{fffd}true\n",
        "{both:?}"
    );
    assert_eq!(both.stderr, "err\n");
}

#[test]
fn what_is_awaited_belongs_to_it() {
    let Some(mut runner) = ready("what_is_awaited_belongs_to_it") else { return };
    runner.prints(
        "const later = await new Promise((done) => setTimeout(done, 20, 'later')); later",
        "'later'\n",
    );
    runner.prints("later", "'later'\n");
    runner.prints("(await import('node:path')).join('a', 'b')", "'a/b'\n");
    // Only code is code.
    runner.prints(
        "'import(x)' + /import(x)/.source + `${typeof (await import('fs')).read} import(y)` // import(z)",
        "'import(x)import(x)function import(y)'\n",
    );
    runner.prints("({ import(what) { return what } }).import('itself')", "'itself'\n");
    runner.fails("await Promise.reject(new TypeError('no'))", &["Uncaught TypeError: no"]);
    let beside = runner.eval("setTimeout(() => { throw new Error('beside') }); await new Promise((done) => setTimeout(done, 50)); 5");
    assert!(beside.ok && beside.stdout == "5\n" && beside.stderr.contains("Error: beside"), "{beside:?}");
}

#[test]
fn errors_are_told_and_end_nothing() {
    let Some(mut runner) = ready("errors_are_told_and_end_nothing") else { return };
    let raised = runner.eval("function f() {\n  throw new TypeError('k')\n}\nf()");
    let expected = "Uncaught TypeError: k\n    at f (<eval>:2:9)\n    at <eval>:4:1\n";
    assert_eq!((raised.ok, raised.stderr.as_str()), (false, expected));
    let shown = runner.eval("throw Object.assign(new Error('k'), { code: 'E' })").stderr;
    assert_eq!(shown, "Uncaught Error: k\n    at <eval>:1:21 {\n  code: 'E'\n}\n");
    runner.fails("let a = 1\nlet b = = 2", &["<eval>:2\nlet b = = 2\n        ^\n", "SyntaxError"]);
    runner.fails("1 +", &["SyntaxError", "1 +"]);
    runner.fails("throw 5", &["Uncaught 5"]);
    runner.fails("JSON.parse('{')", &["SyntaxError", "<eval>:1:6"]);
    runner.fails("process.exit(3)", &["process.exit(3)"]);
    runner.fails(
        "setTimeout(() => process.exit(4)); await new Promise((done) => setTimeout(done, 10_000))",
        &[],
    );
    runner.fails("(function deep() { deep() })()", &["RangeError"]);
    runner.fails("({ [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('rude') } })", &["rude"]);
    runner.prints("process.exit()", "");
    runner.prints("'still here'", "'still here'\n");
}

#[test]
fn output_comes_in_messages_that_the_agent_takes() {
    let Some(mut runner) = ready("output_comes_in_messages_that_the_agent_takes") else { return };
    for (character, text, times) in [
        ("x", "x", 1_000_000),
        ("\u{1F600}", "\u{1F600}", 100_000),
        ("\\u0001", "\u{1}", 100_000),
        ("\\n", "\n", 50_000),
    ] {
        let done = runner.eval(&format!("process.stdout.write('{character}'.repeat({times})); undefined"));
        assert!(done.ok && done.stdout == text.repeat(times), "{character:?}: {} bytes", done.stdout.len());
    }
    // Half of a surrogate pair has no form in UTF-8.
    runner.prints("console.log('a\\ud800b')", "a\u{fffd}b\n");
}

#[test]
fn an_interruption_ends_what_runs_and_nothing_else() {
    /// Busy, waiting, busy after it has waited, in a callback, stubborn, deaf, beside the code, and while it is shown.
    const ENDLESS: &[&str] = &[
        "ready(); for (;;);",
        "ready(); await new Promise((done) => setTimeout(done, 1e6))",
        "await null; ready(); for (;;);",
        "setTimeout(() => { ready(); for (;;); }); await new Promise((done) => setTimeout(done, 1e6))",
        "ready(); for (;;) { try { for (;;); } catch {} finally { continue } }",
        "ready(); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "ready(); process.nextTick(() => { for (;;); })",
        "({ [Symbol.for('nodejs.util.inspect.custom')]() { ready(); for (;;); } })",
    ];
    let Some(mut runner) = ready("an_interruption_ends_what_runs_and_nothing_else") else { return };
    runner.prints("let kept = 'kept'; function ready() { console.log('ready') }", "");
    for round in 0..5 {
        for code in ENDLESS {
            runner.interrupt(0);
            runner.prints("kept", "'kept'\n");
            let id = runner.begin(code);
            assert_eq!(runner.receive().expect("the runner lives")["data"], "ready\n", "{code}");
            runner.interrupt(id);
            let done = runner.finish(id);
            assert!(!done.ok && done.stderr == "Interrupted\n", "{round}: {code}: {done:?}");
        }
        // In the middle of much output: no message is cut in two.
        let id = runner.begin("for (;;) console.log('x'.repeat(100_000))");
        runner.receive().expect("the runner lives");
        runner.interrupt(id);
        assert!(!runner.finish(id).ok);
        runner
            .prints("await new Promise((done) => setTimeout(done, 60, 'timers go on'))", "'timers go on'\n");
    }
}

/// What an evaluation has left behind may keep the next one from its turn.
#[test]
fn one_that_waits_for_its_turn_can_be_interrupted() {
    let Some(mut runner) = ready("one_that_waits_for_its_turn_can_be_interrupted") else { return };
    // One that comes before it has begun would have its turn.
    runner.prints("setImmediate(() => { console.log('begun'); for (;;); }); undefined", "");
    assert_eq!(runner.log_line(), "begun\n");
    let id = runner.begin("'never'");
    runner.interrupt(id);
    let done = runner.finish(id);
    assert!(!done.ok && done.stdout.is_empty() && done.stderr == "Interrupted\n", "{done:?}");
    runner.prints("'here'", "'here'\n");
}

#[test]
fn seeds_decide_what_is_random() {
    let Some(mut runner) = ready("seeds_decide_what_is_random") else { return };
    let mut drawn = |seed| {
        runner.reseed(seed);
        runner.eval("[Math.random(), Math.random()]").stdout
    };
    let (one, two, again) = (drawn(1), drawn(2), drawn(1));
    assert_eq!(one, again);
    assert_ne!(one, two);
    runner.prints(
        "const draws = Array.from({ length: 1e5 }, Math.random); \
         const mean = draws.reduce((a, b) => a + b) / draws.length; \
         Math.abs(mean - 0.5) < 0.01 && Math.min(...draws) >= 0 && Math.max(...draws) < 1",
        "true\n",
    );
}

#[test]
fn a_warm_up_file_comes_first() {
    let folder = std::env::temp_dir().join(format!("node-runner-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let (good, bad) = (folder.join("good.js"), folder.join("bad.js"));
    fs::write(&good, "const warm = [await 1]\n").expect("a file can be written");
    fs::write(&bad, "throw new Error('cold')\n").expect("a file can be written");
    if let Some(runner) = start("a_warm_up_file_comes_first", Some(&good)) {
        runner.ready().prints("warm", "[ 1 ]\n");
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
