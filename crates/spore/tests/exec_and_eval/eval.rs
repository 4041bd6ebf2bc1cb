//! Evaluations: one namespace that stays, one at a time, and nothing that code does ends the runner but its own end.

use std::fmt::Write;
use std::time::Duration;

use format::Digest;
use rustix::process::Signal;

use crate::guest::{Guest, PYTHON, TINY};
use crate::talk::Talk;

#[test]
fn values_state_and_errors() {
    let Some(guest) = Guest::of(PYTHON, "values_state_and_errors") else { return };
    let prints = |code: &str, expected: &str| {
        let said = guest.eval(code).finish().succeeds();
        assert_eq!((said.text(), said.error().as_str()), (expected, ""), "{code}");
    };
    prints("1 + 1", "2");
    prints("'a\\n'", "'a\\n'");
    prints("None", "");
    prints("x = [1, 2]", "");
    prints("x.append(3); x", "[1, 2, 3]");
    prints("def double(n):\n    return 2 * n\n\ndouble(x)", "[1, 2, 3, 1, 2, 3]");
    prints("for n in x:\n    print(n)", "1\n2\n3");
    prints("np.arange(3)", "array([0, 1, 2])");
    prints("", "");

    let raised = guest.eval("x.append(4)\ndef fail():\n    raise ValueError('no')\nfail()").finish();
    let raised = raised.exits_with(1).says(&["Traceback", "line 3, in fail", "ValueError: no"]);
    assert_eq!(raised.text(), "");
    assert!(!raised.error().contains("python.py"), "the runner's own frames are nobody's concern: {raised}");
    guest.eval("1 +").finish().exits_with(1).says(&["SyntaxError", "1 +"]);
    guest.eval("import sys; sys.exit(3)").finish().exits_with(1).says(&["SystemExit: 3"]);
    guest.eval("sys.exit()").finish().succeeds();
    prints("x", "[1, 2, 3, 4]");
    let script = guest.spore.command(["eval", &guest.id, "-"]).stdin("y = 5\ny\n").finish().succeeds();
    assert_eq!(script.text(), "5");
}

#[test]
fn output_is_complete() {
    const LINES: usize = 500_000;
    let Some(guest) = Guest::of(PYTHON, "output_is_complete") else { return };
    let code = format!(
        "import sys\nfor first in range(0, {LINES}, 1000):\n    \
         text = ''.join(f'{{n}} ä\\n' for n in range(first, first + 1000))\n    \
         print(text, end='')\n    print(text, end='', file=sys.stderr)"
    );
    let expected = (0..LINES).fold(String::new(), |mut text, n| {
        writeln!(text, "{n} ä").expect("a string can be written");
        text
    });
    let said = guest.eval(&code).finish().succeeds();
    assert_eq!(Digest::of(&said.stdout), Digest::of(expected.as_bytes()));
    assert_eq!(Digest::of(&said.stderr), Digest::of(expected.as_bytes()));
    let one = guest.eval("'x' * 3_000_000").finish().succeeds();
    assert_eq!(one.text().len(), 3_000_002);
}

#[test]
fn an_interrupted_one_leaves_the_runner_usable() {
    // A signal that comes just before Python sleeps is seen when that sleep ends: none may be long.
    const ENDLESS: &str = "import time\nprint('ready')\nwhile True:\n    time.sleep(0.05)";
    let Some(guest) = Guest::of(PYTHON, "an_interrupted_one_leaves_the_runner_usable") else { return };
    guest.eval("x = 1").finish().succeeds();
    for _ in 0..3 {
        let talk = Talk::start(guest.eval(ENDLESS));
        talk.hears("ready");
        talk.interrupt();
        let error = talk.ends_with(1);
        assert!(error.contains("KeyboardInterrupt"), "{error}");
        assert_eq!(guest.eval("x").finish().succeeds().text(), "1");
    }
    // Given up, its code may go on for a while: it ends, and what others have left is still there.
    let stubborn = "for said in ['ready', 'no']:\n  try:\n    print(said)\n    while True: time.sleep(0.05)\n  except KeyboardInterrupt: pass";
    let talk = Talk::start(guest.eval(stubborn));
    talk.hears("ready");
    talk.interrupt();
    talk.hears("no");
    talk.interrupt();
    talk.ends_with(137);
    assert_eq!(guest.eval("x").finish().succeeds().text(), "1");
    // So does one whose client is killed: its code ends, for nobody would see what it does.
    let talk = Talk::start(guest.eval(ENDLESS));
    talk.hears("ready");
    drop(talk);
    assert_eq!(guest.eval("x").finish().succeeds().text(), "1");
}

#[test]
fn one_runs_after_the_other() {
    /// Long enough for code that nothing holds up.
    const MOMENT: Duration = Duration::from_secs(2);
    let Some(guest) = Guest::of(PYTHON, "one_runs_after_the_other") else { return };
    guest.eval("import os, time\norder = []").finish().succeeds();
    let first = "order.append(1); print('ready')\nwhile not os.path.exists('/tmp/go'):\n    time.sleep(0.01)\norder.append(2)";
    let first = Talk::start(guest.eval(first));
    first.hears("ready");
    let mut second = guest.eval("order.append(3); order").start();
    let withdrawn = Talk::start(guest.eval("order.append('withdrawn')"));
    assert!(second.wait(MOMENT).is_none(), "two run at once");
    // Interrupted while it waits, it never runs, and the one that runs does not notice.
    withdrawn.handles_soon(Signal::INT);
    withdrawn.interrupt();
    withdrawn.ends_by_itself_with(130);
    guest.sh("touch /tmp/go");
    first.ends_with(0);
    let second = second.wait(crate::harness::run::DEADLINE).expect("its turn comes").succeeds();
    assert_eq!(second.text(), "[1, 2, 3]");
}

#[test]
fn where_nothing_evaluates_it_is_said() {
    let Some(guest) = Guest::of(PYTHON, "where_nothing_evaluates_it_is_said") else { return };
    guest.eval("import os; os._exit(3)").finish().exits_with(125).says(&["warm process"]);
    // Its status may come a moment after its silence.
    guest.eval("1").finish().exits_with(125).says(&["evaluated"]);
    assert_eq!(guest.sh("echo here"), "here");

    let Some(guest) = Guest::of(TINY, "where_nothing_evaluates_it_is_said") else { return };
    guest.eval("1").finish().exits_with(125).says(&["no warm process"]);
}
