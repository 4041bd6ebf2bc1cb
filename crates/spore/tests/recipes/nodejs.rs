//! `nodejs`: names stay, what is awaited is there, and whatever draws random numbers draws others in each fork.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::harness::Spore;
use crate::harness::run::Outcome;
use crate::journey::Journey;

/// What no two forks may share: V8's numbers; OpenSSL's, as they are, in the stocks that `crypto` keeps of them (the
/// recipe has opened one), and in keys.
const DRAW: &str = "JSON.stringify({
    'Math.random': Math.random(),
    randomBytes: crypto.randomBytes(16).toString('hex'),
    randomUUID: crypto.randomUUID(),
    'webcrypto.randomUUID': crypto.webcrypto.randomUUID(),
    randomInt: crypto.randomInt(2 ** 47),
    key: crypto.generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' }).d,
})";

#[test]
fn nodejs() {
    Journey { recipe: "nodejs", marked: true, forks: 3, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    assert_eq!(spore.eval(id, "[1, 2, 3].map((n) => n * n)"), "[ 1, 4, 9 ]");
}

fn uses(spore: &Spore, forks: &[String]) {
    let eval = |id: &str, code: &str| -> Outcome { spore.run(["eval", id, code]) };
    let mut drawn: HashMap<String, HashSet<String>> = HashMap::new();
    for id in forks {
        first_answer(spore, id);
        let text = spore.eval(id, DRAW);
        let values: HashMap<String, Value> =
            serde_json::from_str(text.trim_matches('\'')).unwrap_or_else(|error| panic!("{error}: {text}"));
        for (what, value) in values {
            drawn.entry(what).or_default().insert(value.to_string());
        }
        spore.eval(id, &format!("const mine = await Promise.resolve('{id}')"));
        eval(id, "console.log('out'); missing")
            .exits_with(1)
            .says(&["ReferenceError: missing is not defined"]);
    }
    for (what, values) in drawn {
        assert_eq!(values.len(), forks.len(), "forks share {what}: {values:?}");
    }
    for id in forks {
        assert_eq!(spore.eval(id, "mine"), format!("'{id}'"));
    }
    served_by_itself(spore, &forks[0]);
}

/// A server that one evaluation starts goes on for the next ones.
fn served_by_itself(spore: &Spore, id: &str) {
    let start = "const server = http.createServer((_, response) => response.end('served'));
        await new Promise((done) => server.listen(8000, '127.0.0.1', done))";
    assert_eq!(spore.eval(id, start), "");
    let get = "await new Promise((done) => http.get('http://127.0.0.1:8000', { agent: false },
        async (response) => done((await response.toArray()).join(''))))";
    assert_eq!(spore.eval(id, get), "'served'");
}
