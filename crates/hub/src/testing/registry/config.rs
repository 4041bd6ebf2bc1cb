//! What docker-registry is told: its configuration file and users.

use std::fmt::Write as _;
use std::path::Path;

use super::{Auth, RegistryOptions};
use crate::testing::certificates::write_certificates;
use crate::testing::token::{ISSUER, SERVICE, TokenServer};
use crate::testing::write;

/// The user and the password that this module's parent names, as htpasswd writes them, at bcrypt's lowest cost.
const HTPASSWD: &str = "spore:$2b$04$GG4d3Ik0SOaRoDSJhHkGlezd/LLmrvlj7HDVFHDzL/AF29M1aVAOu\n";

/// Writes `config.yml`, and what it refers to, into the folder that keeps everything.
pub(super) fn write_config(folder: &Path, options: &RegistryOptions, tokens: Option<&TokenServer>) {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut config = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: 127.0.0.1:0\n  secret: of a test\n",
        path("data"),
    );
    if options.tls {
        write_certificates(folder);
        let clients = match options.auth {
            Auth::Certificate => format!(", clientcas: [{}]", path("ca.pem")),
            _ => String::new(),
        };
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let _ = writeln!(config, "  tls: {{certificate: {cert}, key: {key}{clients}}}");
    }
    match options.auth {
        Auth::Open | Auth::Certificate => {}
        Auth::Basic => {
            write(&folder.join("htpasswd"), HTPASSWD);
            let _ = writeln!(config, "auth:\n  htpasswd: {{realm: spore-test, path: {}}}", path("htpasswd"));
        }
        Auth::Token(_) => {
            let tokens = tokens.expect("a registry with tokens has a token server");
            write(&folder.join("tokens.pem"), &tokens.certificate_pem());
            let _ = writeln!(
                config,
                "auth:\n  token: {{realm: \"{}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {}}}",
                tokens.realm(),
                path("tokens.pem"),
            );
        }
    }
    write(&folder.join("config.yml"), &config);
}
