//! `python-numpy`: NumPy is imported already, names stay, and no two forks draw the same numbers.

use std::collections::HashSet;

use crate::harness::Spore;
use crate::journey::Journey;

#[test]
fn python_numpy() {
    Journey { recipe: "python-numpy", marked: true, forks: 3, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    assert_eq!(spore.eval(id, "numpy.arange(6).reshape(2, 3).sum()"), "15");
}

fn uses(spore: &Spore, forks: &[String]) {
    let mut drawn = HashSet::new();
    for id in forks {
        first_answer(spore, id);
        spore.eval(id, &format!("mine = '{id}'"));
        drawn.insert(spore.eval(id, "numpy.random.rand(), random.random()"));
    }
    assert_eq!(drawn.len(), forks.len(), "forks draw the same numbers: {drawn:?}");
    for id in forks {
        assert_eq!(spore.eval(id, "mine"), format!("'{id}'"));
    }
}
