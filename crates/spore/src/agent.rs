//! What is put into guests: the agent and the runners, embedded so that one executable is all there is to install.

/// The agent's executable.
pub(crate) const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));

/// The runners, by the names that they have in a guest.
pub(crate) const RUNNERS: &[(&str, &[u8])] = &[
    ("python.py", include_bytes!("../../agent/runners/python.py")),
    ("jupyter.py", include_bytes!("../../agent/runners/jupyter.py")),
    ("node.js", include_bytes!("../../agent/runners/node.js")),
    ("reseed.node", include_bytes!(concat!(env!("OUT_DIR"), "/reseed.node"))),
];

/// The agent's version: it is built with this executable.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
