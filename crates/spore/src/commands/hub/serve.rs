//! `spore hub serve`

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hub_server::{Limits, Policy, Server, Tls, Tokens};
use serde_json::json;

use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{arguments, interrupt, output};

/// Most bytes of a file of tokens.
const TOKENS_BYTES: u64 = 4 << 20;
/// What is logged where `SPORE_LOG` does not say: each request, in a line.
pub(super) const LOG: &str = "hub_server=info";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub serve /srv/hub                       for programs of this machine, which all may push
  spore hub serve /srv/hub --read-only --listen 0.0.0.0:5000
  spore hub serve /srv/hub --listen 0.0.0.0:443 --tls-cert cert.pem \\
    --tls-key key.pem --tokens tokens.toml --public

  spore push numpy localhost:5000/numpy:1        from this machine, and from others:
  spore login hub.lan; spore push numpy hub.lan/alice/numpy:1
  spore pull --hub oci+http://hub.lan:5000 numpy
  skopeo copy docker://hub.lan/alice/numpy:1 oci:numpy

It ends on Ctrl-C, when the requests that are under way are done. It is for one machine or a LAN; for more there are
registries and buckets. docs/hub.md says what each token may do.")]
pub(crate) struct ServeArgs {
    /// The hub's folder, which becomes one if it is empty or not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where to listen: ADDRESS:PORT, 0.0.0.0 for everywhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Who may do what: the entries that `spore hub token new` prints
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Everybody may pull, though there are tokens
    #[arg(long, requires = "tokens")]
    public: bool,
    /// Nothing can be pushed or deleted
    #[arg(long)]
    read_only: bool,
    /// Most bytes of one blob, as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = arguments::size, default_value = "256MiB")]
    max_blob_size: u64,
    /// Most bytes of all blobs, as 100GiB [default: what the disk holds]
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
    max_size: Option<u64>,
    /// A certificate and its chain, in PEM, for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(crate) fn run(options: &Options, args: &ServeArgs) -> Result<ExitCode, CliError> {
    let told = told(args)?;
    let shows_tokens = told.policy.tokens.is_some() && told.tls.is_none() && !args.listen.ip().is_loopback();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.doing("start the threads of a server")?;
    let (stop, mut stopping) = tokio::sync::watch::channel(false);
    let mut is_second = false;
    interrupt::on_interrupt(move || {
        if std::mem::replace(&mut is_second, true) {
            // What uploads leave then, the next server removes.
            std::process::exit(crate::error::INTERRUPTED.into());
        }
        stop.send(true).ok();
    })?;
    runtime.block_on(async {
        let server = Server::bind(told).await?;
        if shows_tokens {
            output::warning("tokens cross the network readably: --tls-cert and --tls-key prevent that");
        }
        let document = json!({ "url": server.url(), "folder": args.folder });
        output::result(options.format, &document, || {
            format!("serving {} at {}", args.folder.display(), server.url())
        });
        server
            .run(async move {
                stopping.wait_for(|stop| *stop).await.ok();
            })
            .await;
        Ok(ExitCode::SUCCESS)
    })
}

fn told(args: &ServeArgs) -> Result<hub_server::Options, CliError> {
    let tokens = args.tokens.as_deref().map(read_tokens).transpose()?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    Ok(hub_server::Options {
        folder: args.folder.clone(),
        listen: args.listen,
        policy: Policy { tokens, is_public: args.public, is_read_only: args.read_only },
        limits: Limits { blob: args.max_blob_size, hub: args.max_size, ..Limits::default() },
        tls: tls.map(|(certificate, key)| Tls { certificate, key }),
    })
}

fn read_tokens(path: &Path) -> Result<Tokens, CliError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TOKENS_BYTES).read_to_string(&mut text));
    read.doing(format!("read the tokens in {}", path.display()))?;
    let tokens = Tokens::parse(&text);
    tokens.map_err(|error| CliError::Usage(format!("the tokens in {}: {error}", path.display())))
}
