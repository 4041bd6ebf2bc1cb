//! `jupyter-kernel`: cells are executed, by `spore eval` and by a Jupyter client that knows the connection file only.

use std::collections::HashSet;

use crate::harness::Spore;
use crate::journey::Journey;

#[test]
fn jupyter_kernel() {
    Journey { recipe: "jupyter-kernel", marked: false, forks: 2, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    assert_eq!(spore.eval(id, "sum(range(10))"), "45");
}

fn uses(spore: &Spore, forks: &[String]) {
    let mut drawn = HashSet::new();
    for id in forks {
        first_answer(spore, id);
        spore.eval(id, &format!("mine = '{id}'"));
        spore.run(["eval", id, "mine.missing"]).exits_with(1).says(&["AttributeError", "missing"]);
        // Python's own numbers, and OpenSSL's.
        drawn.insert(spore.eval(id, "import random, ssl; (random.random(), ssl.RAND_bytes(16).hex())"));
        // A magic is what only IPython understands.
        assert_eq!(spore.eval(id, "%pwd"), "'/'");
    }
    assert_eq!(drawn.len(), forks.len(), "forks draw the same numbers: {drawn:?}");
    for id in forks {
        spore.sh(id, "echo 'print(mine, 6 * 7)' >/tmp/cell.py");
        let client = "jupyter run --existing /run/jupyter/kernel.json /tmp/cell.py";
        assert_eq!(spore.sh(id, client), format!("{id} 42"));
    }
}
