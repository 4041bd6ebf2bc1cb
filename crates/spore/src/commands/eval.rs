//! `spore eval`

use std::io::Read;
use std::process::ExitCode;

use agent_protocol::Request;
use clap::Args;

use super::exec;
use crate::context;
use crate::error::{CliError, Doing};
use crate::options::Options;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore eval ID 'numpy.zeros(5).tolist()'
  spore eval ID - < script.py

Prints the value of a last expression, and nothing for None. Names stay defined from one eval to the next. An error is
printed on standard error and the status is 1.")]
pub(crate) struct EvalArgs {
    /// The sandbox, or how its id begins
    id: String,
    /// The code, or - for standard input
    code: String,
}

pub(crate) fn run(options: &Options, args: EvalArgs) -> Result<ExitCode, CliError> {
    let code = if args.code == "-" {
        let mut code = String::new();
        std::io::stdin().read_to_string(&mut code).doing("read the code from standard input")?;
        code
    } else {
        args.code
    };
    let channel = exec::open(&context::store_of_sandboxes(options)?, &args.id)?;
    exec::follow(options, channel, &Request::Eval { code }, None, || ())
        .map_err(|error| exec::explain(options, &args.id, error))
}
