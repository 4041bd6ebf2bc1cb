//! Debian's nginx, a real web server, started for one test on a free loopback port: over a folder, or before another
//! server, with the rules that ship with Spore.
//!
//! It ends when dropped, and with the test process, however that ends. The socket that it listens on is bound here and
//! handed over (as nginx hands it over to itself when it is upgraded), so no port is ever guessed.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use super::process::{End, Process};
use super::{PASSWORD, POLL, START, USER, answers, is_installed, run, write, write_certificates};

/// The rules that are shipped, as they are.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/nginx");

/// Signatures are of the host that was asked; registries make URLs of it, and of the scheme.
const PASSED_ON: &str = "proxy_http_version 1.1; proxy_set_header Host $http_host; \
    proxy_set_header X-Forwarded-Proto $scheme; proxy_request_buffering off; proxy_buffering off;";

/// What a web server is to be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NginxOptions {
    /// Whether it speaks TLS, as `localhost`, with a certificate of an authority that nobody knows: [`RealNginx::ca`].
    pub tls: bool,
    /// Whether it wants [`USER`] and [`PASSWORD`] for everything.
    pub password: bool,
    /// Whether it gives all of a file to whoever asks for a part.
    pub no_parts: bool,
}

/// What it gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind<'a> {
    /// The files of a hub's folder.
    Folder(&'a Path),
    /// The objects of a bucket.
    Bucket {
        /// The name that its web address has, and its requests.
        host: &'a str,
        /// Where that is.
        addr: SocketAddr,
    },
    /// What another server answers to requests that are passed on as they came.
    Server {
        /// Where that is.
        addr: SocketAddr,
        /// Further directives of nginx, such as `client_max_body_size 5m;`.
        rules: &'a str,
    },
}

/// A running web server.
#[derive(Debug)]
pub struct RealNginx {
    // Fields are dropped in this order: nothing may write to the folder when it goes.
    _process: Process,
    folder: TempDir,
    addr: SocketAddr,
    tls: bool,
}

impl RealNginx {
    /// Starts one, and waits until it answers. Blocks for some 100 ms. None where nginx is not installed, and then says
    /// that `test` is skipped.
    ///
    /// # Panics
    /// If it is installed but does not answer within 20 s; with its log.
    #[must_use]
    #[allow(clippy::print_stdout, reason = "a test that cannot run says so in its output")]
    pub fn start(test: &str, behind: Behind<'_>, options: &NginxOptions) -> Option<Self> {
        let Some(program) = program() else {
            println!("skipped: {test}: nginx is not installed");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        // nginx takes a socket that it is handed as it is, and both workers are woken for one connection: the one that comes
        // too late would wait in `accept`, and serve none of its own connections until the next one comes.
        listener.set_nonblocking(true).expect("a socket can be made not to block");
        if options.tls {
            write_certificates(folder.path());
        }
        write(&folder.path().join("htpasswd"), &format!("{USER}:{{PLAIN}}{PASSWORD}\n"));
        let config = folder.path().join("nginx.conf");
        write(&config, &configuration(folder.path(), addr, behind, *options));
        let mut command = Process::command(program, End::Terminate);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&config);
        command.env("NGINX", "0;").stdin(OwnedFd::from(listener));
        let log = folder.path().join("log");
        let process = Process::start(command, &log, End::Terminate);
        let deadline = Instant::now() + START;
        while !answers(addr) {
            let goes_on = !process.has_ended() && Instant::now() < deadline;
            let text = || {
                ["log", "error.log"]
                    .map(|name| fs::read_to_string(folder.path().join(name)).unwrap_or_default())
                    .concat()
            };
            assert!(goes_on, "nginx does not answer; its log:\n{}", text());
            thread::sleep(POLL);
        }
        Some(Self { _process: process, folder, addr, tls: options.tls })
    }

    /// Where it listens: for a [`FaultProxy`](super::proxy::FaultProxy).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its host and port: `127.0.0.1:PORT`, or `localhost:PORT` with TLS.
    #[must_use]
    pub fn host(&self) -> String {
        if self.tls { format!("localhost:{}", self.addr.port()) } else { self.addr.to_string() }
    }

    /// Scheme and [`host`](Self::host), without a slash behind.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.host())
    }

    /// The certificate of the authority that signed its own, as a PEM file; none without TLS.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path().join("ca.pem"))
    }

    /// What it calls itself, for reports: `nginx/1.22.1`.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn version(&self) -> String {
        let said = run(Command::new(program().expect("it runs")).arg("-v"));
        let version = said.trim().rsplit(' ').next();
        version.expect("it says its version").to_owned()
    }
}

/// Where Debian puts servers is in the PATH of root alone.
fn program() -> Option<&'static str> {
    let paths = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];
    let there = paths.into_iter().find(|path| Path::new(path).is_file());
    there.or_else(|| is_installed("nginx").then_some("nginx"))
}

fn configuration(folder: &Path, addr: SocketAddr, behind: Behind<'_>, options: NginxOptions) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut config =
        format!("daemon off;\nworker_processes 2;\npid {};\nerror_log {};\n", path("pid"), path("error.log"));
    if rustix::process::geteuid().is_root() {
        // Else workers become nobody, who cannot read a test's folder.
        config.push_str("user root root;\n");
    }
    config
        .push_str("events {}\nhttp {\n    access_log off;\n    client_max_body_size 0;\n    sendfile on;\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "    {kind}_temp_path {};", path(kind));
    }
    config.push_str("    types { text/html html; application/json json; }\n    server {\n");
    let _ = writeln!(config, "        listen {addr}{};", if options.tls { " ssl" } else { "" });
    if options.tls {
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        let _ =
            writeln!(config, "        ssl_certificate {certificate};\n        ssl_certificate_key {key};");
    }
    if options.no_parts {
        config.push_str("        max_ranges 0;\n");
    }
    if options.password {
        let _ =
            writeln!(config, "        auth_basic hub;\n        auth_basic_user_file {};", path("htpasswd"));
    }
    let _ = match behind {
        Behind::Folder(root) => {
            writeln!(config, "        root {};\n        include {RULES}/spore-hub.conf;", root.display())
        }
        Behind::Bucket { host, .. } => {
            writeln!(
                config,
                "        set $spore_bucket http://{host};\n        include {RULES}/spore-bucket.conf;"
            )
        }
        Behind::Server { addr, rules } => {
            writeln!(
                config,
                "        location / {{ {PASSED_ON} proxy_pass http://{addr}; }}\n        {rules}"
            )
        }
    };
    config.push_str("    }\n");
    if let Behind::Bucket { host, addr } = behind {
        // In place of a name server.
        let _ = writeln!(config, "    upstream {host} {{ server {addr}; }}");
    }
    config.push_str("}\n");
    config
}
